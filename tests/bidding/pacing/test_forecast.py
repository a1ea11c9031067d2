"""What will have been spent by the end of the day and of the month."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidloop.bidding.pacing.forecast import DaySpend, forecast_day
from bidloop.bidding.pacing.month_forecast import forecast_span
from bidloop.bidding.pacing.traffic import TrafficShape
from bidloop.core.errors import InvalidInput

FIRST = date(2026, 3, 1)
EVENING = np.linspace(0.2, 1.8, 24) / 24
SHAPE = TrafficShape.from_shares(np.tile(EVENING, (7, 1)))
APRIL = {"first": date(2026, 4, 1), "last": date(2026, 4, 30)}


def spend(
    day: date, total: float = 100.0, until: int = 24, budget: float | None = None, noise: float = 0.1
) -> DaySpend:
    rng = np.random.default_rng(day.toordinal())
    hourly = total * EVENING * np.exp(rng.normal(0, noise, 24)) * np.exp(rng.normal(0, noise))
    if budget is not None:
        hourly = np.diff(np.minimum(np.cumsum(hourly), budget), prepend=0.0)
    micros = tuple(int(amount * 1e6) for amount in hourly[:until])
    return DaySpend(day=day, hourly=micros, budget=None if budget is None else int(budget * 1e6))


def past(days: int, **more: float) -> list[DaySpend]:
    return [spend(FIRST + timedelta(days=i), **more) for i in range(days)]  # type: ignore[arg-type]


def at(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


@pytest.mark.parametrize("hour", [0, 6, 12, 18, 23])
def test_a_day_like_the_others_is_forecast_as_one(hour: int) -> None:
    today = FIRST + timedelta(days=28)
    found = forecast_day(past(28), spend(today, until=hour), at(today, hour), SHAPE)
    assert found.lower <= found.expected <= found.upper
    assert found.expected.amount == pytest.approx(spend(today).total / 1e6, rel=0.2)
    surely = forecast_day(past(28), spend(today, until=hour), at(today, hour), SHAPE, level=0.95)
    assert surely.lower.micros <= spend(today).total <= surely.upper.micros


def test_the_interval_closes_as_the_day_goes_on() -> None:
    today = FIRST + timedelta(days=28)
    widths = []
    for hour in (0, 8, 16, 22):
        found = forecast_day(past(28), spend(today, until=hour), at(today, hour), SHAPE)
        widths.append((found.upper - found.lower).micros)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < widths[0] / 4


def test_the_clock_alone_would_mislead_where_traffic_comes_in_the_evening() -> None:
    today = FIRST + timedelta(days=28)
    noon = spend(today, until=12)
    assert noon.total * 2 < 80e6
    assert forecast_day(past(28), noon, at(today, 12), SHAPE).expected.amount > 88


def test_a_day_unlike_the_others_is_followed_and_less_is_said_of_it() -> None:
    today = FIRST + timedelta(days=28)
    usual = forecast_day(past(28), spend(today, until=12), at(today, 12), SHAPE)
    double = forecast_day(past(28), spend(today, 200.0, until=12), at(today, 12), SHAPE)
    assert double.expected.amount == pytest.approx(2 * usual.expected.amount, rel=0.25)
    assert (double.upper - double.lower).micros > 2 * (usual.upper - usual.lower).micros


@pytest.mark.parametrize("hour", [6, 12, 20])
def test_nothing_is_forecast_above_the_budget(hour: int) -> None:
    today = FIRST + timedelta(days=28)
    found = forecast_day(past(28, budget=60.0), spend(today, 200.0, until=hour, budget=60.0), at(today, hour), SHAPE)
    assert found.upper.amount <= 60.0
    assert found.lower.amount > 55


def test_a_campaign_that_does_not_reach_its_budget_is_not_forecast_to() -> None:
    today = FIRST + timedelta(days=28)
    found = forecast_day(past(28, budget=300.0), spend(today, until=12, budget=300.0), at(today, 12), SHAPE)
    assert found.upper.amount < 150


def test_a_budget_that_changed_is_taken_as_it_is_now() -> None:
    today = FIRST + timedelta(days=28)
    held = [spend(one.day, 300.0, budget=50.0) for one in past(28)]
    raised = forecast_day(held, spend(today, 300.0, until=6, budget=100.0, noise=0.05), at(today, 6), SHAPE)
    assert raised.expected.amount > 75


@pytest.mark.parametrize("days", [0, 1, 2, 5, 12])
def test_a_young_campaign_gets_a_wide_interval(days: int) -> None:
    today = FIRST + timedelta(days=days)
    found = forecast_day(past(days), spend(today, until=12), at(today, 12), SHAPE)
    assert found.lower <= found.expected <= found.upper
    assert found.expected.amount == pytest.approx(100, rel=0.35)
    if days < 3:
        assert (found.upper - found.lower).micros > 0.5 * (found.expected.micros - spend(today, until=12).total)


def test_a_campaign_that_never_spent_is_forecast_to_spend_nothing() -> None:
    nothing = [DaySpend(day=FIRST + timedelta(days=i), hourly=(0,) * 24) for i in range(10)]
    today = DaySpend(day=FIRST + timedelta(days=10), hourly=(0,) * 12)
    found = forecast_day(nothing, today, at(today.day, 12), SHAPE)
    assert found.expected.micros == found.upper.micros == 0
    march = forecast_span(nothing, today, at(today.day, 12), SHAPE, first=FIRST, last=date(2026, 3, 31))
    assert march.upper.micros == 0


def test_days_of_23_and_25_hours_are_forecast_whole() -> None:
    berlin = TrafficShape(timezone="Europe/Berlin")
    for today, hours in ((date(2026, 3, 29), 23), (date(2026, 10, 25), 25)):
        before = [DaySpend(day=today - timedelta(days=20 - i), hourly=(4_000_000,) * 24) for i in range(20)]
        noon = datetime(today.year, today.month, today.day, 12, tzinfo=ZoneInfo("Europe/Berlin"))
        found = forecast_day(before, DaySpend(day=today, hourly=(4_000_000,) * (hours - 12)), noon, berlin)
        assert found.expected.amount == pytest.approx(4 * hours, rel=0.03)


def test_a_month_is_what_was_spent_and_what_is_to_come() -> None:
    days = past(45)  # to 14 April
    today = FIRST + timedelta(days=45)
    found = forecast_span(days, spend(today, until=12), at(today, 12), SHAPE, **APRIL)
    truth = sum(spend(date(2026, 4, day)).total for day in range(1, 31)) / 1e6
    assert found.expected.amount == pytest.approx(truth, rel=0.05)
    surely = forecast_span(days, spend(today, until=12), at(today, 12), SHAPE, level=0.98, **APRIL)
    assert surely.lower.amount <= truth <= surely.upper.amount
    assert found == forecast_span(days, spend(today, until=12), at(today, 12), SHAPE, **APRIL)


def test_weak_weekdays_are_not_taken_for_a_trend() -> None:
    week = TrafficShape.from_shares(np.outer([1.2] * 5 + [0.5] * 2, EVENING))
    totals = {day: 100.0 if day < 5 else 100 * 5 / 12 for day in range(7)}
    days = [spend(FIRST + timedelta(days=i), totals[(FIRST + timedelta(days=i)).weekday()]) for i in range(36)]
    sunday = date(2026, 4, 5) + timedelta(days=1)
    found = forecast_span(days, spend(sunday, 100.0, until=12), at(sunday, 12), week, **APRIL)
    truth = sum(totals[date(2026, 4, day).weekday()] for day in range(1, 31))
    assert found.expected.amount == pytest.approx(truth, rel=0.07)


def test_a_month_stays_below_its_days_and_its_own_budget() -> None:
    days, today = past(45, budget=60.0), FIRST + timedelta(days=45)
    now = spend(today, until=12, budget=60.0)
    by_days = forecast_span(days, now, at(today, 12), SHAPE, budget_of=lambda day: 60_000_000, **APRIL)
    assert by_days.upper.amount <= 30 * 60
    assert by_days.lower.amount > 28 * 60
    by_cap = forecast_span(days, now, at(today, 12), SHAPE, cap=1_000_000_000, **APRIL)
    assert by_cap.upper.amount <= 1000


def test_the_last_day_of_a_month_is_forecast_as_a_day() -> None:
    days, last = past(60), date(2026, 4, 30)
    month = forecast_span(days, spend(last, until=18), at(last, 18), SHAPE, **APRIL)
    day = forecast_day(days, spend(last, until=18), at(last, 18), SHAPE)
    before = sum(one.total for one in days if one.day >= APRIL["first"])
    assert month.expected.micros - before == pytest.approx(day.expected.micros, rel=0.05)


@given(
    hourly=st.lists(st.lists(st.integers(0, 10**12), min_size=24, max_size=24), min_size=0, max_size=12),
    hour=st.integers(0, 23),
    budget=st.one_of(st.none(), st.integers(0, 10**13)),
    level=st.floats(0.01, 0.99),
)
@settings(max_examples=40)
def test_any_past_gives_an_interval_between_what_is_spent_and_what_may_be(
    hourly: list[list[int]], hour: int, budget: int | None, level: float
) -> None:
    days = [DaySpend(day=FIRST + timedelta(days=i), hourly=tuple(one), budget=budget) for i, one in enumerate(hourly)]
    today = DaySpend(day=FIRST + timedelta(days=len(days)), hourly=tuple(([0] * 24)[:hour]), budget=budget)
    for found in (
        forecast_day(days, today, at(today.day, hour), SHAPE, level=level),
        forecast_span(
            days,
            today,
            at(today.day, hour),
            SHAPE,
            first=today.day,
            last=today.day + timedelta(days=5),
            budget_of=lambda day: budget,
            level=level,
        ),
    ):
        assert 0 <= found.lower.micros <= found.expected.micros <= found.upper.micros
        assert budget is None or found.upper.micros <= 6 * budget
        assert found.level == level


def test_calls_that_make_no_sense_are_refused() -> None:
    today = FIRST + timedelta(days=5)
    with pytest.raises(InvalidInput, match="that day"):
        forecast_day(past(5), spend(today), at(today + timedelta(days=1), 3), SHAPE)
    with pytest.raises(InvalidInput, match="not before"):
        forecast_day(past(6), spend(today), at(today, 3), SHAPE)
    with pytest.raises(InvalidInput, match="level"):
        forecast_day(past(5), spend(today), at(today, 3), SHAPE, level=1.0)
