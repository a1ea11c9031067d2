"""Rates, intervals, landscapes and attributions in one call, with a declared answer when the model cannot give one.

Why an answer is less than it should be (`Prediction.degraded`):

| reason | what it means |
|---|---|
| ``no_model`` | no model is loaded; pooled rates answer |
| ``view_mismatch`` | the features are of another view than the model's; pooled rates answer |
| ``features_unavailable`` | the store of features does not answer; pooled rates answer, from what the caller knows |
| ``scoring_failed`` | the graph gave no finite number; pooled rates answer |
| ``no_history`` | pooled rates answer, and nothing at all is known: the rates are the settings' priors |
| ``interval_not_calibrated`` | the interval of the CTR to come is a plain beta interval whose coverage nobody has measured |
| ``credible_interval_not_calibrated`` | a model answered, and the interval of the true CTR is such a plain one |
| ``conversion_interval_not_calibrated`` | a model answered, and the interval of the conversion rate is such a plain one |
| ``order_value_in_other_currency`` | order values were learned in another currency than the opportunity's |
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from bidloop.core.feature_table import UNAVAILABLE, FeatureTable
from bidloop.core.landscape import Landscape
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.core.prediction import POOLED, Attribution, Prediction
from bidloop.prediction.bundle import Bundle
from bidloop.prediction.confidence import confidence
from bidloop.prediction.order_value import cell_of
from bidloop.prediction.rate_intervals import RateIntervals
from bidloop.prediction.scoring import LandscapeScorer, Scorer
from bidloop.prediction.settings import PredictionSettings

Floats: TypeAlias = NDArray[np.float64]

SMALLEST = 1e-9
"""Rates are held this far from 0 and 1."""
CHUNK = 1024
"""Opportunities whose landscapes are drawn at once; bounds the memory."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Served:
    """A bundle with its graphs loaded."""

    bundle: Bundle
    performance: Scorer
    landscape: LandscapeScorer | None

    @classmethod
    def of(cls, bundle: Bundle) -> _Served:
        landscape = bundle.landscape
        return cls(
            bundle,
            Scorer(bundle.model.onnx, bundle.model.encoding),
            None if landscape is None else LandscapeScorer(landscape.onnx, landscape.encoding),
        )


