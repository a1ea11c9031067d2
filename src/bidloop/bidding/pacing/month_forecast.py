"""What a campaign will have spent by the end of the month or the flight, with an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

import numpy as np

from bidloop.bidding.pacing.forecast import LEVEL, DaySpend, Floats, Forecast, rest_of_day, tails, to_forecast
from bidloop.bidding.pacing.traffic import TrafficShape

FUTURES = 1000
"""Futures that are drawn."""
MEMORIES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.6)
"""How much the latest day moves the level; the past chooses."""
OWN_WORD = 3.0
"""How many past spans the futures' own spread is worth."""
FEWEST_DAYS = 7
"""With fewer past days, each coming day may also be half or twice as usual."""


def forecast_span(
    past: Sequence[DaySpend],
    today: DaySpend,
    at: datetime,
    traffic: TrafficShape,
    *,
    first: date,
    last: date,
    budget_of: Callable[[date], int | None] = lambda day: None,
    cap: int | None = None,
    level: float = LEVEL,
    currency: str = "USD",
) -> Forecast:
    """What will have been spent from one day to another: a month, or a flight.

    The rest of today is `forecast_day`'s. The days after it continue the level of spend against budget, or against traffic, by
    exponential smoothing (Hyndman et al., "Forecasting with exponential smoothing", 2008). How long its memory is, and which of the
    two is the steadier measure, is not chosen but believed as far as the past days speak for it. The interval is of futures
    drawn from what was missed day by day; each miss moves the level of the days after it as it did in the past. It is widened by
    how much too narrow it would have been for as many days in the past. No day is forecast above its budget, and the whole not
    above `cap`.

    Parameters
    ----------
    past
        Days that are over, oldest first: those since `first`, and better four weeks more.
    today
        What the running day spent so far, and its budget.
    first, last
        First and last day of the span, both included.
    budget_of
        The most that a coming day may spend, micros; `None` without a budget.
    cap
        The most that the whole span may spend, micros; `None` without a budget for it.
    level
        Of the interval, in (0, 1).
    currency
        ISO 4217 code of all amounts.

    Raises
    ------
    InvalidInput
        As `forecast_day`.

    Examples
    --------
    >>> from datetime import UTC
    >>> past = [DaySpend(day=date(2026, 3, 1 + i), hourly=(4_000_000 + 100_000 * (i % 3),) * 24) for i in range(14)]
    >>> today = DaySpend(day=date(2026, 3, 15), hourly=(4_000_000,) * 12)
    >>> march = dict(first=date(2026, 3, 1), last=date(2026, 3, 31))
    >>> found = forecast_span(past, today, datetime(2026, 3, 15, 12, tzinfo=UTC), TrafficShape(), **march)
    >>> 2950 < found.lower.amount <= found.expected.amount <= found.upper.amount < 3150
    True
    """
    rest = rest_of_day(past, today, at, traffic)
    rng = np.random.default_rng(0)  # the same question has the same answer
    now = rest.totals((rng.permutation(FUTURES) + 0.5) / FUTURES)
    before = sum(one.total for one in past if first <= one.day)
    days = [today.day + timedelta(days=i) for i in range(1, (last - today.day).days + 1)]
    budgets = [budget_of(day) for day in days]
    whole = before + now + _to_come(past, now, today, days, budgets, traffic, rng)
    expected = float(whole.mean())
    bounds = expected + (np.quantile(whole, tails(level)) - expected) * _short_by(past, len(days), traffic, rng)
    least = float(before + today.total)
    most = float(before + now.max()) + sum(math.inf if budget is None else budget for budget in budgets)
    most = max(least, most if cap is None else min(most, cap))
    return to_forecast(min(expected, most), np.clip(bounds, least, most), level, currency)


