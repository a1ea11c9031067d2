"""Models as tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.markup import escape

from bidloop.app.models.cards import ModelCard, ModelDetail
from bidloop.app.models.comparison import Comparison
from bidloop.app.terminal import figure, out, print_table
from bidloop.prediction.quality import Bounds
from bidloop.retraining.run import Run


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
        metrics = [{"metric": name, "value": _value(name, value)} for name, value in card.metrics.items()]
        print_table("On the held-out days", metrics)
    if told.run is not None:
        print_run(told.run)
    if told.changes:
        print_table("When it served", [{"what": change.how, "at": _minute(change.at)} for change in told.changes])


def print_run(run: Run) -> None:
    """The candidates of a training, and how the winner's intervals held by tier of traffic."""
    renewal = run.renewal
    print_table(
        "Candidates of its training",
        [
            {
                "kind": one.kind + (" ← this" if one.kind == renewal.winner else ""),
                "log loss": _metric(one.clicks.log_loss, 6),
                "AUC": _metric(one.clicks.auc, 4),
                "ECE": one.clicks.ece,
                "Σp/Σy": one.clicks.calibration_ratio,
                "seconds": one.seconds,
                "beside this": _behind(one.behind),
            }
            for one in renewal.candidates
        ],
    )
    if renewal.failed:
        print_table("Could not be trained", [{"kind": kind, "why": why} for kind, why in renewal.failed.items()])
    coverage = renewal.coverage
    if coverage is not None and coverage.tiers:
        print_table(
            "Coverage by traffic",
            [
                {
                    "past impressions": f"from {tier.support_from:,.0f}",
                    "cells": tier.cells,
                    "covered": f"{tier.covered:.1%}",
                    "mean width": tier.width,
                }
                for tier in coverage.tiers
            ],
            note=f"stated {coverage.level:.0%}",
        )


def print_comparison(told: Comparison) -> None:
    """Metrics beside each other. Which is better is not said: how much of a difference is chance was not measured."""
    rows = []
    for name in dict.fromkeys((*told.a.metrics, *told.b.metrics)):
        difference = told.differences.get(name)
        rows.append(
            {
                "metric": name,
                told.a.version: _value(name, told.a.metrics.get(name)),
                f"{told.b.version} ": _value(name, told.b.metrics.get(name)),
                "difference": "–" if difference is None else _value(name, difference, "+"),
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
    True: "Both were judged on the same held-out rows. How much of a difference is chance was not measured.",
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
        data = run.renewal.data
        rows = ", ".join(f"{count:,} {part.replace('_', '-')}" for part, count in data.rows.items())
        facts["data"] = f"{_minute(data.first)} to {_minute(data.last)}, {rows} rows, {data.fingerprint}"
        facts["code"] = ", ".join(f"{name} {version}" for name, version in run.code.items())
        facts["took"] = f"{run.seconds:,.1f} s"
    if calibration := told.holds.get("calibration"):
        facts["calibration"] = ", ".join(f"{head}: {one['kind']}" for head, one in calibration.items())
    if value := told.holds.get("order_value"):
        facts["order value"] = f"{value['pooled']:,.2f} {value['currency']}"
    if told.holds:
        facts["holds"] = (
            f"{'with' if told.holds['landscape'] else 'without'} a bid landscape, {told.size / 1e6:,.2f} MB"
        )
    if told.registered is None:
        facts["registry"] = "not recorded"
    else:
        number, run_id = told.registered.number, told.registered.run
        facts["registry"] = f"version {number} at {told.registry}, run {run_id}; plots under artifacts/plots"
    return facts


def _titled(card: ModelCard) -> str:
    return f"{card.version} ({', '.join((card.kind, *card.aliases))})"


def _metric(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _value(name: str, value: float | None, sign: str = "") -> str:
    """A metric; of log losses so many digits that models can differ."""
    if value is None:
        return "–"
    return f"{value:{sign}.6f}" if "log_loss" in name else f"{value:{sign}.4g}"


def _behind(bounds: Bounds | None) -> str:
    if bounds is None:
        return ""
    return "not told apart" if bounds.lower <= 0 else "worse"


def _minute(at: datetime | None) -> str:
    return "–" if at is None else f"{at:%Y-%m-%d %H:%M}"
