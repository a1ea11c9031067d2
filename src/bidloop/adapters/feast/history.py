"""Every state that ever was, as Parquet files: what Feast joins to past instants."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bidloop.adapters.feast.columns import StateColumns
from bidloop.adapters.feast.naming import EVERYTHING, join_keys
from bidloop.adapters.feast.steps import Floats, Instants, in_steps
from bidloop.features.plan import SEPARATOR, EntityPlan
from bidloop.features.scan import decayed_running_sums

BATCH = 20_000
"""Rows per row group: with the widest views some 40 MB of memory."""


class EntityHistory:
    """The facts of one kind of entity, gathered in any order, and the states that they amount to.

    Parameters
    ----------
    columns
        Those of the entity.
    """

    def __init__(self, columns: StateColumns) -> None:
        self._columns = columns
        self._numbers: dict[str, int] = {}
        self._parts: list[tuple[NDArray[np.int64], Instants, Floats]] = []

    def add(self, keys: Iterable[str], due: Instants, inputs: Floats) -> None:
        """Take in n facts: the keys of n such entities, from when on each counts, and what it adds, shape (n, u)."""
        numbers = self._numbers
        group = [numbers.setdefault(key, len(numbers)) for key in keys]
        self._parts.append((np.array(group, dtype=np.int64), due, inputs))

    def write(self, path: Path) -> int:
        """Write the file anew, in order of entity and time; says how many states it holds.

        A reader sees the old file or the new one.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        keys = list(self._numbers)
        total = 0
        with pq.ParquetWriter(new, schema_of(self._columns), compression="zstd") as writer:
            for group, due, states in self._batches():
                writer.write_table(_table(self._columns, [keys[number] for number in group.tolist()], due, states))
                total += len(due)
        os.replace(new, path)
        return total

    def _batches(self) -> Iterator[tuple[NDArray[np.int64], Instants, Floats]]:
        """The states in order, some rows at a time; those of one entity may go on from one batch to the next."""
        entity = self._columns.entity
        group, due, inputs = self._steps()
        last: tuple[int, int, Floats] | None = None
        for start in range(0, len(due), BATCH):
            part = slice(start, start + BATCH)
            states = running_states(entity, group[part], due[part], inputs[part], last)
            yield group[part], due[part], states
            last = int(group[part][-1]), int(due[part][-1]), states[-1]

    def _steps(self) -> tuple[NDArray[np.int64], Instants, Floats]:
        entity = self._columns.entity
        nothing = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros((0, len(entity.inputs))))
        group, due, inputs = (np.concatenate(column) for column in zip(nothing, *self._parts, strict=True))
        return in_steps(entity, group, due, inputs)


def running_states(
    entity: EntityPlan,
    group: NDArray[np.int64],
    due: Instants,
    inputs: Floats,
    before: tuple[int, int, Floats] | None = None,
) -> Floats:
    """What was known of each entity after each of its steps of time.

    Parameters
    ----------
    group, due, inputs
        Number of the entity, instant and what is added, in order of both; shapes (n,), (n,) and (n, u), n at least 1.
    before
        Number, instant and state of the row before the first.

    Returns
    -------
    Shape (n, width).
    """
    carried = before is not None and len(group) > 0 and before[0] == int(group[0])
    sums = inputs[:, entity.sum_input]
    firsts = np.where(inputs[:, entity.first_input] != 0.0, due[:, None], np.inf)
    lasts = np.where(inputs[:, entity.last_input] != 0.0, due[:, None], -np.inf)
    told = inputs[:, entity.latest_input]
    told_at = np.where(np.isnan(told), -np.inf, due[:, None])
    if carried:
        assert before is not None
        number, instant, state = before
        group, due = np.concatenate(([number], group)), np.concatenate(([instant], due))
        sums, firsts, lasts, told_at, told = (
            np.concatenate((state[None, place], part))
            for place, part in (
                (entity.sums, sums), (entity.firsts, firsts), (entity.lasts, lasts), (entity.told_at, told_at),
                (entity.told, told),
            )
        )  # fmt: skip
    states = np.empty((len(group), entity.width))
    start = np.searchsorted(group, group)
    for per_us in np.unique(entity.per_us).tolist():
        columns = np.flatnonzero(entity.per_us == per_us)
        states[:, columns] = decayed_running_sums(group, due, sums[:, columns], per_us)
    states[:, entity.firsts] = _first(firsts, start)
    states[:, entity.lasts] = _last(lasts, lasts, start, -np.inf)
    states[:, entity.told_at] = _last(told_at, told_at, start, -np.inf)
    states[:, entity.told] = _last(told, told_at, start, np.nan)
    return states[1:] if carried else states


def schema_of(columns: StateColumns) -> pa.Schema:
    """The columns of a file."""
    types = {"number": pa.float64(), "array": pa.list_(pa.float64())}
    return pa.schema(
        [
            *((name, pa.string()) for name in join_keys(columns.entity)),
            ("event_timestamp", pa.timestamp("us", tz="UTC")),
            *((column.name, types[column.kind]) for column in columns.columns),
            (columns.as_of, pa.int64()),
            (columns.recent, pa.binary()),
        ]
    )


def key_parts(entity: EntityPlan, key: str) -> list[str]:
    """The values of an entity's join keys."""
    return key.split(SEPARATOR, len(entity.key) - 1) if entity.key else [EVERYTHING]


def _table(columns: StateColumns, keys: list[str], due: Instants, states: Floats) -> pa.Table:
    entity = columns.entity
    parts = zip(*(key_parts(entity, key) for key in keys), strict=True)
    arrays: list[pa.Array] = [pa.array(part, pa.string()) for part in parts]
    arrays.append(pa.array(due, pa.timestamp("us", tz="UTC")))
    for column in columns.columns:
        if column.kind == "array":
            flat = pa.array(states[:, column.place].ravel())
            wide = column.place.stop - column.place.start
            arrays.append(pa.ListArray.from_arrays(pa.array(np.arange(len(due) + 1) * wide, pa.int32()), flat))
        else:
            numbers = states[:, column.place.start]
            arrays.append(pa.array(numbers, mask=~np.isfinite(numbers)))
    arrays += [pa.array(due), pa.nulls(len(due), pa.binary())]
    return pa.Table.from_arrays(arrays, schema=schema_of(columns))


def _first(values: Floats, start: NDArray[np.intp]) -> Floats:
    """The smallest so far within each group: the first that is finite, for they stand in order of time."""
    n = len(values)
    place = np.where(np.isfinite(values), np.arange(n)[:, None], n)
    following = np.minimum.accumulate(place[::-1], axis=0)[::-1][start]  # the first of the group, be it before or after
    known = following <= np.arange(n)[:, None]
    return np.where(known, np.take_along_axis(values, np.minimum(following, n - 1), axis=0), np.inf)


def _last(values: Floats, at: Floats, start: NDArray[np.intp], nothing: float) -> Floats:
    """The latest so far within each group, of those that have an instant."""
    n = len(values)
    place = np.maximum.accumulate(np.where(np.isfinite(at), np.arange(n)[:, None], -1), axis=0)
    known = place >= start[:, None]
    return np.where(known, np.take_along_axis(values, np.maximum(place, 0), axis=0), nothing)
