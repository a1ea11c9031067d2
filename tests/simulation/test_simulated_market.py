"""Bids win, cost and bring what the rules of the auction say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec
import numpy as np
import pytest

from bidloop.core.decision import Decision
from bidloop.core.errors import InvalidInput
from bidloop.core.event import BidLost, ClickReceived, ConversionReported, Event, ImpressionServed
from bidloop.core.money import Money
from bidloop.core.opportunity import Auction, Charge, Opportunity
from bidloop.experiments.auctions import Objective
from bidloop.experiments.periods import campaign_days
from bidloop.experiments.replay import replay
from bidloop.simulation.account_past import account_past
from bidloop.simulation.auction_market import Bid
from bidloop.simulation.calendar import instant
from bidloop.simulation.market import SimulatedMarket
from bidloop.simulation.settings import Outage, Tracked
from bidloop.simulation.world import World

Decide = Callable[..., Decision]
BidFlat = Callable[..., list[Event]]


class Fixed:
    """Bids a function of the worth."""

    def __init__(self, bids: Callable[[np.ndarray], np.ndarray]) -> None:
        self.bids = bids


def changed(world: World, **settings: object) -> World:
    return World(msgspec.structs.replace(world.settings, **settings))


def all_events(market: SimulatedMarket, told: list[Event]) -> list[Event]:
    return [*told, *market.underway]


def kinds(events: list[Event], kind: type) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


def test_a_bid_at_the_market_price_wins_and_one_micro_less_loses(small: World, decide: Decide) -> None:
    market = SimulatedMarket(small, range(1))
    price = small.day(0).potential.price
    row = 0
    for batch in market.batches():
        decisions = [decide(o, Money(int(price[row + i]) - (i % 2), o.currency)) for i, o in enumerate(batch)]
        for i, event in enumerate(market.settle(decisions)):
            assert isinstance(event, BidLost if i % 2 else ImpressionServed)
        row += len(batch)
    assert row == len(price)


def test_second_price_pays_the_market_price_and_never_more_than_the_bid(small: World, bid_flat: BidFlat) -> None:
    market = SimulatedMarket(small, range(1))
    told = bid_flat(market)
    day, bids = small.day(0), {o.opportunity_id: o for o in small.opportunities(small.day(0))}
    price = dict(zip(bids, day.potential.price.tolist(), strict=True))
    for event in told:
        opportunity = bids[event.impression_id]
        assert opportunity.current_bid is not None
        if isinstance(event, ImpressionServed):
            assert event.price is not None
            assert event.price.micros == round(price[event.impression_id] / 1000)
            assert event.price.micros * 1000 <= opportunity.current_bid.micros + 500
            assert opportunity.floor is not None
            assert event.price.micros * 1000 >= opportunity.floor.micros - 500
        else:
            assert isinstance(event, BidLost)
            assert event.market_price == Money(price[event.impression_id])
            assert event.market_price > opportunity.current_bid


def test_first_price_pays_the_bid_and_wins_the_same_auctions(small: World, bid_flat: BidFlat) -> None:
    second, first = (
        SimulatedMarket(small, range(1)),
        SimulatedMarket(changed(small, auction=Auction.FIRST_PRICE), range(1)),
    )
    bid_flat(second)
    for event in bid_flat(first):
        if isinstance(event, ImpressionServed):
            assert event.opportunity is not None
            assert event.opportunity.current_bid is not None
            assert event.price == Money(round(event.opportunity.current_bid.micros / 1000))
    assert np.array_equal(first.won, second.won)
    assert first.tally().spend > second.tally().spend


def test_clicks_are_what_a_click_priced_campaign_pays_for(small: World, bid_flat: BidFlat) -> None:
    market = SimulatedMarket(changed(small, charge=Charge.PER_CLICK), range(1))
    events = all_events(market, bid_flat(market))
    assert all(event.price is None for event in kinds(events, ImpressionServed))
    clicks = kinds(events, ClickReceived)
    paid = sum(event.price.micros for event in clicks) / 1e6
    assert paid == pytest.approx(market.tally().spend)
    assert len(clicks) == market.tally().clicks


def test_what_is_told_adds_up_to_the_tally(small: World, bid_flat: BidFlat) -> None:
    market = SimulatedMarket(small, range(1))
    events, tally = all_events(market, bid_flat(market)), market.tally()
    conversions = kinds(events, ConversionReported)
    assert len(kinds(events, ImpressionServed)) == tally.impressions
    assert len(kinds(events, ImpressionServed)) + len(kinds(events, BidLost)) == tally.auctions == len(small.day(0))
    assert len(kinds(events, ClickReceived)) == tally.clicks
    assert len(conversions) == tally.conversions > 20
    assert sum(event.value.micros for event in conversions) / 1e6 == pytest.approx(tally.value)
    paid = sum(event.price.micros for event in kinds(events, ImpressionServed)) / 1e6
    assert paid == pytest.approx(tally.spend, rel=1e-4)
    assert len({event.event_id for event in events}) == len(events)


def test_no_bid_takes_no_part_and_nothing_is_told_of_it(small: World, decide: Decide) -> None:
    market = SimulatedMarket(small, range(1))
    batch = next(market.batches())
    assert market.settle([decide(o, Money(0)) for o in batch]) == []
    assert market.tally().auctions == len(batch)
    assert market.tally().spend == 0


@pytest.mark.parametrize("auction", list(Auction))
@pytest.mark.parametrize("charge", list(Charge))
def test_no_campaign_spends_more_than_its_budget_of_any_day(
    small: World, auction: Auction, charge: Charge, bid_flat: BidFlat
) -> None:
    world = changed(small, auction=auction, charge=charge)
    market = SimulatedMarket(world, range(2), budgets=world.budgets(0.2))
    bid_flat(market, factor=10.0)
    auctions = market.auctions()
    first = auctions.at < instant(world.start(1))
    for day in (first, ~first):
        for name, budget in world.budgets(0.2).items():
            spent = market.spend[day & (auctions.campaign == name)].sum()
            assert 0.9 * budget.amount < spent <= budget.amount + 1e-9


def test_the_market_and_a_replay_of_its_auctions_agree_to_the_impression(small: World, bid_flat: BidFlat) -> None:
    budgets = small.budgets(0.1)
    market = SimulatedMarket(small, range(2), budgets=budgets)
    bid_flat(market)
    auctions, flat = market.auctions(), {name: bid.amount for name, bid in small.current_bids().items()}
    policies = {name: Fixed(lambda worth, bid=bid: np.full(len(worth), bid)) for name, bid in flat.items()}
    amounts = {name: budget.amount for name, budget in budgets.items()}
    replayed, tally = replay(policies, auctions, amounts, campaign_days(auctions)), market.tally()
    assert (replayed.impressions, replayed.clicks, replayed.conversions) == (
        tally.impressions,
        tally.clicks,
        tally.conversions,
    )
    assert replayed.spend == pytest.approx(tally.spend)


def test_auctions_carry_the_predictions_of_the_decisions_that_were_settled(small: World, decide: Decide) -> None:
    market = SimulatedMarket(small, range(1))
    batch = next(market.batches())
    half = batch[: len(batch) // 2]
    market.settle([decide(o, Money.of(1), ctr=0.01 * (1 + i % 3)) for i, o in enumerate(half)])
    auctions = market.auctions()
    assert auctions.ctr.tolist() == [0.01 * (1 + i % 3) for i in range(len(half))]
    assert set(auctions.order_value.tolist()) == {50.0}
    everything = [decide(o, Money(0)).prediction for o in small.opportunities(small.day(0))]
    assert len(market.auctions(everything)) == len(everything)
    with pytest.raises(InvalidInput, match="1 predictions"):
        market.auctions(everything[:1])
    assert np.array_equal(market.true_auctions().ctr, small.day(0).ctr)


def test_late_events_are_told_once_in_order_and_not_before_their_time(small: World, bid_flat: BidFlat) -> None:
    market = SimulatedMarket(small, range(1))
    bid_flat(market)
    coming = market.underway
    assert [event.at for event in coming] == sorted(event.at for event in coming)
    told: list[Event] = []
    for hours in range(0, 24 * 10, 6):
        until = market.start + timedelta(hours=hours)
        news = market.due(until)
        assert all(event.at <= until for event in news)
        assert market.due(until) == []
        told += news
    assert told == coming[: len(told)]
    assert len(told) > 0.95 * len(coming)
    late = [event for event in coming if event.at > market.end]
    assert sum(isinstance(event, ConversionReported) for event in late) > 20


def test_what_is_underway_is_told_by_the_market_of_the_following_days(small: World, bid_flat: BidFlat) -> None:
    monday = SimulatedMarket(small, range(1))
    bid_flat(monday)
    monday.due(monday.end)
    tuesday = SimulatedMarket(small, range(1, 2), underway=monday.underway)
    assert tuesday.due(tuesday.end)
    assert {event.event_id for event in tuesday.underway} < {event.event_id for event in monday.underway}


@pytest.mark.parametrize("lost", ["impression", "click", "conversion"])
def test_an_outage_loses_the_events_that_fall_into_it_and_no_others(
    small: World, lost: Tracked, bid_flat: BidFlat
) -> None:
    kind = {"impression": ImpressionServed, "click": ClickReceived, "conversion": ConversionReported}[lost]
    broken = changed(small, outages=(Outage(day=0, hour=9.5, hours=6.0, loses=(lost,)),))
    whole, holed = SimulatedMarket(small, range(1)), SimulatedMarket(broken, range(1))
    events = all_events(whole, bid_flat(whole))
    heard = {event.event_id for event in all_events(holed, bid_flat(holed))}
    first, last = small.start(0) + timedelta(hours=9.5), small.start(0) + timedelta(hours=15.5)
    expected = {e.event_id for e in events if not (isinstance(e, kind) and first <= e.at < last)}
    assert heard == expected
    assert len(heard) < len(events)
    assert holed.tally() == whole.tally()


def test_losers_are_told_the_price_only_where_the_platform_does(small: World, bid_flat: BidFlat) -> None:
    silent = SimulatedMarket(changed(small, tells_losing_price=False), range(1))
    assert {event.market_price for event in kinds(bid_flat(silent), BidLost)} == {None}


def test_batches_hold_every_opportunity_once_in_order_and_no_more_than_their_minutes(small: World) -> None:
    batches = list(SimulatedMarket(small, range(2)).batches(minutes=30))
    flat = [opportunity for batch in batches for opportunity in batch]
    expected = [o for day in range(2) for o in small.opportunities(small.day(day))]
    assert flat == expected
    assert all(batch[-1].at - batch[0].at < timedelta(minutes=30) for batch in batches)
    assert 80 < len(batches) <= 96
    with pytest.raises(InvalidInput, match="batches of 0"):
        next(SimulatedMarket(small, range(1)).batches(minutes=0))


def test_opportunities_state_the_budget_of_their_campaign(small: World) -> None:
    budgets = small.budgets()
    batch = next(SimulatedMarket(small, range(1), budgets=budgets).batches())
    assert all(o.budget == budgets[o.campaign_id] for o in batch)


def test_one_bad_bid_among_many_leaves_all_of_them_unsettled(small: World, decide: Decide) -> None:
    market = SimulatedMarket(small, range(1))
    batch = next(market.batches())
    good = [decide(o, Money.of(1)) for o in batch]

    def stranger(o: Opportunity) -> Opportunity:
        return msgspec.structs.replace(o, opportunity_id="elsewhere")

    for bad, found in (
        (decide(stranger(batch[0]), Money.of(1)), "'elsewhere'"),
        (decide(batch[0], Money.of(1, "EUR")), "EUR"),
        (decide(batch[0], Money(-1)), "-1 micros"),
        (good[1], "two bids"),
    ):
        with pytest.raises(InvalidInput, match=found):
            market.settle([*good[1:], bad])
    assert market.tally().auctions == 0
    market.settle(good)
    with pytest.raises(InvalidInput, match="second bid"):
        market.settle(good[:1])
    with pytest.raises(InvalidInput, match="elsewhere"):
        SimulatedMarket(small, range(1)).settle_bids([Bid("elsewhere", "x", 1)])


def test_days_out_of_the_world_are_refused(small: World) -> None:
    for days in (range(0), range(-1, 2), range(0, 4, 2)):
        with pytest.raises(InvalidInput, match="days range"):
            SimulatedMarket(small, days)


def test_the_account_s_past_holds_what_is_known_and_what_is_still_to_come(small: World) -> None:
    past = account_past(small, range(2), seed=5)
    end = small.start(2)
    assert all(event.at <= end for event in past.events)
    assert all(event.at > end for event in past.underway)
    assert [event.at for event in past.events] == sorted(event.at for event in past.events)
    assert np.array_equal(past.won, past.bid >= past.market_price)
    assert np.log(past.bid).std() > 0.5
    assert {e.impression_id for e in kinds(past.events, ImpressionServed)} == {
        o.opportunity_id for o, won in zip(past.opportunities, past.won.tolist(), strict=True) if won
    }
    assert past.events == account_past(small, range(2), seed=5).events
    with pytest.raises(InvalidInput, match="jitter nan"):
        account_past(small, range(1), jitter=float("nan"))


def test_knowing_the_truth_beats_knowing_the_clicks_and_that_beats_knowing_nothing(world: World) -> None:
    market = SimulatedMarket(world, range(14, 15))
    for _ in market.batches():
        pass
    auctions = market.true_auctions()
    budgets = {name: budget.amount for name, budget in world.budgets().items()}
    value, typical = auctions.worth(Objective.VALUE), float(auctions.worth(Objective.VALUE).mean())

    def best(shape: np.ndarray) -> float:
        """Expected value of bids in proportion to a shape, scaled as well as can be for each campaign."""
        total = 0.0
        for name, budget in budgets.items():
            rows = np.flatnonzero(auctions.campaign == name)
            log = auctions.take(rows)
            scales = np.geomspace(0.1, 2.0, 12) * typical * 1000

            def bought(bids: np.ndarray, log=log, budget=budget) -> float:
                policy = Fixed(lambda worth: bids)
                return replay(policy, log, budget, campaign_days(log), objective=Objective.VALUE).expected

            total += max(bought(shape[rows] * scale) for scale in scales)
        return total

    constant = best(np.ones(len(auctions)))
    linear = best(auctions.ctr / auctions.ctr.mean())
    knowing = best(value / typical)
    assert linear > 1.15 * constant
    assert knowing > 1.15 * linear
