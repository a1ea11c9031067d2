"""Where the realised rate of a cell's coming impressions will lie, and how often such intervals held.

An interval of a *rate*, never of one click: a cell (say a keyword on a device) will get m more impressions, of which
c will be clicked, and c / m should lie inside. Three things move c / m away from the predicted rate p: the cell's
true rate is not p (over-dispersion), m impressions are few (binomial noise), and the model is a little wrong. The
first two are a beta-binomial whose dispersion is fitted by maximum likelihood; what is left is corrected on later
cells, side by side and tier by tier of traffic, so that the stated share of cells is covered whatever the model's
faults (split conformal; Romano, Patterson and Candès, "Conformalized Quantile Regression" (2019), arXiv 1905.03222,
with the beta quantiles in the place of a quantile regression).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaincc, betaincinv, betaln

from bidloop.core.errors import InsufficientData, InvalidInput
from bidloop.core.prediction import Interval

Floats: TypeAlias = NDArray[np.float64]

FEWEST_CELLS = 50
"""Fewer calibration cells than this say next to nothing about tails of 2.5 %."""
CELLS_PER_TIER = 200
MOST_TIERS = 5
NO_DISPERSION = 16.0
"""Log concentration from which a beta distribution is a point for all purposes."""


class Tier(msgspec.Struct, frozen=True):
    """Cells of like traffic, and what was learned of them.

    Parameters
    ----------
    support_from
        Smallest support of the tier, in effective past impressions; the tier ends where the next one starts.
    concentration
        Concentration s of the beta distribution of true rates around p, for a cell at the reference rate. The larger,
        the closer true rates lie to predicted ones.
    noise
        Mean of 1 / m over the tier's cells, in (0, 1]: how much binomial noise coming impressions carry.
    lower_tail, upper_tail
        Probability outside on each side, after the correction; ``(1 - level) / 2`` each where nothing had to be
        corrected.
    cells
        Number of cells it was learned from.
    """

    support_from: float
    concentration: float
    noise: float
    lower_tail: float
    upper_tail: float
    cells: int


class IntervalModel(msgspec.Struct, frozen=True, kw_only=True):
    """Turns a predicted rate and its support into an interval of the rate to come.

    Parameters
    ----------
    level
        Stated probability of covering, in (0, 1).
    reference
        The rate at which a tier's concentration is stated.
    elasticity
        Concentration at rate p is ``concentration × (p / reference) ** -elasticity``: 0 is a constant concentration,
        1 a constant relative spread of true rates.
    tiers
        By rising support; the first starts at 0.
    measured_coverage
        Share of held-out cells that were covered; `None` before any measurement.
    """

    level: float
    reference: float
    elasticity: float
    tiers: tuple[Tier, ...]
    measured_coverage: float | None = None

    def bounds(self, p: ArrayLike, support: ArrayLike) -> tuple[Floats, Floats]:
        """Lower and upper bounds for n cells, with ``0 <= lower <= p <= upper <= 1``.

        Parameters
        ----------
        p
            Predicted rates, in [0, 1], shape (n,).
        support
            Effective past impressions behind them, shape (n,); missing (NaN) and negative count as none.
        """
        rates = np.asarray(p, dtype=np.float64)
        shape = _Shape.of(self, rates, self.tier_of(support))
        lower_tail, upper_tail = shape.column(self, "lower_tail"), shape.column(self, "upper_tail")
        lower = np.where(shape.none >= lower_tail, 0.0, betaincinv(shape.a, shape.b, lower_tail))
        upper = betaincinv(shape.a, shape.b, 1 - upper_tail)
        return np.clip(lower, 0.0, rates), np.clip(upper, rates, 1.0)

    def interval(self, p: float, support: float) -> Interval:
        """The interval of one cell.

        >>> tier = Tier(0, 2000, 0.001, 0.025, 0.025, 500)
        >>> model = IntervalModel(level=0.95, reference=0.02, elasticity=0, tiers=(tier,))
        >>> interval = model.interval(0.02, support=3000)
        >>> round(interval.lower, 3), round(interval.upper, 3)
        (0.011, 0.032)
        """
        lower, upper = self.bounds([p], [support])
        return Interval(float(lower[0]), float(upper[0]), self.level, self.measured_coverage)

    def tier_of(self, support: ArrayLike) -> NDArray[np.intp]:
        """Number of the tier of each cell, shape (n,)."""
        known = np.nan_to_num(np.asarray(support, dtype=np.float64), nan=0.0)
        starts = np.array([tier.support_from for tier in self.tiers])
        return np.maximum(np.searchsorted(starts, known, side="right") - 1, 0)


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
    """

    level: float
    cells: int
    covered: float
    below: float
    above: float
    width: float
    tiers: tuple[TierCoverage, ...]


