"""A training run as plain data: what a renewal did, when, and by which program. Kept, recorded in a registry, compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

import msgspec

from bidloop.prediction.intervals import Coverage
from bidloop.prediction.quality import Quality
from bidloop.prediction.reliability import TIER
from bidloop.retraining.evidence import CandidateEvidence, Renewal

MEASURES = ("log_loss", "normalized_entropy", "auc", "calibration_ratio", "ece")
"""What is told of a `Quality`, by the names of its fields."""

Parameters = Mapping[str, float | int | str]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What one training did, and the evidence for it.

    Parameters
    ----------
    renewal
        What was trained on which data, and what it was worth.
    trained_at, seconds
        When, and how long all of it took.
    code
        Versions of what trained it, as `code_version` tells.
    parameters
        How the training was set.
    """

    renewal: Renewal
    trained_at: datetime
    seconds: float
    code: dict[str, str]
    parameters: dict[str, float | int | str] = {}

    @property
    def version(self) -> str:
        """Of the bundle."""
        return self.renewal.version

    @property
    def metrics(self) -> dict[str, float]:
        """The winner's metrics, and the coverage of the intervals, such as ``intervals/coverage``, by tier of traffic as well."""
        renewal = self.renewal
        return {
            **metrics_of(renewal.best),
            **_coverage(renewal.coverage, "intervals"),
            **_counts(renewal.coverage, "intervals"),
            **_counts(renewal.conversion_coverage, "conversion intervals"),
            "seconds": self.seconds,
        }


def metrics_of(candidate: CandidateEvidence) -> dict[str, float]:
    """What a candidate was worth, flat: such as ``clicks/log_loss``, and its bounds as ``clicks/log_loss_lower``.

    ``clicks/log_loss behind_lower`` is of the log loss that the winner saves, on the same resamples; ``clicks/calibration_ratio
    head`` is Σp/Σy of the largest campaigns. What is not defined is left out.
    """
    told: dict[str, float | None] = {}
    for what, quality in (("clicks", candidate.clicks), ("conversions", candidate.conversions)):
        if quality is not None:
            told |= {f"{what}/{name}": value for name, value in _of_quality(quality).items()}
    if candidate.behind is not None:
        told |= {"clicks/log_loss behind_lower": candidate.behind.lower}
        told |= {"clicks/log_loss behind_upper": candidate.behind.upper}
    told["seconds"] = candidate.seconds
    return {name: float(value) for name, value in told.items() if value is not None and math.isfinite(value)}


def _of_quality(quality: Quality) -> dict[str, float | None]:
    told: dict[str, float | None] = {name: getattr(quality, name) for name in MEASURES}
    for name, bounds in quality.bounds.items():
        told |= {f"{name}_lower": bounds.lower, f"{name}_upper": bounds.upper}
    return told | {f"calibration_ratio {tier}": one.ratio for tier, one in quality.by_field.get(TIER, {}).items()}


def _coverage(coverage: Coverage | None, what: str) -> dict[str, float]:
    if coverage is None:
        return {}
    told = {f"{what}/coverage": coverage.covered}
    for i, tier in enumerate(coverage.tiers, 1):
        told |= {f"{what}/tier {i} coverage": tier.covered, f"{what}/tier {i} width": tier.width}
    return told


def _counts(coverage: Coverage | None, what: str) -> dict[str, float]:
    """Of the interval of the true rate, as far as counts can tell."""
    covered = None if coverage is None else coverage.counts_covered
    return {} if covered is None else {f"{what}/counts covered": covered}