class Predictor:
    """Predicts what comes of showing an ad.

    Parameters
    ----------
    bundle
        The model; `None` answers with pooled rates, and says so.
    settings
        Priors and the like.

    Raises
    ------
    CorruptArtifact
        When a graph of the bundle cannot be read.

    Notes
    -----
    May be shared by threads; `swap` takes effect between two calls, never inside one.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> predictor = Predictor(None)
    >>> opportunity = Opportunity(opportunity_id="1", at=datetime(2026, 1, 1, tzinfo=UTC), campaign_id="shoes")
    >>> table = FeatureTable("a", {"cell_ctr": np.array([0.03])}, {})
    >>> [prediction] = predictor.predict([opportunity], table)
    >>> round(prediction.ctr, 4), prediction.degraded
    (0.03, ('no_model', 'interval_not_calibrated'))
    """

    def __init__(self, bundle: Bundle | None = None, settings: PredictionSettings | None = None) -> None:
        self.settings = settings or PredictionSettings()
        self._served: _Served | None = None
        self.swap(bundle)

    def swap(self, bundle: Bundle | None) -> None:
        """Serve another bundle from the next call on. A bundle that cannot be loaded leaves the present one in
        place.
        """
        self._served = None if bundle is None else _Served.of(bundle)

    @property
    def bundle(self) -> Bundle | None:
        """What is served."""
        served = self._served
        return None if served is None else served.bundle

    @property
    def version(self) -> str:
        """Version of what is served; ``pooled`` without a model."""
        bundle = self.bundle
        return POOLED if bundle is None else bundle.version

    def predict(self, opportunities: Sequence[Opportunity], table: FeatureTable) -> list[Prediction]:
        """Rates, intervals and order values of n opportunities.

        Parameters
        ----------
        opportunities
            n of them.
        table
            Their feature values, n rows.

        Returns
        -------
        list of Prediction
            In order. An answer does not depend, to the last bit, on which others are asked for in the same call. Never
            fails on account of the model: pooled rates answer instead, and `degraded` says why.
        """
        if not opportunities:
            return []
        served = self._served
        logits, reason = _logits(served, table)
        ctr, conversion_rate = _rates(served, logits, len(opportunities))
        support = _support(opportunities, table)
        lacking = ~(np.isfinite(ctr) & np.isfinite(conversion_rate))
        pooled = [self._pooled(opportunities[i], table, i) if lacking[i] else None for i in range(len(opportunities))]
        for i, rates in enumerate(pooled):
            if rates is not None:
                ctr[i], conversion_rate[i] = rates.ctr, rates.conversion_rate
        intervals = RateIntervals.of(
            None if served is None else served.bundle, self.settings, ctr, conversion_rate, support, lacking
        )
        true = intervals.true_ctr
        certain = confidence(ctr, true.lower, true.upper, support * ctr, lacking | ~true.calibrated)
        predictions = []
        for i, opportunity in enumerate(opportunities):
            rates = pooled[i]
            order_value, around, trouble = _order_value(served, opportunity, true.level)
            reasons = [] if rates is None else [reason, *rates.reasons]
            if not intervals.ctr.calibrated[i]:
                reasons.append("interval_not_calibrated")
            if rates is None and not true.calibrated[i]:
                reasons.append("credible_interval_not_calibrated")
            if rates is None and not intervals.true_conversion_rate.calibrated[i]:
                reasons.append("conversion_interval_not_calibrated")
            predictions.append(
                Prediction(
                    ctr=float(ctr[i]),
                    conversion_rate=float(conversion_rate[i]),
                    ctr_interval=intervals.ctr.interval(i),
                    order_value=order_value,
                    model_version=POOLED if served is None else served.bundle.version,
                    support=float(support[i]),
                    degraded=(*reasons, *trouble),
                    ctr_credible_interval=true.interval(i),
                    conversion_rate_interval=intervals.true_conversion_rate.interval(i),
                    confidence=float(certain[i]),
                    order_value_interval=around,
                )
            )
        return predictions

    def landscapes(self, opportunities: Sequence[Opportunity], table: FeatureTable) -> list[Landscape | None]:
        """What each of a range of bids would win, for n opportunities.

        Returns
        -------
        list of Landscape or None
            In order; `None` where no landscape was trained, where bids are of the other charge, where the features are of
            another view, or where the graph gave no number. Made non-decreasing by the running maximum.
        """
        served = self._served
        nothing: list[Landscape | None] = [None] * len(opportunities)
        if served is None or served.landscape is None or served.bundle.landscape is None or not opportunities:
            return nothing
        trained = served.bundle.landscape
        if table.view != trained.encoding.view:
            return nothing
        bids = _grid(trained.lowest, trained.highest, self.settings.landscape_points)
        try:
            chance = np.concatenate(
                [
                    served.landscape.win_probability(table.take(slice(i, i + CHUNK)), bids)
                    for i in range(0, len(opportunities), CHUNK)
                ]
            )
        # Whatever it is, a bid without a landscape is better than no answer.
        except Exception:
            _log.exception("landscape of %s failed", served.bundle.version)
            return nothing
        usable = np.isfinite(chance).all(axis=1)
        rising = np.maximum.accumulate(np.clip(chance, 0.0, 1.0), axis=1)
        return [
            Landscape(bids, rising[i], trained.lowest, trained.highest)
            if usable[i] and opportunity.charge is trained.charge
            else None
            for i, opportunity in enumerate(opportunities)
        ]

    def attributions(self, table: FeatureTable, top: int = 5) -> list[Attribution]:
        """How much each feature moved the click prediction of one opportunity, strongest first.

        Each feature in turn is made unknown, and the change of the calibrated log odds is what it contributed. Sine and
        cosine of an hour, and the hour as a category, count as one feature. Features that move nothing are left out.

        Parameters
        ----------
        table
            Feature values of one row.
        top
            At most so many.

        Returns
        -------
        list of Attribution
            Empty without a model, or when the features are of another view.
        """
        served = self._served
        if served is None or len(table) != 1 or table.view != served.bundle.view_version:
            return []
        features = _features(served.bundle, table)
        rows = _occluded(table, list(features.values()))
        log_odds = _logits(served, rows)[0]
        if log_odds is None or not np.isfinite(log_odds[:, 0]).all():
            return []
        calibrated = served.bundle.calibration.click.apply(log_odds[:, 0])
        moved = calibrated[0] - calibrated[1:]
        found = [
            Attribution(feature, _shown(table, feature, columns), float(moved[i]))
            for i, (feature, columns) in enumerate(features.items())
            if moved[i] != 0
        ]
        return sorted(found, key=lambda attribution: -abs(attribution.log_odds))[:top]

    def _pooled(self, opportunity: Opportunity, table: FeatureTable, row: int) -> _Pooled:
        """What is known without a model: the cell's rates, the caller's own, the account's, or the settings'."""
        settings = self.settings
        account_ctr = _at(table, "account_ctr", row)
        account_cvr = _at(table, "account_conversion_rate", row)
        ctr, cvr = _at(table, "cell_ctr", row), _at(table, "cell_conversion_rate", row)
        past = opportunity.history
        if past is not None and past.impressions > 0 and ctr is None:
            prior = account_ctr or settings.prior_ctr
            ctr = _drawn(past.ctr, past.impressions, prior, settings.prior_clicks)
        if past is not None and past.clicks > 0 and cvr is None:
            prior = account_cvr or settings.prior_conversion_rate
            cvr = _drawn(past.conversion_rate, past.clicks, prior, settings.prior_clicks)
        ctr = account_ctr if ctr is None else ctr
        cvr = account_cvr if cvr is None else cvr
        reasons = ("no_history",) if ctr is None else ()
        ctr = settings.prior_ctr if ctr is None else ctr
        cvr = settings.prior_conversion_rate if cvr is None else cvr
        return _Pooled(min(max(ctr, SMALLEST), 1 - SMALLEST), min(max(cvr, SMALLEST), 1 - SMALLEST), reasons)


