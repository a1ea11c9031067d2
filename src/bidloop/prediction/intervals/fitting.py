"""Learning from cells how far realised rates stray from predicted ones."""

from __future__ import annotations

import math
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaincc, betaln

from bidloop.core.errors import InsufficientData, InvalidInput
from bidloop.prediction.intervals.cells import Cells, checked
from bidloop.prediction.intervals.model import NO_DISPERSION, IntervalModel, Shape, Tier, concentration
from bidloop.prediction.intervals.spread import fit_spread

Floats: TypeAlias = NDArray[np.float64]

FEWEST_CELLS = 50
"""Fewer calibration cells than this say next to nothing about tails of 2.5 %."""
CELLS_PER_TIER = 200
MOST_TIERS = 5


def fit_intervals(
    p: ArrayLike,
    impressions: ArrayLike,
    clicks: ArrayLike,
    support: ArrayLike,
    level: float = 0.95,
    *,
    single: bool = False,
    design: ArrayLike | None = None,
    reported: ArrayLike | None = None,
) -> IntervalModel:
    """Learn how far realised rates, and true ones, stray from predicted ones.

    For a conversion rate pass clicks as `impressions` and conversions as `clicks`, and as `support` the expected past clicks.

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
    single
        Whether it is fine that most cells are of one trial, as with conversions: then only the interval of the true rate
        says much, and the realised one is told to be anywhere.
    design
        Design effects of sampled counts, at least 1, shape (n,): the true rates are learned from as many counts as say as
        much. The realised rate stays that of the weighted counts, with the luck of the sample in it. 1 when left out.
    reported
        Share of the clicks (or conversions) of each cell that has had its time to be reported, in (0, 1], shape (n,): what is
        reported by now is held against that share of `p`. 1 when left out.

    Raises
    ------
    InvalidInput
        When a number is out of range.
    InsufficientData
        With fewer than 50 cells, or when half of them are single impressions and `single` is not set.

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
    cells = checked(p, impressions, clicks, support, design, reported).so_far()
    if len(cells) < FEWEST_CELLS:
        raise InsufficientData(
            f"{len(cells)} cells with impressions to fit intervals on",
            expected=f"at least {FEWEST_CELLS}",
            remedy="Use finer cells or a longer calibration period.",
        )
    if not single and np.median(cells.impressions) <= 1:
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
        spread=fit_spread(cells.p, cells.impressions / cells.design, cells.clicks / cells.design, cells.support),
    )
    return _corrected(plain, cells, where)


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
    s = concentration(np.full(len(p), math.exp(log_s)), p, reference, elasticity)
    a, b = p * s, (1 - p) * s
    return -float(np.sum(betaln(a + c, b + m - c) - betaln(a, b)))


def _corrected(model: IntervalModel, cells: Cells, where: NDArray[np.intp]) -> IntervalModel:
    """The model with each tier's tails moved to where the stated share of its cells is covered."""
    shape = Shape.of(model, cells.p, where)
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
