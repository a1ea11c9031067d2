"""How far above "each win at the target" a bid may go while the average still keeps the target."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.target_cpa import TARGET, Month, month
from bidloop.bidding.pacing.targets import TargetPacer, TargetSettings
from bidloop.core.errors import ConfigurationError, InvalidInput
from bidloop.core.money import Money

START = datetime(2026, 3, 2, tzinfo=UTC)


def luck(months: list[Month]) -> float:
    """One standard deviation of the CPA of all these months together, as a share: what conversions come by luck."""
    return 1 / math.sqrt(sum(one.conversions for one in months))


@pytest.mark.parametrize(
    ("promises", "delay", "price"),
    [(1.0, 0.0, 1.25), (1.3, 0.0, 1.25), (1.0, 5.0, 1.25), (1.3, 5.0, 1.25), (1.0, 0.0, 1.8), (1.5, 0.0, 1.25)],
)
def test_the_average_cpa_keeps_the_target_and_buys_nearly_all_that_hindsight_could(
    promises: float, delay: float, price: float
) -> None:
    months = [month(promises=promises, delay=delay, price=price, seed=seed) for seed in range(3)]
    cpa = sum(one.cpa * one.conversions for one in months) / sum(one.conversions for one in months)
    assert cpa <= TARGET
    assert max(one.cpa * (1 - luck([one])) for one in months) <= TARGET
    got, best = sum(one.expected for one in months), sum(one.best for one in months)
    assert got >= 0.9 * best
    each_win = [month(promises=promises, delay=delay, price=price, seed=seed, way="each win") for seed in range(3)]
    assert got > sum(one.expected for one in each_win)


def test_a_roas_target_is_the_same_target_on_value() -> None:
    by_value, by_count = month(roas=True), month()
    assert by_value.multipliers == pytest.approx(by_count.multipliers, rel=1e-9)


def test_late_conversions_are_not_taken_for_missing_ones() -> None:
    late = month(delay=5.0)
    assert np.mean(late.multipliers[7 * 24 :]) > 1.3
    assert min(late.multipliers[7 * 24 :]) > 1.05


def test_a_model_that_promises_too_much_is_found_out_and_paid_back() -> None:
    honest, boastful = month(), month(promises=1.3)
    assert np.mean(boastful.multipliers[-7 * 24 :]) == pytest.approx(
        np.mean(honest.multipliers[-7 * 24 :]) / 1.3, rel=0.15
    )


def test_a_tracking_that_stops_brings_the_multiplier_back_to_each_win() -> None:
    pacer = TargetPacer(TargetSettings(), target_cpa=TARGET)
    for hour in range(24 * 14):
        at = START + timedelta(hours=hour)
        pacer.record_charge("brand", at, Money.of(24), 1.0, events=20)
        pacer.multiplier("brand", at)
        if hour < 24 * 7:
            pacer.record_conversions("brand", at, 1)
        elif hour == 24 * 7:
            assert pacer.multiplier("brand", at) > 2
    assert pacer.multiplier("brand", at) == 1.0
    assert pacer.calibration("brand") == pytest.approx(0.5, abs=0.1)


def test_where_another_limit_holds_nothing_piles_up() -> None:
    pacer = TargetPacer(TargetSettings(), target_cpa=TARGET)
    at = START
    for hour in range(24 * 30):
        at = START + timedelta(hours=hour)
        pacer.record_charge("brand", at, Money.of(10), 1.0, events=20)  # the budget holds the bids down
        pacer.record_conversions("brand", at, 1)
        pacer.multiplier("brand", at)
    assert pacer.multiplier("brand", at) == pytest.approx(3.0)
    hours = 0
    while pacer.multiplier("brand", at) > 2.0:
        at += timedelta(hours=1)
        hours += 1
        pacer.record_charge("brand", at, Money.of(80), 1.0, events=20)
        pacer.record_conversions("brand", at, 1)
    assert hours <= 48, "what was saved in a month does not keep it up"


def test_without_charges_it_rests() -> None:
    pacer = TargetPacer(TargetSettings(), target_cpa=TARGET)
    assert pacer.multiplier("brand", START) == 1.0
    pacer.start("brand", 1.7)
    assert pacer.multiplier("brand", START + timedelta(days=90)) == pytest.approx(1.7)
    pacer.start("brand", 17.0)
    assert pacer.multiplier("brand", START) == pytest.approx(3.0)


def test_slack_is_what_wins_are_worth_beyond_their_cost() -> None:
    pacer = TargetPacer(TargetSettings(), target_cpa=TARGET)
    pacer.record_charge("brand", START, Money.of(30), 1.0)
    assert str(pacer.slack("brand")) == "10.00 USD"
    pacer.record_charge("brand", START, Money.of("-30"), 0.0)
    assert str(pacer.slack("brand")) == "40.00 USD"
    assert pacer.slack("other") == Money(0)


@given(
    costs=st.lists(st.integers(-(10**9), 10**12), min_size=1, max_size=60),
    expected=st.floats(0, 1e6),
    told=st.floats(-1e6, 1e6),
    maturity=st.floats(-1, 2),
)
@settings(max_examples=40)
def test_any_history_keeps_the_multiplier_in_bounds_and_its_steps_small(
    costs: list[int], expected: float, told: float, maturity: float
) -> None:
    pacer = TargetPacer(TargetSettings(), target_cpa=TARGET, maturity=lambda campaign_id, click_at, now: maturity)
    before, at = 1.0, START
    for cost in costs:
        at += timedelta(hours=1)
        pacer.record_charge("brand", at, Money(cost), expected)
        pacer.record_conversions("brand", at, told)
        now = pacer.multiplier("brand", at)
        assert 1.0 <= now <= 3.0 * (1 + 1e-12)
        assert abs(math.log(now / before)) <= 0.1 + 1e-9
        before = now


@pytest.mark.parametrize(
    "bad", [{"max_target_multiplier": 1.0}, {"recovery_days": 0.0}, {"most_recovery": 1.0}, {"caution": -1.0}]
)
def test_settings_that_make_no_sense_are_refused_by_name(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(bad))):
        TargetSettings(**bad)


def test_calls_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidInput, match="exactly one"):
        TargetPacer(TargetSettings())
    with pytest.raises(InvalidInput, match="target"):
        TargetPacer(TargetSettings(), target_cpa=float("nan"))
    pacer = TargetPacer(TargetSettings(), target_cpa=TARGET)
    with pytest.raises(InvalidInput, match="EUR"):
        pacer.record_charge("brand", START, Money(1, "EUR"), 0.1)
    with pytest.raises(InvalidInput, match="conversions"):
        pacer.record_charge("brand", START, Money(1), float("nan"))
    with pytest.raises(InvalidInput, match="from 1 on"):
        pacer.start("brand", 0.5)
