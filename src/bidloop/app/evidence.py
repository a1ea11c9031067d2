"""What training found, as the rows that reports and tables show."""

from __future__ import annotations

from collections.abc import Mapping

from bidloop.app.report.content import ModelRow
from bidloop.prediction.quality import Bounds, Quality


def model_rows(candidates: Mapping[str, Quality], winner: str) -> list[ModelRow]:
    """One row per candidate, best log loss first."""
    return [
        ModelRow(
            model=name,
            auc=quality.auc,
            auc_interval=_pair(quality.bounds.get("auc")),
            log_loss=quality.log_loss,
            log_loss_interval=_pair(quality.bounds.get("log_loss")),
            calibration_ratio=quality.calibration_ratio,
            ece=quality.ece,
            serves=name == winner,
        )
        for name, quality in sorted(candidates.items(), key=lambda item: item[1].log_loss)
    ]


def _pair(bounds: Bounds | None) -> tuple[float, float] | None:
    return None if bounds is None else (bounds.lower, bounds.upper)
