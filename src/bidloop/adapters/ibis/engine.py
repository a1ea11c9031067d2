"""The expression as SQL, and run by DuckDB over files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

import duckdb
import ibis

from bidloop.adapters.ibis.states import facts_of, questions_of, states
from bidloop.adapters.ibis.tables import Asked
from bidloop.features.plan import Plan

Dialect: TypeAlias = Literal["duckdb", "postgres", "pyspark"]


def states_query(plan: Plan, entity: int, asked: Asked, dialect: Dialect = "duckdb") -> str:
    """The query that answers the states of one entity, from tables `facts` and `questions`.

    Examples
    --------
    >>> from bidloop.features.planning import plan_of
    >>> from bidloop.features.views import campaign_view
    >>> query = states_query(plan_of(campaign_view()), 1, Asked(rows=1000, first=0, last=10**12), "postgres")
    >>> "OVER" in query
    True
    """
    if dialect == "pyspark":
        _ = ibis.pyspark  # its options are there once it was named, and writing its SQL needs them
    return str(ibis.to_sql(states(plan, entity, facts_of(plan), questions_of(plan), asked), dialect=dialect))


class DuckDBEngine:
    """DuckDB over the two tables as Parquet files.

    Parameters
    ----------
    facts, questions
        The files.
    memory, threads
        How much of each it may use, such as ``2GB`` and 2.
    spilled
        Folder for what does not fit into memory.
    """

    def __init__(self, facts: Path, questions: Path, *, memory: str, threads: int, spilled: Path) -> None:
        self._connection = duckdb.connect(
            config={"memory_limit": memory, "threads": threads, "temp_directory": str(spilled)}
        )
        self._connection.read_parquet(str(facts)).create_view("facts")
        self._connection.read_parquet(str(questions)).create_view("questions")

    def write(self, query: str, path: Path) -> None:
        """Write the states that a query answers to a file, in the order of the questions."""
        relation = self._connection.sql(f"SELECT * FROM ({query}) ORDER BY row")
        relation.write_parquet(str(path), compression="zstd", row_group_size=50_000)

    def close(self) -> None:
        """Give back its memory."""
        self._connection.close()
