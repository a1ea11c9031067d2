"""A training run as plain data: which model came of what, and what it was worth. Kept, recorded in a registry, compared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec

from bidloop.core.errors import InvalidInput
from bidloop.retraining.evidence import CandidateEvidence, Renewal

MEASURES = ("log_loss", "normalized_entropy", "auc", "calibration_ratio", "ece")
"""What is told of a `Quality`, by the names of its fields."""

DAY = 86_400.0

Parameters = Mapping[str, float | int | str]


class Point(msgspec.Struct, frozen=True, array_like=True):
    """A point of a curve, and where there are any the bounds of its height."""

    x: float
    y: float
    lower: float | None = None
    upper: float | None = None


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """How often the intervals of one tier of traffic held: `support_from` past impressions on, as shares of its `cells`."""

    support_from: float
    cells: int
    covered: float
    width: float


class CandidateRun(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of model that was trained, and what it was worth on the held-out days.

    Parameters
    ----------
    kind, parameters, seconds
        What was trained, with which parameters, and how long it took.
    metrics
        Of clicks and of conversions, such as ``clicks/log_loss``.
    bounds
        95 % bootstrap bounds of those metrics that have them; ``clicks/log_loss behind`` are those of the log loss that the
        winner saves, on the same resamples.
    reliability
        Predicted (x) against observed rate of clicks, with its bounds.
    learning
        Held-out loss (y) by epoch or tree round (x); empty for what does not learn in steps.
    """

    kind: str
    parameters: dict[str, float | int | str]
    metrics: dict[str, float]
    bounds: dict[str, tuple[float, float]] = {}
    reliability: tuple[Point, ...] = ()
    learning: tuple[Point, ...] = ()
    seconds: float = 0.0


class DataVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Which data a model was trained and judged on.

    Parameters
    ----------
    as_of
        Nothing later than this instant was known.
    first, last
        Times of the first and the last row.
    rows
        Rows by part of the split: ``fit``, ``validation``, ``held_out``.
    fingerprint
        Models with the same one, and of the same feature view, were judged on the very same rows.
    """

    as_of: datetime
    first: datetime
    last: datetime
    rows: dict[str, int]
    fingerprint: str


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What one training did, and the evidence for it.

    Parameters
    ----------
    version
        Of the bundle.
    kind
        Which of the candidates it holds.
    trained_at, seconds
        When, and how long all of it took.
    view_version
        The feature view that the model reads.
    data
        What it was trained and judged on.
    code
        Versions of what trained it, as `code_version` tells.
    parameters
        How the training was set.
    candidates
        All that were trained, the winner among them.
    level, covered, tiers
        Stated and measured coverage of the intervals, and the same by tier of traffic; `None` and empty where too few cells
        were there to measure.
    maturity
        Share of conversions that are reported (y) by the days since the click (x).
    """

    version: str
    kind: str
    trained_at: datetime
    seconds: float
    view_version: str
    data: DataVersion
    code: dict[str, str]
    parameters: dict[str, float | int | str]
    candidates: tuple[CandidateRun, ...]
    level: float = 0.95
    covered: float | None = None
    tiers: tuple[Tier, ...] = ()
    maturity: tuple[Point, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in [candidate.kind for candidate in self.candidates]:
            raise InvalidInput(f"a run won by {self.kind!r}", path="kind", expected="one of its candidates")

    @property
    def winner(self) -> CandidateRun:
        """The candidate that the bundle holds."""
        return next(candidate for candidate in self.candidates if candidate.kind == self.kind)

    @property
    def metrics(self) -> dict[str, float]:
        """The winner's metrics and bounds, and the coverage of the intervals."""
        told = dict(flat_metrics(self.winner)) | {"seconds": self.seconds}
        if self.covered is not None:
            told["intervals/coverage"] = self.covered
        for i, tier in enumerate(self.tiers, 1):
            told[f"intervals/tier {i} coverage"] = tier.covered
            told[f"intervals/tier {i} width"] = tier.width
        return told


def run_of(
    renewal: Renewal,
    *,
    trained_at: datetime,
    seconds: float,
    code: Mapping[str, str],
    parameters: Parameters | None = None,
) -> Run:
    """A renewal as a run tells it: metrics that are undefined are left out.

    Parameters
    ----------
    trained_at, seconds, code, parameters
        As in `Run`; a renewal does not know them.
    """
    data, coverage = renewal.data, renewal.coverage
    return Run(
        version=renewal.version,
        kind=renewal.winner,
        trained_at=trained_at,
        seconds=seconds,
        view_version=renewal.view_version,
        data=DataVersion(
            as_of=data.as_of, first=data.first, last=data.last, rows=data.rows, fingerprint=data.fingerprint
        ),
        code=dict(code),
        parameters=dict(parameters or {}),
        candidates=tuple(_candidate_run(candidate) for candidate in renewal.candidates),
        level=coverage.level if coverage else 0.95,
        covered=coverage.covered if coverage else None,
        tiers=tuple(
            Tier(support_from=one.support_from, cells=one.cells, covered=one.covered, width=one.width)
            for one in (coverage.tiers if coverage else ())
        ),
        maturity=_maturity(renewal),
    )


def _candidate_run(candidate: CandidateEvidence) -> CandidateRun:
    judged = {"clicks": candidate.clicks}
    if candidate.conversions is not None:
        judged["conversions"] = candidate.conversions
    bounds = {
        f"{what}/{name}": (bounds.lower, bounds.upper)
        for what, quality in judged.items()
        for name, bounds in quality.bounds.items()
    }
    if candidate.behind is not None:
        bounds["clicks/log_loss behind"] = (candidate.behind.lower, candidate.behind.upper)
    return CandidateRun(
        kind=candidate.kind,
        parameters=dict(candidate.parameters),
        metrics={
            f"{what}/{name}": float(value)
            for what, quality in judged.items()
            for name in MEASURES
            if (value := getattr(quality, name)) is not None and math.isfinite(value)
        },
        bounds=bounds,
        reliability=tuple(Point(one.predicted, one.observed, one.lower, one.upper) for one in candidate.clicks.curve),
        learning=tuple(Point(float(step), loss) for step, loss in enumerate(candidate.curve, 1)),
        seconds=candidate.seconds,
    )


def _maturity(renewal: Renewal) -> tuple[Point, ...]:
    if renewal.delays is None:
        return ()
    curve = renewal.delays.curve(None)
    columns = zip(curve.ages, curve.shares, curve.lower, curve.upper, strict=True)
    return tuple(Point(age / DAY, share, lower, upper) for age, share, lower, upper in columns)


def flat_metrics(candidate: CandidateRun) -> Iterator[tuple[str, float]]:
    """Metrics of a candidate with their bounds beside them, and what it took."""
    yield from candidate.metrics.items()
    for name, (lower, upper) in candidate.bounds.items():
        yield from ((f"{name}_lower", lower), (f"{name}_upper", upper))
    yield "seconds", candidate.seconds
