"""How often a forecast of spend holds: coverage of its 80 % interval, beside extrapolation by the clock.

``python -m benchmarks.spend_forecast [--json] [--campaigns N] [--seed N]``

Simulated campaigns spend hour by hour. What they could spend has a level that wanders from day to day, a weekday, an hour of
the day and noise of the hour; how much of each is low, middle or high. The forecast knows the shape of traffic only roughly:
each hour is off by 15 %, and spend does not quite follow it. Campaigns are

* held: the daily budget is 0.7 of what they could spend, and paced over the traffic that is left;
* edge: the budget is just what they could spend, so that some days are held and some are not;
* under: the budget is 1.6 of it, and hardly ever reached;
* free: there is no budget;
* break: under, and on the day of the forecast what they could spend doubles, or falls to 0.4, at a random hour, perhaps still
  to come. For the month: from a random day of the month on.

Days are forecast at 6, 12 and 18 o'clock from the 28 days before; the month (30 days, no budget of its own) at noon of its
5th, 15th and 25th day from the 60 days before it. The peer is the dashboard's usual line: spend so far by the clock's share of
the day or the month, with the interval of what that missed on the same past (of the month: in all runs of thirty days of it).

Printed are coverage, the mean width of the interval and the mean error of what is expected, both as shares of the true total.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bidloop.bidding.pacing.forecast import DaySpend, Forecast, forecast_day
from bidloop.bidding.pacing.month_forecast import forecast_span
from bidloop.bidding.pacing.traffic import TrafficShape

FIRST = date(2026, 1, 30)
MONTH = date(2026, 4, 1)
LAST = date(2026, 4, 30)
KINDS = {"held": 0.7, "edge": 1.0, "under": 1.6, "free": None, "break": 1.6}
NOISE = {"low": (0.03, 0.05, 0.1), "middle": (0.06, 0.12, 0.3), "high": (0.12, 0.25, 0.6)}
"""Standard deviations of the logarithm: of the level's step from day to day, of a day, and of an hour."""
HOURS = (6, 12, 18)
DAYS = (5, 15, 25)
LEVEL = 0.8

Floats = NDArray[np.float64]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """How one way of forecasting did: shares of the true total."""

    noise: str
    kind: str
    when: str
    way: str
    forecasts: int
    covered: float
    width: float
    error: float


class Campaign(NamedTuple):
    """What a campaign spends, and what a forecast knows of its traffic."""

    days: list[DaySpend]
    traffic: TrafficShape


def simulate(rng: np.random.Generator, kind: str, noise: str, breaks: tuple[int, int] | None) -> Campaign:
    """Ninety days and a month of spend by the hour; from `breaks`, a day and an hour, on it is another level."""
    wander, daily, hourly = NOISE[noise]
    n = (LAST - FIRST).days + 1
    weekday = np.array([1.1, 1.1, 1.1, 1.1, 1.0, 0.8, 0.8])
    hour = 1 + 0.7 * np.sin((np.arange(24) - 11) / 24 * 2 * np.pi)
    true = weekday[:, None] * hour / hour.mean() / 24
    known = true * np.exp(rng.normal(0, 0.15, (7, 24)))
    share = KINDS[kind]
    budget = None if share is None else round(100e6 * share)
    level, days = 1.0, []
    jump = rng.choice([0.4, 2.0])
    for i in range(n):
        day = FIRST + timedelta(days=i)
        # The level comes back slowly, or a hundred days would lead anywhere.
        level = level**0.95 * float(np.exp(rng.normal(0, wander)))
        could = 100e6 * level * np.exp(rng.normal(0, daily)) * true[day.weekday()] * np.exp(rng.normal(0, hourly, 24))
        if breaks is not None and i >= breaks[0]:
            could[breaks[1] if i == breaks[0] else 0 :] *= jump
        if budget is not None:
            could = pace(rng, could, budget, known[day.weekday()])
        days.append(DaySpend(day=day, hourly=tuple(map(int, could)), budget=budget))
    return Campaign(days, TrafficShape.from_shares(known))


def pace(rng: np.random.Generator, could: Floats, budget: int, known: Floats) -> Floats:
    """Spend of a day whose multiplier follows what is left of the budget, with an error of its own."""
    left, spent = float(budget), np.zeros(24)
    for hour in range(24):
        aim = left * known[hour] / known[hour:].sum() * np.exp(rng.normal(0, 0.1))
        spent[hour] = min(could[hour], aim, left)
        left -= spent[hour]
    return spent


def until(day: DaySpend, hour: int) -> DaySpend:
    return msgspec.structs.replace(day, hourly=day.hourly[:hour])


