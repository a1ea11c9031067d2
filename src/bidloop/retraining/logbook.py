"""The training runs of one house: what a model is compared by, what a registry can be told later, and what it was told."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from bidloop.core.errors import CorruptArtifact
from bidloop.retraining.ports import Registered
from bidloop.retraining.run import Run


class Logbook:
    """A folder of runs, by the version of the bundle that came of them.

    Models that were trained before runs were kept have none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, run: Run) -> None:
        """Keep a run, durably before it returns; one of the same version is replaced."""
        self._write(f"{run.version}.json", msgspec.json.encode(run))

    def recorded(self, known: Registered) -> None:
        """Keep what a registry answered when it was told of a version."""
        self._write(f"{known.version}.registered", msgspec.json.encode(known))

    def run(self, version: str) -> Run | None:
        """The run of a version, or `None` where none was kept.

        Raises
        ------
        CorruptArtifact
            When it cannot be read.
        """
        file = self.folder / f"{version}.json"
        try:
            return msgspec.json.decode(file.read_bytes(), type=Run)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, OSError, ValueError) as error:
            raise CorruptArtifact(
                f"an unreadable run {file} ({error})",
                expected="the run as it was written",
                remedy="Restore the file, or delete it: the model itself does not need it.",
            ) from error

    def registered(self) -> dict[str, Registered]:
        """What a registry answered, by version: nobody has to be asked again for what is known here."""
        answers = {}
        for file in sorted(self.folder.glob("*.registered")):
            with suppress(msgspec.MsgspecError, OSError, ValueError):  # it can be asked
                answers[file.stem] = msgspec.json.decode(file.read_bytes(), type=Registered)
        return answers

    def _write(self, name: str, data: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".{name}.{os.getpid()}.part"
        with temporary.open("wb") as file:
            file.write(msgspec.json.format(data, indent=2))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.folder / name)
