"""How good is a candidate? Calibrated on the validation days, judged on the held-out ones, compared with the best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from bidloop.core.examples import Examples
from bidloop.core.feature_table import FeatureTable
from bidloop.models.fit import Trial
from bidloop.prediction.calibration import Calibration, Calibrations, fit_calibration
from bidloop.prediction.quality import Bounds, Quality, bootstrap, evaluate, log_loss
from bidloop.prediction.reliability import TIER, top_values, traffic_tiers
from bidloop.prediction.scoring import Scorer
from bidloop.retraining.evidence import CandidateEvidence

Floats = NDArray[np.float64]

RESAMPLES = 200
"""Bootstrap resamples behind each interval of a candidate's quality."""


class Candidate:
    """One kind of model, tried out and final, with its calibration and what it is worth on the held-out days.

    Calibration is learned from what the trial predicted for the validation days, which it had not seen; the final model, which
    has, is the one that serves and is judged.

    Conversions may still arrive, so they are calibrated on, and judged by, what has been reported by now: the conversion rate
    times the share that has had its time (`Examples.maturity`).
    """

    def __init__(self, trial: Trial, validation: Examples, held_out: Examples) -> None:
        self.trial, self.model = trial, trial.final
        self._early, self._final = (Scorer(model.onnx, model.encoding) for model in (trial.early, trial.final))
        raw = self._early.logits(validation.features).astype(np.float64)
        self.calibrations = Calibrations(
            click=fit_calibration(raw[:, 0], validation.clicks, validation.impressions, validation.weight),
            conversion=_conversion_calibration(raw[:, 1], validation),
        )
        self._held_out = held_out
        self._ctr, self._conversion_rate = self.rates(held_out)
        self.log_loss = log_loss(self._ctr, held_out.impressions, held_out.clicks, held_out.weight)

    def rates(self, examples: Examples, *, tried: bool = False) -> tuple[Floats, Floats]:
        """Calibrated click and conversion rates of the final model, or of the trial's; shape (n,) each."""
        raw = (self._early if tried else self._final).logits(examples.features).astype(np.float64)
        return (
            expit(self.calibrations.click.apply(raw[:, 0])),
            expit(self.calibrations.conversion.apply(raw[:, 1])),
        )

    def evidence(self, best: Candidate, fields: dict[str, NDArray[np.str_]]) -> CandidateEvidence:
        """What it was worth, by field as well, and how far it is behind the best."""
        held = self._held_out
        return CandidateEvidence(
            kind=self.model.name,
            parameters=dict(self.model.parameters),
            seconds=self.trial.seconds,
            curve=tuple(loss for _, loss in self.trial.curve),
            calibration=self.calibrations,
            clicks=evaluate(self._ctr, held.impressions, held.clicks, held.weight, fields=fields, resamples=RESAMPLES),
            conversions=_conversion_quality(self._conversion_rate, held, fields),
            behind=None if best is self else self._behind(best),
        )

    def _behind(self, best: Candidate) -> Bounds:
        held = self._held_out
        return bootstrap(
            self._ctr,
            held.clicks,
            held.weight,
            log_loss,
            RESAMPLES,
            impressions=held.impressions,
            baseline=best._ctr,
        )


def fields_of(examples: Examples, campaigns: Sequence[str]) -> dict[str, NDArray[np.str_]]:
    """By what reliability is told: the traffic tier of the campaign, and the most frequent values of each category.

    Parameters
    ----------
    examples
        n rows.
    campaigns
        Campaign of each.
    """
    mass = examples.weight * examples.impressions
    table: FeatureTable = examples.features
    tiers = {TIER: traffic_tiers(np.asarray(campaigns, dtype=str), mass)}
    return tiers | {name: top_values(column.astype(str), mass) for name, column in table.categorical.items()}


def _clicked(examples: Examples) -> tuple[NDArray[np.bool_], Floats]:
    """Rows with a click, and the share of their conversions that has been reported by now."""
    maturity = np.ones(len(examples)) if examples.maturity is None else examples.maturity
    clicked = examples.clicks > 0
    return clicked, maturity[clicked]


def _conversion_calibration(log_odds: Floats, examples: Examples) -> Calibration:
    clicked, maturity = _clicked(examples)
    if not clicked.any():
        return Calibration()
    clicks = examples.clicks[clicked]
    conversions = np.minimum(examples.conversions[clicked], clicks)
    return fit_calibration(log_odds[clicked], conversions, clicks * maturity, examples.weight[clicked], late=True)


def _conversion_quality(
    conversion_rate: Floats, examples: Examples, fields: dict[str, NDArray[np.str_]]
) -> Quality | None:
    clicked, maturity = _clicked(examples)
    clicks = examples.clicks[clicked]
    conversions = np.minimum(examples.conversions[clicked], clicks)
    if not conversions.any():
        return None
    return evaluate(
        conversion_rate[clicked] * maturity,
        clicks,
        conversions,
        examples.weight[clicked],
        fields={name: values[clicked] for name, values in fields.items()},
        resamples=RESAMPLES,
    )
