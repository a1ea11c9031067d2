"""From events to decisions: what `bidloop features lineage` tells a person, a program, or an OpenLineage server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
from rich.markup import escape
from rich.tree import Tree

from bidloop.app.features.house_features import Features, ModelUse, reads_of
from bidloop.app.terminal import out
from bidloop.app.wiring import House
from bidloop.features.cards import describe_feature
from bidloop.features.lineage import Edge, Node, lineage, upstream
from bidloop.features.view import FeatureView
from bidloop.prediction.bundle import load_bundle

if TYPE_CHECKING:
    from bidloop.adapters.openlineage.runs import TrainingRun


class LineageReport(msgspec.Struct, frozen=True, kw_only=True):
    """Where the features of a view come from, and where they go.

    Parameters
    ----------
    view, feature
        Version of the view; the one feature that is told of, or empty for all.
    edges
        From events and opportunities to amounts and features.
    models
        Models on the shelf that read the view, or the feature.
    decisions, looked_at
        How many of the last decisions each of these models made; how many decisions were looked at.
    """

    view: str
    feature: str
    edges: tuple[Edge, ...]
    models: tuple[ModelUse, ...]
    decisions: dict[str, int]
    looked_at: int


def lineage_report(features: Features, view: FeatureView, feature: str, last: int) -> LineageReport:
    """Follow the features of a view, or one of them, both ways.

    Raises
    ------
    NotFound
        When the view has no such feature; with the closest.
    """
    edges = lineage(view)
    if feature:
        describe_feature(view, feature)
        edges = upstream(edges, feature)
    models = [
        model for model in features.models() if model.view == view.version and (not feature or feature in model.reads)
    ]
    recent = features.house.decisions.recent(last)
    made = Counter(decision.prediction.model_version for decision in recent)
    return LineageReport(
        view=view.version,
        feature=feature,
        edges=edges,
        models=tuple(models),
        decisions={model.version: made[model.version] for model in models},
        looked_at=len(recent),
    )


def print_lineage(told: LineageReport, view: FeatureView) -> None:
    """Print it as a tree: events, amounts, features; then view, models, decisions."""
    if told.feature:
        out.print(_one(told))
    else:
        for tree in _all(told):
            out.print(tree)
    known = Tree(f"view [bold]{told.view}[/bold] ({escape(view.name)})")
    for model in told.models:
        serves = ", serves" if model.champion else ""
        branch = known.add(f"model [bold]{model.version}[/bold] ({len(model.reads)} features read{serves})")
        branch.add(f"{told.decisions[model.version]:,} of the last {told.looked_at:,} decisions")
    if not told.models:
        known.add("no model on the shelf reads it" if told.feature else "no model on the shelf")
    out.print(known)


def emit_lineage(features: Features, view: FeatureView, target: str) -> tuple[int, str]:
    """Send what reads and writes what to a file or a server, as OpenLineage events; says how many, and where to.

    Raises
    ------
    ConfigurationError
        When the client is not installed, or the target is none.
    Unavailable
        When it could not be sent.
    """
    from bidloop.adapters.openlineage.sender import LineageSender

    sender = LineageSender(target)
    from bidloop.adapters.openlineage.jobs import design

    house = features.house
    model = next((one for one in features.models() if one.champion and one.view == view.version), None)
    events = design(
        view,
        namespace_of(house),
        house.clock.now(),
        model=model.version if model else "",
        reads=model.reads if model else (),
    )
    try:
        for event in events:
            sender.send(event)
    finally:
        sender.close()
    return len(events), sender.where


@contextmanager
def told_training(house: House, view: FeatureView) -> Iterator[TrainingRun]:
    """Tell of the training within to where `features.lineage` says, if it says so: that it began, and how it ended.

    Say inside which model came of it: ``run.trained(version)``. What it reads is found on the shelf.

    Raises
    ------
    ConfigurationError
        Before the training begins, when the client is not installed, or the setting is no target.
    """
    from bidloop.adapters.openlineage.runs import emit_run

    with emit_run(house.settings.features.lineage, namespace_of(house), view) as run:
        yield run
        if run.run_id and run.model:
            run.reads = reads_of(load_bundle(house.shelf.path(run.model)))


def namespace_of(house: House) -> str:
    """What names this account's data among all others: its database, without who opens it, or its home folder."""
    if not house.settings.database:
        return f"file://{house.home.resolve()}"
    parts = urlsplit(house.settings.database)
    return f"postgres://{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}"


def _one(told: LineageReport) -> Tree:
    """One feature, and below it what it is made of."""
    tree = Tree(f"feature [bold]{escape(told.feature)}[/bold]")
    for edge in told.edges:
        if edge.target.kind != "feature":
            continue
        if edge.source.kind == "opportunity":
            tree.add(f"opportunity.{escape(edge.source.field)} [dim]({edge.how})[/dim]")
            continue
        branch = tree.add(f"amount {escape(edge.source.name)} [dim]({edge.how})[/dim]")
        for source in told.edges:
            if source.target == edge.source:
                branch.add(f"event {escape(str(source.source))} [dim]({source.how})[/dim]")
    return tree


def _all(told: LineageReport) -> Iterator[Tree]:
    """A tree for each type of event, and one of the opportunity: what comes of it."""
    made: dict[Node, list[str]] = {}
    for edge in told.edges:
        if edge.target.kind == "feature":
            made.setdefault(edge.source, []).append(edge.target.name)
    types = dict.fromkeys(edge.source.name for edge in told.edges if edge.source.kind == "event")
    for kind in types:
        tree = Tree(f"event [bold]{kind}[/bold]")
        for edge in told.edges:
            if edge.source.kind == "event" and edge.source.name == kind:
                field = f".{edge.source.field}" if edge.source.field else ""
                branch = tree.add(f"{escape(field) or '(each)'} → {escape(edge.target.name)} [dim]({edge.how})[/dim]")
                branch.add(escape(", ".join(made.get(edge.target, []))))
        yield tree
    tree = Tree("[bold]opportunity[/bold]")
    for node, names in made.items():
        if node.kind == "opportunity":
            tree.add(f".{escape(node.field)}").add(escape(", ".join(dict.fromkeys(names))))
    yield tree
