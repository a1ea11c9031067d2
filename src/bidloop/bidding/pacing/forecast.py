"""What a campaign will have spent by the end of the day, with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bidloop.bidding.pacing.traffic import HOUR, TrafficDay, TrafficShape
from bidloop.core.errors import InvalidInput
from bidloop.core.money import Money

LEVEL = 0.8
"""Level of the intervals where the caller names none."""
MEMORY = 0.15
"""What the latest day weighs in the usual spend of a day."""
TRUST = (0.01, 0.03, 0.1, 0.3, 1.0, 100.0)
"""How much of a day's traffic the usual spend may weigh against today's; the past chooses among them."""
LATELY = 0.15
"""Share of a day's traffic that counts as lately."""
SHAPE_DAYS = 3.0
"""The shape of traffic weighs as so many past days of spend when it is told how spend is spread over the day."""
FEWEST_DAYS = 3
"""With fewer past days to learn errors from, the rest of the day may be half or twice what is expected."""

Floats = NDArray[np.float64]


class Forecast(NamedTuple):
    """An amount to come, with an interval: at `level` it lies from `lower` to `upper`."""

    expected: Money
    lower: Money
    upper: Money
    level: float


class DaySpend(msgspec.Struct, frozen=True, kw_only=True):
    """What a campaign spent on one day of the account.

    Parameters
    ----------
    day
        In the account's timezone.
    hourly
        Micros spent in each hour since midnight, the running one included; a day that is over has 23 to 25.
    budget
        The most that it might spend, micros; `None` without a budget.
    """

    day: date
    hourly: tuple[int, ...]
    budget: int | None = None

    @property
    def total(self) -> int:
        """Micros spent so far."""
        return sum(self.hourly)


class RestOfDay(NamedTuple):
    """What is still to come today, micros: what is expected, and by how much past days missed that, scaled to today."""

    spent: int
    expected: float
    errors: Floats
    highest: float

    def totals(self, share: Floats) -> Floats:
        """The day's total at shares of the distribution of errors, each in (0, 1), micros."""
        n = len(self.errors)
        # The k-th of n errors is exceeded by the next with probability 1 - k / (n + 1), if days are exchangeable (conformal).
        error = np.interp(share * (n + 1) - 1, np.arange(n), self.errors)
        if n < 1 / (tail := (1 - LEVEL) / 2) - 1:  # too few to know the tails
            error = error * (1 / tail - 1) / n
        total = self.spent + np.maximum(0.0, self.expected + error)
        return np.asarray(np.minimum(total, max(self.highest, self.spent)))


def forecast_day(
    past: Sequence[DaySpend],
    today: DaySpend,
    at: datetime,
    traffic: TrafficShape,
    *,
    level: float = LEVEL,
    currency: str = "USD",
) -> Forecast:
    """What will have been spent by the end of the account's day.

    What is still to come is the rate of spend times the traffic that is left. The rate is today's, or lately's, drawn towards
    what such a day usually spends against its budget or against its traffic; how much, and which, is what would have erred
    least at this time of the past days. The interval is what those forecasts missed (split conformal; Lei et al.,
    "Distribution-free predictive inference for regression", 2018), scaled by how far today's rate is from the usual one, so
    that it opens on a day that is unlike others. Nothing is forecast above the budget.

    Parameters
    ----------
    past
        Days that are over, oldest first; two to four weeks are enough.
    today
        What the running day spent so far, and its budget.
    at
        Now, on that day.
    level
        Of the interval, in (0, 1).
    currency
        ISO 4217 code of all amounts.

    Raises
    ------
    InvalidInput
        When `at` is not on the day of `today`, a past day is not before it, or the level is not in (0, 1).

    Examples
    --------
    Two weeks of even spend, and an even morning:

    >>> from datetime import UTC, timedelta
    >>> past = [DaySpend(day=date(2026, 3, 1 + i), hourly=(4_000_000 + 100_000 * (i % 3),) * 24) for i in range(14)]
    >>> today = DaySpend(day=date(2026, 3, 15), hourly=(4_000_000,) * 12)
    >>> noon = forecast_day(past, today, datetime(2026, 3, 15, 12, tzinfo=UTC), TrafficShape())
    >>> noon.lower <= noon.expected <= noon.upper, 95 < noon.expected.amount < 99
    (True, True)
    """
    rest = rest_of_day(past, today, at, traffic)
    return to_forecast(rest.spent + rest.expected, rest.totals(tails(level)), level, currency)


def tails(level: float) -> Floats:
    """The two shares that an interval of a level lies between."""
    if not 0 < level < 1:
        raise InvalidInput(f"a level of {level}", expected="a number in (0, 1)")
    return np.array([(1 - level) / 2, (1 + level) / 2])


def to_forecast(expected: float, bounds: Floats, level: float, currency: str) -> Forecast:
    """The words for three amounts in micros."""
    lower, upper = (Money(round(float(bound)), currency) for bound in bounds)
    return Forecast(min(upper, max(lower, Money(round(expected), currency))), lower, upper, level)