@dataclass(frozen=True)
class Cells:
    """Counts of n cells over the impressions that came after their predictions; float64 arrays of shape (n,)."""

    p: Floats
    impressions: Floats
    clicks: Floats
    support: Floats

    def __len__(self) -> int:
        return len(self.p)


def group_cells(
    keys: ArrayLike,
    p: ArrayLike,
    impressions: ArrayLike,
    clicks: ArrayLike,
    support: ArrayLike,
    weight: ArrayLike | None = None,
) -> Cells:
    """Rows of the same key as one cell: single impressions become a rate that an interval can be about.

    Parameters
    ----------
    keys
        Name of each row's cell, including the period if a cell counts once a day; shape (n,).
    p, impressions, clicks, support
        Of each row, shape (n,). A cell's `p` and `support` are means over its impressions.
    weight
        How many such rows of the population one row stands for, shape (n,); 1 when left out.

    Returns
    -------
    Cells
        By sorted key; cells without impressions are left out.

    Examples
    --------
    >>> cells = group_cells(["a", "a", "b"], [0.1, 0.3, 0.2], [1, 1, 1], [0, 1, 0], [10, 10, 0])
    >>> cells.p, cells.impressions, cells.clicks
    (array([0.2, 0.2]), array([2., 1.]), array([1., 0.]))
    """
    names, where = np.unique(np.asarray(keys, dtype=str), return_inverse=True)
    w = np.ones(len(where)) if weight is None else np.asarray(weight, dtype=np.float64)
    shown = w * np.asarray(impressions, dtype=np.float64)

    def total(column: ArrayLike) -> Floats:
        values = np.nan_to_num(np.asarray(column, dtype=np.float64))
        return np.asarray(np.bincount(where, values, minlength=len(names)), dtype=np.float64)

    m, c = total(shown), total(w * np.asarray(clicks, dtype=np.float64))
    seen = m > 0
    mean_p = total(shown * np.asarray(p, dtype=np.float64))[seen] / m[seen]
    mean_support = total(shown * np.nan_to_num(np.asarray(support, dtype=np.float64)))[seen] / m[seen]
    return Cells(mean_p, m[seen], c[seen], mean_support)


def fit_intervals(
    p: ArrayLike, impressions: ArrayLike, clicks: ArrayLike, support: ArrayLike, level: float = 0.95
) -> IntervalModel:
    """Learn how far realised rates stray from predicted ones.

    Parameters
    ----------
    p
        Calibrated predicted rates of cells, made before the impressions were shown, in [0, 1], shape (n,).
    impressions, clicks
        What came: counts over as long a period as the intervals shall speak of, shape (n,). Cells without impressions
        are left out.
    support
        Effective past impressions behind each prediction, shape (n,).
    level
        Stated probability of covering, in (0, 1).

    Raises
    ------
    InvalidInput
        When a number is out of range.
    InsufficientData
        With fewer than 50 cells, or when half of them are single impressions.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> p, m = rng.uniform(0.01, 0.05, 2000), rng.integers(200, 2000, 2000)
    >>> clicks = rng.binomial(m, rng.beta(p * 500, (1 - p) * 500))
    >>> model = fit_intervals(p, m, clicks, support=m)
    >>> 300 < model.tiers[-1].concentration * (0.03 / model.reference) ** -model.elasticity < 800
    True
    """
    if not 0 < level < 1:
        raise InvalidInput(f"a level of {level}", path="level", expected="a probability in (0, 1), such as 0.95")
    cells = _checked(p, impressions, clicks, support)
    if len(cells) < FEWEST_CELLS:
        raise InsufficientData(
            f"{len(cells)} cells with impressions to fit intervals on",
            expected=f"at least {FEWEST_CELLS}",
            remedy="Use finer cells or a longer calibration period.",
        )
    if np.median(cells.impressions) <= 1:
        raise InsufficientData(
            "mostly cells of one impression",
            expected="cells of many impressions, because an interval is of a rate and not of one click",
            remedy="Group rows with group_cells, into coarser cells or longer periods.",
        )
    starts = _tier_starts(cells.support)
    where = np.searchsorted(starts, cells.support, side="right") - 1
    reference = float(np.sum(cells.p * cells.impressions) / np.sum(cells.impressions))
    elasticity, concentrations = _dispersion(cells, where, len(starts), reference)
    tail = (1 - level) / 2
    plain = IntervalModel(
        level=level,
        reference=reference,
        elasticity=elasticity,
        tiers=tuple(
            Tier(
                float(start),
                concentrations[i],
                float(np.mean(1 / np.maximum(cells.impressions[where == i], 1.0))),
                tail,
                tail,
                int(np.sum(where == i)),
            )
            for i, start in enumerate(starts)
        ),
    )
    return _corrected(plain, cells, where)