def clock_day(past: list[DaySpend], today: DaySpend, hour: int) -> tuple[float, float, float]:
    """The peer: spend so far over the clock's share of the day."""
    factor = 24 / hour
    missed = [one.total / max(1.0, until(one, hour).total * factor) for one in past]
    expected = until(today, hour).total * factor
    low, high = np.quantile(missed, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return expected, expected * float(low), expected * float(high)


def clock_month(totals: list[int], before: int, so_far: float, elapsed: float) -> tuple[float, float, float]:
    """The peer: spend so far over the clock's share of the month; `elapsed` days of it are over."""
    whole = int(elapsed)
    missed = []
    for start in range(before - 30 + 1):
        month = totals[start : start + 30]
        part = sum(month[:whole]) + (elapsed - whole) * month[whole]
        missed.append(sum(month) / max(1.0, part / elapsed * 30))
    expected = so_far / elapsed * 30
    low, high = np.quantile(missed, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return expected, expected * float(low), expected * float(high)


def plain(forecast: Forecast) -> tuple[float, float, float]:
    return float(forecast.expected.micros), float(forecast.lower.micros), float(forecast.upper.micros)


def run_days(campaigns: int, seed: int, kinds: list[str], noises: list[str]) -> list[Row]:
    rows = []
    for noise in noises:
        for kind in kinds:
            rng = np.random.default_rng([seed, list(NOISE).index(noise), list(KINDS).index(kind)])
            found: dict[tuple[int, str], list[tuple[float, tuple[float, float, float]]]] = {}
            for _ in range(campaigns):
                i = int(rng.integers(40, 90))
                breaks = (i, int(rng.integers(0, 24))) if kind == "break" else None
                days, traffic = simulate(rng, kind, noise, breaks)
                past, day = days[i - 28 : i], days[i]
                for hour in HOURS:
                    at = datetime(day.day.year, day.day.month, day.day.day, hour, tzinfo=UTC)
                    ours = plain(forecast_day(past, until(day, hour), at, traffic, level=LEVEL))
                    found.setdefault((hour, "ours"), []).append((day.total, ours))
                    found.setdefault((hour, "clock"), []).append((day.total, clock_day(past, day, hour)))
            rows += [row(noise, kind, f"{hour}:00", way, cases) for (hour, way), cases in found.items()]
    return rows


def run_months(campaigns: int, seed: int, kinds: list[str], noises: list[str]) -> list[Row]:
    rows = []
    start = (MONTH - FIRST).days - 1
    for noise in noises:
        for kind in kinds:
            rng = np.random.default_rng([seed, 9, list(NOISE).index(noise), list(KINDS).index(kind)])
            found: dict[tuple[int, str], list[tuple[float, tuple[float, float, float]]]] = {}
            for _ in range(campaigns):
                breaks = (start + int(rng.integers(0, 30)), 0) if kind == "break" else None
                days, traffic = simulate(rng, kind, noise, breaks)
                totals = [one.total for one in days]
                first = (MONTH - FIRST).days
                truth = sum(totals[first:])
                for number in DAYS:
                    i = first + number - 1
                    at = datetime(2026, 4, number, 12, tzinfo=UTC)
                    today = until(days[i], 12)
                    budgets = {day.day: day.budget for day in days}
                    ours = forecast_span(
                        days[:i],
                        today,
                        at,
                        traffic,
                        first=MONTH,
                        last=LAST,
                        budget_of=budgets.get,
                        level=LEVEL,
                    )
                    so_far = sum(totals[first:i]) + today.total
                    peer = clock_month(totals, first, so_far, number - 0.5)
                    found.setdefault((number, "ours"), []).append((truth, plain(ours)))
                    found.setdefault((number, "clock"), []).append((truth, peer))
            rows += [row(noise, kind, f"day {number}", way, cases) for (number, way), cases in found.items()]
    return rows


def row(noise: str, kind: str, when: str, way: str, cases: list[tuple[float, tuple[float, float, float]]]) -> Row:
    truth = np.array([total for total, _ in cases])
    expected, lower, upper = np.array([amounts for _, amounts in cases]).T
    inside = (truth >= lower - 1) & (truth <= upper + 1)
    return Row(
        noise=noise,
        kind=kind,
        when=when,
        way=way,
        forecasts=len(cases),
        covered=float(inside.mean()),
        width=float(((upper - lower) / truth).mean()),
        error=float((np.abs(expected - truth) / truth).mean()),
    )


def overall(rows: list[Row]) -> list[Row]:
    """All noises and kinds together, the break apart."""
    found = []
    for when in dict.fromkeys(one.when for one in rows):
        for name, kinds in (("all but break", set(KINDS) - {"break"}), ("break", {"break"})):
            for way in ("ours", "clock"):
                some = [one for one in rows if one.when == when and one.kind in kinds and one.way == way]
                if some:
                    means = {
                        of: float(np.mean([getattr(one, of) for one in some])) for of in ("covered", "width", "error")
                    }
                    n = sum(one.forecasts for one in some)
                    found.append(Row(noise="all", kind=name, when=when, way=way, forecasts=n, **means))
    return found


def show(rows: list[Row]) -> None:
    print(
        f"{'noise':<8}{'kind':<15}{'when':<8}{'':>9}{'ours':>8}{'width':>8}{'error':>8}{'clock':>10}{'width':>8}{'error':>8}"
    )
    by_way = {(one.noise, one.kind, one.when, one.way): one for one in rows}
    for one in rows:
        if one.way == "ours":
            peer = by_way[one.noise, one.kind, one.when, "clock"]
            figures = "".join(
                f"{way.covered:>{wide}.1%}{way.width:>8.1%}{way.error:>8.1%}" for way, wide in ((one, 8), (peer, 10))
            )
            print(f"{one.noise:<8}{one.kind:<15}{one.when:<8}{one.forecasts:>9,}{figures}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--campaigns", type=int, default=100, help="campaigns of each kind and noise")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    kinds, noises = list(KINDS), list(NOISE)
    days = run_days(options.campaigns, options.seed, kinds, noises)
    months = run_months(options.campaigns, options.seed, kinds, noises)
    tables = {"days": days, "months": months, "overall": overall(days) + overall(months)}
    if options.json:
        print(json.dumps(msgspec.to_builtins(tables)))
        return
    for rows in tables.values():
        show(rows)
        print()


if __name__ == "__main__":
    main()
