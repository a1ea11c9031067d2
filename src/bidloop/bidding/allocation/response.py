"""Response curves: what each campaign brings per day at each daily spend, and how well that is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidloop.bidding.allocation.settings import Family
from bidloop.bidding.allocation.shapes import local_elasticity, log_shape

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ResponseCurve:
    """Expected outcome per day of one campaign as a function of its daily spend: d curves, each as likely as the others.

    Every curve is 0 at 0, increasing and concave. Between `seen_low` and `seen_high` it has the shape that was learned. Beyond
    them the data say nothing, and the curves spread: above, each goes on with a share of its elasticity, anything from
    none to all of it; below, with an elasticity between its own and 1. What share it is, is the same for all campaigns in a draw:
    if one saturates beyond what was seen, the others may as well. So money that would leave what was seen is
    trusted about half as much, and never more.

    Parameters
    ----------
    campaign
        Whose.
    shapes
        Which shape the draws have, in their order, and how many of them: which shape is right is not known either.
    usual
        The spend where the elasticity is told, account currency.
    log_level
        Logarithm of the expected outcome per day at the usual spend, shape (d,).
    elasticity
        At the usual spend, in (0, 1), shape (d,).
    above, below
        Where in their ranges the elasticities beyond the spends seen lie, in [0, 1], shape (d,).
    seen_low, seen_high
        The spends between which nine of ten of its days lay.
    limit
        The most that the curves are told for: beyond it nobody knows.
    spread
        How far one day's outcome scatters about what was expected, as a share of it, beside the scatter of counts.
    days
        How many days it was learned from.

    Examples
    --------
    >>> half = np.array([0.5, 0.5])
    >>> shapes, levels = ((Family.POWER, 2),), np.log([20.0, 22.0])
    >>> curve = ResponseCurve("brand", shapes, 100.0, levels, half, half, half, 50.0, 200.0, 300.0, 0.1, 60)
    >>> curve.outcome(100.0).round(2).tolist(), curve.marginal(100.0).round(3).tolist()
    ([20.0, 22.0], [0.1, 0.11])
    >>> curve.is_extrapolated(250.0)
    True
    """

    campaign: str
    shapes: tuple[tuple[Family, int], ...]
    usual: float
    log_level: Floats
    elasticity: Floats
    above: Floats
    below: Floats
    seen_low: float
    seen_high: float
    limit: float
    spread: float
    days: int

    def outcome(self, spend: float | Floats) -> Floats:
        """Expected outcome per day, of each curve at each spend: shape of `spend` + (d,)."""
        at = np.asarray(spend, dtype=float)[..., None]
        inside = np.clip(at, self.seen_low, self.seen_high)
        log_outcome = self.log_level + self._each(log_shape, inside / self.usual)
        beyond = np.log(np.maximum(at, 1e-300) / inside) * self._beyond(at)
        return np.asarray(np.where(at > 0, np.exp(log_outcome + beyond), 0.0))

    def marginal(self, spend: float | Floats) -> Floats:
        """What one more unit of money brings, of each curve at each spend; shape as of `outcome`. A spend of 0 counts as 1e-6."""
        at = np.maximum(np.asarray(spend, dtype=float), 1e-6)
        inside = (at >= self.seen_low) & (at < self.seen_high)
        local = self._each(local_elasticity, at[..., None] / self.usual)
        return np.asarray(
            self.outcome(at) / at[..., None] * np.where(inside[..., None], local, self._beyond(at[..., None]))
        )

    def interval(self, spend: float, level: float) -> tuple[float, float]:
        """The range that holds the expected outcome per day with probability `level`."""
        low, high = np.quantile(self.outcome(spend), [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def is_extrapolated(self, spend: float) -> bool:
        """Whether a spend lies beyond the spends seen; a campaign that gets nothing at all does not."""
        return spend > self.seen_high or 0 < spend < self.seen_low

    def _each(self, of: Callable[[Family, Floats, Floats], Floats], ratio: Floats) -> Floats:
        """A function of shape, elasticity and spend, of each draw: shape of `ratio` without its last axis + (d,)."""
        ends = np.cumsum([count for _, count in self.shapes])[:-1]
        parts = zip(self.shapes, np.split(self.elasticity, ends), strict=True)
        told = [of(family, part, ratio) for (family, _), part in parts if len(part)]
        return np.concatenate(told, axis=-1)

    def _beyond(self, at: Floats) -> Floats:
        """Elasticities outside the spends seen."""
        low, high = (
            self._each(local_elasticity, np.array([end / self.usual])) for end in (self.seen_low, self.seen_high)
        )
        return np.asarray(np.where(at < self.seen_low, low + (1 - low) * self.below, high * self.above))


def mixed(curves: Sequence[ResponseCurve], counts: Sequence[int]) -> ResponseCurve:
    """One campaign's curve with so many draws of each of its curves in several shapes."""
    first = curves[0]

    def some(column: Callable[[ResponseCurve], Floats]) -> Floats:
        return np.concatenate([column(curve)[:count] for curve, count in zip(curves, counts, strict=True)])

    shapes = [(curve.shapes[0][0], count) for curve, count in zip(curves, counts, strict=True) if count]
    return ResponseCurve(
        first.campaign,
        tuple(shapes),
        first.usual,
        some(lambda curve: curve.log_level),
        some(lambda curve: curve.elasticity),
        some(lambda curve: curve.above),
        some(lambda curve: curve.below),
        first.seen_low,
        first.seen_high,
        first.limit,
        float(np.average([curve.spread for curve in curves], weights=counts)),
        first.days,
    )
