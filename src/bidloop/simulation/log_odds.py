"""The truth behind clicks and conversions: effects and interactions on the log odds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bidloop.simulation.settings import WorldSettings
from bidloop.simulation.traffic import Cells

PARTS: tuple[tuple[tuple[str, ...], float], ...] = (
    (("campaign",), 0.12),
    (("campaign", "ad_group"), 0.08),
    (("campaign", "keyword"), 0.22),
    (("device",), 0.08),
    (("location",), 0.08),
    (("weekday",), 0.02),
    (("hour",), 0.08),
    (("campaign", "device"), 0.08),
    (("campaign", "keyword", "device"), 0.09),
    (("campaign", "location"), 0.06),
    (("device", "hour"), 0.09),
)
"""What the log odds depend on, and each part's share of their variance; a third of it lies in interactions."""


class Effects:
    """Random effects of every part of a cell, with a stated spread in all.

    Parameters
    ----------
    settings
        Says how many campaigns, keywords, devices and locations there are.
    spread
        Standard deviation of the sum over cells.
    rng
        Where the effects come from.
    """

    def __init__(self, settings: WorldSettings, spread: float, rng: np.random.Generator) -> None:
        size = {
            "campaign": len(settings.campaigns),
            "ad_group": settings.ad_groups,
            "keyword": settings.keywords,
            "device": len(settings.devices),
            "location": len(settings.locations),
            "weekday": 7,
        }
        self._tables = [(axes, spread * np.sqrt(share) * _standard(_draw(rng, axes, size))) for axes, share in PARTS]

    def of(self, cells: Cells) -> NDArray[np.float64]:
        """What the effects add up to, in log odds, shape (n,)."""
        total = np.zeros(len(cells))
        for axes, table in self._tables:
            total += table[tuple(getattr(cells, axis) for axis in axes)]
        return total


def sigmoid(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probability with the given log odds.

    >>> sigmoid(np.array([0.0])).tolist()
    [0.5]
    """
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))


def intercept(log_odds: NDArray[np.float64], mean: float) -> float:
    """What must be added to log odds so that the mean probability is the one wanted, by bisection.

    >>> round(intercept(np.array([1.0]), 0.5), 6)
    -1.0
    """
    low, high = -30.0 - log_odds.max(), 30.0 - log_odds.min()
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if sigmoid(log_odds + middle).mean() < mean else (low, middle)
    return float((low + high) / 2)


def _draw(rng: np.random.Generator, axes: tuple[str, ...], size: dict[str, int]) -> NDArray[np.float64]:
    if axes[-1] != "hour":
        return rng.normal(size=[size[axis] for axis in axes])
    # Hours follow on each other, so their effects are a smooth curve: one wave a day and a half as strong one twice a
    # day.
    leading = [size[axis] for axis in axes[:-1]]
    phase = rng.uniform(0, 2 * np.pi, (*leading, 2))
    angle = 2 * np.pi * np.arange(24) / 24
    return np.asarray(np.cos(angle - phase[..., :1]) + 0.5 * np.cos(2 * angle - phase[..., 1:]))


def _standard(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centred, with a standard deviation of 1; all zero where there is nothing to differ from."""
    spread = table.std()
    return (table - table.mean()) / spread if spread > 0 else np.zeros_like(table)