@dataclass(frozen=True)
class _Pooled:
    ctr: float
    conversion_rate: float
    reasons: tuple[str, ...]


def _logits(served: _Served | None, table: FeatureTable) -> tuple[NDArray[np.float32] | None, str]:
    """Log odds of both heads, or `None` and the reason."""
    if table.view == UNAVAILABLE:
        return None, "features_unavailable"
    if served is None:
        return None, "no_model"
    if table.view != served.bundle.view_version:
        return None, "view_mismatch"
    try:
        return served.performance.logits(table), "scoring_failed"
    # A missing column, a broken graph, a runtime that gave up: a pooled answer that says so is better than none.
    except Exception:
        _log.exception("scoring with %s failed", served.bundle.version)
        return None, "scoring_failed"


def _rates(served: _Served | None, logits: NDArray[np.float32] | None, n: int) -> tuple[Floats, Floats]:
    """Calibrated CTR and conversion rate; NaN where the model gave no number."""
    if served is None or logits is None:
        return np.full(n, np.nan), np.full(n, np.nan)
    calibration = served.bundle.calibration
    heads = (calibration.click.apply(logits[:, 0]), calibration.conversion.apply(logits[:, 1]))
    click, conversion = (
        np.where(np.isfinite(head), np.clip(expit(head), SMALLEST, 1 - SMALLEST), np.nan) for head in heads
    )
    return click, conversion


def _support(opportunities: Sequence[Opportunity], table: FeatureTable) -> Floats:
    """Past impressions behind each cell's rate: as the features know them, or else as the caller states them."""
    column = table.numeric.get("cell_impressions")
    known = np.full(len(opportunities), np.nan) if column is None else np.array(column, dtype=np.float64)
    for i in np.flatnonzero(~np.isfinite(known)).tolist():
        past = opportunities[i].history
        known[i] = 0.0 if past is None else past.impressions
    return np.asarray(np.maximum(known, 0.0), dtype=np.float64)


def _at(table: FeatureTable, name: str, row: int) -> float | None:
    column = table.numeric.get(name)
    if column is None or not math.isfinite(column[row]):
        return None
    return float(column[row])


def _drawn(rate: float, trials: float, prior: float, events: float) -> float | None:
    """A stated rate drawn towards a prior that weighs `events` events."""
    if not (math.isfinite(rate) and 0 <= rate <= 1):
        return None
    return (rate * trials + events) / (trials + events / prior)


def _order_value(
    served: _Served | None, opportunity: Opportunity, level: float
) -> tuple[Money | None, tuple[Money, Money] | None, tuple[str, ...]]:
    """What a conversion is worth, between which amounts, and why that is not known."""
    values = None if served is None else served.bundle.order_value
    if values is None:
        return None, None, ()
    if values.currency != opportunity.currency:
        return None, None, ("order_value_in_other_currency",)
    campaign, cell = opportunity.campaign_id, cell_of(opportunity)
    return values.of(campaign, cell), values.interval(campaign, cell, level=level), ()


def _grid(lowest: float, highest: float, points: int) -> Floats:
    """Geometric bids from a quarter of the lowest to twice the highest."""
    return np.asarray(np.geomspace(max(lowest, highest * 1e-6) / 4, highest * 2, points), dtype=np.float64)


def _features(bundle: Bundle, table: FeatureTable) -> dict[str, list[str]]:
    """Columns that the model reads, by the name of the feature that they belong to."""
    encoding = bundle.model.encoding
    columns = [field.name for field in encoding.numeric]
    columns += [source for category in encoding.categories for source in category.sources]
    features: dict[str, list[str]] = {}
    for column in dict.fromkeys(columns):
        stem = column.removesuffix("_sin").removesuffix("_cos")
        paired = f"{stem}_sin" in table.numeric and f"{stem}_cos" in table.numeric
        features.setdefault(stem if paired else column, []).append(column)
    return features


def _occluded(table: FeatureTable, features: Sequence[Sequence[str]]) -> FeatureTable:
    """The row as it is, and once for each feature with that feature unknown."""
    numeric = {name: np.repeat(column, len(features) + 1) for name, column in table.numeric.items()}
    categorical = {name: np.repeat(column, len(features) + 1) for name, column in table.categorical.items()}
    for row, columns in enumerate(features, start=1):
        for column in columns:
            if column in numeric:
                numeric[column][row] = np.nan
            if column in categorical:
                categorical[column][row] = ""
    return FeatureTable(table.view, numeric, categorical)


def _shown(table: FeatureTable, feature: str, columns: Sequence[str]) -> str:
    """The feature's value, for a person."""
    if feature in table.categorical:
        return str(table.categorical[feature][0])
    return ", ".join(_number(table.numeric, column) for column in columns)


def _number(numeric: Mapping[str, Floats], column: str) -> str:
    value = float(numeric[column][0])
    return "" if math.isnan(value) else f"{value:.4g}"
