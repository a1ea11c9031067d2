"""The folder of a training that is under way: one at a time, and what a killed one left is there for the next."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bidloop.core.errors import Unavailable


@contextmanager
def unfinished_training(folder: Path) -> Iterator[Path]:
    """Have a folder for what a training that is killed leaves to the next; emptied when the training came to its end.

    Raises
    ------
    Unavailable
        When another process trains here.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as home, unfinished_training(Path(home) / "training") as folder:
    ...     (folder / "half.checkpoint").touch()
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Unavailable(
                f"another training under way in {folder}",
                expected="one at a time",
                remedy="Wait for it to end, or end it; what it has done so far is kept.",
            ) from error
        yield folder
        for left in folder.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
            elif left.name != "lock":  # removed, it would let two in at once
                left.unlink()
