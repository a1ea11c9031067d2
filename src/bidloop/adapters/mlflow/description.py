"""A run in MLflow's words: parameters, metrics, tags, and a description for whoever opens its page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import msgspec

from bidloop.retraining.evidence import CandidateEvidence
from bidloop.retraining.ports import SHOWN
from bidloop.retraining.run import Run

PREFIX = "bidloop."
LONGEST_VALUE = 5000
"""Of a parameter or a tag; MLflow refuses longer ones."""
BATCH = 900
"""Metrics in one call; MLflow takes 1,000 items."""


def tags_of(run: Run) -> dict[str, str]:
    """What a run and its model version are found by: data, feature view, code."""
    data, metrics = run.renewal.data, run.metrics
    told = {
        "version": run.version,
        "kind": run.renewal.winner,
        "view_version": run.renewal.view_version,
        "trained_at": run.trained_at.isoformat(),
        "data.fingerprint": data.fingerprint,
        "data.as_of": data.as_of.isoformat(),
        "data.first": data.first.isoformat(),
        "data.last": data.last.isoformat(),
        **{f"data.rows.{part}": str(rows) for part, rows in data.rows.items()},
        **{f"metrics.{name}": repr(metrics[name]) for name in SHOWN if name in metrics},
        **{f"code.{name}": version for name, version in run.code.items()},
    }
    return {PREFIX + name: value[:LONGEST_VALUE] for name, value in told.items()}


def note(run: Run) -> str:
    """What the run's page says first, as Markdown."""
    renewal = run.renewal
    rows = [
        f"| {'**' + one.kind + '**' if one.kind == renewal.winner else one.kind} | {_figure(one, 'log_loss', 6)} "
        f"| {_figure(one, 'auc', 4)} | {_figure(one, 'ece', 6)} | {_figure(one, 'calibration_ratio', 3)} | {one.seconds:.1f} |"
        for one in renewal.candidates
    ]
    coverage = renewal.coverage
    covered = (
        "too few cells to measure" if coverage is None else f"{coverage.covered:.1%} (stated {coverage.level:.0%})"
    )
    return "\n".join(
        [
            f"Model **{run.version}** ({renewal.winner}), feature view `{renewal.view_version}`, data of "
            f"{renewal.data.first:%Y-%m-%d} to {renewal.data.last:%Y-%m-%d}.",
            "",
            "| clicks on the held-out days | log loss | AUC | ECE | Σp/Σy | seconds |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            *(f"Could not be trained: {kind} ({why})." for kind, why in renewal.failed.items()),
            f"Coverage of the intervals: {covered}. Plots are among the artifacts, under `plots`.",
        ]
    )


def parameters_of(parameters: Mapping[str, float | int | str]) -> dict[str, str]:
    """Parameters as text, as MLflow keeps them."""
    return {name: str(value)[:LONGEST_VALUE] for name, value in parameters.items()}


def steps(curve: Iterable[float]) -> Iterator[list[tuple[int, float]]]:
    """The points of a learning curve, numbered from 1, as many at a time as MLflow takes."""
    rest = iter(enumerate(curve, 1))
    while batch := list(islice(rest, BATCH)):
        yield batch


def evidence(run: Run) -> str:
    """The whole run as JSON: what reads it back loses nothing."""
    return msgspec.json.format(msgspec.json.encode(run), indent=2).decode()


def _figure(candidate: CandidateEvidence, name: str, digits: int) -> str:
    value, bounds = getattr(candidate.clicks, name), candidate.clicks.bounds.get(name)
    if value is None:
        return "–"
    around = f" [{bounds.lower:.{digits}f}, {bounds.upper:.{digits}f}]" if bounds else ""
    return f"{value:.{digits}f}{around}"
