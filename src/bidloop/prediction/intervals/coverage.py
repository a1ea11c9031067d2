"""How often intervals held on cells that nothing was fitted on."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaln

from bidloop.core.errors import InsufficientData
from bidloop.prediction.intervals.cells import Cells, checked
from bidloop.prediction.intervals.model import IntervalModel
from bidloop.prediction.intervals.spread import Spread

Floats: TypeAlias = NDArray[np.float64]

SUMMED = 300
"""Largest count whose smaller ones are added up one by one."""
AT_ONCE = 3000
"""Cells whose smaller counts are added up at once; bounds the memory."""
IMAGINED = 5000
"""Counts that are drawn, at least, to see whether counts could tell."""
TELLING = 0.02
"""By how much less than stated the counts would have to be covered by intervals half as wide."""


class TierCoverage(msgspec.Struct, frozen=True):
    """How often the intervals of one tier held, and how wide they were on average."""

    support_from: float
    cells: int
    covered: float
    width: float


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How often intervals held on cells that nothing was fitted on.

    Parameters
    ----------
    level
        What was stated.
    cells
        Number of cells measured.
    covered
        Share of cells whose realised rate lay inside, each cell counted once.
    below, above
        Shares of cells whose realised rate lay below the lower or above the upper bound.
    width
        Mean width, as a rate.
    tiers
        The same by tier of traffic.
    counts_covered
        The same for the interval of the true rate, as far as it can be seen: the share of counts that its beta distribution
        and the luck of so many trials together would cover, at the same level. `None` where the model has no spread, and
        where counts could not tell: single trials are covered as stated by whatever interval. They can where an interval half
        as wide would have covered at least two points less than stated, and they have told where it is as bad already.
    true_width
        Mean width of the interval of the true rate.
    """

    level: float
    cells: int
    covered: float
    below: float
    above: float
    width: float
    tiers: tuple[TierCoverage, ...]
    counts_covered: float | None = None
    true_width: float | None = None

    def told(self, model: IntervalModel) -> IntervalModel:
        """The model with what was measured of it, for answers to carry."""
        spread = model.spread
        if spread is not None:
            spread = msgspec.structs.replace(spread, measured_coverage=self.counts_covered)
        return msgspec.structs.replace(model, measured_coverage=self.covered, spread=spread)


def measure_coverage(
    model: IntervalModel,
    p: ArrayLike,
    impressions: ArrayLike,
    clicks: ArrayLike,
    support: ArrayLike,
    *,
    design: ArrayLike | None = None,
    reported: ArrayLike | None = None,
) -> Coverage:
    """How often the intervals held on other, later cells. Arguments as for `fit_intervals`.

    Keep the result with the model: ``coverage.told(model)``.

    Raises
    ------
    InvalidInput
        When a number is out of range.
    InsufficientData
        When no cell has impressions.
    """
    given = checked(p, impressions, clicks, support, design, reported)
    if len(given) == 0:
        raise InsufficientData("no cell with impressions", expected="at least one to measure coverage on")
    cells = given.so_far()
    lower, upper = model.bounds(cells.p, cells.support)
    rate = cells.clicks / cells.impressions
    # One part in a billion of slack: sums of weights must not turn a rate that lies on a bound into a miss.
    below, above = rate < lower * (1 - 1e-9), rate > upper * (1 + 1e-9)
    inside, width = ~(below | above), upper - lower
    where = model.tier_of(cells.support)
    return Coverage(
        level=model.level,
        cells=len(cells),
        covered=float(np.mean(inside)),
        below=float(np.mean(below)),
        above=float(np.mean(above)),
        width=float(np.mean(width)),
        tiers=tuple(
            TierCoverage(
                tier.support_from, int(np.sum(rows)), float(np.mean(inside[rows])), float(np.mean(width[rows]))
            )
            for i, tier in enumerate(model.tiers)
            if (rows := where == i).any()
        ),
        counts_covered=None if model.spread is None else _measured(model.spread, cells.thinned(), model.level),
        true_width=None if model.spread is None else _width(model.spread, given, model.level),
    )


def _width(spread: Spread, cells: Cells, level: float) -> float:
    lower, upper = spread.bounds(cells.p, cells.support, level=level)
    return float(np.mean(upper - lower))


def _measured(spread: Spread, cells: Cells, level: float) -> float | None:
    """Share of counts covered, if that says anything."""
    m = np.maximum(np.rint(cells.impressions / cells.design), 1.0)
    found = _counts_covered(spread, cells, m, np.rint(cells.clicks / cells.design), level)
    return found if found < level - TELLING or _could_tell(spread, cells, m, level) else None


def _could_tell(spread: Spread, cells: Cells, m: Floats, level: float) -> bool:
    """Whether counts that came of a right spread would give one half as wide away."""
    rng = np.random.default_rng(0)
    rows = np.resize(np.arange(len(cells)), max(len(cells), IMAGINED))
    drawn, trials = cells.take(rows), m[rows]
    counts = rng.binomial(trials.astype(np.int64), rng.beta(*spread.beta(drawn.p, drawn.support))).astype(np.float64)
    half = Spread(unknown=spread.unknown / 2, learning=spread.learning * 4, floor=spread.floor / 2, cells=spread.cells)
    return _counts_covered(half, drawn, trials, counts, level) < level - TELLING


def _counts_covered(spread: Spread, cells: Cells, m: Floats, counts: Floats, level: float) -> float:
    """Share of the cells' counts of m trials inside the beta-binomial interval of stated level.

    A count is discrete and takes up a stretch [P(less), P(at most)] of probability, of which the part inside counts: the mean
    over such parts is exactly `level` if the spread is right, even of cells that hardly ever see an event.
    """
    a, b = spread.beta(cells.p, cells.support)
    c = np.minimum(counts, m)
    less, here = _below(a, b, m, c), np.exp(_log_mass(a, b, m, c))
    tail = (1 - level) / 2
    inside = np.minimum(less + here, 1 - tail) - np.maximum(less, tail)
    return float(np.mean(np.clip(inside / np.maximum(here, 1e-300), 0.0, 1.0)))


def _below(a: Floats, b: Floats, m: Floats, c: Floats) -> Floats:
    """P(fewer than c events of m trials) of beta-binomial distributions.

    Summed over all smaller counts; of more than `SUMMED` events by the beta distribution of the same mean and variance, which
    is then as good.
    """
    strength = a + b
    total = np.maximum((m - 1) * strength / (m + strength), 1e-6)
    share = a / strength
    smooth = betainc(share * total, (1 - share) * total, np.clip((c - 0.5) / m, 0.0, 1.0))
    exact = np.zeros(len(c))
    few = np.flatnonzero(c <= SUMMED)
    for start in range(0, len(few), AT_ONCE):
        rows = few[start : start + AT_ONCE]
        counts = c[rows].astype(np.intp)
        cell = np.repeat(rows, counts)
        k = np.arange(len(cell)) - np.repeat(np.cumsum(counts) - counts, counts)
        mass = np.exp(_log_mass(a[cell], b[cell], m[cell], k.astype(np.float64)))
        exact[rows] = np.bincount(cell - rows[0], mass, minlength=int(rows[-1] - rows[0]) + 1)[rows - rows[0]]
    return np.where(c <= SUMMED, exact, smooth)


def _log_mass(a: Floats, b: Floats, m: Floats, c: Floats) -> Floats:
    ways = -np.log1p(m) - betaln(c + 1, m - c + 1)
    return np.asarray(ways + betaln(a + c, b + m - c) - betaln(a, b), dtype=np.float64)
