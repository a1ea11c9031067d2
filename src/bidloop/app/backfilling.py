"""Every feature of the rows of a past time, each as of its own instant, in one file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from bidloop.app.wiring import House
from bidloop.core.errors import ConfigurationError, InsufficientData, InvalidInput
from bidloop.features.view import FeatureView


@dataclass(frozen=True)
class Backfill:
    """What was written.

    Parameters
    ----------
    view
        Version of the feature view.
    rows, facts
        How many rows there are, and how many facts they were made from.
    seconds
        How long it took.
    file
        Where it lies.
    """

    view: str
    rows: int
    facts: int
    seconds: float
    file: str


def backfill(
    house: House,
    view: FeatureView,
    output: Path,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    rows: int | None = None,
    seed: int = 0,
    on_progress: Callable[[str, float], None] | None = None,
    memory: str = "2GB",
    threads: int = 2,
) -> Backfill:
    """Write every feature of what was shown in ``start <= at < end``, each row as of its own instant, to a Parquet file.

    One row for each impression and each row of a report: ``at``, ``impression_id``, a column for each feature, and what came of
    it (``impressions``, ``clicks``, ``conversions``, ``value``, ``cost``, ``weight``). What is missing is null. The file is
    written beside its place and then renamed, so that it is whole or not there; what lies in between needs about three
    times the room of the history, in the same folder.

    Parameters
    ----------
    house
        Whose history.
    view
        The features.
    output
        A name that ends on ``.parquet``; a file of that name is replaced.
    start, end
        The range of time; `None` leaves it open. What the rows knew of the time before counts all the same.
    rows, seed
        How many of the rows at most, each as likely as the others; the same seed draws the same ones. `None` takes all.
    on_progress
        Told what is being done, and the share of the work that is done, in [0, 1].
    memory, threads
        How much of each DuckDB may use.

    Raises
    ------
    ConfigurationError
        When the extra ``ibis`` is not installed, or a feature has the name of another column.
    InsufficientData
        When nothing was shown in that time.
    InvalidInput
        When the file's name does not end on ``.parquet``, or fewer than one row is asked for.
    """
    if output.suffix != ".parquet":
        raise InvalidInput(f"a file {output.name!r}", path="output", expected="a name that ends on .parquet")
    if rows is not None and rows < 1:
        raise InvalidInput(f"{rows} rows", path="rows", expected="at least 1")
    try:
        from bidloop.adapters.ibis.backfill import write_backfill
    except ModuleNotFoundError as error:
        if error.name != "ibis":
            raise
        raise ConfigurationError(
            "a backfill without Ibis", expected="the extra 'ibis'", remedy="pip install bidloop[ibis]"
        ) from error
    tell = on_progress or (lambda doing, share: None)
    started = time.perf_counter()
    house.history.sync()
    output.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as name:
        folder = Path(name)
        tell("joining the history", 0.0)
        sample = None if rows is None else (rows, seed)
        told = house.history.spool(folder, start, end, sample=sample, memory=memory, threads=threads)
        if not told.outcomes_count:
            raise InsufficientData(
                f"nothing was shown {_between(start, end)}",
                expected="at least one impression or report row",
                remedy="Take in events first (bidloop ingest), or widen the range.",
            )
        half = folder / "rows.parquet"
        facts = write_backfill(
            view,
            told,
            half,
            folder,
            memory=memory,
            threads=threads,
            on_progress=lambda doing, share: tell(doing, 0.1 + 0.9 * share),
        )
        with half.open("rb") as file:
            os.fsync(file.fileno())
        half.replace(output)
    return Backfill(view.version, told.outcomes_count, facts, time.perf_counter() - started, str(output))


def _between(start: datetime | None, end: datetime | None) -> str:
    bounds = [f"from {start.isoformat()} on"] if start else []
    bounds += [f"before {end.isoformat()}"] if end else []
    return " and ".join(bounds) or "at all"
