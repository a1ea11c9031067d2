"""PostgreSQL: many writers at once, rows loaded by COPY, events kept in one partition a day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from struct import Struct
from typing import Any

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError

from bidloop.core.errors import ConfigurationError, Unavailable

CONNECT_TIMEOUT_S = 5
_MIGRATIONS_LOCK = 0x6269_646C  # "bidl"
_EPOCH_DAY = date(1970, 1, 1).toordinal()

# A server that vanished without a word is noticed within seconds, not after the kernel's two hours.
_LIVELINESS = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def connect(url: str) -> Engine:
    """An engine on a server; nothing is asked of it yet."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # the latter of a port that is no number
        raise ConfigurationError(
            "a database that is no URL",
            expected="postgresql://user@host/name, or nothing for a file in the home folder",
        ) from error
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigurationError(
            f"a database of the kind {parsed.drivername!r}",
            expected="postgresql://user@host/name, or nothing for a file in the home folder",
        )
    # A connection is tried before it is used, so that a restart of the server costs nobody an error. An error must not carry
    # what was to be written into a log.
    return create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args=dict(_LIVELINESS),
    )


def without_password(url: URL) -> str:
    """An address as it may be shown.

    >>> without_password(make_url("postgresql://anna:secret@host/name?password=secret"))
    'postgresql://anna:***@host/name'
    """
    return url.difference_update_query(["password", "sslpassword"]).render_as_string(hide_password=True)


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Says what is wrong with the server."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise Unavailable(
            f"database {without_password(make_url(url))}: " + str(error.orig).strip().partition("\n")[0],
            expected="a PostgreSQL server that answers, and lets this user in",
            remedy="Check the address, and that the server runs.",
        ) from error


def lock_migrations(connection: Connection) -> None:
    """Wait until nobody else migrates this database; held until the transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATIONS_LOCK})


class PostgresBulk:
    """Many rows at once, by COPY.

    Writers hold the lock of the log's head, so nobody else adds a key between the question which are known and the answer.
    """

    def __init__(self) -> None:
        self._days: set[int] = set()

    def known(self, connection: Connection, keys: Sequence[bytes]) -> dict[bytes, int]:
        """The digests of those of these event keys that were told."""
        with _cursor(connection) as cursor:
            cursor.execute("SELECT key, digest FROM event_keys WHERE key = ANY(%b)", (list(keys),), binary=True)
            return dict(cursor.fetchall())

    def erased(self, connection: Connection, persons: Sequence[str]) -> dict[str, int]:
        """Those of these pseudonyms that are to be forgotten, and before when."""
        if not persons:
            return {}
        with _cursor(connection) as cursor:
            cursor.execute("SELECT FROM erasures LIMIT 1")
            if not cursor.rowcount:  # the rule, and far quicker told than by thousands of names
                return {}
            cursor.execute("SELECT person, at_us FROM erasures WHERE person = ANY(%b)", (list(persons),), binary=True)
            return dict(cursor.fetchall())

    def add(self, connection: Connection, keys: Iterable[tuple[bytes, int]], rows: Sequence[Sequence[Any]]) -> None:
        """Write event keys, and events in the order of the table's columns, which all are of one day."""
        with _cursor(connection) as cursor:
            with cursor.copy("COPY event_keys (key, digest) FROM STDIN (FORMAT BINARY)") as copy:
                # In the order of the index: neighbours share a page. Packed at once, since rows of one shape need no formatter.
                copy.write(_HEADER + b"".join([_KEY.pack(2, 16, key, 8, digest) for key, digest in sorted(keys)]))
                copy.write(_TRAILER)
            if rows:
                try:
                    _copy(cursor, self._partition(cursor, rows[0][1]), _ROW_TYPES, rows)
                except psycopg.errors.UndefinedTable:
                    self._days.clear()  # another process, whose clock is ahead, has pruned it: next time it is made anew
                    raise

    def prune(self, connection: Connection, day: int) -> int:
        """Drop the partitions of before a day."""
        dropped = 0
        with _cursor(connection) as cursor:
            cursor.execute(
                "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass ORDER BY 1"
            )
            for (partition,) in cursor.fetchall():
                if partition < _name(day):
                    cursor.execute(f"SELECT count(*) FROM {partition}")
                    counted = cursor.fetchone()
                    dropped += counted[0] if counted else 0
                    cursor.execute(f"DROP TABLE {partition}")
        self._days.clear()
        return dropped

    def _partition(self, cursor: psycopg.Cursor[Any], day: int) -> str:
        """The partition of a day, made with its first event: rows that go straight into it need no routing."""
        name = _name(day)
        if day not in self._days:
            cursor.execute("SELECT to_regclass(%s)", (name,))
            found = cursor.fetchone()
            if found is None or found[0] is None:
                cursor.execute(f"CREATE TABLE {name} PARTITION OF events FOR VALUES FROM ({day}) TO ({day + 1})")
            else:
                self._days.add(day)  # only what an earlier transaction has committed is remembered
        return f"{name} (position, day, type, at_us, person, payload)"


_HEADER, _TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
_KEY = Struct(">hi16siq")
"""A row of `event_keys` in COPY's binary format: two columns, each behind its length."""
_ROW_TYPES = ("int8", "int4", "text", "int8", "text", "text")


def _copy(cursor: psycopg.Cursor[Any], into: str, types: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with cursor.copy(f"COPY {into} FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


@contextmanager
def _cursor(connection: Connection) -> Iterator[psycopg.Cursor[Any]]:
    """A cursor of the driver inside SQLAlchemy's transaction; its errors become SQLAlchemy's."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    try:
        with raw.cursor() as cursor:
            yield cursor
    except psycopg.OperationalError as error:
        connection.invalidate(error)
        raise OperationalError("COPY", {}, error) from error


def _name(day: int) -> str:
    """Name of a day's partition; names sort as days do.

    >>> _name(20781)
    'events_20261124'
    """
    return f"events_{date.fromordinal(_EPOCH_DAY + day):%Y%m%d}"
