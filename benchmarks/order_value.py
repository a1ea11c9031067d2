"""What a conversion is worth, estimated from few heavy-tailed orders, against averages and credibility, where the truth is known.

``python -m benchmarks.order_value [--json] [--worlds WORLDS] [--seed SEED]``

Worlds of 150 campaigns: true values per conversion are log-normal over campaigns (standard deviation 0.4 of the logarithm),
numbers of orders too (1.5), around 5, 20 or 100 orders. All campaigns of a world draw their orders from one family at their
own level; in ``mixed`` every fourth campaign has a family of its own, which ours does not assume; ``with zeros`` are conversions
of which a fifth is told to be worth nothing; ``reports`` are rows of 1 to 30 orders of which only the sum is told.

| way | |
|---|---|
| ours | `bidloop.prediction.order_value.fit_order_value` |
| mean | the campaign's own average, with a Student interval |
| pool | one average for all campaigns |
| median | the campaign's own median order, which the ordinary order is worth and a conversion is not |
| credibility | own averages drawn to the pool's (Bühlmann and Straub, 1970) |

Small accounts of 3 and 8 campaigns follow. Figures: the root of the median over worlds of the mean squared error relative to the
true value (the median, because in some families one giant order makes any mean over worlds a lottery); by how much all orders
together are estimated too high or low, mean over worlds and in brackets the standard deviation; the share of campaigns whose
95 % interval covers their true value, its lowest in any world, and the mean width relative to the true value (median over worlds).

A second table: one order of a campaign is told a thousand times too high. By how much the estimate of that campaign rises, and
that of the others.

A third: each campaign has four cells of 60 orders whose values differ (0.3 of the logarithm). Errors and coverage of cells.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.special import stdtrit

from bidloop.prediction.order_value import OrderValue, fit_order_value

Floats: TypeAlias = NDArray[np.float64]
Draw: TypeAlias = Callable[[np.random.Generator, int], Floats]

CAMPAIGNS = 150
ACCOUNTS = ((CAMPAIGNS, 5), (CAMPAIGNS, 20), (CAMPAIGNS, 100), (3, 20), (8, 20))
"""Number of campaigns, and orders of a typical one."""
BETWEEN = 0.4
LEVEL = 0.95


def lognormal(sigma: float) -> Draw:
    """Order values of mean 1 with this standard deviation of the logarithm."""
    return lambda rng, n: np.asarray(rng.lognormal(-(sigma**2) / 2, sigma, n))


def pareto(alpha: float) -> Draw:
    """Order values of mean 1 with this tail index; of 2 and below the variance is infinite."""
    return lambda rng, n: np.asarray((rng.pareto(alpha, n) + 1) * (alpha - 1) / alpha)


def gamma(shape: float) -> Draw:
    """Order values of mean 1 with many very small ones where the shape is small."""
    return lambda rng, n: np.asarray(rng.gamma(shape, 1 / shape, n))


def with_zeros(rng: np.random.Generator, n: int) -> Floats:
    """Log-normal order values, a fifth of them 0."""
    return np.where(rng.random(n) < 0.2, 0.0, lognormal(0.7)(rng, n) / 0.8)


FAMILIES: Mapping[str, tuple[Draw, ...]] = {
    "log-normal 0.5": (lognormal(0.5),),
    "log-normal 1": (lognormal(1.0),),
    "log-normal 2": (lognormal(2.0),),
    "gamma 2": (gamma(2.0),),
    "gamma 0.5": (gamma(0.5),),
    "Pareto 2.5": (pareto(2.5),),
    "Pareto 2": (pareto(2.0),),
    "Pareto 1.5": (pareto(1.5),),
    "with zeros": (with_zeros,),
    "mixed": (lognormal(0.3), lognormal(1.0), lognormal(1.8), pareto(2.0)),
    "reports": (lognormal(1.0),),
}


@dataclass(frozen=True)
class World:
    """Rows of orders of campaigns, and the truth: mean value per conversion by campaign."""

    campaign: NDArray[np.intp]
    orders: Floats
    value: Floats
    truth: Floats

    @property
    def names(self) -> NDArray[np.str_]:
        """The campaign of each row by its name."""
        return self.campaign.astype(str)


class Row(msgspec.Struct, frozen=True):
    """How one way did in one family; intervals where the way has any."""

    family: str
    campaigns: int
    orders: int
    way: str
    error: float
    total: float
    total_spread: float
    covered: float | None = None
    covered_least: float | None = None
    width: float | None = None


class Giant(msgspec.Struct, frozen=True):
    """Factor by which estimates rise when one order of a campaign is told a thousand times too high."""

    orders: int
    way: str
    campaign: float
    others: float


class CellRow(msgspec.Struct, frozen=True):
    """How well the values of cells are estimated."""

    family: str
    way: str
    error: float
    covered: float | None = None
    width: float | None = None


def world(family: str, size: int, rng: np.random.Generator, campaigns: int = CAMPAIGNS) -> World:
    """One world of a family, with campaigns of around so many orders."""
    draws = FAMILIES[family]
    counts = np.maximum(1, np.round(size * rng.lognormal(0, 1.5, campaigns))).astype(int)
    truth = 60 * rng.lognormal(-(BETWEEN**2) / 2, BETWEEN, campaigns)
    value = np.concatenate([draws[i % len(draws)](rng, n) * truth[i] for i, n in enumerate(counts)])
    campaign = np.repeat(np.arange(campaigns), counts)
    if family != "reports":
        return World(campaign, np.ones(len(value)), value, truth)
    order_of = np.concatenate([np.arange(n) for n in counts])
    length = rng.integers(1, 31, campaigns)[campaign]  # orders to a row, the same within a campaign
    _, row = np.unique(np.stack([campaign, order_of // length]), axis=1, return_inverse=True)
    of_row = np.zeros(row.max() + 1, dtype=np.intp)
    of_row[row] = campaign
    return World(of_row, np.bincount(row).astype(np.float64), np.bincount(row, value).astype(np.float64), truth)


def ways(known: World) -> dict[str, tuple[Floats, Floats | None, Floats | None]]:
    """Estimates by campaign, and bounds where a way has any."""
    groups = len(known.truth)
    count = np.bincount(known.campaign, known.orders, groups).astype(np.float64)
    own = np.bincount(known.campaign, known.value, groups) / count
    pool = np.full(groups, known.value.sum() / known.orders.sum())
    mean = known.value / known.orders
    rows = np.bincount(known.campaign, minlength=groups)
    scatter = np.bincount(known.campaign, known.orders * (mean - own[known.campaign]) ** 2, groups).astype(np.float64)
    several = rows > 1
    reach = np.full(groups, np.inf)  # one row has no variance
    reach[several] = stdtrit(rows[several] - 1, (1 + LEVEL) / 2) * np.sqrt(
        scatter[several] / (rows[several] - 1) / count[several]
    )
    medians = np.array([np.median(mean[known.campaign == i]) for i in range(groups)])
    worth = ours(known)
    bounds = [worth.interval(str(i), level=LEVEL) for i in range(groups)]
    lower, upper = np.array([(-np.inf, np.inf) if b is None else (b[0].amount, b[1].amount) for b in bounds]).T
    return {
        "ours": (estimates(worth, groups), lower, upper),
        "mean": (own, own - reach, own + reach),
        "pool": (pool, None, None),
        "median": (medians, None, None),
        "credibility": (credibility(own, count, scatter, rows), None, None),
    }


def ours(known: World) -> OrderValue:
    """Our own way."""
    worth = fit_order_value(known.names, known.orders, known.value, currency="USD")
    assert worth is not None
    return worth


def estimates(worth: OrderValue, groups: int) -> Floats:
    """Ours by campaign."""
    return np.array([worth.of(str(i)).amount for i in range(groups)])


def credibility(own: Floats, count: Floats, scatter: Floats, rows: NDArray[np.intp]) -> Floats:
    """Bühlmann and Straub's estimate from raw averages."""
    total = count.sum()
    within = scatter.sum() / max(rows.sum() - len(own), 1)
    centre = np.sum(count * own) / total
    between = np.sum(count * (own - centre) ** 2) - (len(own) - 1) * within
    between = max(between / (total - np.sum(count**2) / total), 0.0)
    share = count * between / (count * between + within) if between > 0 else np.zeros(len(own))
    centre = np.sum(share * own) / share.sum() if between > 0 else centre
    return np.asarray(share * own + (1 - share) * centre)


