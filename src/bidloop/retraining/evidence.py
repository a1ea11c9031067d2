"""What a renewal did, and the evidence for it: plain data for tables, reports and the registry of runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from bidloop.models.tuned import TunedKind
from bidloop.outcomes.delay import DelayModel
from bidloop.prediction.calibration import Calibrations
from bidloop.prediction.intervals import Coverage
from bidloop.prediction.quality import Bounds, Quality


class TrainingData(msgspec.Struct, frozen=True, kw_only=True):
    """What was learned from.

    Parameters
    ----------
    as_of
        Nothing that became known later was looked at.
    first, last
        Times of the first and the last row.
    rows
        Number of rows that were fitted, validated on, and held out.
    impressions, clicks, conversions
        Weighted counts of all rows.
    fingerprint
        Hash of the rows' times and counts and of their split: two renewals of the same fingerprint and view are judged on the
        same rows.
    """

    as_of: datetime
    first: datetime
    last: datetime
    rows: dict[str, int]
    impressions: float
    clicks: float
    conversions: float
    fingerprint: str


class CandidateEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of model was worth on the held-out days.

    Parameters
    ----------
    kind, parameters
        What it is, and what it was trained with.
    seconds
        How long its training took.
    curve
        Log loss on the validation days after each epoch or tree, at these days' own level; empty where there is nothing to stop.
    calibration
        What was learned on the validation days.
    clicks
        Quality of the click rates.
    conversions
        Quality of the conversion rates of what was reported by now; `None` where nothing was.
    behind
        Paired bootstrap interval of its log loss minus the winner's, on the same resamples of the held-out rows: where it
        holds 0, the two cannot be told apart. `None` for the winner.
    """

    kind: str
    parameters: dict[str, float | int | str]
    seconds: float
    curve: tuple[float, ...]
    calibration: Calibrations
    clicks: Quality
    conversions: Quality | None
    behind: Bounds | None


class Renewal(msgspec.Struct, frozen=True, kw_only=True):
    """What a renewal did.

    Parameters
    ----------
    version, winner
        Version of the bundle, and which kind of model it holds.
    view_version
        Version of the feature view.
    data
        What was learned from.
    candidates
        Every kind that was trained, best log loss first.
    failed
        Every kind that could not be trained, and why.
    coverage, conversion_coverage
        How often the intervals of click and conversion rates held on the held-out days; `None` when there were too few cells.
    delays
        When conversions are reported, and so how much of them is still to come; `None` where no conversion tells.
    landscape
        Whether a bid landscape was learned.
    hyperparameters
        What the kinds were trained with, as plain data.
    tuned
        What a tuning found before of each kind; empty without one.
    """

    version: str
    winner: str
    view_version: str
    data: TrainingData
    candidates: tuple[CandidateEvidence, ...]
    failed: dict[str, str] = {}
    coverage: Coverage | None
    conversion_coverage: Coverage | None
    delays: DelayModel | None
    landscape: bool
    hyperparameters: dict[str, Any] = {}
    tuned: dict[str, TunedKind] = {}

    @property
    def best(self) -> CandidateEvidence:
        """The winner's own evidence."""
        return next(candidate for candidate in self.candidates if candidate.kind == self.winner)
