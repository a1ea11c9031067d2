"""Opens the database: sets it up the first time, and brings an older one up to date."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DatabaseError, OperationalError

from bidloop.adapters.sql.tables import REVISION
from bidloop.core.errors import ConfigurationError, CorruptArtifact

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another one. SQLite lets one write at a time; an import holds the lock for a chunk."""

MIGRATIONS = Path(__file__).with_name("migrations")


def open_database(path: Path) -> Engine:
    """The database in a file, ready for use; the file and its folder are made when they are not there.

    Several processes may open the same new file at once: one migrates, the others wait.

    The file is in WAL mode, so that readers do not wait for the writer. Each commit is forced to the disk
    (``synchronous=FULL``): in WAL mode the milder ``NORMAL`` would keep the file whole through a power cut, but may
    lose the last commits, and an event or a decision that was acknowledged must not be lost. Writers write in chunks,
    so that one commit is paid for many rows.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ConfigurationError
        When the file was written by a newer version, or cannot be opened.
    CorruptArtifact
        When the file is no SQLite database.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    try:
        _write_ahead(engine)
        _migrate(engine)
    except (sqlite3.OperationalError, OperationalError) as error:
        engine.dispose()
        raise ConfigurationError(
            f"database {str(path)!r}: {getattr(error, 'orig', error)}",
            expected="a file that can be written, in a folder on a local disk",
            remedy="Check the path and its permissions.",
        ) from error
    except (sqlite3.DatabaseError, DatabaseError) as error:
        engine.dispose()
        raise CorruptArtifact(
            f"database {str(path)!r}: {getattr(error, 'orig', error)}",
            expected="a SQLite database",
            remedy="Move the file away, or restore it from a backup.",
        ) from error
    except BaseException:
        engine.dispose()
        raise
    return engine


def writing(engine: Engine) -> Engine:
    """The same engine, whose transactions take the write lock when they begin.

    A transaction that reads first and writes then could find that another one wrote between, and SQLite refuses it at
    once, without waiting. Taking the lock at the beginning makes it wait instead.
    """
    return engine.execution_options(immediate=True)


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


def _write_ahead(engine: Engine) -> None:
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
    # One transaction under the write lock: who comes second waits, and then finds nothing left to do.
    with writing(engine).begin() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ConfigurationError(
                f"a database of version {_revision(connection)}",
                expected=f"version {REVISION} or older",
                remedy="Use the version of Bidloop that wrote it, or a newer one.",
            ) from error
