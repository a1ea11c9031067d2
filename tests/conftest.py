"""What every test may use."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import prometheus_client  # noqa: F401  before any test loads Feast, which would switch it to files
import pytest
import redis
from hypothesis import settings

from benchmarks.servers import PostgresServer, RedisServer

os.environ.pop("COLUMNS", None)  # test workers are told a width of their own; tables are printed as into a pipe

Server = TypeVar("Server", RedisServer, PostgresServer)

ROOT = Path(__file__).resolve().parents[1]

# Shared two-core machines stall now and then: a slow example is no failure, and CI must see the same examples each time.
settings.register_profile("bidloop", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("bidloop")


@pytest.fixture(scope="session")
def data() -> Callable[[str], Path]:
    """The folder of a real log by name; skips the test with a sentence where the log is not on this machine."""
    root = Path(os.environ.get("BIDLOOP_DATA") or ROOT.parent / "shared" / "data")

    def folder(name: str) -> Path:
        path = root / name
        if not path.exists():
            pytest.skip(
                f"needs the real log {name!r}, which is not at {path}; set BIDLOOP_DATA to the folder that has it"
            )
        return path

    return folder


@pytest.fixture(scope="session")
def redis_server(run_folder: Path) -> Iterator[RedisServer]:
    """A Redis that all tests of this run share; whoever wants to kill one starts their own."""
    with shared(RedisServer, run_folder) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(run_folder: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL that all tests of this run share; whoever wants to kill one starts their own."""
    with shared(PostgresServer, run_folder) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of the shared Redis: keys must begin with `stream_name`, for other tests write there at the same time."""
    return redis_server.url


@pytest.fixture
def stream_name(redis_url: str) -> Iterator[str]:
    """A name that no other test uses; what the test leaves under keys that begin with it is removed."""
    name = f"test:{secrets.token_hex(8)}"
    yield name
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(match=f"*{name}*"):
            client.delete(key)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of an empty database of the test's own."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One temporary folder for all worker processes of this run."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@contextmanager
def shared(kind: type[Server], folder: Path) -> Iterator[Server]:
    """One server for all worker processes: the first that needs it starts it, and stops it once the others are done."""
    note = folder / f"{kind.__name__}.url"
    with note.with_suffix(".users").open("a") as users, note.with_suffix(".turn").open("a") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        own = None
        if not (note.exists() and kind(url=note.read_text()).answers()):  # a worker that crashed took its server along
            own = kind.for_tests().start()
            note.write_text(own.url)
        url = note.read_text()
        fcntl.flock(turn, fcntl.LOCK_UN)
        yield kind(url=url)
        if own:
            fcntl.flock(users, fcntl.LOCK_UN)
            fcntl.flock(turn, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_EX)
            note.unlink()
            own.stop()
