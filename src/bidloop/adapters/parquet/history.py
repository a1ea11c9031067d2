"""The history: all that happened, in files that any tool can read, joined into labelled rows on demand."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bidloop.adapters.parquet import joins
from bidloop.adapters.parquet.answers import observations_of, outcomes_of
from bidloop.adapters.parquet.erasure import without_person
from bidloop.adapters.parquet.parts import find_parts, write_part
from bidloop.adapters.parquet.rows import left_open, to_table
from bidloop.adapters.parquet.spool import Spool, write_spool
from bidloop.core.errors import CorruptArtifact, InvalidInput
from bidloop.core.event import Event
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import BidOutcomes, ConversionDelays, Observations, Outcomes
from bidloop.events.ports import EventLog
from bidloop.events.privacy import person_of
from bidloop.outcomes.epoch import days_us
from bidloop.outcomes.ports import DecisionLog
from bidloop.outcomes.settings import OutcomeSettings

_DEFAULT = OutcomeSettings()
_PAGE = 10_000
_ALWAYS = (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
_decode = msgspec.json.Decoder(Opportunity).decode
_decode_event = msgspec.json.Decoder(Event).decode


class ParquetHistory:
    """Parquet files beside the log, read by DuckDB; implements `bidloop.outcomes.ports.History`.

    The files are a copy: delete the folder, and the next `sync` makes it again from the log. It does so by itself where the
    files are of another version of Bidloop, with other columns.

    Parameters
    ----------
    folder
        Where the files lie; made when it is not there.
    event_log, decision_log
        What is copied, and what tells of an impression without an opportunity what it was for.
    settings
        The attribution windows.
    part_rows
        Events per file at most.
    """

    def __init__(
        self,
        folder: Path,
        event_log: EventLog,
        decision_log: DecisionLog,
        settings: OutcomeSettings = _DEFAULT,
        *,
        part_rows: int = 100_000,
    ) -> None:
        self._folder = folder
        self._events = event_log
        self._decisions = decision_log
        self._settings = settings
        self._part_rows = part_rows
        folder.mkdir(parents=True, exist_ok=True)

    def sync(self) -> int:
        """Take over the events that the log has gained; says how many."""
        total = 0
        with self._lock(fcntl.LOCK_EX), self._whole_files():
            self._tidy()
            while fresh := self._fresh():
                self._write(fresh)
                total += len(fresh)
        return total

    def position(self) -> int:
        """Up to which position of the log the files hold it."""
        live, _ = find_parts(self._folder)
        return live[-1].last if live else 0

    def erase(self, user_id: str) -> int:
        """Forget a person, by pseudonym; says how many rows are gone or changed.

        Each part that tells of them is written anew as a whole, and takes the place of the old one at once.
        """
        if not user_id:
            raise InvalidInput("an empty user_id", path="user_id", expected="the pseudonym of one person")
        total = 0
        with self._lock(fcntl.LOCK_EX), self._whole_files():
            self._tidy()
            for part in find_parts(self._folder)[0]:
                table, rows = without_person(pq.read_table(part.path), user_id)
                if rows:
                    write_part(self._folder, table, part.first, part.last)
                    total += rows
        return total

    def of_user(self, user_id: str) -> list[Event]:
        """What a person did, by pseudonym, in the order of the log; of what happened to ads the files do not say to whom."""
        with self._open() as connection:
            named = {"name": msgspec.json.encode(user_id).decode()}
            rows = connection.execute(joins.NAMING, named).fetchall()
        events = [_decode_event(text) for (text,) in rows]
        return [event for event in events if person_of(event) == user_id]

    def latest(self) -> datetime | None:
        """The time of the latest event, or of the latest restatement; `None` where nothing happened."""
        if not self.position():
            return None
        with self._open() as connection:
            return _latest(connection)

    def outcomes(
        self, start: datetime | None = None, end: datetime | None = None, as_of: datetime | None = None
    ) -> Outcomes:
        """What came of everything shown in ``start <= at < end``, as it was known at `as_of`."""
        with self._open() as connection:
            now = as_of if as_of is not None else _latest(connection)
            columns = _fetch(connection, joins.OUTCOMES, self._parameters(start, end, now))
        return outcomes_of(columns, now, self._settings)

    def delays(self, as_of: datetime | None = None) -> ConversionDelays:
        """How long every conversion took that counts in `outcomes` of the same instant, in order of time."""
        with self._open() as connection:
            now = as_of if as_of is not None else _latest(connection)
            columns = _fetch(connection, joins.DELAYS, self._parameters(None, None, now))
        return ConversionDelays(
            campaign=columns["campaign"].astype(object),
            at=columns["at_utc"],
            earliest=columns["earliest"],
            latest=columns["latest"],
            age=columns["age"],
            count=columns["count"],
        )

    def observations(self, start: datetime | None = None, end: datetime | None = None) -> Observations:
        """The increments of what was known in ``start <= at < end``, in the order in which they became known."""
        with self._open() as connection:
            columns = _fetch(connection, joins.OBSERVATIONS, self._parameters(start, end, _ALWAYS[1]))
        return observations_of(columns)

    def happenings(self, start: datetime | None = None, end: datetime | None = None) -> list[tuple[int, Event]]:
        """What users did and what happened in the market in ``start <= at < end``, with positions, in the order of the log."""
        with self._open() as connection:
            parameters = self._parameters(start, end, _ALWAYS[1])
            rows = connection.execute(
                joins.HAPPENINGS, {name: parameters[name] for name in ("start", "end")}
            ).fetchall()
        return [(position, _decode_event(text)) for position, text in rows]

    def spool(
        self,
        folder: Path,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        sample: tuple[int, int] | None = None,
        memory: str = "2GB",
        threads: int = 2,
    ) -> Spool:
        """Everything that was known, and what came of what was shown in ``start <= at < end``, as files to go through.

        Parameters
        ----------
        folder
            Where they are laid down; the caller deletes it.
        sample
            How many of the outcomes, each as likely as the others, and a seed; `None` takes all.
        memory, threads
            How much of each the joins may use.
        """
        with self._open() as connection:
            now = _latest(connection)
            counts = write_spool(
                connection,
                folder,
                self._parameters(start, end, now),
                self._parameters(None, None, _ALWAYS[1]),
                sample=sample,
                memory=memory,
                threads=threads,
            )
        return Spool(folder, now, self._settings, *counts)

    def bids(self, start: datetime | None = None, end: datetime | None = None) -> BidOutcomes:
        """What became of the bids for ``start <= at < end``, in order of time."""
        with self._open() as connection:
            columns = _fetch(connection, joins.BIDS, self._parameters(start, end, _ALWAYS[1]))
        return BidOutcomes(
            at=columns["at_utc"],
            opportunities=[_decode(text) for text in columns["opportunity"]],
            bid=columns["bid"],
            won=columns["won"],
            price=columns["price"],
            weight=columns["weight"],
        )

    def attributes(self) -> tuple[str, ...]:
        """Names of the categorical attributes that the log's opportunities carry, in alphabetical order."""
        return self._names("attributes")

    def measures(self) -> tuple[str, ...]:
        """Names of the numeric measures that the log's opportunities carry, in alphabetical order."""
        return self._names("measures")

    def _names(self, field: str) -> tuple[str, ...]:
        with self._open() as connection:
            rows = connection.execute(joins.NAMES, {"field": f"$.{field}"}).fetchall()
        return tuple(row[0] for row in rows)

    def _fresh(self) -> list[tuple[int, Event]]:
        """The next events of the log that no part holds, up to one part."""
        live, _ = find_parts(self._folder)
        position = live[-1].last if live else 0
        fresh: list[tuple[int, Event]] = []
        while len(fresh) < self._part_rows:
            page = self._events.read(position, min(_PAGE, self._part_rows - len(fresh)))
            if not page:
                break
            fresh.extend(page)
            position = page[-1][0]
        return fresh

    def _write(self, fresh: list[tuple[int, Event]]) -> None:
        ids = left_open(fresh)
        about, sent = (self._decisions.opportunities(ids), self._decisions.bids(ids)) if ids else ({}, {})
        table, first = to_table(fresh, about, sent), fresh[0][0]
        live, _ = find_parts(self._folder)
        # A small last part grows, so that frequent syncs do not leave a thousand files.
        if live and pq.read_metadata(live[-1].path).num_rows + len(fresh) <= self._part_rows:
            table, first = pa.concat_tables([pq.read_table(live[-1].path), table]), live[-1].first
        write_part(self._folder, table, first, fresh[-1][0])
        self._tidy()

    def _tidy(self) -> None:
        """Delete what is not read any more. Only for who holds the folder alone: nobody else is writing a file."""
        for path in find_parts(self._folder)[1]:
            path.unlink()

    @contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        """One writer, or several readers, over all processes; freed by the system when a process dies."""
        with (self._folder / "lock").open("w") as file:
            fcntl.flock(file, kind)
            yield

    @contextmanager
    def _open(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """DuckDB with the view `events` and the table `decided`."""
        with self._lock(fcntl.LOCK_SH), duckdb.connect() as connection, self._whole_files():
            files = [str(part.path) for part in find_parts(self._folder)[0]]
            source = connection.read_parquet(files) if files else connection.from_arrow(to_table([], {}, {}))
            source.create_view("events")
            self._decided(connection)
            yield connection

    @contextmanager
    def _whole_files(self) -> Iterator[None]:
        """Say what to do about a file that cannot be read."""
        try:
            yield
        except (duckdb.IOException, duckdb.InvalidInputException, pa.ArrowInvalid) as error:
            raise CorruptArtifact(
                f"history in {str(self._folder)!r}: {str(error).splitlines()[0]}",
                expected="whole Parquet files",
                remedy="Restore it, or delete the folder: it is made again from the event log, as far back as that goes.",
            ) from error

    def _decided(self, connection: duckdb.DuckDBPyConnection) -> None:
        ids = [row[0] for row in connection.execute(joins.UNTOLD).fetchall()]
        found = self._decisions.opportunities(ids) if ids else {}
        connection.execute(
            "CREATE TABLE decided (impression_id VARCHAR, at_utc TIMESTAMP, charge VARCHAR, opportunity VARCHAR)"
        )
        rows = [
            (name, _naive(about.at), about.charge.value, msgspec.json.encode(about).decode())
            for name, about in found.items()
        ]
        if rows:
            connection.executemany("INSERT INTO decided VALUES (?, ?, ?, ?)", rows)

    def _parameters(self, start: datetime | None, end: datetime | None, as_of: datetime) -> dict[str, Any]:
        return {
            "start": _naive(start if start is not None else _ALWAYS[0]),
            "end": _naive(end if end is not None else _ALWAYS[1]),
            "as_of": _naive(as_of),
            "click_window": days_us(self._settings.attribution_window_days),
            "conversion_window": days_us(self._settings.conversion_window_days),
        }


def _naive(at: datetime) -> datetime:
    """UTC without saying so: the files hold plain timestamps in UTC."""
    return at.astimezone(UTC).replace(tzinfo=None)


def _latest(connection: duckdb.DuckDBPyConnection) -> datetime:
    """The instant of the latest event, or of the latest restatement of a report row."""
    row = connection.execute("SELECT max(greatest(at_utc, known_at_utc)) FROM events").fetchone()
    latest = row[0] if row else None
    return _ALWAYS[0] + timedelta(days=366) if latest is None else latest.replace(tzinfo=UTC)


def _fetch(connection: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """The columns of an answer; only parameters that the query names are handed over."""
    named = {name: value for name, value in parameters.items() if f"${name}" in query}
    columns = connection.execute(query, named).fetchnumpy()
    return {name: np.ma.getdata(column) for name, column in columns.items()}
