"""SQLite: one file, which readers may read while it is written to."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError

from bidloop.core.errors import ConfigurationError, CorruptArtifact

T = TypeVar("T", bytes, str)

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another one. SQLite lets one write at a time; an import holds the lock for a chunk."""

_NAMES_PER_QUERY = 1_000


def connect(path: Path) -> Engine:
    """An engine on a file, whose folder is made when it is not there.

    Each commit is forced to the disk (``synchronous=FULL``): in WAL mode the milder ``NORMAL`` would keep the file whole
    through a power cut, but may lose the last commits, and an event or a decision that was acknowledged must not be lost.
    Writers write in chunks, so that one commit is paid for many rows.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # An error must not carry what was to be written into a log.
    engine = create_engine(
        URL.create("sqlite", database=str(path)), hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S}
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def write_ahead(engine: Engine) -> None:
    """Switch the file to WAL mode, which it keeps.

    Needed outside a transaction and alone on the file; SQLite does not always wait for that by itself, so we do.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            locked = error.sqlite_errorcode in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
            if not locked or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        finally:
            raw.close()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Says what is wrong with the file."""
    try:
        yield
    except (sqlite3.OperationalError, OperationalError) as error:
        raise ConfigurationError(
            f"database {str(path)!r}: {getattr(error, 'orig', error)}",
            expected="a file that can be written, in a folder on a local disk",
            remedy="Check the path and its permissions.",
        ) from error
    except (sqlite3.DatabaseError, DatabaseError) as error:
        raise CorruptArtifact(
            f"database {str(path)!r}: {getattr(error, 'orig', error)}",
            expected="a SQLite database",
            remedy="Move the file away, or restore it from a backup.",
        ) from error


class SqliteBulk:
    """Many rows at once, with plain statements."""

    def known(self, connection: Connection, keys: Sequence[bytes]) -> dict[bytes, int]:
        """The digests of those of these event keys that were told."""
        return _found(connection, "SELECT key, digest FROM event_keys WHERE key", keys)

    def erased(self, connection: Connection, persons: Sequence[str]) -> dict[str, int]:
        """Those of these pseudonyms that are to be forgotten, and before when."""
        return _found(connection, "SELECT person, at_us FROM erasures WHERE person", persons)

    def add(self, connection: Connection, keys: Iterable[tuple[bytes, int]], rows: Sequence[Sequence[Any]]) -> None:
        """Write event keys, and events in the order of the table's columns."""
        if new := sorted(keys):
            connection.exec_driver_sql("INSERT INTO event_keys (key, digest) VALUES (?, ?)", new)
        if rows:
            statement = "INSERT INTO events (position, day, type, at_us, person, payload) VALUES (?, ?, ?, ?, ?, ?)"
            connection.exec_driver_sql(statement, list(map(tuple, rows)))

    def prune(self, connection: Connection, day: int) -> int:
        """Drop the events that were written before a day."""
        return connection.exec_driver_sql("DELETE FROM events WHERE day < ?", (day,)).rowcount


def _found(connection: Connection, query: str, names: Sequence[T]) -> dict[T, int]:
    """Number by name, of the names that there are."""
    found: dict[T, int] = {}
    for start in range(0, len(names), _NAMES_PER_QUERY):
        some = tuple(names[start : start + _NAMES_PER_QUERY])
        marks = ",".join("?" * len(some))
        found.update(map(tuple, connection.exec_driver_sql(f"{query} IN ({marks})", some)))
    return found


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver's own transaction control opens transactions late and closes them before DDL; we do it ourselves.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
