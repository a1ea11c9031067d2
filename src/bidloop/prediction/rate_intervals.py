"""The intervals of an answer: the model's where it answered and brings them, plain ones elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
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
        Which of them are the model's own; the others are of the settings' level and were never measured. Shape (n,).
    level, measured
        Stated and measured coverage of the model's own.
    plain_level
        Stated coverage of the others.
    """

    lower: Floats
    upper: Floats
    calibrated: NDArray[np.bool_]
    level: float
    measured: float | None
    plain_level: float

    def interval(self, i: int) -> Interval:
        """That of opportunity i."""
        lower, upper = float(self.lower[i]), float(self.upper[i])
        if self.calibrated[i]:
            return Interval(lower, upper, self.level, self.measured)
        return Interval(lower, upper, self.plain_level)


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

    @property
    def calibrated(self) -> NDArray[np.bool_]:
        """Which opportunities have calibrated intervals of the CTR to come; shape (n,)."""
        return self.ctr.calibrated

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
            Say what a plain interval is like.
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
        plain = _plain(ctr, support, settings)
        return cls(
            ctr=_either(None if clicks is None else _coming(clicks, ctr, support), plain, pooled),
            true_ctr=_either(None if clicks is None else _true(clicks, ctr, support), plain, pooled),
            true_conversion_rate=_either(
                None if conversions is None else _true(conversions, conversion_rate, past_clicks),
                _plain(conversion_rate, past_clicks, settings),
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


def _either(own: _Bounds | None, plain: _Bounds, pooled: NDArray[np.bool_]) -> Bounds:
    if own is None:
        own, pooled = plain, np.ones(len(pooled), dtype=np.bool_)
    return Bounds(
        np.where(pooled, plain.lower, own.lower),
        np.where(pooled, plain.upper, own.upper),
        ~pooled,
        own.level,
        own.measured,
        plain.level,
    )


def _plain(rate: Floats, support: Floats, settings: PredictionSettings) -> _Bounds:
    """Bounds of a beta distribution around the rate, which counts as many past trials as there were, up to a limit."""
    strength = np.maximum(settings.prior_clicks / rate, np.minimum(support, settings.pooled_support))
    tail = (1 - settings.level) / 2
    a, b = rate * strength, (1 - rate) * strength
    return _Bounds(
        np.minimum(betaincinv(a, b, tail), rate), np.maximum(betaincinv(a, b, 1 - tail), rate), settings.level
    )