def measure_coverage(
    model: IntervalModel, p: ArrayLike, impressions: ArrayLike, clicks: ArrayLike, support: ArrayLike
) -> Coverage:
    """How often the intervals held on other, later cells. Arguments as for `fit_intervals`.

    Keep the result with ``msgspec.structs.replace(model, measured_coverage=coverage.covered)``.

    Raises
    ------
    InvalidInput
        When a number is out of range.
    InsufficientData
        When no cell has impressions.
    """
    cells = _checked(p, impressions, clicks, support)
    if len(cells) == 0:
        raise InsufficientData("no cell with impressions", expected="at least one to measure coverage on")
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
    )


@dataclass(frozen=True)
class _Shape:
    """Beta distributions of realised rates with the beta-binomial's mean and variance, and P(no click at all)."""

    tier: NDArray[np.intp]
    a: Floats
    b: Floats
    none: Floats

    @classmethod
    def of(cls, model: IntervalModel, p: Floats, tier: NDArray[np.intp]) -> _Shape:
        rate = np.clip(p, 1e-9, 1 - 1e-9)
        noise = _column(model, "noise", tier)
        s = _concentration(_column(model, "concentration", tier), rate, model.reference, model.elasticity)
        spread = 1 / (1 + s)
        # Var(c / m) = p (1 - p) (spread + (1 - spread) E[1 / m]): the beta with that variance has this concentration.
        total = np.maximum(1 / (spread + (1 - spread) * noise) - 1, 1e-6)
        none = np.exp(betaln(rate * s, (1 - rate) * s + 1 / noise) - betaln(rate * s, (1 - rate) * s))
        return cls(tier, rate * total, (1 - rate) * total, none)

    def column(self, model: IntervalModel, name: str) -> Floats:
        return _column(model, name, self.tier)


def _column(model: IntervalModel, name: str, tier: NDArray[np.intp]) -> Floats:
    return np.array([getattr(t, name) for t in model.tiers], dtype=np.float64)[tier]


def _concentration(base: Floats, p: Floats, reference: float, elasticity: float) -> Floats:
    return np.clip(base * (p / reference) ** -elasticity, 1e-3, math.exp(NO_DISPERSION))


def _checked(p: ArrayLike, impressions: ArrayLike, clicks: ArrayLike, support: ArrayLike) -> Cells:
    rates, m, c, known = (np.asarray(column, dtype=np.float64) for column in (p, impressions, clicks, support))
    if len({column.shape for column in (rates, m, c, known)}) != 1 or rates.ndim != 1:
        raise InvalidInput(f"columns of shapes {rates.shape}, {m.shape}, {c.shape}, {known.shape}", expected="one (n,)")
    for name, fine, expected in (
        ("p", (rates >= 0) & (rates <= 1), "rates in [0, 1]"),
        ("impressions", np.isfinite(m) & (m >= 0), "finite counts"),
        ("clicks", (c >= 0) & (c <= m * (1 + 1e-9)), "counts of at most the impressions"),
        ("support", np.isnan(known) | (known >= 0), "counts, or NaN where nothing is known"),
    ):
        if not fine.all():
            raise InvalidInput(f"wrong value in row {int(np.argmin(fine))}", path=name, expected=expected)
    shown = m > 0
    return Cells(rates[shown], m[shown], np.minimum(c, m)[shown], np.nan_to_num(known)[shown])


