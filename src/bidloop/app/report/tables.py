"""A report in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.markup import escape

from bidloop.app.report.content import CoverageRow, ModelRow, PolicyRow, ReliabilityRow, Report
from bidloop.app.terminal import figure, out, print_table
from bidloop.prediction.reliability import TIER


def print_report(report: Report) -> None:
    """Print what a reader wants to know first: what was earned, how good the models are, what to beware of."""
    out.print(f"\n[bold]{escape(report.title)}[/bold]\n{escape(report.subtitle)}\n")
    print_table("Policies on the test days", [policy_row(row) for row in report.policies])
    model_table("Click models on the held-out days", report.models)
    model_table("Conversion models on the held-out days", report.conversion_models)
    tier_table(report.reliability)
    coverage_tables(report.confidence_level, report.coverage, report.conversion_coverage)
    print_table("Events", [{"what": what, "events": count} for what, count in report.intake.items()])
    for note in report.notes:
        out.print(f"[dim]·[/dim] {escape(note)}")


def tier_table(rows: Sequence[ReliabilityRow]) -> None:
    """Σp/Σy by traffic tier; the other fields are for pages and programs."""
    tiers = [reliability_row(row) for row in rows if row.field == TIER]
    if tiers:
        print_table("Where do the predictions hold?", tiers)


def coverage_tables(level: float, clicks: Sequence[CoverageRow], conversions: Sequence[CoverageRow]) -> None:
    """How often the intervals of both rates held."""
    for title, coverage in (("click", clicks), ("conversion", conversions)):
        if coverage:
            print_table(
                f"Do the intervals of the {title} rate keep their promise?",
                [
                    {
                        "traffic": row.tier,
                        "cells": row.cells,
                        "covered": f"{row.covered:.1%}",
                        "mean width": row.mean_width,
                    }
                    for row in coverage
                ],
                note=f"stated {level:.0%}",
            )


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


def model_table(title: str, rows: Sequence[ModelRow]) -> None:
    """How well models predicted; nothing where there are none."""
    if rows:
        compared = any(row.behind for row in rows)
        print_table(title, [_model_row(row) | (_behind(row) if compared else {}) for row in rows])


def reliability_row(row: ReliabilityRow) -> dict[str, Any]:
    """One line of the reliability table."""
    low, high = row.interval
    return {
        "field": row.field,
        "value": row.value,
        "impressions": round(row.impressions),
        "clicks": round(row.clicks),
        "Σp/Σy": figure(row.ratio),
        "95 %": f"[{low:.2f}, {'∞' if high is None else f'{high:.2f}'}]",
    }


def _model_row(row: ModelRow) -> dict[str, Any]:
    return {
        "model": row.model + (" ← serves" if row.serves else ""),
        "AUC": _with_interval(row.auc, row.auc_interval, 4),
        "log loss": _with_interval(row.log_loss, row.log_loss_interval, 6),
        "Σp/Σy": figure(row.calibration_ratio),
        "ECE": figure(row.ece),
    }


def _behind(row: ModelRow) -> dict[str, Any]:
    return {"log loss behind": "–" if row.behind is None else f"[{row.behind[0]:+.6f}, {row.behind[1]:+.6f}]"}


def _with_interval(value: float | None, interval: tuple[float, float] | None, digits: int) -> str:
    if value is None:
        return "–"
    around = f" [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]" if interval else ""
    return f"{value:.{digits}f}{around}"
