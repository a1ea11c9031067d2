"""A predicted rate and its support in, both of its intervals out.

Three things move the realised rate c / m of a cell's coming m impressions away from the predicted rate p: the cell's true
rate is not p (over-dispersion), m impressions are few (binomial noise), and the model is a little wrong. The first two are a
beta-binomial whose dispersion is fitted by maximum likelihood; what is left is corrected on the same cells, side by side and
tier by tier of traffic, so that the stated share of cells is covered whatever the model's faults (split conformal; Romano,
Patterson and Candès, "Conformalized Quantile Regression" (2019), arXiv 1905.03222, with the beta quantiles in the place of a
quantile regression; by tier it is the Mondrian kind: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World"
(2005)).

The true rate is never seen, so that no such correction can be made for it: its interval rests on `spread` alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, betaln

from bidloop.core.prediction import Interval
from bidloop.prediction.intervals.spread import Spread

Floats: TypeAlias = NDArray[np.float64]

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
    spread
        How far true rates lie from predicted ones; `None` in models of before there was such a thing.
    """

    level: float
    reference: float
    elasticity: float
    tiers: tuple[Tier, ...]
    measured_coverage: float | None = None
    spread: Spread | None = None

    def bounds(self, p: ArrayLike, support: ArrayLike) -> tuple[Floats, Floats]:
        """Lower and upper bounds of the realised rates of n cells, with ``0 <= lower <= p <= upper <= 1``.

        Parameters
        ----------
        p
            Predicted rates, in [0, 1], shape (n,).
        support
            Effective past impressions behind them, shape (n,); missing (NaN) and negative count as none.
        """
        rates = np.asarray(p, dtype=np.float64)
        shape = Shape.of(self, rates, self.tier_of(support))
        lower_tail, upper_tail = shape.column(self, "lower_tail"), shape.column(self, "upper_tail")
        lower = np.where(shape.none >= lower_tail, 0.0, betaincinv(shape.a, shape.b, lower_tail))
        upper = betaincinv(shape.a, shape.b, 1 - upper_tail)
        return np.clip(lower, 0.0, rates), np.clip(upper, rates, 1.0)

    def interval(self, p: float, support: float) -> Interval:
        """The interval of the realised rate of one cell.

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


@dataclass(frozen=True)
class Shape:
    """Beta distributions of realised rates with the beta-binomial's mean and variance, and P(no click at all)."""

    tier: NDArray[np.intp]
    a: Floats
    b: Floats
    none: Floats

    @classmethod
    def of(cls, model: IntervalModel, p: Floats, tier: NDArray[np.intp]) -> Shape:
        rate = np.clip(p, 1e-9, 1 - 1e-9)
        noise = _column(model, "noise", tier)
        s = concentration(_column(model, "concentration", tier), rate, model.reference, model.elasticity)
        spread = 1 / (1 + s)
        # Var(c / m) = p (1 - p) (spread + (1 - spread) E[1 / m]): the beta with that variance has this concentration.
        total = np.maximum(1 / (spread + (1 - spread) * noise) - 1, 1e-6)
        none = np.exp(betaln(rate * s, (1 - rate) * s + 1 / noise) - betaln(rate * s, (1 - rate) * s))
        return cls(tier, rate * total, (1 - rate) * total, none)

    def column(self, model: IntervalModel, name: str) -> Floats:
        return _column(model, name, self.tier)


def _column(model: IntervalModel, name: str, tier: NDArray[np.intp]) -> Floats:
    return np.array([getattr(t, name) for t in model.tiers], dtype=np.float64)[tier]


def concentration(base: Floats, p: Floats, reference: float, elasticity: float) -> Floats:
    return np.clip(base * (p / reference) ** -elasticity, 1e-3, math.exp(NO_DISPERSION))