def run(
    worlds: int,
    seed: int,
    families: Sequence[str] = tuple(FAMILIES),
    accounts: Sequence[tuple[int, int]] = ACCOUNTS,
) -> list[Row]:
    """Each way in each family and account: number of campaigns, and orders of a typical one."""
    rows = []
    for campaigns, size in accounts:
        for family in families:
            found: dict[str, list[tuple[float, float, float, float]]] = {}
            for number in range(worlds):
                known = world(family, size, np.random.default_rng([seed, number]), campaigns)
                count = np.bincount(known.campaign, known.orders)
                for way, (estimate, lower, upper) in ways(known).items():
                    error = float(np.mean((estimate / known.truth - 1) ** 2))
                    total = float(np.sum(count * estimate) / np.sum(count * known.truth) - 1)
                    covered = width = np.nan
                    if lower is not None and upper is not None:
                        covered = float(np.mean((lower <= known.truth) & (known.truth <= upper)))
                        finite = np.isfinite(upper - lower)
                        width = float(np.sum((upper - lower)[finite] / known.truth[finite]) / max(finite.sum(), 1))
                    found.setdefault(way, []).append((error, total, covered, width))
            rows += [_row(family, campaigns, size, way, np.array(figures)) for way, figures in found.items()]
    return rows


def _row(family: str, campaigns: int, size: int, way: str, figures: Floats) -> Row:
    error, total, covered, width = figures.T
    row = Row(family, campaigns, size, way, float(np.sqrt(np.median(error))), float(total.mean()), float(total.std()))
    if np.isnan(covered).any():
        return row
    return msgspec.structs.replace(
        row, covered=float(covered.mean()), covered_least=float(covered.min()), width=float(np.median(width))
    )


