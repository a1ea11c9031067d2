"""Events, opportunities, features, models and decisions as OpenLineage data sets, with their columns and where these come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.generated.column_lineage_dataset import (
    ColumnLineageDatasetFacet,
    Fields,
    InputField,
    Transformation,
)
from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet
from openlineage.client.generated.documentation_dataset import DocumentationDatasetFacet
from openlineage.client.generated.schema_dataset import SchemaDatasetFacet, SchemaDatasetFacetFields

from bidloop.features.cards import cards
from bidloop.features.lineage import Edge, How, Node, lineage, upstream
from bidloop.features.view import FeatureView

PRODUCER = f"urn:bidloop:{version('bidloop')}"
WHOLE = "event_id"
"""The column that stands for an event as a whole, where events are counted."""
MODELS, DECISIONS, OPPORTUNITIES = "models", "decisions", "opportunities"
PREDICTED = ("ctr", "conversion_rate")
"""Columns of what a model says."""

_TRANSFORMATIONS: Mapping[How, tuple[str, str]] = {
    "counted": ("DIRECT", "AGGREGATION"),
    "added": ("DIRECT", "AGGREGATION"),
    "taken away": ("DIRECT", "AGGREGATION"),
    "told": ("DIRECT", "AGGREGATION"),
    "weighed": ("DIRECT", "AGGREGATION"),
    "selected": ("INDIRECT", "FILTER"),
    "read": ("DIRECT", "TRANSFORMATION"),
    "key": ("INDIRECT", "GROUP_BY"),
}


def sources(view: FeatureView, namespace: str) -> list[InputDataset]:
    """What a view reads: a data set for each type of event, and one of the opportunities."""
    columns: dict[str, dict[str, None]] = {}
    for edge in lineage(view):
        if edge.source.kind in ("event", "opportunity"):
            columns.setdefault(_name(edge.source), {})[_column(edge.source)] = None
    return [
        InputDataset(namespace, name, facets={"schema": _schema((field, "", "") for field in fields)})
        for name, fields in columns.items()
    ]


def features(view: FeatureView, namespace: str) -> OutputDataset:
    """The features of a view, each with the fields of events and opportunities that it comes from."""
    edges = lineage(view)
    fields = {card.name: Fields(inputFields=_inputs(upstream(edges, card.name), namespace)) for card in cards(view)}
    facets = _of_view(view) | {"columnLineage": ColumnLineageDatasetFacet(fields=fields, producer=PRODUCER)}
    return OutputDataset(namespace, name_of(view), facets=facets)


def features_read(view: FeatureView, namespace: str) -> InputDataset:
    """The features of a view, as those who use them read them."""
    return InputDataset(namespace, name_of(view), facets=_of_view(view))


def model(view: FeatureView, namespace: str, version: str, reads: Sequence[str]) -> OutputDataset:
    """A model, with the features that it reads; without a version before it is trained."""
    trained = [InputField(namespace, name_of(view), name, transformations=[_direct("a model")]) for name in reads]
    lineage = ColumnLineageDatasetFacet(
        fields={name: Fields(inputFields=trained) for name in PREDICTED}, producer=PRODUCER
    )
    return OutputDataset(namespace, MODELS, facets=_of_model(version) | {"columnLineage": lineage})


def model_read(namespace: str, version: str) -> InputDataset:
    """A model, as those who use it read it."""
    return InputDataset(namespace, MODELS, facets=_of_model(version))


def decisions(view: FeatureView, namespace: str) -> OutputDataset:
    """Decisions, whose bids come from what a model says of recorded features."""
    said = [InputField(namespace, MODELS, name, transformations=[_direct("bid stages")]) for name in PREDICTED]
    recorded = {
        name: Fields(inputFields=[InputField(namespace, name_of(view), name, transformations=[_direct("recorded")])])
        for name in (*view.categorical_names, *view.numeric_names)
    }
    facets: dict[str, Any] = {
        "schema": _schema([("bid", "integer", "In micros."), *((name, "", "As recorded.") for name in recorded)]),
        "columnLineage": ColumnLineageDatasetFacet(
            fields={"bid": Fields(inputFields=said), **recorded}, producer=PRODUCER
        ),
    }
    return OutputDataset(namespace, DECISIONS, facets=facets)


def name_of(view: FeatureView) -> str:
    """Name of a view's data set; its version is a facet, so that the next one is the same data set."""
    return f"features.{view.name}"


def _of_view(view: FeatureView) -> dict[str, Any]:
    numbers = set(view.numeric_names)
    columns = [(card.name, "double" if card.name in numbers else "string", card.description) for card in cards(view)]
    described = f"Feature view {view.name}, as of each opportunity's own instant."
    return {
        "schema": _schema(columns),
        "version": DatasetVersionDatasetFacet(datasetVersion=view.version, producer=PRODUCER),
        "documentation": DocumentationDatasetFacet(description=described, producer=PRODUCER),
    }


def _of_model(version: str) -> dict[str, Any]:
    facets: dict[str, Any] = {"schema": _schema((name, "double", "") for name in PREDICTED)}
    if version:
        facets["version"] = DatasetVersionDatasetFacet(datasetVersion=version, producer=PRODUCER)
    return facets


def _inputs(edges: Iterable[Edge], namespace: str) -> list[InputField]:
    columns: dict[tuple[str, str], dict[How, None]] = {}
    for edge in edges:
        if edge.source.kind != "amount":
            columns.setdefault((_name(edge.source), _column(edge.source)), {})[edge.how] = None
    return [
        InputField(
            namespace,
            name,
            column,
            transformations=[Transformation(*_TRANSFORMATIONS[how], description=how, masking=False) for how in hows],
        )
        for (name, column), hows in columns.items()
    ]


def _direct(description: str) -> Transformation:
    return Transformation("DIRECT", "TRANSFORMATION", description=description, masking=False)


def _schema(columns: Iterable[tuple[str, str, str]]) -> SchemaDatasetFacet:
    return SchemaDatasetFacet(
        fields=[
            SchemaDatasetFacetFields(name=name, type=type_ or None, description=description or None)
            for name, type_, description in columns
        ],
        producer=PRODUCER,
    )


def _name(node: Node) -> str:
    return OPPORTUNITIES if node.kind == "opportunity" else f"events.{node.name}"


def _column(node: Node) -> str:
    return node.field or WHOLE
