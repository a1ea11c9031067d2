"""Opening, migrating and crashing."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from benchmarks.servers import PostgresServer
from bidloop.adapters.sql.database import MIGRATIONS, open_database
from bidloop.adapters.sql.event_log import SqlEventLog
from bidloop.adapters.sql.quarantine import SqlQuarantine
from bidloop.adapters.sql.tables import REVISION, metadata
from bidloop.core.errors import ConfigurationError, CorruptArtifact, Unavailable
from bidloop.core.event import ClickReceived
from bidloop.events.rejected import Rejected
from bidloop.events.sealing import Seal

SEAL = Seal(bytes(32))

OPEN = """
import sys
from pathlib import Path
from bidloop.adapters.sql.database import open_database
sys.stdin.readline()
place = sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1])
with open_database(place).connect() as connection:
    print(connection.exec_driver_sql("SELECT version_num FROM alembic_version").fetchall())
"""

APPEND = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.event_log import SqlEventLog
from bidloop.core.event import ClickReceived
from bidloop.events.sealing import Seal
log = SqlEventLog(open_database(Path(sys.argv[1])), Seal(bytes(32)))
at = datetime(2026, 1, 1, tzinfo=UTC)
for chunk in range(100_000):
    log.append([ClickReceived(event_id=f"{chunk}-{i}", at=at, impression_id="i") for i in range(200)])
    print(chunk, flush=True)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    return tmp_path / "a.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


def test_migrations_make_the_tables_that_the_code_uses(place: Path | str) -> None:
    engine = open_database(place)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_a_database_of_the_first_version_is_brought_up_to_date_with_all_that_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    old = create_engine(f"sqlite:///{path}")
    click = ClickReceived(event_id="c", at=datetime(2026, 1, 1, tzinfo=UTC), impression_id="i")
    # Version 0001 wrote every field, defaults as well.
    payload = '{"type":"click_received","event_id":"c","at":"2026-01-01T00:00:00Z","impression_id":"i","price":null}'
    row = {"source": "r.csv", "position": 3, "code": "unknown_date", "reason": "why", "raw": "Total,1", "at": None}
    with old.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            text(
                "INSERT INTO events (position, event_id, type, at_us, payload) VALUES (7, 'c', 'click_received', 1, :p)"
            ),
            {"p": payload},
        )
        connection.execute(
            text("INSERT INTO quarantine (digest, code, payload) VALUES ('d', 'unknown_date', :p)"),
            {"p": json.dumps(row)},
        )
    old.dispose()
    engine = open_database(path)
    log = SqlEventLog(engine, SEAL)
    assert log.read() == [(7, click)]
    assert log.append([click]).duplicates == 1
    log.append([msgspec.structs.replace(click, event_id="d")])
    assert log.read(after=7)[0][0] == 8
    [kept] = SqlQuarantine(engine, SEAL).list()
    assert (kept.id, kept.row.raw, kept.row.position) == ("d", b"Total,1", 3)
    engine.dispose()


def test_the_tables_name_the_last_migration() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == REVISION


def test_commits_are_forced_to_the_disk_and_readers_do_not_wait(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "folder" / "not" / "there" / "100 % a.db")
    for _ in range(2):
        with engine.connect() as connection:
            pragmas = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
        assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_processes_that_open_the_same_new_database_at_once_all_succeed(place: Path | str) -> None:
    command = [sys.executable, "-c", OPEN, str(place)]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0] for process in started]
    assert [process.returncode for process in started] == [0] * 4
    assert answers == [f"[('{REVISION}',)]\n"] * 4


def test_a_database_of_a_newer_version_is_left_alone_and_named(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "a.db")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="9999"):
        open_database(tmp_path / "a.db")


def test_a_migration_that_fails_leaves_nothing_half_done(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as raw:
        raw.execute("CREATE TABLE decisions (mine TEXT)")
    with pytest.raises(ConfigurationError, match="already exists"):
        open_database(tmp_path / "a.db")
    with sqlite3.connect(tmp_path / "a.db") as raw:
        assert raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [("decisions",)]


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("month,day,clicks\n" * 100)
    with pytest.raises(CorruptArtifact, match="not a database"):
        open_database(tmp_path / "a.db")


def test_a_folder_in_place_of_the_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="unable to open"):
        open_database(tmp_path)


def test_what_was_acknowledged_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with subprocess.Popen([sys.executable, "-c", APPEND, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(5)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout if line.endswith("\n")]
    assert process.returncode == -signal.SIGKILL
    log = SqlEventLog(open_database(path), Seal(bytes(32)))
    there = [event.event_id for _, event in log.read(limit=1_000_000)]
    chunks = len(there) // 200
    # Every chunk is whole, in order; at most one was written whose acknowledgement the kill cut off.
    assert there == [f"{chunk}-{i}" for chunk in range(chunks) for i in range(200)]
    assert chunks - 1 in {acknowledged[-1], acknowledged[-1] + 1}
    with open_database(path).connect() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_a_server_that_was_killed_is_said_not_to_answer_and_the_same_log_goes_on_after_it(tmp_path: Path) -> None:
    def click(number: int) -> ClickReceived:
        return ClickReceived(event_id=f"c{number}", at=datetime(2026, 1, 1, tzinfo=UTC), impression_id="i")

    with PostgresServer() as server:
        engine = open_database(server.new_database())
        log = SqlEventLog(engine, SEAL)
        log.append([click(1)])
        server.kill()
        for broken in (lambda: log.append([click(2)]), log.read, log.counts):
            with pytest.raises(Unavailable, match="database postgresql"):
                broken()
        with pytest.raises(Unavailable, match="database postgresql"):
            open_database(engine.url.set(drivername="postgresql").render_as_string(hide_password=False))
        server.start()
        assert log.append([click(1), click(2)]).new == [False, True]
        assert [event for _, event in log.read()] == [click(1), click(2)]
        engine.dispose()


@pytest.mark.parametrize("url", ["mysql://a/b", "nonsense", "sqlite:///a.db", "postgresql://host:port/a"])
def test_a_url_of_another_kind_is_refused_with_what_would_be_right(url: str) -> None:
    with pytest.raises(ConfigurationError, match="postgresql://user@host/name"):
        open_database(url)


def test_events_lie_in_one_partition_a_day(postgres_url: str) -> None:
    engine = open_database(postgres_url)
    SqlEventLog(engine, SEAL).append(
        [ClickReceived(event_id="c", at=datetime(2026, 1, 1, tzinfo=UTC), impression_id="i")]
    )
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT tableoid::regclass::text FROM events").scalars().all()
    assert found == [f"events_{datetime.now(UTC):%Y%m%d}"]
    engine.dispose()


def test_a_writer_whose_clock_is_behind_goes_on_after_its_day_was_pruned(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_database(postgres_url)
    behind, pruning = SqlEventLog(engine, SEAL), SqlEventLog(engine, SEAL)
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.0)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    clicks = [ClickReceived(event_id=str(i), at=at, impression_id="i") for i in range(4)]
    behind.append(clicks[:1])
    behind.append(clicks[1:2])
    assert pruning.prune(at) == 2
    with pytest.raises(psycopg.errors.UndefinedTable):
        behind.append(clicks[2:3])
    assert behind.append(clicks).new == [False, False, True, True]
    engine.dispose()


def test_what_was_sealed_with_a_key_that_is_gone_is_still_listed_without_its_bytes(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "a.db")
    SqlQuarantine(engine, SEAL).keep([Rejected(source="api", code="not_json", reason="why", raw=b"{")])
    [kept] = SqlQuarantine(engine, Seal(bytes([1]) * 32)).list()
    assert (kept.row.code, kept.row.raw) == ("not_json", b"")
    engine.dispose()


def test_an_error_of_the_database_does_not_repeat_what_was_to_be_written(place: Path | str) -> None:
    engine = open_database(place)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE quarantine RENAME COLUMN payload TO gone"))
    row = Rejected(source="s", code="c", reason="anna's", raw=b"anna")
    with pytest.raises(Exception) as caught:
        SqlQuarantine(engine, SEAL).keep([row])
    assert "anna" not in "".join(traceback.format_exception(caught.value))
    engine.dispose()
