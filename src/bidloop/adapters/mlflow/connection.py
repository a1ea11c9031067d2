"""Opening an MLflow store: a SQLite file of the house, or a server by URL."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from bidloop.adapters.mlflow.answering import answering, unavailable
from bidloop.core.errors import ConfigurationError, CorruptArtifact

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = b"SQLite format 3\x00"
SECONDS = 4.0
"""How long a server may take to say that it is there."""

MOVED = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow keeps absolute paths of artifacts."""

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # it tells its makers of each call otherwise, from its import on
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # where others read JSON
}
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "120",
}
"""MLflow itself would ask for minutes before it says that a server is gone; this is some ten seconds. What the user set, holds."""


class Store:
    """Where runs are kept.

    Parameters
    ----------
    url
        ``http://`` or ``https://`` and the address of a server, whose credentials are taken from MLflow's own variables
        (``MLFLOW_TRACKING_TOKEN``, ``MLFLOW_TRACKING_USERNAME`` and others); empty is a SQLite file in `folder`.
    folder
        For the file and its artifacts; made when something is written.

    Raises
    ------
    ConfigurationError
        When the address is of another kind, or MLflow cannot open a file in such a folder.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url.rstrip("/"), folder.absolute()
        if url and urlsplit(url).scheme not in ("http", "https"):
            raise ConfigurationError(
                f"registry.url = {url.partition('://')[0]}://…",
                expected="http:// or https:// and the address of an MLflow server, or nothing",
                remedy="Leave it empty for a SQLite file in the home folder.",
            )
        if not url and not {"?", "%"}.isdisjoint(str(self.folder)):
            raise ConfigurationError(
                f"the folder {self.folder}",
                expected="a path without '?' and '%', which MLflow takes for part of an address",
                remedy="Move the home folder, or set registry.url.",
            )

    @property
    def file(self) -> Path:
        """The SQLite file."""
        return self.folder / "mlflow.db"

    @property
    def uri(self) -> str:
        """What MLflow calls it."""
        return self.url or f"sqlite:///{self.file}"

    @property
    def where(self) -> str:
        """The same without who opens it."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if self.url else str(self.file)

    @property
    def artifacts(self) -> str | None:
        """Where the artifacts of a new experiment go; a server decides itself."""
        return None if self.url else (self.folder / "artifacts").as_uri()

    @property
    def exists(self) -> bool:
        """Whether there is anything to ask: a server, or a file that something was recorded in."""
        return bool(self.url) or self.file.exists()

    def open(self) -> MlflowClient:
        """A client of this store; an empty SQLite file gets its tables, which takes some seconds the first time.

        Raises
        ------
        Unavailable
            When the server does not answer.
        ConfigurationError
            When it does not let us in.
        CorruptArtifact
            When the file is no database.
        """
        if self.url:
            self._ask()
        else:
            with answering(self.where):
                self.folder.mkdir(parents=True, exist_ok=True)
            self._look()
            self.settle()
        os.environ.update(ENVIRONMENT)
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        with answering(self.where), self.alone():
            from mlflow import MlflowClient

            client = MlflowClient(self.uri, self.uri)
            client.search_experiments(max_results=1)  # opens the file now, while others wait
        return client

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One process at a time makes the tables of a SQLite file, or records in it; a server keeps order itself."""
        if self.url:
            yield
            return
        with (self.folder / ".turn").open("a") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            yield

    def settle(self) -> None:
        """Have MLflow look for artifacts in this folder, also after the home folder was moved, or is a copy.

        MLflow keeps absolute paths: a copy would read the original's plots, and write its own among them.
        """
        if self.artifacts is None or not self.file.exists():
            return
        with (
            answering(self.where),
            self.alone(),
            closing(sqlite3.connect(self.file, timeout=60.0)) as database,
            database,
        ):
            known = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "experiments" not in known:
                return
            asked = "SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE '%/' || ?"
            for (old,) in database.execute(asked, (f"{self.folder.name}/artifacts",)).fetchall():
                if old != self.artifacts:
                    for table, column in MOVED:
                        database.execute(
                            f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                            f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                            (self.artifacts, len(old) + 1, old, len(old) + 1, f"{old}/"),
                        )

    def _ask(self) -> None:
        """MLflow would ask a server that is gone again and again; this asks once, and any answer is one."""
        try:
            with httpx.stream("GET", f"{self.where}/health", timeout=SECONDS):  # what it says may never end
                pass
        except httpx.HTTPError as error:
            raise unavailable(self.where, error) from error

    def _look(self) -> None:
        """MLflow would try for minutes to open what is no database."""
        if self.file.exists():
            with self.file.open("rb") as file:
                start = file.read(len(SQLITE))
            if start not in (b"", SQLITE):
                raise CorruptArtifact(
                    f"{self.file} is no SQLite file",
                    expected="the registry of this house",
                    remedy="Restore it, or move it away: 'bidloop models record' fills a new one with the runs that were kept.",
                )