def giants(worlds: int, seed: int, sizes: tuple[int, ...] = (1, 5, 20, 200)) -> list[Giant]:
    """What one order told a thousand times too high does; a hundred campaigns of so many log-normal orders."""
    rows = []
    for size in sizes:
        found: dict[str, list[tuple[float, float]]] = {}
        for number in range(worlds):
            rng = np.random.default_rng([seed, number])
            truth = 60 * rng.lognormal(-(BETWEEN**2) / 2, BETWEEN, 100)
            campaign = np.repeat(np.arange(100), size)
            value = lognormal(0.5)(rng, len(campaign)) * truth[campaign]
            wrong = value.copy()
            wrong[0] *= 1000
            before, after = (ways(World(campaign, np.ones(len(value)), v, truth)) for v in (value, wrong))
            for way in before:
                rise = after[way][0] / before[way][0]
                found.setdefault(way, []).append((float(rise[0]), float(np.median(rise[1:]))))
        rows += [Giant(size, way, *map(float, np.mean(rises, axis=0))) for way, rises in found.items()]
    return rows


def in_cells(
    worlds: int, seed: int, families: tuple[str, ...] = ("log-normal 0.5", "log-normal 1", "Pareto 2")
) -> list[CellRow]:
    """Cells within campaigns: ours with cells, ours by campaign only, and the cell's own average."""
    rows = []
    for family in families:
        found: dict[str, list[tuple[float, float, float]]] = {}
        for number in range(worlds):
            rng = np.random.default_rng([seed, number])
            cells = 4 * CAMPAIGNS
            truth = np.repeat(60 * rng.lognormal(-(BETWEEN**2) / 2, BETWEEN, CAMPAIGNS), 4) * rng.lognormal(
                -0.045, 0.3, cells
            )
            cell = np.repeat(np.arange(cells), 60)
            value = FAMILIES[family][0](rng, len(cell)) * truth[cell]
            worth = fit_order_value(
                (cell // 4).astype(str), np.ones(len(cell)), value, currency="USD", cells=(cell % 4).astype(str)
            )
            assert worth is not None
            asked = [(str(i // 4), str(i % 4)) for i in range(cells)]
            fine = np.array([worth.of(*one).amount for one in asked])
            coarse = np.array([worth.of(campaign).amount for campaign, _ in asked])
            bounds = [worth.interval(*one, level=LEVEL) for one in asked]
            lower, upper = np.array([(b[0].amount, b[1].amount) for b in bounds if b is not None]).T
            covered = float(np.mean((lower <= truth) & (truth <= upper)))
            width = float(np.mean((upper - lower) / truth))
            own = np.bincount(cell, value) / 60
            for way, estimate in (("ours, by cell", fine), ("ours, by campaign", coarse), ("mean", own)):
                error = float(np.mean((estimate / truth - 1) ** 2))
                held = (covered, width) if way == "ours, by cell" else (np.nan, np.nan)
                found.setdefault(way, []).append((error, *held))
        for way, figures in found.items():
            error, covered, width = np.array(figures).T
            row = CellRow(family, way, float(np.sqrt(np.median(error))))
            if not np.isnan(covered).any():
                row = msgspec.structs.replace(row, covered=float(covered.mean()), width=float(width.mean()))
            rows.append(row)
    return rows


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="left" if name in ("family", "way") else "right", no_wrap=True)
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=40, help="worlds to each figure")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    rows = run(arguments.worlds, arguments.seed)
    told = giants(arguments.worlds, arguments.seed)
    fine = in_cells(arguments.worlds, arguments.seed)
    if arguments.json:
        print(json.dumps(msgspec.to_builtins({"rows": rows, "giants": told, "cells": fine})))
        return
    console = Console(width=None if Console().is_terminal else 120)
    table = _table(
        "Value of a conversion", "campaigns", "orders", "family", "way", "error", "total", "covered", "least", "width"
    )
    for row in rows:
        held = ("", "", "")
        if row.covered is not None and row.covered_least is not None:
            held = (f"{row.covered:.1%}", f"{row.covered_least:.1%}", f"{row.width:.2f}")
        total = f"{row.total:+.1%} ({row.total_spread:.1%})"
        table.add_row(f"{row.campaigns}", f"{row.orders}", row.family, row.way, f"{row.error:.3f}", total, *held)
    console.print(table)
    table = _table("One order told a thousand times too high", "orders", "way", "its campaign", "the others")
    for giant in told:
        table.add_row(f"{giant.orders}", giant.way, f"× {giant.campaign:.2f}", f"× {giant.others:.2f}")
    console.print(table)
    table = _table("Cells of campaigns", "family", "way", "error", "covered", "width")
    for cell in fine:
        covered, width = ("", "") if cell.covered is None else (f"{cell.covered:.1%}", f"{cell.width:.2f}")
        table.add_row(cell.family, cell.way, f"{cell.error:.3f}", covered, width)
    console.print(table)


if __name__ == "__main__":
    main()
