"""One budget over campaigns: how much better than today's division, on a real report and in markets whose truth is known.

``python -m benchmarks.allocation [--json] [--report FILE] [--markets N] [--resamples N] [--seed SEED]``

Every way of dividing gets the same budget (what was spent per day in the last week that is known) and the same room: half less
to half more than today for each unit, and no more than 1.5 times what it was seen to spend.

===================  ==================================================================================================
today                nothing is moved
random               each unit's money times a random factor (mean over 100 draws)
by past return       money in proportion to today's times the average return of the past
naive                equal marginal returns of a log-log regression per unit: no pooling, no weeks, no uncertainty
ours                 `bidloop allocate`
ours, risk 0.2       the same with ``--risk 0.2``
===================  ==================================================================================================

**The report** (display, three campaigns, April to June 2020) is learned from in April and May; units are the campaigns, and
campaign × placement × banner. June judges in two ways: by response curves fitted on June alone, from which each division's
conversions are read, as a gain over today (units that did not run in June bring nothing); and by what was realised: the
share of the money that was moved which goes to the quarter of units with the highest realised conversions per cost in June, and
to the quarter with the highest marginal return by June's curves. Brackets are 90 % intervals: of the June curves, and of
500 resamples of June's days.

**Markets** with known curves of all three shapes, drifting levels, weekdays and over-dispersed counts: how far each division
falls short of the best possible one, how often it is worse than today, and how often the 90 % intervals hold. With twelve weeks
known, with four, and where spend follows demand from day to day, which no history can tell from an effect of spend.
Brackets are 90 % bootstrap intervals over markets.

"Behind ours" is the difference to ours under the same June curves, or in the same markets: where it holds 0, the two cannot be told
apart.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from bidloop.app.allocation.source import days_of_reports
from bidloop.bidding.allocation.allocation import allocate
from bidloop.bidding.allocation.choice import Learned, learn_responses
from bidloop.bidding.allocation.constraints import Constraints
from bidloop.bidding.allocation.days import CampaignDays
from bidloop.bidding.allocation.response import ResponseCurve
from bidloop.bidding.allocation.settings import AllocationSettings, Family, ResponseSettings
from bidloop.bidding.allocation.shapes import log_shape
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity

Floats: TypeAlias = NDArray[np.float64]
Interval: TypeAlias = tuple[float, float]

MAX_CHANGE = 0.5
LEVEL = 0.9
TRAINED_UNTIL = np.datetime64("2020-05-31")
UNITS: dict[str, Callable[[Opportunity], str]] = {
    "campaign": lambda opportunity: opportunity.campaign_id,
    "campaign × placement × banner": lambda opportunity: " | ".join(
        (opportunity.campaign_id, *(opportunity.attributes.get(name, "") for name in ("placement", "banner")))
    ),
}

MARKETS = (("twelve weeks", 84, 0.0), ("four weeks", 28, 0.0), ("twelve weeks, spend follows demand", 84, 1.0))
"""Names of the simulated markets, how many days are known, and how strongly spend follows demand."""


class Judged(msgspec.Struct, frozen=True):
    """One way of dividing, judged by June: gain in conversions over today, and where the moved money went."""

    units: str
    way: str
    moved: float
    promised: float | None
    promised_interval: Interval | None
    gain: float
    gain_interval: Interval
    top_average: float
    top_average_interval: Interval
    top_marginal: float
    top_marginal_interval: Interval
    behind_ours: Interval


class Simulated(msgspec.Struct, frozen=True):
    """One way of dividing over many markets: how far it falls short of the best, and what it does to today's outcome."""

    market: str
    way: str
    short: float
    short_interval: Interval
    gain: float
    gain_interval: Interval
    worst_tenth: float
    worse_than_today: float
    behind_ours: Interval


class Covered(msgspec.Struct, frozen=True):
    """How often the 90 % intervals held."""

    market: str
    what: str
    cases: int
    covered: float
    interval: Interval


