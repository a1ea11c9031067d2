"""The two tables that the expression reads: what became known, and which rows ask for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bidloop.features.contributions import Contributions
from bidloop.features.keys import Keys
from bidloop.features.plan import Plan

Instants = NDArray[np.int64]


@dataclass(frozen=True)
class Asked:
    """How many rows ask, and from which instant to which, in microseconds since 1970 UTC."""

    rows: int
    first: int
    last: int


def facts_schema(plan: Plan) -> pa.Schema:
    """Columns of the facts: from when on each counts, a key for each entity, what it adds to each amount, whether it corrects.

    A key is null where the fact is not about such an entity. An amount is null where a single value was not told: never NaN,
    which databases compare each in their own way.

    Examples
    --------
    >>> from bidloop.features.planning import plan_of
    >>> from bidloop.features.views import campaign_view
    >>> facts_schema(plan_of(campaign_view())).names
    ['due', 'key0', 'key1', 'key2', 'key3', 'key4', 'amount0', 'amount1', 'amount2', 'corrects']
    """
    amounts = [pa.field(f"amount{i}", pa.float64()) for i in range(len(plan.amounts))]
    return pa.schema([pa.field("due", pa.int64()), *_keys(plan), *amounts, pa.field("corrects", pa.float64())])


def questions_schema(plan: Plan) -> pa.Schema:
    """Columns of the questions: number of the row, the instant less the view's lag, and a key for each entity."""
    return pa.schema([pa.field("row", pa.int64()), pa.field("asked", pa.int64()), *_keys(plan)])


def facts_table(plan: Plan, known: Contributions) -> pa.Table:
    """Some facts as columns."""
    keys = [pa.array(column, type=pa.string()) for column in known.keys]
    amounts = [pa.array(column, mask=np.isnan(column)) for column in known.amounts.T]
    corrects = pa.array(known.corrects.astype(np.float64))  # a number: databases differ in how they store yes and no
    return pa.table([pa.array(known.due), *keys, *amounts, corrects], schema=facts_schema(plan))


def questions_table(plan: Plan, first_row: int, asked: Sequence[int], keys: Sequence[Keys]) -> pa.Table:
    """Some questions as columns."""
    rows = np.arange(first_row, first_row + len(asked))
    columns = [pa.array(rows), pa.array(asked, type=pa.int64()), *(pa.array(column, pa.string()) for column in keys)]
    return pa.table(columns, schema=questions_schema(plan))


def write_facts(plan: Plan, known: Iterable[Contributions], path: Path) -> int:
    """Write facts, some at a time; says how many."""
    written = 0
    with pq.ParquetWriter(path, facts_schema(plan), compression="zstd") as writer:
        for some in known:
            if len(some):
                writer.write_table(facts_table(plan, some))
            written += len(some)
    return written


def write_questions(plan: Plan, asking: Iterable[tuple[Sequence[int], Sequence[Keys]]], path: Path) -> Asked:
    """Write questions, some instants and keys at a time; the rows are numbered in their order."""
    rows, first, last = 0, 2**62, -(2**62)
    with pq.ParquetWriter(path, questions_schema(plan), compression="zstd") as writer:
        for asked, keys in asking:
            if asked:
                writer.write_table(questions_table(plan, rows, asked, keys))
                first, last = min(first, *asked), max(last, *asked)
            rows += len(asked)
    return Asked(rows, first, last)


def absent_rows(plan: Plan, path: Path, chunk: int) -> Iterator[list[list[bool] | None]]:
    """For each entity which of the questions name none of it, `chunk` rows at a time; `None` where all do."""
    names = [field.name for field in _keys(plan)]
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(chunk, columns=names):
            yield [batch[name].is_null().to_pylist() if batch[name].null_count else None for name in names]


def _keys(plan: Plan) -> list[pa.Field]:
    return [pa.field(f"key{i}", pa.string()) for i in range(len(plan.entities))]
