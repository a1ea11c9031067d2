"""How good are predicted rates? Log loss, ranking, calibration, and how sure we are of each.

Every function takes rows that are single impressions or counts. Symbols: `p` is the predicted rate of a row, in [0, 1];
`impressions` and `clicks` are its counts; `weight` says how many such rows of the population it stands for. All are
float64 arrays of shape (n,). A conversion rate is judged with the same functions, with clicks in the place of
impressions and conversions in the place of clicks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidloop.prediction.reliability import (
    GroupRatio,
    ReliabilityBin,
    calibration_by_group,
    checked_rows,
    curve_error,
    reliability_curve,
)

Floats: TypeAlias = NDArray[np.float64]
Metric: TypeAlias = Callable[[Floats, Floats, Floats, Floats], float]
"""A metric of ``(p, impressions, clicks, weight)``, such as `log_loss`; NaN where it is undefined."""

ByWeight: TypeAlias = Callable[[Floats], float]
Rows: TypeAlias = tuple[Floats, Floats, Floats, Floats]

SMALLEST = 1e-12
"""Predictions are held this far from 0 and 1, so that one impossible event costs 28 nats and not infinity."""


class Bounds(msgspec.Struct, frozen=True):
    """A bootstrap interval of a metric, at `level`."""

    lower: float
    upper: float
    level: float = 0.95


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """How good one model's predictions were on one set of rows.

    Parameters
    ----------
    rows
        Number of rows, unweighted.
    impressions, clicks
        Weighted sums.
    log_loss
        Nats per impression; lower is better.
    constant_log_loss
        Log loss of the observed average rate as the prediction; `None` when all or no impressions were clicked.
    normalized_entropy
        `log_loss` over `constant_log_loss`; below 1 means that the model knows more than the average rate.
    auc
        Probability that a clicked impression is ranked above another; 0.5 is chance; `None` with one class only.
    calibration_ratio
        Sum of predicted clicks over observed clicks (Σp/Σy); 1 is right, 1.1 promises a tenth too many.
    by_field
        The same by field, such as the traffic tier or the device, and by value.
    ece
        Expected calibration error over bins of equal mass, as a rate.
    curve
        Calibration curve, by rising prediction.
    bounds
        Bootstrap intervals by metric name; empty when none were asked for.
    """

    rows: int
    impressions: float
    clicks: float
    log_loss: float
    constant_log_loss: float | None
    normalized_entropy: float | None
    auc: float | None
    calibration_ratio: float | None
    by_field: dict[str, dict[str, GroupRatio]]
    ece: float
    curve: tuple[ReliabilityBin, ...]
    bounds: dict[str, Bounds]


def log_loss(p: ArrayLike, impressions: ArrayLike, clicks: ArrayLike, weight: ArrayLike) -> float:
    """The price of the predictions in nats per impression; lower is better.

    ``-Σ w (c log p + (m - c) log(1 - p)) / Σ w m`` with predictions held in [1e-12, 1 - 1e-12].

    >>> round(log_loss([0.5, 0.5], [1, 1], [1, 0], [1, 1]), 4)
    0.6931
    """
    p_, m, c, w = checked_rows(p, impressions, clicks, weight)
    return _log_loss_by_weight(p_, m, c)(w)


def normalized_entropy(p: ArrayLike, impressions: ArrayLike, clicks: ArrayLike, weight: ArrayLike) -> float:
    """Log loss relative to always predicting the observed average rate; below 1 is better than knowing nothing.

    NaN when all or no impressions were clicked. He et al., "Practical Lessons from Predicting Clicks on Ads at
    Facebook" (2014), section 2.

    >>> normalized_entropy([0.25, 0.25], [2, 2], [1, 0], [1, 1])
    1.0
    """
    p_, m, c, w = checked_rows(p, impressions, clicks, weight)
    entropy = _entropy(float(np.sum(w * c) / np.sum(w * m)))
    return log_loss(p_, m, c, w) / entropy if entropy > 0 else float("nan")


def auc(p: ArrayLike, impressions: ArrayLike, clicks: ArrayLike, weight: ArrayLike) -> float:
    """How often a clicked impression is ranked above one without a click; a tie counts one half.

    NaN when all or no impressions were clicked.

    >>> auc([0.1, 0.2, 0.2], [1, 1, 1], [0, 1, 0], [1, 1, 1])
    0.75
    """
    p_, m, c, w = checked_rows(p, impressions, clicks, weight)
    return _auc_by_weight(p_, m, c)(w)


def calibration_ratio(p: ArrayLike, impressions: ArrayLike, clicks: ArrayLike, weight: ArrayLike) -> float:
    """Predicted clicks over observed clicks (Σp/Σy): 1 is right, 1.1 promises a tenth too many. NaN without a click.

    >>> calibration_ratio([0.1, 0.2], [10, 10], [1, 1], [1, 1])
    1.5
    """
    p_, m, c, w = checked_rows(p, impressions, clicks, weight)
    return _calibration_ratio_by_weight(p_, m, c)(w)


def bootstrap(
    p: ArrayLike,
    clicks: ArrayLike,
    weight: ArrayLike,
    metric: Metric,
    n: int = 200,
    seed: int = 0,
    *,
    impressions: ArrayLike | None = None,
    baseline: ArrayLike | None = None,
    level: float = 0.95,
) -> Bounds:
    """How far a metric would move had the log held other rows of the same kind.

    Parameters
    ----------
    p, clicks, weight
        Predictions, clicks and weights, shape (n,).
    metric
        `log_loss`, `auc`, or any other function of ``(p, impressions, clicks, weight)``.
    n
        Number of resamples of rows, drawn with replacement. Those where the metric is undefined are left out.
    impressions
        Impressions of each row; 1 each when left out.
    baseline
        Predictions of another model for the same rows. The interval is then that of ``metric(p) - metric(baseline)`` on
        the same resamples (paired): an interval without 0 tells the two apart.
    level
        Probability content, in (0, 1).

    Returns
    -------
    Bounds
        Percentile interval. NaN when the metric is undefined on every resample.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> p = rng.uniform(0, 0.5, 2000)
    >>> clicks = (rng.random(2000) < p).astype(float)
    >>> bounds = bootstrap(p, clicks, np.ones(2000), calibration_ratio)
    >>> bounds.lower < 1 < bounds.upper
    True
    >>> bootstrap(p, clicks, np.ones(2000), log_loss, baseline=np.full(2000, clicks.mean())).upper < 0
    True
    """
    m_ = np.ones(np.shape(np.asarray(p))) if impressions is None else impressions
    p_, m, c, w = checked_rows(p, m_, clicks, weight)
    value = _by_weight(metric, p_, m, c)
    if baseline is None:
        return _resampled([value], m, w, n, seed, level)[0]
    other = _by_weight(metric, checked_rows(baseline, m, c, w)[0], m, c)
    return _resampled([lambda drawn: value(drawn) - other(drawn)], m, w, n, seed, level)[0]


def evaluate(
    p: ArrayLike,
    impressions: ArrayLike,
    clicks: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    fields: Mapping[str, ArrayLike] | None = None,
    bins: int = 15,
    resamples: int = 0,
    seed: int = 0,
) -> Quality:
    """Everything there is to say about predictions against what happened.

    Parameters
    ----------
    p, impressions, clicks, weight
        As in the module's description; `weight` is 1 when left out.
    fields
        By name of the field a value per row, such as its traffic tier or advertiser, for Σp/Σy by value.
    bins
        Number of equal-mass bins of the curve and the ECE.
    resamples
        Bootstrap resamples for the intervals of log loss, AUC and Σp/Σy; 0 for none.
    seed
        Of the bootstrap.

    Raises
    ------
    InvalidInput
        When lengths differ, there is no impression, a prediction is not in [0, 1], a number is not finite, or clicks
        exceed impressions.

    Examples
    --------
    >>> quality = evaluate([0.1, 0.3], impressions=[10, 10], clicks=[1, 4])
    >>> round(quality.calibration_ratio, 2), quality.auc > 0.5
    (0.8, True)
    """
    w_ = np.ones(np.shape(np.asarray(p))) if weight is None else weight
    rows = checked_rows(p, impressions, clicks, w_)
    p_, m, c, w = rows
    metrics: dict[str, Metric] = {"log_loss": log_loss, "auc": auc, "calibration_ratio": calibration_ratio}
    values = {name: _known(metric(*rows)) for name, metric in metrics.items()}
    constant = _entropy(float(np.sum(w * c) / np.sum(w * m)))
    curve = reliability_curve(*rows, bins)
    bounded = [name for name in metrics if resamples > 0 and values[name] is not None]
    by_weight = [_by_weight(metrics[name], p_, m, c) for name in bounded]
    return Quality(
        rows=len(p_),
        impressions=float(np.sum(w * m)),
        clicks=float(np.sum(w * c)),
        log_loss=log_loss(*rows),
        constant_log_loss=constant if constant > 0 else None,
        normalized_entropy=_known(normalized_entropy(*rows)),
        auc=values["auc"],
        calibration_ratio=values["calibration_ratio"],
        by_field={name: calibration_by_group(*rows, values) for name, values in (fields or {}).items()},
        ece=curve_error(curve),
        curve=curve,
        bounds=dict(zip(bounded, _resampled(by_weight, m, w, resamples, seed, 0.95), strict=True)),
    )


def _by_weight(metric: Metric, p: Floats, m: Floats, c: Floats) -> ByWeight:
    """The metric as a function of the weights alone, with all else worked out once for many resamples."""
    prepared: dict[Metric, Callable[[Floats, Floats, Floats], ByWeight]] = {
        log_loss: _log_loss_by_weight,
        auc: _auc_by_weight,
        calibration_ratio: _calibration_ratio_by_weight,
    }
    return prepared[metric](p, m, c) if metric in prepared else lambda w: metric(p, m, c, w)


def _log_loss_by_weight(p: Floats, m: Floats, c: Floats) -> ByWeight:
    held = np.clip(p, SMALLEST, 1 - SMALLEST)
    loss = -(c * np.log(held) + (m - c) * np.log1p(-held))
    return lambda w: float(np.sum(w * loss) / np.sum(w * m))


def _calibration_ratio_by_weight(p: Floats, m: Floats, c: Floats) -> ByWeight:
    predicted = m * p

    def ratio(w: Floats) -> float:
        observed = float(np.sum(w * c))
        return float(np.sum(w * predicted)) / observed if observed > 0 else float("nan")

    return ratio


def _auc_by_weight(p: Floats, m: Floats, c: Floats) -> ByWeight:
    order = np.argsort(p, kind="stable")
    starts = np.flatnonzero(np.concatenate(([True], np.diff(p[order]) != 0)))
    clicked, others = c[order], (m - c)[order]

    def area(w: Floats) -> float:
        drawn = w[order]
        won, lost = np.add.reduceat(drawn * clicked, starts), np.add.reduceat(drawn * others, starts)
        pairs = float(won.sum() * lost.sum())
        if pairs == 0:
            return float("nan")
        below = np.cumsum(lost) - lost
        return float(np.sum(won * (below + 0.5 * lost))) / pairs

    return area


def _resampled(metrics: list[ByWeight], m: Floats, w: Floats, n: int, seed: int, level: float) -> list[Bounds]:
    """Percentile intervals of metrics over the same resamples of rows."""
    rng = np.random.default_rng(seed)
    values: list[list[float]] = [[] for _ in metrics]
    for _ in range(n if metrics else 0):
        drawn = w * np.bincount(rng.integers(0, len(w), len(w)), minlength=len(w))
        if np.sum(drawn * m) > 0:
            for metric, found in zip(metrics, values, strict=True):
                found.append(metric(drawn))
    bounds = []
    for found in values:
        known = [value for value in found if not np.isnan(value)]
        lower, upper = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]) if known else (np.nan, np.nan)
        bounds.append(Bounds(float(lower), float(upper), level))
    return bounds


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _entropy(rate: float) -> float:
    return float(-rate * np.log(rate) - (1 - rate) * np.log1p(-rate)) if 0 < rate < 1 else 0.0