class Division:
    """What every way of dividing is given: the past, today's spends, and the room to move in."""

    def __init__(self, days: CampaignDays, learned: Learned, seed: int) -> None:
        recent = days.today()
        self.days = days
        self.curves = [curve for curve in learned.curves if recent[curve.campaign] > 0.01]
        self.names = [curve.campaign for curve in self.curves]
        self.today = {name: Money.of(round(recent[name], 6)) for name in self.names}
        self.now = np.array([self.today[name].amount for name in self.names])
        self.budget = Money(sum(money.micros for money in self.today.values()))
        self.low = (1 - MAX_CHANGE) * self.now
        self.high = np.minimum((1 + MAX_CHANGE) * self.now, [curve.limit for curve in self.curves])
        self.random = np.random.default_rng(seed)

    def best(self, curves: Sequence[ResponseCurve], settings: AllocationSettings) -> Floats:
        """The division that is best under the given curves."""
        told = allocate(curves, self.budget, self.today, Constraints(max_change=MAX_CHANGE), settings)
        return np.array([told.of(name).allocated.amount for name in self.names])

    def fitted_in(self, wish: Floats) -> Floats:
        """Money in the wished proportions, as far as the room allows."""
        small, large = 1e-9, 1e9
        for _ in range(200):
            factor = np.sqrt(small * large)
            given = np.clip(factor * wish, self.low, self.high)
            small, large = (factor, large) if given.sum() < self.budget.amount else (small, factor)
        return np.asarray(given)

    def by_past_return(self) -> Floats:
        """Money in proportion to today's times the average return of the past."""
        mine = [self.days.campaign == name for name in self.names]
        returns = np.array([self.days.outcome[rows].sum() / self.days.spend[rows].sum() for rows in mine])
        return self.fitted_in(self.now * np.maximum(returns, 1e-9))

    def naive(self) -> Floats:
        """Equal marginal returns of a log-log regression per unit, taken at its word."""
        curves = []
        for curve in self.curves:
            rows = (self.days.campaign == curve.campaign) & (self.days.outcome > 0)
            x, y = np.log(self.days.spend[rows]), np.log(self.days.outcome[rows])
            slope = float(np.polyfit(x, y, 1)[0]) if len(x) > 2 and np.ptp(x) > 0 else 0.5
            slope = float(np.clip(slope, 0.05, 0.95))
            level = float(y.mean() - slope * (x.mean() - np.log(curve.usual))) if len(x) else -9.0
            curves.append(known(curve.campaign, Family.POWER, curve.usual, level, slope, curve.limit))
        return self.best(curves, AllocationSettings())

    def ways(self, draws: int = 100) -> dict[str, list[Floats]]:
        """Every way of dividing; the random one many times."""
        return {
            "today": [self.now],
            "random": [self.fitted_in(self.now * self.random.uniform(0.5, 1.5, len(self.now))) for _ in range(draws)],
            "by past return": [self.by_past_return()],
            "naive": [self.naive()],
            "ours": [self.best(self.curves, AllocationSettings())],
            "ours, risk 0.2": [self.best(self.curves, AllocationSettings(risk=0.2))],
        }


def known(name: str, family: Family, usual: float, log_level: float, elasticity: float, limit: float) -> ResponseCurve:
    """A response curve without uncertainty, of one shape from nothing to its limit."""
    one = np.ones(2)
    return ResponseCurve(
        name, ((family, 2),), usual, log_level * one, elasticity * one, one, one, 1e-9, limit, limit, spread=0.0, days=0
    )


def total(curves: Sequence[ResponseCurve], spends: Floats) -> Floats:
    """Outcome per day of all together, of each draw."""
    outcomes = [curve.outcome(float(spend)) for curve, spend in zip(curves, spends, strict=True)]
    return np.asarray(np.sum(outcomes, axis=0))


