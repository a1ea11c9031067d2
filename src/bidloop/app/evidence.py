"""What training found, as the rows that reports and tables show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from bidloop.app.report.content import CoverageRow, ModelRow, ReliabilityRow
from bidloop.models.tuned import TunedKind
from bidloop.prediction.intervals import Coverage
from bidloop.prediction.quality import Bounds, Quality
from bidloop.retraining.evidence import CandidateEvidence, Renewal


def click_rows(renewal: Renewal) -> list[ModelRow]:
    """One row per candidate: how well it predicted clicks; best log loss first."""
    return _model_rows(renewal, lambda candidate: candidate.clicks)


def conversion_rows(renewal: Renewal) -> list[ModelRow]:
    """The same for conversions; empty where none was reported."""
    return _model_rows(renewal, lambda candidate: candidate.conversions)


def reliability_rows(renewal: Renewal) -> list[ReliabilityRow]:
    """Σp/Σy of the clicks of the winner, by field and value: the most shown first."""
    return [
        ReliabilityRow(
            field=field,
            value=value or "(none)",
            impressions=group.impressions,
            clicks=group.clicks,
            ratio=group.ratio,
            interval=(group.lower, group.upper),
        )
        for field, groups in renewal.best.clicks.by_field.items()
        for value, group in sorted(groups.items(), key=lambda item: -item[1].impressions)
        if len(groups) > 1
    ]


def coverage_rows(
    coverage: Coverage | None, unit: Literal["impressions", "clicks"] = "impressions"
) -> list[CoverageRow]:
    """How often the intervals that are answered held.

    Of clicks per impression, those of the coming rate: all together, then by tier of traffic. Of conversions per click only
    the interval of the true rate is answered: the share of counts that it and luck together covered, and its width; nothing
    where the counts could not tell.
    """
    if coverage is None:
        return []
    if unit == "clicks":
        return _counts_covered(coverage)
    starts = [tier.support_from for tier in coverage.tiers]
    names = [
        f"{start:,.0f} – {end:,.0f}" if end is not None else f"from {start:,.0f}"
        for start, end in zip(starts, [*starts[1:], None], strict=True)
    ]
    rows = [
        CoverageRow(tier=f"{name} {unit}", cells=tier.cells, covered=tier.covered, mean_width=tier.width)
        for name, tier in zip(names, coverage.tiers, strict=True)
    ]
    return [
        CoverageRow(tier="all", cells=coverage.cells, covered=coverage.covered, mean_width=coverage.width),
        *rows,
    ]


def tuning_rows(tuned: Mapping[str, TunedKind]) -> list[dict[str, Any]]:
    """What tuning found of each kind: how many settings were tried, and what the best is worth beside the default."""
    return [
        {
            "model": kind,
            "tried": len(found.trials),
            "pruned": found.counts.get("pruned", 0),
            "failed": found.counts.get("failed", 0),
            "default": "–" if found.default is None else f"{found.default:.6f}",
            "best": "–" if found.best is None else f"{found.best:.6f}",
        }
        for kind, found in tuned.items()
    ]


def _counts_covered(coverage: Coverage) -> list[CoverageRow]:
    covered, width = coverage.counts_covered, coverage.true_width
    if covered is None or width is None:
        return []
    return [CoverageRow(tier="counts of all cells", cells=coverage.cells, covered=covered, mean_width=width)]


def _model_rows(renewal: Renewal, of: Callable[[CandidateEvidence], Quality | None]) -> list[ModelRow]:
    found = [(candidate, quality) for candidate in renewal.candidates if (quality := of(candidate)) is not None]
    return [
        ModelRow(
            model=candidate.kind,
            auc=quality.auc,
            auc_interval=_pair(quality.bounds.get("auc")),
            log_loss=quality.log_loss,
            log_loss_interval=_pair(quality.bounds.get("log_loss")),
            calibration_ratio=quality.calibration_ratio,
            ece=quality.ece,
            serves=candidate.kind == renewal.winner,
            behind=_pair(candidate.behind) if quality is candidate.clicks else None,
        )
        for candidate, quality in sorted(found, key=lambda item: item[1].log_loss)
    ]


def _pair(bounds: Bounds | None) -> tuple[float, float] | None:
    return None if bounds is None else (bounds.lower, bounds.upper)
