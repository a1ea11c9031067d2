"""From states to the rows of features that a model is trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bidloop.core.errors import ConfigurationError
from bidloop.core.feature_table import FeatureTable
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Outcomes
from bidloop.features.described import describe
from bidloop.features.local_time import microseconds
from bidloop.features.plan import EntityPlan, Plan
from bidloop.features.state import Known
from bidloop.features.values import feature_table
from bidloop.features.view import FeatureView

COUNTED = ("impressions", "clicks", "conversions", "value", "cost", "weight")
"""Columns that say what came of a row."""
NAMED = ("at", "impression_id")
VIEW = b"bidloop.feature_view"
"""Under this name the file's metadata hold the version and the definition of the features, as JSON."""


def read_states(
    entities: Sequence[EntityPlan], files: Sequence[Path], chunk: int
) -> Iterator[list[NDArray[np.float64]]]:
    """For each entity the states of `chunk` rows at a time, shape (chunk, width), as `features.state` means them."""
    readers = [_chunks(entity, path, chunk) for entity, path in zip(entities, files, strict=True)]
    for states in zip(*readers, strict=True):
        yield list(states)


def table_of(
    plan: Plan,
    opportunities: Sequence[Opportunity],
    states: Sequence[NDArray[np.float64]],
    absent: Sequence[Sequence[bool] | None],
) -> FeatureTable:
    """The features of n opportunities, from the states of their entities at their own instants."""
    instants = microseconds(opportunities, plan.view.lag_seconds)
    return feature_table(
        plan,
        describe(plan.view, opportunities),
        Known(tuple(states), (None,) * len(states)),
        instants,
        opportunities,
        absent,
    )


def write_rows(view: FeatureView, rows: Iterable[tuple[Outcomes, FeatureTable]], path: Path) -> None:
    """Write rows with what came of them, some at a time; a value that is missing is null."""
    schema = rows_schema(view)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for outcomes, table in rows:
            writer.write_table(_columns(schema, outcomes, table))


def rows_schema(view: FeatureView) -> pa.Schema:
    """Columns of the rows: when and which, the features, and what came of it.

    Raises
    ------
    ConfigurationError
        When a feature has the name of one of the other columns.
    """
    taken = {*NAMED, *COUNTED} & {*view.categorical_names, *view.numeric_names}
    if taken:
        raise ConfigurationError(
            f"features named {', '.join(sorted(taken))}",
            expected=f"other names than the columns {', '.join((*NAMED, *COUNTED))}",
            remedy="Rename them in the feature view.",
        )
    fields = [pa.field("at", pa.timestamp("us", tz="UTC")), pa.field("impression_id", pa.string())]
    fields += [pa.field(name, pa.string()) for name in view.categorical_names]
    fields += [pa.field(name, pa.float64()) for name in (*view.numeric_names, *COUNTED)]
    definition = {"version": view.version, "view": view}
    return pa.schema(fields, metadata={VIEW: msgspec.json.encode(definition)})


def _columns(schema: pa.Schema, outcomes: Outcomes, table: FeatureTable) -> pa.Table:
    at = pa.array(outcomes.at.astype(np.int64)).cast(schema.field("at").type)
    numbers = dict(table.numeric) | {name: getattr(outcomes, name) for name in COUNTED}
    words = dict(table.categorical) | {"impression_id": outcomes.impression_id}
    columns = [
        at if name == "at"
        else pa.array(words[name], pa.string()) if name in words
        else pa.array(numbers[name], mask=np.isnan(numbers[name]))
        for name in schema.names
    ]  # fmt: skip
    return pa.table(columns, schema=schema)


def _chunks(entity: EntityPlan, path: Path, chunk: int) -> Iterator[NDArray[np.float64]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(chunk, columns=[f"s{i}" for i in range(entity.width)]):
            columns = [column.to_numpy(zero_copy_only=False) for column in batch.columns]
            states = np.column_stack(columns) if columns else np.zeros((batch.num_rows, 0))
            yield np.where(np.isnan(states), entity.empty, states)
