"""All that the history tells, joined once and laid down in files, to be gone through piece by piece.

Millions of joined rows do not fit into memory as Python's objects. DuckDB joins them within a limit of memory, spilling what is
more to a temporary folder, and writes them down; whoever needs them reads some thousands at a time. The history is
held for as long as DuckDB takes, not for as long as the reader does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bidloop.adapters.parquet import joins
from bidloop.adapters.parquet.answers import observations_of, outcomes_of
from bidloop.core.event import Event
from bidloop.core.outcome import Observations, Outcomes
from bidloop.outcomes.settings import OutcomeSettings

SAMPLE = f"""
SELECT * FROM (SELECT * FROM ({joins.OUTCOMES}) ORDER BY md5(impression_id || $seed) LIMIT $rows) ORDER BY at_utc, position
"""
"""So many of the rows, each as likely as the others: which ones hangs on their names and the seed alone."""

_decode_event = msgspec.json.Decoder(Event).decode


@dataclass(frozen=True)
class Spool:
    """What the history told at one instant, in files.

    Parameters
    ----------
    folder
        Where they lie: ``observations.parquet``, ``happenings.parquet`` and ``outcomes.parquet``.
    as_of
        As of when the outcomes are known.
    observations_count, outcomes_count
        How many there are.
    chunk
        Rows that are read at once.
    """

    folder: Path
    as_of: datetime
    settings: OutcomeSettings
    observations_count: int
    outcomes_count: int
    chunk: int = 20_000

    def observations(self) -> Iterator[Observations]:
        """The increments of what was known, in the order in which they became known."""
        for columns in self._chunks("observations"):
            yield observations_of(columns)

    def happenings(self) -> Iterator[list[tuple[int, Event]]]:
        """What users did and what happened in the market, with positions, in the order of the log."""
        for columns in self._chunks("happenings"):
            rows = zip(columns["position"].tolist(), columns["payload"], strict=True)
            yield [(position, _decode_event(text)) for position, text in rows]

    def outcomes(self) -> Iterator[Outcomes]:
        """What came of what was shown, in the order of time."""
        for columns in self._chunks("outcomes"):
            yield outcomes_of(columns, self.as_of, self.settings)

    def _chunks(self, name: str) -> Iterator[dict[str, NDArray[Any]]]:
        with pq.ParquetFile(self.folder / f"{name}.parquet") as file:
            for batch in file.iter_batches(self.chunk):
                yield {column: _values(batch[column]) for column in batch.schema.names}


def write_spool(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    parameters: dict[str, Any],
    always: dict[str, Any],
    *,
    sample: tuple[int, int] | None,
    memory: str,
    threads: int,
) -> tuple[int, int]:
    """Lay down what is joined; says how many observations and outcomes there are.

    Parameters
    ----------
    connection
        With the view `events` and the table `decided`.
    parameters, always
        Of the outcomes, and of the rest: what is known of a row comes from before its range of time.
    sample
        How many of the outcomes, and the seed by which they are drawn; `None` takes all.
    memory, threads
        How much of each DuckDB may use, such as ``2GB`` and 2.
    """
    folder.mkdir(parents=True, exist_ok=True)
    connection.execute("SET memory_limit = $memory", {"memory": memory})
    connection.execute("SET threads = $threads", {"threads": threads})
    connection.execute("SET temp_directory = $folder", {"folder": str(folder / "spilled")})
    drawn = {} if sample is None else {"rows": sample[0], "seed": f":{sample[1]}"}
    _write(connection, joins.OBSERVATIONS, always, folder / "observations.parquet")
    _write(connection, joins.HAPPENINGS, always, folder / "happenings.parquet")
    _write(connection, SAMPLE if drawn else joins.OUTCOMES, parameters | drawn, folder / "outcomes.parquet")
    counts = [pq.read_metadata(folder / f"{name}.parquet").num_rows for name in ("observations", "outcomes")]
    return counts[0], counts[1]


def _write(connection: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, Any], path: Path) -> None:
    named = {name: value for name, value in parameters.items() if f"${name}" in query}
    connection.sql(query, params=named).write_parquet(str(path), compression="zstd")


def _values(column: pa.Array) -> NDArray[Any]:
    return column.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return, unused-ignore]
