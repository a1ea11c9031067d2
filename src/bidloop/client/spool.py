"""Events that could not be sent yet, on the disk."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_log = logging.getLogger("bidloop.client")


class Spool:
    """Keeps batches in a folder, a file each, until they were sent.

    Several processes may share the folder: a batch that two of them send is known by the ids of its events.

    Parameters
    ----------
    folder
        The folder; made when it is not there. What lies in it is as it was handed in, with whom it names, so it is for its
        owner's eyes alone.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._passed_over: set[Path] = set()

    def put(self, lines: Sequence[bytes]) -> None:
        """Keep a batch; it is on the disk when this returns."""
        name = f"{time.time_ns():020d}-{os.getpid()}-{os.urandom(4).hex()}"
        half = self._folder / f"{name}.part"
        try:
            with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(b"\n".join(lines))
                file.flush()
                os.fsync(file.fileno())
            half.rename(self._folder / f"{name}.ndjson")
        except OSError:  # of a disk that is full, not even a half may be left
            half.unlink(missing_ok=True)
            raise
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def batches(self) -> Iterator[tuple[Path, list[bytes]]]:
        """The batches, oldest first, each with its file; one that is gone or cannot be read holds up none of the others."""
        for file in sorted(self._folder.glob("*.ndjson")):
            if file in self._passed_over:
                continue
            try:
                lines = file.read_bytes().split(b"\n")
            except FileNotFoundError:  # another process has sent it meanwhile
                continue
            except OSError as error:
                self._pass_over(file, error)
                continue
            yield file, lines

    def drop(self, file: Path) -> None:
        """Forget a batch that was sent."""
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            self._pass_over(file, error)

    def _pass_over(self, file: Path, error: OSError) -> None:
        """Leave a file alone for as long as this process lives, and say so once."""
        self._passed_over.add(file)
        _log.warning("a batch in the spool is passed over: %s", error)