def rest_of_day(past: Sequence[DaySpend], today: DaySpend, at: datetime, traffic: TrafficShape) -> RestOfDay:
    """What is still to come today, and how far such forecasts were off at this time of past days; see `forecast_day`."""
    day = traffic.day_of(today.day)
    if not day.start <= at.timestamp() < day.end:
        raise InvalidInput(f"a forecast at {at} for {today.day}", expected="a time on that day of the account")
    if any(one.day >= today.day for one in past):
        raise InvalidInput(f"a past day that is not before {today.day}", expected="days that are over, oldest first")
    hours = (at.timestamp() - day.start) / HOUR
    highest = math.inf if today.budget is None else float(today.budget)
    days = [_Clock.of(one, traffic.day_of(one.day), hours) for one in past]
    now = _Clock.of(today, day, hours)._replace(spent=float(today.total))
    # A day that ran into its budget does not tell when it would have spent the rest.
    whole = [(one.total, clock) for one, clock in zip(past, days, strict=True) if not _ran_out(one)]
    total = sum(spent for spent, _ in whole)
    known = len(whole) / (len(whole) + SHAPE_DAYS) if total > 0 else 0.0
    passed = sum(clock.spent for _, clock in whole) / total if total > 0 else 0.0
    lately = sum(clock.lately for _, clock in whole) / total if total > 0 else 0.0
    everyone = [*days, now]
    # Where spend does not follow traffic, past spend tells better how much of a day is over by now.
    elapsed = np.array([known * passed + (1 - known) * one.elapsed for one in everyone])
    recent = np.array([known * lately + (1 - known) * one.elapsed_lately for one in everyone])
    spent = np.array([one.spent for one in everyone])
    late = np.array([one.lately for one in everyone])
    totals = np.array([float(one.total) for one in past])
    caps = np.array([math.inf if one.budget is None else float(one.budget) for one in [*past, today]])
    room = np.maximum(0.0, caps - spent)
    best, chosen = math.inf, (np.zeros(len(everyone)), np.zeros(len(everyone)))
    for usual in _usual_totals(past, today, totals, traffic):
        for amount, share in ((spent, elapsed), (late, recent)):
            own = (late + 0.01 * usual) / (recent + 0.01) * (1 - elapsed)
            odd = _oddness(own, usual * (1 - elapsed))
            for trust in TRUST:
                plain = (amount + trust * usual) / (share + trust) * (1 - elapsed)
                # On a day unlike all others the usual is no guide.
                coming = np.minimum(room, odd * own + (1 - odd) * plain)
                missed = np.abs(totals - spent[:-1] - coming[:-1])[FEWEST_DAYS - 1 :]
                error = float(missed.mean()) if len(missed) else 0.0
                if error < best:
                    best, chosen = error, (coming, _scale(coming, own, usual * (1 - elapsed)))
    coming, scale = chosen
    missed = ((totals - spent[:-1] - coming[:-1]) / scale[:-1])[FEWEST_DAYS - 1 :]
    expected = float(coming[-1])
    if len(missed) < FEWEST_DAYS:
        return RestOfDay(today.total, expected, expected * np.linspace(-0.5, 1.0, 9), highest)
    return RestOfDay(today.total, expected, np.sort(missed) * float(scale[-1]), highest)


class _Clock(NamedTuple):
    """One day as of a time of day: spend and traffic since midnight, and lately."""

    spent: float
    elapsed: float
    lately: float
    elapsed_lately: float

    @classmethod
    def of(cls, spend: DaySpend, day: TrafficDay, hours: float) -> _Clock:
        elapsed = day.elapsed(day.start + hours * HOUR)
        since = float(np.interp(max(0.0, elapsed - LATELY), day.passed, np.arange(len(day.passed))))
        passed = np.concatenate(([0.0], np.cumsum(spend.hourly, dtype=np.float64)))
        spent, before = np.interp([hours, since], np.arange(len(passed)), passed)
        return cls(float(spent), elapsed, float(spent - before), min(LATELY, elapsed))


def _ran_out(spend: DaySpend) -> bool:
    return spend.budget is not None and spend.total >= 0.98 * spend.budget


def _usual_totals(past: Sequence[DaySpend], today: DaySpend, totals: Floats, traffic: TrafficShape) -> list[Floats]:
    """What each day, today last, would usually spend as told by the days before it: against its traffic, and against its budget."""
    everyone = [*past, today]
    sizes = [np.array([traffic.volume(one.day) for one in everyone])]
    if all(one.budget for one in everyone):
        by_budget = np.array([float(one.budget or 0) for one in everyone])
        # The first is taken where both err alike, as they do under a budget that never changed until today.
        often = 2 * sum(map(_ran_out, past)) >= len(past)
        sizes = [by_budget, *sizes] if often else [*sizes, by_budget]
    found = []
    for size in sizes:
        usual = np.empty(len(everyone))
        # Where nothing is known of a campaign, its budget is what it is expected to spend.
        level = float(everyone[0].budget or 0) / size[0] if size[0] > 0 else 0.0
        for i, scale in enumerate(size):
            usual[i] = level * scale
            if i < len(totals) and scale > 0:
                level += (totals[i] / scale - level) * max(MEMORY, 1 / (i + 1))
        found.append(usual)
    return found


def _oddness(own: Floats, usual: Floats) -> Floats:
    """How far each day is beyond what is common among the days: 0 within three times the typical distance, towards 1 far off."""
    least = 1e-9 + 0.01 * float(np.mean(usual))
    apart = np.abs(np.log((own + least) / (usual + least)))
    common = 3 * float(np.median(apart[:-1])) if len(apart) > FEWEST_DAYS else math.inf
    return np.asarray(1 - np.minimum(1.0, common / np.maximum(apart, 1e-12)) ** 2)


def _scale(coming: Floats, own: Floats, usual: Floats) -> Floats:
    """How uncertain each day's forecast is against the others': the more, the less its own rate agrees with the usual one."""
    least = 1e-9 + 0.01 * float(np.mean(usual))
    apart = np.abs(np.log((own + least) / (usual + least)))
    typical = float(np.mean(apart[:-1])) if len(apart) > 1 else 1.0
    return np.asarray((coming + least) * (typical + apart + 1e-3), dtype=np.float64)
