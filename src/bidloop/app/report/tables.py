"""A report in the terminal."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from bidloop.app.report.content import ModelRow, PolicyRow, Report
from bidloop.app.terminal import figure, out, print_table


def print_report(report: Report) -> None:
    """Print what a reader wants to know first: what was earned, how good the models are, what to beware of."""
    out.print(f"\n[bold]{escape(report.title)}[/bold]\n{escape(report.subtitle)}\n")
    print_table("Policies on the test days", [policy_row(row) for row in report.policies])
    print_table("Click models on the held-out days", [model_row(row) for row in report.models])
    if report.conversion_models:
        print_table("Conversion models on the held-out days", [model_row(row) for row in report.conversion_models])
    if report.coverage:
        level = f"stated {report.confidence_level:.0%}"
        print_table(
            "Do the intervals keep their promise?",
            [
                {"traffic": row.tier, "cells": row.cells, "covered": f"{row.covered:.1%}", "mean width": row.mean_width}
                for row in report.coverage
            ],
            note=level,
        )
    print_table("Events", [{"what": what, "events": count} for what, count in report.intake.items()])
    for note in report.notes:
        out.print(f"[dim]·[/dim] {escape(note)}")


def policy_row(row: PolicyRow) -> dict[str, Any]:
    """One line of the policy table."""
    return {
        "policy": row.policy,
        "impressions": round(row.impressions),
        "clicks": round(row.clicks),
        "conversions": round(row.conversions),
        "value": row.value,
        "spend": row.spend,
        "CPA": row.cpa,
        "ROAS": row.roas,
        "budget used": "–" if row.budget_used is None else f"{row.budget_used:.1%}",
    }


def model_row(row: ModelRow) -> dict[str, Any]:
    """One line of the model table."""
    return {
        "model": row.model + (" ← serves" if row.serves else ""),
        "AUC": _with_interval(row.auc, row.auc_interval, 4),
        "log loss": _with_interval(row.log_loss, row.log_loss_interval, 6),
        "Σp/Σy": figure(row.calibration_ratio),
        "ECE": figure(row.ece),
    }


def _with_interval(value: float | None, interval: tuple[float, float] | None, digits: int) -> str:
    if value is None:
        return "–"
    around = f" [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]" if interval else ""
    return f"{value:.{digits}f}{around}"
