"""What a report says: plain data, which the page draws, the terminal prints and `--json` hands out."""

from __future__ import annotations

from datetime import datetime

import msgspec


class PolicyRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one policy earned on the test days. Money in account currency; `None` where it does not apply."""

    policy: str
    impressions: float
    clicks: float
    conversions: float
    value: float | None
    spend: float
    cpa: float | None
    roas: float | None
    budget_used: float | None = None


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """How well one model predicted on the held-out days; the pairs are 95 % bootstrap intervals.

    `behind` is that of its log loss minus the log loss of the model that serves, on the same resamples of rows: where it holds 0,
    the two cannot be told apart.
    """

    model: str
    auc: float | None
    auc_interval: tuple[float, float] | None
    log_loss: float
    log_loss_interval: tuple[float, float] | None
    calibration_ratio: float | None
    ece: float
    serves: bool
    behind: tuple[float, float] | None = None


class CalibrationPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One point of the calibration curve of the model that serves."""

    predicted: float
    observed: float
    lower: float
    upper: float


class ReliabilityRow(msgspec.Struct, frozen=True, kw_only=True):
    """Predicted over observed clicks where a field has a value; the pair is a 95 % interval, open where nothing was clicked."""

    field: str
    value: str
    impressions: float
    clicks: float
    ratio: float | None
    interval: tuple[float, float | None]


class CoverageRow(msgspec.Struct, frozen=True, kw_only=True):
    """How often the intervals of one traffic tier covered the coming rate."""

    tier: str
    cells: int
    covered: float
    mean_width: float


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A named line: `x` and `y` of equal length."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


class Lean(msgspec.Struct, frozen=True, kw_only=True):
    """How far a feature moves the predicted log odds on average over sampled decisions."""

    feature: str
    mean_absolute_log_odds: float


class SampleDecision(msgspec.Struct, frozen=True, kw_only=True):
    """One decision as an example: the bid after each stage, and why."""

    decision_id: str
    title: str
    stages: tuple[tuple[str, float, str], ...]
    reasons: tuple[str, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a report says.

    Parameters
    ----------
    policies
        Rows of the policy table, ours among them.
    spend, clicks, value
        Cumulative curves by policy over the test period; x in seconds since 1970.
    reliability
        Σp/Σy of the model that serves, by traffic tier and by the most frequent values of each field.
    maturity
        Share of a campaign's conversions that has been reported, by days since the click.
    landscape
        Probability of winning by bid, of some example opportunities; x in account currency.
    intake
        Events accepted, duplicates, and rejected by reason.
    notes
        What a reader should know before believing the figures.
    """

    title: str
    subtitle: str
    made_at: datetime
    currency: str
    bid_unit: str
    model_version: str
    confidence_level: float
    measured_coverage: float | None
    policies: tuple[PolicyRow, ...]
    models: tuple[ModelRow, ...]
    conversion_models: tuple[ModelRow, ...]
    calibration: tuple[CalibrationPoint, ...]
    reliability: tuple[ReliabilityRow, ...]
    coverage: tuple[CoverageRow, ...]
    conversion_coverage: tuple[CoverageRow, ...]
    maturity: tuple[Curve, ...]
    landscape: tuple[Curve, ...]
    spend: tuple[Curve, ...]
    clicks: tuple[Curve, ...]
    value: tuple[Curve, ...]
    leans_on: tuple[Lean, ...]
    decisions: tuple[SampleDecision, ...]
    intake: dict[str, int]
    notes: tuple[str, ...]