def _tier_starts(support: Floats) -> Floats:
    """Smallest support of each tier: equal shares of cells, at least `CELLS_PER_TIER` each, ties together."""
    tiers = int(np.clip(len(support) // CELLS_PER_TIER, 1, MOST_TIERS))
    edges = np.unique(np.quantile(support, np.arange(1, tiers) / tiers)) if tiers > 1 else np.empty(0)
    starts = np.concatenate(([0.0], edges[edges > 0]))
    counts = np.bincount(np.searchsorted(starts, support, side="right") - 1, minlength=len(starts))
    while len(starts) > 1 and counts.min() < CELLS_PER_TIER / 2:
        # Ties have left a tier too small: it joins its lower neighbour, or the first its upper one.
        starts = np.delete(starts, max(int(np.argmin(counts)), 1))
        counts = np.bincount(np.searchsorted(starts, support, side="right") - 1, minlength=len(starts))
    return starts


def _dispersion(cells: Cells, where: NDArray[np.intp], tiers: int, reference: float) -> tuple[float, list[float]]:
    """Elasticity and the tiers' concentrations of greatest beta-binomial likelihood."""
    # Imported here because a server that only predicts should not pay for it.
    from scipy.optimize import minimize_scalar

    p = np.clip(cells.p, 1e-9, 1 - 1e-9)
    best: tuple[float, float, list[float]] | None = None
    for elasticity in (0.0, 0.5, 1.0):
        loss, found = 0.0, []
        for i in range(tiers):
            rows = where == i
            arguments = (p[rows], cells.impressions[rows], cells.clicks[rows], reference, elasticity)
            result = minimize_scalar(
                _beta_binomial_loss,
                bounds=(0.0, NO_DISPERSION),
                args=arguments,
                method="bounded",
                options={"xatol": 0.01},
            )
            loss += float(result.fun)
            found.append(math.exp(float(result.x)))
        if best is None or loss < best[0]:
            best = (loss, elasticity, found)
    assert best is not None
    return best[1], best[2]


def _beta_binomial_loss(log_s: float, p: Floats, m: Floats, c: Floats, reference: float, elasticity: float) -> float:
    s = _concentration(np.full(len(p), math.exp(log_s)), p, reference, elasticity)
    a, b = p * s, (1 - p) * s
    return -float(np.sum(betaln(a + c, b + m - c) - betaln(a, b)))


def _corrected(model: IntervalModel, cells: Cells, where: NDArray[np.intp]) -> IntervalModel:
    """The model with each tier's tails moved to where the stated share of its cells is covered."""
    shape = _Shape.of(model, cells.p, where)
    rate = cells.clicks / cells.impressions
    # A cell is inside exactly if its score is at least the tail: these are the tails at which the bounds meet its rate.
    low = np.maximum(betainc(shape.a, shape.b, rate), shape.none)
    high = betaincc(shape.a, shape.b, rate)
    tiers = []
    for i, tier in enumerate(model.tiers):
        rows = where == i
        miss = 1 - model.level
        lower_tail = _tail(low[rows], miss / 2, miss)
        # What the lower side cannot use up, because a rate is never below 0, is the upper side's to miss.
        upper_tail = _tail(high[rows], miss - float(np.mean(low[rows] < lower_tail)), miss)
        tiers.append(msgspec.structs.replace(tier, lower_tail=lower_tail, upper_tail=upper_tail))
    return msgspec.structs.replace(model, tiers=tuple(tiers))


def _tail(scores: Floats, miss: float, most: float) -> float:
    """The tail at which at most the share `miss` of exchangeable new cells has a smaller score, but not above `most`.

    Without the limit, cells that are nearly all without a click would shrink the interval to a point, and the few
    others of their tier would pay for it.
    """
    k = math.floor((len(scores) + 1) * miss)
    return min(float(np.sort(scores)[k - 1]), most) if k >= 1 else 0.0