def judge_report(path: Path, units: str, *, resamples: int, seed: int) -> tuple[Learned, list[Judged]]:
    """Divide by April and May, and judge by June."""
    days = days_of_reports([path], "conversions", year=2020, unit=UNITS[units]).days
    past = days.between(None, TRAINED_UNTIL + np.timedelta64(1, "D"))
    june = days.between(TRAINED_UNTIL + np.timedelta64(1, "D"), None)
    learned = learn_responses(past, ResponseSettings(seed=seed))
    division = Division(past, learned, seed)
    judge = {curve.campaign: curve for curve in learn_responses(june, ResponseSettings(seed=seed + 1)).curves}
    present = [name for name in division.names if name in judge]
    place = [division.names.index(name) for name in present]
    curves = [judge[name] for name in present]
    random = np.random.default_rng(seed)
    tops = [_tops(june, present, curves, division.now[place], None)]
    all_days = np.unique(june.day)
    for _ in range(resamples):
        count = np.bincount(random.integers(len(all_days), size=len(all_days)), minlength=len(all_days))
        weight = count[np.searchsorted(all_days, june.day)].astype(float)
        tops.append(
            _tops(june, present, curves, division.now[place], (weight, int(random.integers(len(curves[0].log_level)))))
        )
    base, promised_base = total(curves, division.now[place]), total(division.curves, division.now)
    rows = []
    divided = division.ways()
    ours = total(curves, divided["ours"][0][place]) - base
    for way, found in divided.items():
        gains = [total(curves, spends[place]) - base for spends in found]
        promised = total(division.curves, found[0]) - promised_base if way.startswith(("naive", "ours")) else None
        shares = [
            [np.mean([_share(spends - division.now, place, top[kind]) for spends in found]) for top in tops]
            for kind in (0, 1)
        ]
        rows.append(
            Judged(
                units,
                way,
                float(np.mean([np.maximum(0, spends - division.now).sum() for spends in found]))
                / division.budget.amount,
                None if promised is None else float(promised.mean()),
                None if promised is None else _range(promised),
                float(np.mean(gains)),
                _range(np.mean(gains, axis=0)),
                float(shares[0][0]),
                _range(np.array(shares[0][1:])),
                float(shares[1][0]),
                _range(np.array(shares[1][1:])),
                _range(ours - np.mean(gains, axis=0)),
            )
        )
    return learned, rows


