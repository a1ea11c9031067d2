"""A budget over simulated days of second-price auctions, against the best that hindsight could have bought."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from bidloop.bidding.pacing.pacer import Pacer
from bidloop.bidding.pacing.settings import PacingSettings
from bidloop.bidding.pacing.traffic import TrafficShape
from bidloop.bidding.pipeline import Bidder
from bidloop.bidding.settings import BiddingSettings, Objective
from bidloop.core.decision import BidState
from bidloop.core.errors import ConfigurationError, InvalidInput
from bidloop.core.money import MICROS, Money
from bidloop.core.opportunity import Opportunity
from bidloop.core.prediction import Interval, Prediction

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
HOURS = 1 + 0.8 * np.sin((np.arange(24) - 9) / 24 * 2 * np.pi)
SHAPE = TrafficShape(weights=(tuple(map(float, HOURS)),) * 7)
CONVERSION_VALUE = 40.0


@dataclass
class Day:
    """Clicks for sale by auction: seconds after midnight, conversion rate, and the price to beat, in time order."""

    seconds: np.ndarray
    conversion_rate: np.ndarray
    price: np.ndarray

    @property
    def value(self) -> np.ndarray:
        return self.conversion_rate * CONVERSION_VALUE

    def best_value(self, budget: float) -> float:
        """What hindsight buys: the most value per unit of cost first, the last one in part, none above its value."""
        worth_it = self.price <= self.value
        value, price = self.value[worth_it], self.price[worth_it]
        order = np.argsort(price / value)
        left = budget - np.concatenate(([0.0], np.cumsum(price[order])))[:-1]
        return float((np.clip(left / price[order], 0, 1) * value[order]).sum())

    def full_spend(self) -> float:
        return float(self.price[self.price <= self.value].sum())


def a_day(n: int, seed: int, *, from_noon: float = 1.0, quiet_hours: int = 0) -> Day:
    """A day with traffic shaped by `HOURS` whose prices are multiplied by `from_noon` in its second half."""
    rng = np.random.default_rng(seed)
    weights = HOURS.copy()
    weights[24 - quiet_hours :] = 0
    seconds = np.sort(rng.choice(24, n, p=weights / weights.sum()) * 3600 + rng.uniform(0, 3600, n))
    price = rng.lognormal(-0.3, 0.7, n) * np.where(seconds > 12 * 3600, from_noon, 1.0)
    return Day(seconds, np.minimum(1.0, rng.lognormal(-3.7, 0.6, n)), price)


def run(pacer: Pacer, day: Day, *, date: datetime = MIDNIGHT, told_every: float = 0.0) -> float:
    """Bid for every auction of a day and give the value won; costs are told at once, or every so many seconds."""
    bidder = Bidder(pacer.settings)
    cell = Opportunity(opportunity_id="o", at=MIDNIGHT, campaign_id="brand")
    interval = Interval(0.0, 1.0, 0.95)
    value, untold, told, multiplier = 0.0, [], 0.0, 1.0
    for seconds, rate, price in zip(
        day.seconds.tolist(), day.conversion_rate.tolist(), day.price.tolist(), strict=True
    ):
        at = date + timedelta(seconds=seconds)
        if seconds >= told:
            for then, cost in untold:
                pacer.record_spend("brand", then, cost)
            untold, told = [], seconds + told_every
            multiplier = pacer.multiplier("brand", at)
        state = BidState(multiplier=multiplier, remaining=pacer.remaining("brand", at))
        prediction = Prediction(
            ctr=0.02, conversion_rate=rate, ctr_interval=interval, order_value=None, model_version="v", support=1.0
        )
        if bidder.bid(cell, prediction, None, state).amount.micros >= price * MICROS:
            value += rate * CONVERSION_VALUE
            untold.append((at, Money(int(price * MICROS))))
    for then, cost in untold:
        pacer.record_spend("brand", then, cost)
    return value


def a_pacer(budget: float, shape: TrafficShape | None = SHAPE, **knobs: float) -> Pacer:
    settings = BiddingSettings(
        objective=Objective.MAXIMIZE_CONVERSIONS,
        conversion_value=CONVERSION_VALUE,
        daily_budget=budget,
        pacing=PacingSettings(**knobs),
    )
    return Pacer(settings, shape)


def spent_share(pacer: Pacer, budget: float, date: datetime = MIDNIGHT) -> float:
    return pacer.spent("brand", date).amount / budget


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("share", [0.5, 0.2, 0.05])
def test_a_stationary_day_spends_the_budget_and_wins_nearly_what_hindsight_would(share: float, seed: int) -> None:
    day = a_day(8000, seed)
    budget = share * day.full_spend()
    pacer = a_pacer(budget)
    value = run(pacer, day)
    assert 0.95 <= spent_share(pacer, budget) <= 1
    assert value >= 0.95 * day.best_value(budget)


@pytest.mark.parametrize("shift", [1.6, 0.6])
@pytest.mark.parametrize("share", [0.5, 0.2])
def test_a_price_shift_at_noon_is_followed(share: float, shift: float) -> None:
    day = a_day(8000, 3, from_noon=shift)
    budget = share * day.full_spend()
    pacer = a_pacer(budget)
    value = run(pacer, day)
    assert 0.95 <= spent_share(pacer, budget) <= 1
    assert value >= 0.95 * day.best_value(budget)


def test_half_of_the_budget_is_spent_when_half_of_the_traffic_has_passed() -> None:
    day = a_day(8000, 4)
    budget = 0.2 * day.full_spend()
    pacer = a_pacer(budget)
    half = int(np.searchsorted(day.seconds, np.interp(0.5, np.cumsum(HOURS) / HOURS.sum(), np.arange(1, 25)) * 3600))
    run(pacer, Day(day.seconds[:half], day.conversion_rate[:half], day.price[:half]))
    assert spent_share(pacer, budget) == pytest.approx(0.5, abs=0.03)


def test_a_wrong_traffic_shape_is_made_up_for() -> None:
    day = a_day(8000, 5)
    budget = 0.3 * day.full_spend()
    pacer = a_pacer(budget, shape=None)
    value = run(pacer, day)
    assert 0.95 <= spent_share(pacer, budget) <= 1
    assert value >= 0.9 * day.best_value(budget)


def test_costs_told_by_the_hour_do_not_make_it_swing() -> None:
    day = a_day(8000, 6)
    budget = 0.2 * day.full_spend()
    pacer = a_pacer(budget)
    value = run(pacer, day, told_every=3600)
    assert spent_share(pacer, budget) == pytest.approx(1, abs=0.03)
    assert value >= 0.96 * day.best_value(budget)


def test_a_campaign_of_few_clicks_a_day_does_not_jump() -> None:
    day = a_day(200, 7)
    budget = 0.3 * day.full_spend()
    pacer = a_pacer(budget)
    value = run(pacer, day)
    assert 0.9 <= spent_share(pacer, budget) <= 1
    assert value >= 0.9 * day.best_value(budget)


def test_the_next_day_begins_with_what_was_learned() -> None:
    days = [a_day(6000, seed) for seed in (8, 9)]
    budget = 0.1 * days[0].full_spend()
    pacer = a_pacer(budget)
    first, second = (run(pacer, day, date=MIDNIGHT + timedelta(days=i)) for i, day in enumerate(days))
    shares = first / days[0].best_value(budget), second / days[1].best_value(budget)
    assert shares[1] > max(0.97, shares[0])
    assert spent_share(pacer, budget, MIDNIGHT + timedelta(days=1)) <= 1


def test_the_chase_of_the_last_minutes_is_no_guide_for_tomorrow() -> None:
    pacer = a_pacer(100.0, shape=None)
    pacer.start("brand", 0.3)
    for minute in range(0, 23 * 60, 5):
        at = MIDNIGHT + timedelta(minutes=minute)
        pacer.multiplier("brand", at)
        pacer.record_spend("brand", at, Money.of(100 / 288), events=10)
    assert pacer.multiplier("brand", MIDNIGHT + timedelta(hours=23, minutes=55)) > 0.5
    assert pacer.multiplier("brand", MIDNIGHT + timedelta(days=1)) == pytest.approx(0.3, rel=0.25)


def test_a_warm_start_is_taken_up_and_bounded() -> None:
    pacer = a_pacer(100.0)
    pacer.start("brand", 0.2)
    assert pacer.multiplier("brand", MIDNIGHT) == pytest.approx(0.2)
    for wrong in (0.0, 1.5, math.nan):
        with pytest.raises(InvalidInput):
            pacer.start("brand", wrong)


def test_a_budget_that_does_not_bind_leaves_the_multiplier_at_one_and_winds_nothing_up() -> None:
    day = a_day(4000, 10)
    morning = slice(0, int(np.searchsorted(day.seconds, 12 * 3600)))
    early = Day(day.seconds[morning], day.conversion_rate[morning], day.price[morning])
    pacer = a_pacer(3 * day.full_spend())
    assert run(pacer, early) == pytest.approx(early.value[early.price <= early.value].sum())
    noon = MIDNIGHT + timedelta(hours=12)
    assert pacer.multiplier("brand", noon) == 1.0
    # A morning of missed spend is stored nowhere: the first minutes of overspending move the multiplier.
    left = pacer.remaining("brand", noon) or Money(0)
    for second in range(100):
        pacer.record_spend("brand", noon + timedelta(seconds=second), Money(left.micros // 200))
    assert pacer.multiplier("brand", noon + timedelta(seconds=100)) < 0.8


def test_a_campaign_first_seen_in_the_afternoon_has_missed_nothing() -> None:
    pacer = a_pacer(100.0)
    pacer.start("brand", 0.3)
    assert pacer.multiplier("brand", MIDNIGHT + timedelta(hours=15)) == pytest.approx(0.3)
    free = Pacer(BiddingSettings(), SHAPE)
    free.start("brand", 0.3)
    free.record_spend("brand", MIDNIGHT, Money.of(1))
    free.set_budget("brand", Money.of(100))
    assert free.multiplier("brand", MIDNIGHT + timedelta(hours=15)) == pytest.approx(0.3)


def test_a_restart_goes_on_where_it_was() -> None:
    day = a_day(8000, 12)
    budget = 0.2 * day.full_spend()
    half = len(day.seconds) // 2
    before = a_pacer(budget)
    value = run(before, Day(day.seconds[:half], day.conversion_rate[:half], day.price[:half]))
    now = MIDNIGHT + timedelta(seconds=float(day.seconds[half]))
    after = a_pacer(budget)
    after.record_spend("brand", now, before.spent("brand", now), events=500)
    after.start("brand", before.multiplier("brand", now))
    value += run(after, Day(day.seconds[half:], day.conversion_rate[half:], day.price[half:]))
    assert 0.95 <= spent_share(after, budget) <= 1
    assert value >= 0.95 * day.best_value(budget)


def at_one_multiplier(budget: float, multiplier: float, prices: np.ndarray, pacer: Pacer) -> list[float]:
    """A day on which one multiplier spends the budget, with prices that differ by the hour; its multiplier by the hour."""
    spend = HOURS * prices / (HOURS * prices).sum()
    read = []
    for minute in range(24 * 60):
        at = MIDNIGHT + timedelta(minutes=minute)
        now = pacer.multiplier("brand", at)
        cost = spend[minute // 60] / 60 * budget * (now / multiplier) ** 2
        pacer.record_spend("brand", at, Money(int(min(cost, 2 * budget) * MICROS)), events=100)
        read.append(now)
    return read[::60]


def test_a_campaign_that_follows_its_own_shape_of_spend_keeps_its_multiplier() -> None:
    prices = np.where(np.arange(24) < 12, 0.5, 2.0)
    own = TrafficShape(weights=(tuple(map(float, HOURS * prices)),) * 7)
    by_traffic, by_spend = a_pacer(1000.0), a_pacer(1000.0)
    by_traffic.start("brand", 0.3)
    by_spend.start("brand", 0.3, own)
    swings = [np.ptp(np.log(at_one_multiplier(1000.0, 0.3, prices, pacer)[:23])) for pacer in (by_traffic, by_spend)]
    assert swings[1] < 0.05 < 0.5 < swings[0]


def test_a_campaign_without_a_shape_of_its_own_follows_the_accounts() -> None:
    own = TrafficShape(weights=((1.0,) * 24,) * 7)
    pacers = [a_pacer(100.0), a_pacer(100.0)]
    pacers[1].start("other", 0.5, own)
    for pacer in pacers:
        pacer.record_spend("brand", MIDNIGHT + timedelta(hours=5), Money.of(40), events=50)
    later = MIDNIGHT + timedelta(hours=6)
    assert pacers[0].multiplier("brand", later) == pacers[1].multiplier("brand", later)


def test_a_shape_that_comes_in_mid_day_plans_the_rest_of_it() -> None:
    early = TrafficShape(weights=((1.0,) * 12 + (0.0,) * 12,) * 7)
    pacer = a_pacer(100.0, shape=None)
    for minute in range(0, 360, 5):
        at = MIDNIGHT + timedelta(minutes=minute)
        pacer.multiplier("brand", at)
        pacer.record_spend("brand", at, Money.of(25 / 72), events=10)
    pacer.start("brand", 0.3, early)
    for minute in range(360, 480, 5):
        at = MIDNIGHT + timedelta(minutes=minute)
        pacer.multiplier("brand", at)
        pacer.record_spend("brand", at, Money.of(25 / 72), events=10)
    assert pacer.spent("brand", MIDNIGHT).amount == pytest.approx(100 / 3, abs=0.01)
    assert pacer.multiplier("brand", MIDNIGHT + timedelta(hours=8)) > 0.3, "two thirds are left for four hours"
    with pytest.raises(ConfigurationError, match="Asia/Tokyo"):
        pacer.start("brand", 0.3, TrafficShape(timezone="Asia/Tokyo"))


def test_hours_without_opportunities_hardly_move_the_multiplier_or_tomorrows() -> None:
    pacer = a_pacer(100.0, shape=None)
    pacer.start("brand", 0.3)
    for minute in range(0, 600, 5):
        at = MIDNIGHT + timedelta(minutes=minute)
        pacer.multiplier("brand", at)
        pacer.record_spend("brand", at, Money.of(100 / 288), events=10)
    before = pacer.multiplier("brand", MIDNIGHT + timedelta(hours=10))
    after = pacer.multiplier("brand", MIDNIGHT + timedelta(hours=13))
    assert before == pytest.approx(0.3, rel=0.05)
    assert before < after < 1.35 * before
    assert pacer.multiplier("brand", MIDNIGHT + timedelta(days=1)) == pytest.approx(0.3, rel=0.15)


def test_a_flight_that_ends_at_noon_begins_the_next_day_as_it_was() -> None:
    pacer = a_pacer(100.0, shape=None)
    pacer.start("brand", 0.3)
    for minute in range(0, 720, 5):
        at = MIDNIGHT + timedelta(minutes=minute)
        pacer.multiplier("brand", at)
        pacer.record_spend("brand", at, Money.of(100 / 288), events=10)
    assert pacer.multiplier("brand", MIDNIGHT + timedelta(days=1)) == pytest.approx(0.3, rel=0.05)


def test_one_lumpy_hour_does_not_overturn_a_warm_start() -> None:
    moved = []
    for weight in (0.0, 0.15):
        pacer = a_pacer(100.0, shape=None, start_weight=weight)
        pacer.start("brand", 0.3)
        pacer.record_spend("brand", MIDNIGHT + timedelta(minutes=10), Money.of(3), events=300)
        moved.append(pacer.multiplier("brand", MIDNIGHT + timedelta(minutes=10)))
    assert moved[0] < 0.2 < 0.26 < moved[1] < 0.3


def test_one_move_of_the_multiplier_is_bounded() -> None:
    pacer = a_pacer(100.0, max_step=0.3)
    before = pacer.multiplier("brand", MIDNIGHT)
    pacer.record_spend("brand", MIDNIGHT + timedelta(seconds=1), Money.of(50), events=1000)
    after = pacer.multiplier("brand", MIDNIGHT + timedelta(seconds=1))
    assert after == pytest.approx(before * math.exp(-0.3))


def test_one_dear_click_is_less_evidence_than_many_cheap_ones() -> None:
    moved = []
    for events in (1, 1000):
        pacer = a_pacer(100.0)
        pacer.record_spend("brand", MIDNIGHT + timedelta(minutes=1), Money.of(20), events=events)
        moved.append(pacer.multiplier("brand", MIDNIGHT + timedelta(minutes=1)))
    assert moved[1] < moved[0] < 1


def test_a_spent_budget_neither_moves_the_multiplier_nor_tomorrows_start() -> None:
    pacer = a_pacer(10.0)
    pacer.start("brand", 0.4)
    pacer.record_spend("brand", MIDNIGHT + timedelta(hours=1), Money.of(10))
    at_noon = pacer.multiplier("brand", MIDNIGHT + timedelta(hours=12))
    assert pacer.multiplier("brand", MIDNIGHT + timedelta(hours=20)) == at_noon
    assert pacer.multiplier("brand", MIDNIGHT + timedelta(hours=24)) <= 0.4
    assert pacer.remaining("brand", MIDNIGHT + timedelta(hours=20)) == Money.of(0)


def test_without_a_budget_nothing_is_paced_but_spend_is_counted() -> None:
    pacer = Pacer(BiddingSettings())
    pacer.record_spend("brand", MIDNIGHT, Money.of(5))
    assert pacer.multiplier("brand", MIDNIGHT) == 1.0
    assert pacer.remaining("brand", MIDNIGHT) is None
    assert pacer.spent("brand", MIDNIGHT) == Money.of(5)


def test_campaigns_do_not_touch_each_other() -> None:
    pacer = Pacer(BiddingSettings(budgets={"a": 10.0, "b": 20.0}))
    for minute in range(60):
        pacer.record_spend("a", MIDNIGHT + timedelta(minutes=minute), Money.of("0.1"))
    later = MIDNIGHT + timedelta(hours=1)
    assert pacer.multiplier("a", later) < 1
    assert (pacer.multiplier("b", later), pacer.remaining("b", later)) == (1.0, Money.of(20))


def test_the_day_ends_at_the_accounts_midnight() -> None:
    pacer = Pacer(BiddingSettings(daily_budget=10.0, timezone="America/New_York"))
    pacer.record_spend("brand", datetime(2026, 1, 2, 4, 59, tzinfo=UTC), Money.of(8))
    assert pacer.remaining("brand", datetime(2026, 1, 2, 4, 59, tzinfo=UTC)) == Money.of(2)
    assert pacer.remaining("brand", datetime(2026, 1, 2, 5, 0, tzinfo=UTC)) == Money.of(10)


def test_a_cost_of_yesterday_is_booked_yesterday_and_moves_nothing_today() -> None:
    pacer = a_pacer(10.0)
    today = MIDNIGHT + timedelta(days=1, hours=2)
    before = pacer.multiplier("brand", today)
    pacer.record_spend("brand", MIDNIGHT + timedelta(hours=20), Money.of(6))
    assert pacer.multiplier("brand", today) == before
    assert pacer.remaining("brand", today) == Money.of(10)
    assert pacer.spent("brand", MIDNIGHT) == Money.of(6)


def test_costs_out_of_order_add_up_the_same() -> None:
    costs = [(MIDNIGHT + timedelta(minutes=m), Money(1000 + m)) for m in range(0, 1400, 7)]
    ordered, shuffled = a_pacer(10.0), a_pacer(10.0)
    for at, cost in costs:
        ordered.record_spend("brand", at, cost)
    for i in np.random.default_rng(11).permutation(len(costs)):
        shuffled.record_spend("brand", *costs[i])
    assert ordered.spent("brand", MIDNIGHT) == shuffled.spent("brand", MIDNIGHT)


def test_a_refund_gives_budget_back() -> None:
    pacer = a_pacer(10.0)
    pacer.record_spend("brand", MIDNIGHT, Money.of(6))
    pacer.record_spend("brand", MIDNIGHT + timedelta(hours=1), Money.of(-2))
    assert pacer.remaining("brand", MIDNIGHT) == Money.of(6)
    assert 0 < pacer.multiplier("brand", MIDNIGHT + timedelta(hours=2)) <= 1


def test_another_budget_counts_from_now_on() -> None:
    pacer = a_pacer(10.0)
    pacer.record_spend("brand", MIDNIGHT, Money.of(6))
    pacer.set_budget("brand", Money.of(5))
    assert pacer.remaining("brand", MIDNIGHT) == Money.of(0)
    pacer.set_budget("brand", Money.of(20))
    assert pacer.remaining("brand", MIDNIGHT) == Money.of(14)


def test_what_does_not_fit_the_account_is_refused() -> None:
    pacer = a_pacer(10.0)
    with pytest.raises(InvalidInput, match="EUR"):
        pacer.record_spend("brand", MIDNIGHT, Money.of(1, "EUR"))
    with pytest.raises(InvalidInput, match="budget"):
        pacer.set_budget("brand", Money.of(-1))
    with pytest.raises(ConfigurationError, match="Asia/Tokyo"):
        Pacer(BiddingSettings(), TrafficShape(timezone="Asia/Tokyo"))
    assert pacer.spent("brand", MIDNIGHT) == Money.of(0)


def test_a_refund_of_more_than_was_spent_does_not_enlarge_the_budget() -> None:
    pacer = Pacer(BiddingSettings(daily_budget=100.0))
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    pacer.record_spend("brand", noon, Money.of(-60))
    assert pacer.remaining("brand", noon) == Money.of(100)
    assert 0 < pacer.multiplier("brand", noon) <= 1
