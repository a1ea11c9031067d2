"""Models as tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.markup import escape

from bidloop.app.models.cards import ModelCard, ModelDetail
from bidloop.app.models.comparison import Comparison
from bidloop.app.terminal import figure, out, print_table
from bidloop.retraining.run import Run

BETTER = {"log_loss": -1, "normalized_entropy": -1, "auc": 1, "ece": -1}
"""Whether more or less is better, of the metrics of which that can be said."""


def print_cards(cards: Sequence[ModelCard]) -> None:
    """One line for each model."""
    print_table("Models", [_line(card) for card in cards])


def print_detail(told: ModelDetail) -> None:
    """All that is known of one model."""
    card = told.card
    out.print(f"\n[bold]{card.version}[/bold] ({escape(', '.join((card.kind, *card.aliases)))})")
    if card.damaged:
        out.print(f"  [red]damaged[/red]      {escape(card.damaged)}")
    for name, value in _facts(told).items():
        out.print(f"  {name:13} {escape(value)}")
    if told.parameters:
        print_table("Parameters", [{"parameter": k, "value": figure(v)} for k, v in told.parameters.items()])
    if card.metrics:
        print_table("On the held-out days", [{"metric": name, "value": value} for name, value in card.metrics.items()])
    if told.run is not None:
        print_run(told.run)
    if told.changes:
        print_table("When it served", [{"what": change.how, "at": _minute(change.at)} for change in told.changes])


def print_run(run: Run) -> None:
    """The candidates of a training, and how the winner's intervals held by tier of traffic."""
    print_table(
        "Candidates of its training",
        [
            {
                "kind": one.kind + (" ← this" if one.kind == run.kind else ""),
                "log loss": _metric(one.metrics.get("clicks/log_loss"), 6),
                "AUC": _metric(one.metrics.get("clicks/auc"), 4),
                "ECE": one.metrics.get("clicks/ece"),
                "Σp/Σy": one.metrics.get("clicks/calibration_ratio"),
                "seconds": one.seconds,
            }
            for one in run.candidates
        ],
    )
    if run.tiers:
        print_table(
            "Coverage by traffic",
            [
                {
                    "past impressions": f"from {tier.support_from:,.0f}",
                    "cells": tier.cells,
                    "covered": f"{tier.covered:.1%}",
                    "mean width": tier.width,
                }
                for tier in run.tiers
            ],
            note=f"stated {run.level:.0%}",
        )


def print_comparison(told: Comparison) -> None:
    """Metrics beside each other, the better one marked where the rows were the same."""
    rows = []
    for name in dict.fromkeys((*told.a.metrics, *told.b.metrics)):
        difference = told.differences.get(name)
        sign = BETTER.get(name.rpartition("/")[2], 0) if told.same_rows else 0
        better = "" if not sign or not difference else told.b.version if sign * difference > 0 else told.a.version
        rows.append(
            {
                "metric": name,
                told.a.version: told.a.metrics.get(name),
                f"{told.b.version} ": told.b.metrics.get(name),
                "difference": None if difference is None else f"{difference:+.4g}",
                "better": better,
            }
        )
    print_table(f"{_titled(told.a)} and {_titled(told.b)}", rows)
    if told.parameters:
        print_table(
            "Parameters that differ",
            [
                {"parameter": name, told.a.version: figure(a), f"{told.b.version} ": figure(b)}
                for name, (a, b) in told.parameters.items()
            ],
        )
    out.print(ROWS[told.same_rows])


ROWS = {
    True: "Both were judged on the same held-out rows.",
    False: "They were judged on different rows: the figures differ also where the models do not.",
    None: "On which rows one of them was judged was not kept: the figures may differ where the models do not.",
}


def _line(card: ModelCard) -> dict[str, Any]:
    coverage = card.metrics.get("intervals/coverage")
    return {
        "version": card.version,
        "kind": card.kind or "–",
        "trained": _minute(card.trained_at),
        "data until": _minute(card.data_until),
        "log loss": _metric(card.metrics.get("clicks/log_loss"), 6),
        "AUC": _metric(card.metrics.get("clicks/auc"), 4),
        "coverage": "–" if coverage is None else f"{coverage:.1%}",
        "alias": ", ".join(card.aliases),
        "where": "damaged" if card.damaged else _where(card),
    }


def _where(card: ModelCard) -> str:
    return " + ".join(name for name, there in (("shelf", card.on_shelf), ("registry", card.registered)) if there)


def _facts(told: ModelDetail) -> dict[str, str]:
    card, run = told.card, told.run
    facts = {"trained": _minute(card.trained_at), "feature view": card.view_version}
    if run is not None:
        rows = ", ".join(f"{count:,} {part.replace('_', '-')}" for part, count in run.data.rows.items())
        facts["data"] = f"{_minute(run.data.first)} to {_minute(run.data.last)}, {rows} rows, {run.data.fingerprint}"
        facts["code"] = ", ".join(f"{name} {version}" for name, version in run.code.items())
        facts["took"] = f"{run.seconds:,.1f} s"
    if told.calibration is not None:
        facts["calibration"] = ", ".join(f"{head}: {one['kind']}" for head, one in told.calibration.items())
    if told.order_value is not None:
        facts["order value"] = f"{told.order_value['pooled']:,.2f} {told.order_value['currency']}"
    if card.on_shelf:
        facts["holds"] = f"{'with' if told.landscape else 'without'} a bid landscape, {told.size / 1e6:,.2f} MB"
    if told.registered is None:
        facts["registry"] = "not recorded"
    else:
        facts["registry"] = f"version {told.registered.number} at {told.registered.where}; plots under artifacts/plots"
    return facts


def _titled(card: ModelCard) -> str:
    return f"{card.version} ({', '.join((card.kind, *card.aliases))})"


def _metric(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _minute(at: datetime | None) -> str:
    return "–" if at is None else f"{at:%Y-%m-%d %H:%M}"