def _tops(
    june: CampaignDays,
    names: Sequence[str],
    curves: Sequence[ResponseCurve],
    now: Floats,
    resampled: tuple[Floats, int] | None,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which units are in the top quarter of June, by realised average return, and by marginal return at today's spend."""
    weight = np.ones(len(june)) if resampled is None else resampled[0]
    mine = [june.campaign == name for name in names]
    spent = np.array([np.sum(weight[rows] * june.spend[rows]) for rows in mine])
    came = np.array([np.sum(weight[rows] * june.outcome[rows]) for rows in mine])
    average = came / np.maximum(spent, 1e-9)
    marginals = [curve.marginal(float(at)) for curve, at in zip(curves, now, strict=True)]
    marginal = np.array([m.mean() if resampled is None else m[resampled[1]] for m in marginals])
    top = max(1, len(names) // 4)
    return average >= np.sort(average)[-top], marginal >= np.sort(marginal)[-top]


def _share(moves: Floats, place: Sequence[int], top: NDArray[np.bool_]) -> float:
    """Share of the money that units gain which goes to those on top; of nothing moved, none."""
    gained = np.maximum(0.0, moves)
    return float(gained[np.asarray(place)[top]].sum() / gained.sum()) if gained.sum() > 1e-9 else 0.0


def simulate(
    name: str, markets: int, *, seed: int, days: int = 84, follows: float = 0.0, campaigns: int = 10
) -> tuple[list[Simulated], list[Covered]]:
    """Divide in markets whose truth is known.

    Parameters
    ----------
    name
        What the markets are called.
    days
        How many days are known.
    follows
        How strongly a day's spend follows the day's demand: 0 is not at all, 1 is with the same log deviation.
    """
    outcomes: dict[str, list[tuple[float, float, float]]] = {}
    held: dict[str, list[bool]] = {
        "outcome at today's spend": [],
        "outcome at the allocated spend": [],
        "gain": [],
        "elasticity": [],
    }
    for market in range(markets):
        random = np.random.default_rng([seed, market])
        past, truth = make_market(random, campaigns, follows, days)
        learned = learn_responses(past, ResponseSettings(seed=seed, draws=200))
        division = Division(past, learned, seed)
        true = [up_to(truth[curve.campaign], curve.limit) for curve in division.curves]
        best = total(true, division.best(true, AllocationSettings()))[0]
        base = total(true, division.now)[0]
        for way, found in division.ways(20).items():
            reached = float(np.mean([total(true, spends)[0] for spends in found]))
            outcomes.setdefault(way, []).append((1 - reached / best, reached / base - 1, float(best / base - 1)))
            if way == "ours":
                gained = total(division.curves, found[0]) - total(division.curves, division.now)
                low, high = _range(gained)
                held["gain"].append(low <= reached - base <= high)
                for curve, real, now, then in zip(division.curves, true, division.now, found[0], strict=True):
                    for what, at in (("outcome at today's spend", now), ("outcome at the allocated spend", then)):
                        low, high = curve.interval(float(at), LEVEL)
                        held[what].append(low <= real.outcome(float(at))[0] <= high)
                    low, high = _range(_slope(curve))
                    held["elasticity"].append(low <= _slope(real, curve)[0] <= high)
    random = np.random.default_rng(seed)
    rows = []
    for way, told in outcomes.items():
        figures = np.array(told)
        resampled = random.integers(len(figures), size=(1000, len(figures)))
        again = figures[resampled].mean(axis=1)
        behind = (figures - np.array(outcomes["ours"]))[resampled, 0].mean(axis=1)
        gains = np.sort(figures[:, 1])
        rows.append(
            Simulated(
                name,
                way,
                float(figures[:, 0].mean()),
                _range(again[:, 0]),
                float(figures[:, 1].mean()),
                _range(again[:, 1]),
                float(gains[: max(1, len(gains) // 10)].mean()),
                float(np.mean(gains < -1e-9)),
                _range(behind),
            )
        )
    return rows, [_covered(name, what, cases, len(outcomes["ours"]), random) for what, cases in held.items()]


def make_market(
    random: np.random.Generator, campaigns: int, follows: float, n_days: int
) -> tuple[CampaignDays, dict[str, ResponseCurve]]:
    """Days of campaigns of all three shapes, and their true curves in the month after."""
    weekday = np.array([0.02, 0.04, 0.05, 0.03, -0.02, -0.07, -0.08])
    start, rows, truth = np.datetime64("2026-01-05"), [], {}
    for c in range(campaigns):
        name, family = f"campaign {c:02d}", list(Family)[random.integers(3)]
        usual, rate = np.exp(random.normal(5, 0.8)), np.exp(random.normal(-2, 0.5))
        elasticity = float(1 / (1 + np.exp(-random.normal(0.5, 0.6))))
        levels = np.log(usual * rate) + np.cumsum(random.normal(0, 0.05, n_days // 7 + 5))
        spread = random.uniform(0.05, 0.25)
        demand = spread * random.normal(size=n_days)
        log_spend = 0.3 * random.normal(size=n_days) + follows * demand
        spend = usual * np.exp(log_spend)
        mean = np.exp(
            levels[np.arange(n_days) // 7]
            + weekday[np.arange(n_days) % 7]
            + log_shape(family, np.array(elasticity), spend / usual)
            + demand
            - spread**2 / 2
        )
        rows.append((np.full(n_days, name, dtype=object), start + np.arange(n_days), spend, random.poisson(mean)))
        level = float(np.log(np.exp(levels[n_days // 7 + 1 :]).mean() * np.exp(weekday).mean()))
        truth[name] = known(name, family, float(usual), level, elasticity, np.inf)
    ids, day, spend, outcome = (np.concatenate(column) for column in zip(*rows, strict=True))
    return CampaignDays(ids, day, spend, outcome.astype(float)), truth


def up_to(curve: ResponseCurve, limit: float) -> ResponseCurve:
    """A true curve up to the limit of the learned one, so that all have the same room."""
    return known(
        curve.campaign, curve.shapes[0][0], curve.usual, float(curve.log_level[0]), float(curve.elasticity[0]), limit
    )


def _slope(curve: ResponseCurve, at: ResponseCurve | None = None) -> Floats:
    """Elasticity of a curve at the usual spend of another."""
    spend = (at or curve).usual
    return np.asarray(curve.marginal(spend) * spend / curve.outcome(spend))


def _range(values: Floats) -> Interval:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _covered(market: str, what: str, cases: list[bool], markets: int, random: np.random.Generator) -> Covered:
    """Coverage, with an interval over whole markets."""
    by_market = np.array(cases, dtype=float).reshape(markets, -1).mean(axis=1)
    again = by_market[random.integers(markets, size=(1000, markets))].mean(axis=1)
    return Covered(market, what, len(cases), float(by_market.mean()), _range(again))


def default_report() -> Path:
    """The report beside the project, or under ``BIDLOOP_DATA``."""
    root = Path(os.environ.get("BIDLOOP_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    return root / "display_campaign_report" / "online_advertising_performance_data.csv.gz"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, default=default_report(), help="the display campaign report")
    parser.add_argument("--markets", type=int, default=80, help="how many simulated markets of each kind")
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    judged: list[Judged] = []
    shapes: dict[str, dict[str, float]] = {}
    if arguments.report.exists():
        for units in UNITS:
            learned, rows = judge_report(arguments.report, units, resamples=arguments.resamples, seed=arguments.seed)
            judged += rows
            shapes[units] = {family.value: error for family, error in learned.held_out.items()}
    simulated: list[Simulated] = []
    covered: list[Covered] = []
    for name, days, follows in MARKETS:
        rows_of, held = simulate(name, arguments.markets, seed=arguments.seed, days=days, follows=follows)
        simulated += rows_of
        covered += held
    if arguments.json:
        told = {"report": judged, "shapes": shapes, "markets": simulated, "coverage": covered}
        print(json.dumps(msgspec.to_builtins(told)))
        return
    if not judged:
        print(f"no report at {arguments.report}: only the markets are simulated\n")
    _print_report(judged, shapes)
    _print_markets(simulated, covered)


def _print_report(judged: Sequence[Judged], shapes: dict[str, dict[str, float]]) -> None:
    for units, errors in shapes.items():
        print(f"{units}; squared error of held-out days by shape: ", end="")
        print(", ".join(f"{family} {error:.4f}" for family, error in errors.items()))
        print(
            f"{'':<16} {'moved':>6}  {'promised':<24} {'by June’s curves':<24} {'to the top by average':<22} "
            f"{'to the top by marginal':<22} behind ours"
        )
        for row in (row for row in judged if row.units == units):
            promised = (
                "–"
                if row.promised is None or row.promised_interval is None
                else f"{row.promised:+.1f} [{row.promised_interval[0]:+.1f}, {row.promised_interval[1]:+.1f}]"
            )
            gain = f"{row.gain:+.1f} [{row.gain_interval[0]:+.1f}, {row.gain_interval[1]:+.1f}]"
            average, marginal = (
                f"{100 * share:3.0f} % [{100 * low:3.0f}, {100 * high:3.0f}]"
                for share, (low, high) in (
                    (row.top_average, row.top_average_interval),
                    (row.top_marginal, row.top_marginal_interval),
                )
            )
            low, high = row.behind_ours
            behind = "–" if row.way == "ours" else f"[{low:+.1f}, {high:+.1f}]"
            print(
                f"{row.way:<16} {100 * row.moved:4.1f} %  {promised:<24} {gain:<24} {average:<22} {marginal:<22} {behind}"
            )
        print()


def _print_markets(simulated: Sequence[Simulated], covered: Sequence[Covered]) -> None:
    for market in dict.fromkeys(row.market for row in simulated):
        print(f"markets: {market}")
        print(
            f"{'':<16} {'short of the best':<24} {'gain over today':<24} {'worst tenth':>11} {'worse than today':>17}  behind ours"
        )
        for row in (row for row in simulated if row.market == market):
            short, gain = (
                f"{100 * value:+.2f} % [{100 * low:+.2f}, {100 * high:+.2f}]"
                for value, (low, high) in ((row.short, row.short_interval), (row.gain, row.gain_interval))
            )
            low, high = row.behind_ours
            behind = "–" if row.way == "ours" else f"[{100 * low:+.2f}, {100 * high:+.2f}]"
            worst, worse = f"{100 * row.worst_tenth:+.2f} %", f"{100 * row.worse_than_today:.0f} %"
            print(f"{row.way:<16} {short:<24} {gain:<24} {worst:>11} {worse:>17}  {behind}")
        for told in (told for told in covered if told.market == market):
            low, high = told.interval
            print(
                f"90 % intervals of the {told.what}: hold in {100 * told.covered:.1f} % [{100 * low:.1f}, {100 * high:.1f}] "
                f"of {told.cases}"
            )
        print()


if __name__ == "__main__":
    main()
