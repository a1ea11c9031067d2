"""What a month's or a flight's budget gives to one day."""

from __future__ import annotations

from datetime import date, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidloop.bidding.pacing.horizon import DayBudgets, FlightSettings, HorizonSettings, Spent
from bidloop.bidding.pacing.traffic import TrafficShape
from bidloop.core.errors import ConfigurationError, InvalidInput
from bidloop.core.money import Money

NOTHING = Spent(Money(0), Money(0))
DAY = timedelta(days=1)


def monthly(budget: float, traffic: TrafficShape | None = None, **more: object) -> DayBudgets:
    return DayBudgets(HorizonSettings(**more), traffic or TrafficShape(), monthly={"brand": budget})  # type: ignore[arg-type]


def run(budgets: DayBudgets, first: date, days: int, spends: list[float] | None = None) -> list[int]:
    """What each day gets when it spends the given share of it."""
    given_to, spent = [], 0
    for i in range(days):
        amount = budgets.day_budget("brand", first + i * DAY, Spent(Money(spent), Money(spent)))
        assert amount is not None
        given_to.append(amount.micros)
        spent += int(amount.micros * (spends[i] if spends else 1.0))
    return given_to


def test_a_campaign_without_a_budget_has_no_limit() -> None:
    assert DayBudgets(HorizonSettings(), TrafficShape()).day_budget("brand", date(2026, 3, 1), NOTHING) is None


@pytest.mark.parametrize(("month", "days"), [(2, 28), (3, 31), (4, 30), (12, 31)])
def test_a_month_that_spends_what_it_is_given_spends_its_budget_to_the_micro(month: int, days: int) -> None:
    given_to = run(monthly(1000.0), date(2026, month, 1), days)
    assert sum(given_to) == 1_000_000_000
    assert max(given_to) - min(given_to) <= days


def test_a_leap_february_has_29_parts() -> None:
    assert monthly(2900.0).day_budget("brand", date(2028, 2, 1), NOTHING) == Money.of(100)


def test_strong_weekdays_get_more() -> None:
    week = TrafficShape(weekday_shares=(0.2, 0.2, 0.2, 0.2, 0.1, 0.05, 0.05))
    given_to = run(monthly(2800.0, week), date(2026, 2, 1), 28)  # a Sunday
    assert sum(given_to) == 2_800_000_000
    assert given_to[1] / given_to[0] == pytest.approx(4, rel=1e-6)


def test_the_day_of_a_clock_change_weighs_what_its_hours_weigh() -> None:
    berlin = TrafficShape(timezone="Europe/Berlin")
    for month, change, hours in ((3, date(2026, 3, 29), 23), (10, date(2026, 10, 25), 25)):
        given_to = run(monthly(3100.0, berlin), date(2026, month, 1), 31)
        ordinary, changed = given_to[0], given_to[change.day - 1]
        assert changed / ordinary == pytest.approx(hours / 24, rel=1e-6)
        assert sum(given_to) == 3_100_000_000


def test_the_hours_that_a_clock_change_skips_count_and_not_their_number() -> None:
    night = tuple(0.0 if hour in (2, 3) else 1.0 for hour in range(24))
    quiet = TrafficShape(weights=(night,) * 7, timezone="Europe/Berlin")
    assert quiet.volume(date(2026, 3, 29)) == pytest.approx(1)


def test_what_is_left_over_is_spread_over_the_days_to_come() -> None:
    half = run(monthly(3000.0), date(2026, 4, 1), 30, [0.5] * 10 + [1.0] * 20)
    assert half[10] == pytest.approx((3_000_000_000 - sum(half[:10]) / 2) / 20, rel=1e-6)
    assert half[10] == half[-1] or abs(half[10] - half[-1]) < 30


def test_a_day_catches_up_only_so_far() -> None:
    idle = run(monthly(3000.0), date(2026, 4, 1), 30, [0.0] * 28 + [1.0, 1.0])
    assert max(idle) == idle[-1] == 200_000_000
    bold = run(monthly(3000.0, catch_up=30.0), date(2026, 4, 1), 30, [0.0] * 29 + [1.0])
    assert bold[-1] == 3_000_000_000