def _short_by(past: Sequence[DaySpend], length: int, traffic: TrafficShape, rng: np.random.Generator) -> float:
    """By which factor intervals for so many days would have been too narrow in the past; 1 where they would not have been.

    A level that stays away for weeks, or a budget that hides what a campaign could spend, shows in sums of days only.
    """
    missed = []
    for origin in range(len(past) - 1 - min(length, len(past) // 3), len(past) // 3, -max(1, len(past) // 12)):
        today, coming = past[origin], past[origin + 1 : origin + 1 + length]
        budgets = [one.budget for one in coming]
        now = np.full(FUTURES // 5, float(today.total))
        whole = _to_come(past[:origin], now, today, [one.day for one in coming], budgets, traffic, rng)
        lower, upper = np.quantile(whole, tails(0.8))
        if coming and upper > lower:
            off = sum(one.total for one in coming) - float(whole.mean())
            missed.append(min(4.0, abs(off) / (upper - lower) * 2))
    # The interval's own word is worth a few spans; of a normal distribution's 80 % interval the square would be 0.61.
    return max(1.0, math.sqrt((OWN_WORD + sum(one**2 for one in missed) / 0.61) / (OWN_WORD + len(missed))))


def _to_come(
    past: Sequence[DaySpend],
    now: Floats,
    today: DaySpend,
    days: Sequence[date],
    budgets: Sequence[int | None],
    traffic: TrafficShape,
    rng: np.random.Generator,
) -> Floats:
    """What the days after today spend in each future, micros; `now` is what today spends in it."""
    habits = _habits(past, today, budgets, traffic)
    drawn = rng.choice(len(habits), len(now), p=_weights(habits))
    coming = np.empty(len(now))
    for i in np.unique(drawn).tolist():
        coming[drawn == i] = habits[i].to_come(now[drawn == i], today, days, budgets, rng)
    return coming


class _Habit(NamedTuple):
    """What a day spends per unit of budget or of traffic, how much a day moves that, and by which share days were off."""

    level: float
    memory: float
    errors: Floats
    by_budget: bool
    traffic: TrafficShape

    def size(self, day: date, budget: int | None) -> float:
        return float(budget or 0) if self.by_budget else self.traffic.volume(day)

    def to_come(
        self,
        now: Floats,
        today: DaySpend,
        days: Sequence[date],
        budgets: Sequence[int | None],
        rng: np.random.Generator,
    ) -> Floats:
        """What the days after today spend in each future, micros."""
        errors = _widened(self.errors)
        usual = self.level * self.size(today.day, today.budget)
        levels = self.level * (1 + self.memory * (now / usual - 1) if usual > 0 else np.ones(len(now)))
        coming = np.zeros(len(now))
        for day, budget in zip(days, budgets, strict=True):
            error = rng.choice(errors, len(now))
            spent = levels * np.maximum(0.0, 1 + error) * self.size(day, budget)
            coming += spent if budget is None else np.minimum(spent, budget)
            levels = levels * np.maximum(0.0, 1 + self.memory * error)
        return coming


def _habits(
    past: Sequence[DaySpend], today: DaySpend, budgets: Sequence[int | None], traffic: TrafficShape
) -> list[_Habit]:
    """What the past days tell under each measure of a day and each memory."""
    totals = np.array([float(one.total) for one in past])
    measures = [False]
    if all(one.budget for one in [*past, today]) and all(budgets):
        measures.append(True)
    found = []
    for by_budget in measures:
        empty = _Habit(0.0, 0.0, np.empty(0), by_budget, traffic)
        size = np.array([empty.size(one.day, one.budget) for one in past])
        start = _start(totals, size, float(today.budget or 0) / max(empty.size(today.day, today.budget), 1e-9))
        memory = np.array(MEMORIES)
        level, errors = np.full(len(memory), start), []
        for total, scale in zip(totals, size, strict=True):
            if start * scale > 0:
                error = total / (level * scale) - 1
                errors.append(error)
                level = level * np.maximum(1e-3, 1 + memory * error)  # a day without spend must not end it for good
        misses = np.array(errors).reshape(-1, len(memory)).T
        found += [_Habit(float(level[i]), MEMORIES[i], misses[i], by_budget, traffic) for i in range(len(memory))]
    return found


def _weights(habits: Sequence[_Habit]) -> Floats:
    """How much each habit is believed: the likelihood of its errors, if they were Laplace's with a scale of their own."""
    apart = np.array(
        [
            len(habit.errors) * math.log(np.abs(habit.errors).mean() + 1e-6) if len(habit.errors) else 0.0
            for habit in habits
        ]
    )
    weight = np.exp(apart.min() - apart)
    return np.asarray(weight / weight.sum())


def _widened(errors: Floats) -> Floats:
    """Errors about zero, as wide as those of a new day; with few of them, a day may also be half or twice as usual."""
    found = errors - errors.mean() if len(errors) else errors
    if (missing := FEWEST_DAYS - len(found)) > 0:
        found = np.concatenate([found, np.linspace(-0.5, 1.0, missing)])
    return np.asarray(found * math.sqrt((len(found) + 1) / (len(found) - 1)))


def _start(totals: Floats, size: Floats, unknown: float) -> float:
    """Where the level begins: the first week's, or the budget where there is no past."""
    first, of = float(totals[:7].sum()), float(size[:7].sum())
    return first / of if of > 0 and first > 0 else unknown
