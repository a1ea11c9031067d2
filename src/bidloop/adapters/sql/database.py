"""Opens a database: sets it up the first time, and brings an older one up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, Table, inspect, select, text
from sqlalchemy.dialects import postgresql as postgresql_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from bidloop.adapters.sql import postgresql, sqlite
from bidloop.adapters.sql.tables import REVISION, house
from bidloop.core.errors import ConfigurationError, Unavailable

MIGRATIONS = Path(__file__).with_name("migrations")


def open_database(place: Path | str) -> Engine:
    """A database, ready for use.

    Several processes may open the same new one at once: one migrates, the others wait.

    Parameters
    ----------
    place
        A file for SQLite, which is made with its folder when it is not there; or ``postgresql://user@host/name``.

    Raises
    ------
    ConfigurationError
        When the database was written by a newer version, or cannot be opened.
    CorruptArtifact
        When the file is no SQLite database.
    Unavailable
        When the server does not answer.
    """
    engine = sqlite.connect(place) if isinstance(place, Path) else postgresql.connect(place)
    try:
        with sqlite.explained(place) if isinstance(place, Path) else postgresql.explained(place):
            if isinstance(place, Path):
                sqlite.write_ahead(engine)
            _migrate(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def writing(engine: Engine) -> Engine:
    """The same engine, whose transactions are begun to write.

    A transaction of SQLite that reads first and writes then could find that another one wrote between, and SQLite refuses it
    at once, without waiting. Taking the lock at the beginning makes it wait instead. PostgreSQL locks rows by itself.
    """
    return engine.execution_options(immediate=True)


def insert_new(connection: Connection, table: Table) -> sqlite_dialect.Insert | postgresql_dialect.Insert:
    """An insert that may say what happens where the row is there already."""
    if connection.dialect.name == "postgresql":
        return postgresql_dialect.insert(table)
    return sqlite_dialect.insert(table)


def agreed(engine: Engine, name: str, value: str, *, anew: bool = False) -> str:
    """What all who open this database agree on under a name: what the first of them said.

    Parameters
    ----------
    name, value
        What is to be agreed on, and what this one says.
    anew
        Whether what this one says holds from now on.
    """
    with answering(engine), writing(engine).begin() as connection:
        new = insert_new(connection, house).values(name=name, value=value)
        if anew:
            connection.execute(new.on_conflict_do_update(index_elements=["name"], set_={"value": value}))
        else:
            connection.execute(new.on_conflict_do_nothing(index_elements=["name"]))
        told: str = connection.execute(select(house.c.value).where(house.c.name == name)).scalar_one()
    return told


@contextmanager
def answering(engine: Engine) -> Iterator[None]:
    """Says of a server that does not answer that it does not.

    Raises
    ------
    Unavailable
        When the connection is refused or lost, the server shuts down, or the file stays locked or its disk is full.
    """
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise Unavailable(
            f"database {postgresql.without_password(engine.url)}: {_first_line(error)}",
            expected="a database that answers",
            remedy="Nothing was half-written; the same again is right once it answers.",
        ) from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise Unavailable(f"the connection to the database was lost: {_first_line(error)}") from error


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().partition("\n")[0]


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(engine: Engine) -> None:
    with engine.connect() as connection:
        if _revision(connection) == REVISION:
            return
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    # One transaction under a lock: who comes second waits, and then finds nothing left to do.
    with writing(engine).begin() as connection:
        if engine.dialect.name == "postgresql":
            postgresql.lock_migrations(connection)
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ConfigurationError(
                f"a database of version {_revision(connection)}",
                expected=f"version {REVISION} or older",
                remedy="Use the version of Bidloop that wrote it, or a newer one.",
            ) from error