def test_the_daily_budget_stays_a_cap() -> None:
    budgets = DayBudgets(HorizonSettings(), TrafficShape(), daily=lambda campaign: 80.0, monthly={"brand": 3100.0})
    assert budgets.day_budget("brand", date(2026, 3, 1), NOTHING) == Money.of(80)
    assert budgets.day_budget("other", date(2026, 3, 1), NOTHING) == Money.of(80)


def test_an_overspent_month_gives_nothing_and_a_refund_gives_no_more_than_the_budget() -> None:
    budgets = monthly(310.0)
    assert budgets.day_budget("brand", date(2026, 3, 9), Spent(Money.of(400), Money(0))) == Money(0)
    refunded = budgets.day_budget("brand", date(2026, 3, 1), Spent(Money.of(-400), Money(0)))
    assert refunded == Money.of(10)


def test_a_flight_has_its_own_days_and_none_before_and_after() -> None:
    flight = FlightSettings(start=date(2026, 3, 20), end=date(2026, 4, 8), total=2000.0)
    budgets = DayBudgets(HorizonSettings(flights={"brand": flight}), TrafficShape())
    assert sum(run(budgets, date(2026, 3, 20), 20)) == 2_000_000_000
    assert budgets.day_budget("brand", date(2026, 3, 19), NOTHING) == Money(0)
    assert budgets.day_budget("brand", date(2026, 4, 9), NOTHING) == Money(0)


def test_of_a_month_and_a_flight_the_lower_part_holds() -> None:
    flight = FlightSettings(start=date(2026, 4, 1), end=date(2026, 4, 10), total=2000.0)
    budgets = DayBudgets(HorizonSettings(flights={"brand": flight}), TrafficShape(), monthly={"brand": 3000.0})
    assert budgets.day_budget("brand", date(2026, 4, 1), NOTHING) == Money.of(100)
    assert budgets.day_budget("brand", date(2026, 4, 1), Spent(Money(0), Money.of(1900))) == Money.of(10)


def test_a_week_without_any_traffic_is_even() -> None:
    nothing = TrafficShape(weekday_shares=(0.0,) * 7)
    assert sum(run(monthly(300.0, nothing), date(2026, 4, 1), 30)) == 300_000_000


def test_days_without_traffic_get_nothing() -> None:
    weekdays = TrafficShape(weekday_shares=(0.2,) * 5 + (0.0, 0.0))
    assert monthly(300.0, weekdays).day_budget("brand", date(2026, 2, 28), NOTHING) == Money(0)


@given(
    shares=st.lists(st.floats(0, 1), min_size=30, max_size=30),
    weekdays=st.tuples(*[st.floats(0, 1)] * 7),
    budget=st.integers(1, 10**15),
    catch_up=st.floats(1, 40),
)
@settings(max_examples=40)
def test_days_never_add_up_to_more_than_the_month(
    shares: list[float], weekdays: tuple[float, ...], budget: int, catch_up: float
) -> None:
    traffic = TrafficShape(weekday_shares=weekdays)
    budgets = monthly(budget / 1e6, traffic, catch_up=catch_up)
    given_to = run(budgets, date(2026, 4, 1), 30, shares)
    spent = sum(int(micros * share) for micros, share in zip(given_to, shares, strict=True))
    assert all(micros >= 0 for micros in given_to)
    assert spent <= Money.of(budget / 1e6).micros


def test_flights_are_read_from_a_file_and_senseless_ones_refused() -> None:
    text = b'{"flights": {"brand": {"start": "2026-03-01", "end": "2026-03-20", "total": 500}}}'
    assert msgspec.json.decode(text, type=HorizonSettings).flights["brand"].end == date(2026, 3, 20)
    with pytest.raises(ConfigurationError, match=r"flights\.end"):
        FlightSettings(start=date(2026, 3, 2), end=date(2026, 3, 1), total=5.0)
    with pytest.raises(ConfigurationError, match=r"flights\.total"):
        FlightSettings(start=date(2026, 3, 1), end=date(2026, 3, 1), total=0.0)
    with pytest.raises(ConfigurationError, match="catch_up"):
        HorizonSettings(catch_up=0.5)


def test_another_currency_is_refused() -> None:
    with pytest.raises(InvalidInput, match="EUR"):
        monthly(10.0).day_budget("brand", date(2026, 3, 1), Spent(Money(0, "EUR"), Money(0)))
