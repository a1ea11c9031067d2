"""A run in MLflow's words: parameters, metrics, tags, and a description for whoever opens its page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import msgspec

from bidloop.retraining.ports import SHOWN
from bidloop.retraining.run import CandidateRun, Point, Run

PREFIX = "bidloop."
LONGEST_VALUE = 5000
"""Of a parameter or a tag; MLflow refuses longer ones."""
BATCH = 900
"""Metrics in one call; MLflow takes 1,000 items."""


def tags_of(run: Run) -> dict[str, str]:
    """What a run and its model version are found by: data, feature view, code."""
    data = run.data
    told = {
        "version": run.version,
        "kind": run.kind,
        "view_version": run.view_version,
        "trained_at": run.trained_at.isoformat(),
        "data.fingerprint": data.fingerprint,
        "data.as_of": data.as_of.isoformat(),
        "data.first": data.first.isoformat(),
        "data.last": data.last.isoformat(),
        **{f"data.rows.{part}": str(rows) for part, rows in data.rows.items()},
        **{f"metrics.{name}": repr(run.metrics[name]) for name in SHOWN if name in run.metrics},
        **{f"code.{name}": version for name, version in run.code.items()},
    }
    return {PREFIX + name: value[:LONGEST_VALUE] for name, value in told.items()}


def note(run: Run) -> str:
    """What the run's page says first, as Markdown."""
    rows = [
        f"| {'**' + one.kind + '**' if one.kind == run.kind else one.kind} | {_figure(one, 'clicks/log_loss', 6)} "
        f"| {_figure(one, 'clicks/auc', 4)} | {_figure(one, 'clicks/ece', 6)} "
        f"| {_figure(one, 'clicks/calibration_ratio', 3)} | {one.seconds:.1f} |"
        for one in sorted(run.candidates, key=lambda one: one.metrics.get("clicks/log_loss", float("inf")))
    ]
    covered = "too few cells to measure" if run.covered is None else f"{run.covered:.1%} (stated {run.level:.0%})"
    return "\n".join(
        [
            f"Model **{run.version}** ({run.kind}), feature view `{run.view_version}`, data of "
            f"{run.data.first:%Y-%m-%d} to {run.data.last:%Y-%m-%d}.",
            "",
            "| clicks on the held-out days | log loss | AUC | ECE | Σp/Σy | seconds |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            f"Coverage of the intervals: {covered}. Plots are among the artifacts, under `plots`.",
        ]
    )


def parameters_of(parameters: Mapping[str, float | int | str]) -> dict[str, str]:
    """Parameters as text, as MLflow keeps them."""
    return {name: str(value)[:LONGEST_VALUE] for name, value in parameters.items()}


def steps(points: Iterable[Point]) -> Iterator[list[Point]]:
    """The points of a curve, as many at a time as MLflow takes."""
    rest = iter(points)
    while batch := list(islice(rest, BATCH)):
        yield batch


def evidence(run: Run) -> str:
    """The whole run as JSON: what reads it back loses nothing."""
    return msgspec.json.format(msgspec.json.encode(run), indent=2).decode()


def _figure(candidate: CandidateRun, name: str, digits: int) -> str:
    value = candidate.metrics.get(name)
    if value is None:
        return "–"
    bounds = candidate.bounds.get(name)
    around = f" [{bounds[0]:.{digits}f}, {bounds[1]:.{digits}f}]" if bounds else ""
    return f"{value:.{digits}f}{around}"
