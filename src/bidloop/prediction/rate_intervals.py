"""The intervals of an answer: the model's where it answered and brings them, plain ones elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from bidloop.core.prediction import Interval
from bidloop.prediction.bundle import Bundle
from bidloop.prediction.intervals import IntervalModel
from bidloop.prediction.settings import PredictionSettings

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Bounds:
    """Intervals of one rate for n opportunities.

    Parameters
    ----------
    lower, upper
        Shape (n,).
    calibrated
        Which of them are the model's own; the others are plain ones, which were never measured. Shape (n,).
    level
        Stated coverage of all.
    measured
        Measured coverage of the model's own.
    """

    lower: Floats
    upper: Floats
    calibrated: NDArray[np.bool_]
    level: float
    measured: float | None

    def interval(self, i: int) -> Interval:
        """That of opportunity i."""
        measured = self.measured if self.calibrated[i] else None
        return Interval(float(self.lower[i]), float(self.upper[i]), self.level, measured)


@dataclass(frozen=True)
class RateIntervals:
    """All intervals of n opportunities.

    Parameters
    ----------
    ctr
        Of the realised CTR of the coming impressions.
    true_ctr, true_conversion_rate
        Of the true rates.
    """

    ctr: Bounds
    true_ctr: Bounds
    true_conversion_rate: Bounds

    @classmethod
    def of(
        cls,
        bundle: Bundle | None,
        settings: PredictionSettings,
        ctr: Floats,
        conversion_rate: Floats,
        support: Floats,
        pooled: NDArray[np.bool_],
    ) -> RateIntervals:
        """The intervals of n predicted rates.

        Parameters
        ----------
        bundle
            What is served; `None` without a model.
        settings
            Say what a plain interval is like. Its level is the model's, so that all intervals of an answer are of one level;
            the settings' without a model.
        ctr, conversion_rate
            Predicted rates in (0, 1), shape (n,).
        support
            Past impressions, shape (n,). The past clicks behind a conversion rate are those expected of them.
        pooled
            Where the model did not answer: its intervals would not be those of the rate given. Shape (n,).
        """
        clicks = None if bundle is None else bundle.intervals
        conversions = None if bundle is None else bundle.conversion_intervals
        past_clicks = support * ctr
        level = next((model.level for model in (clicks, conversions) if model is not None), settings.level)
        plain = partial(_plain, ctr, support, settings, level)
        return cls(
            ctr=_either(None if clicks is None else _coming(clicks, ctr, support), plain, pooled),
            true_ctr=_either(None if clicks is None else _true(clicks, ctr, support), plain, pooled),
            true_conversion_rate=_either(
                None if conversions is None else _true(conversions, conversion_rate, past_clicks),
                partial(_plain, conversion_rate, past_clicks, settings, level),
                pooled,
            ),
        )


@dataclass(frozen=True)
class _Bounds:
    lower: Floats
    upper: Floats
    level: float
    measured: float | None = None


def _coming(model: IntervalModel, p: Floats, support: Floats) -> _Bounds:
    return _Bounds(*model.bounds(p, support), model.level, model.measured_coverage)


def _true(model: IntervalModel, p: Floats, support: Floats) -> _Bounds | None:
    if (spread := model.spread) is None:
        return None
    return _Bounds(*spread.bounds(p, support, level=model.level), model.level, spread.measured_coverage)


def _either(own: _Bounds | None, plain: Callable[[], _Bounds], pooled: NDArray[np.bool_]) -> Bounds:
    """The model's own intervals; plain ones, which are worked out only where they are needed, for what is pooled."""
    if own is None:
        only = plain()
        return Bounds(only.lower, only.upper, np.zeros(len(pooled), dtype=np.bool_), only.level, only.measured)
    lower, upper = own.lower, own.upper
    if pooled.any():
        other = plain()
        lower, upper = np.where(pooled, other.lower, lower), np.where(pooled, other.upper, upper)
    return Bounds(lower, upper, ~pooled, own.level, own.measured)


def _plain(rate: Floats, support: Floats, settings: PredictionSettings, level: float) -> _Bounds:
    """Bounds of a beta distribution around the rate, which counts as many past trials as there were, up to a limit."""
    strength = np.maximum(settings.prior_clicks / rate, np.minimum(support, settings.pooled_support))
    tail = (1 - level) / 2
    a, b = rate * strength, (1 - rate) * strength
    return _Bounds(np.minimum(betaincinv(a, b, tail), rate), np.maximum(betaincinv(a, b, 1 - tail), rate), level)
