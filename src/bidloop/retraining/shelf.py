"""The model bundles of one house, which of them serves, and which served before."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from msgspec import UNSET, UnsetType

from bidloop.core.errors import NotFound, Unavailable
from bidloop.prediction.bundle import load_bundle
from bidloop.retraining.promotions import Change, Promotions


class Shelf:
    """A folder of model bundles, one folder per version, and files that name the champion and the challenger.

    Each change of the champion is written down in a file beside them, so that a roll-back knows where to go.

    Examples
    --------
    >>> shelf = Shelf(Path(tempfile.mkdtemp()))
    >>> shelf.champion() is None
    True
    >>> for version in ("v1", "v2"):
    ...     (shelf.folder / version).mkdir()
    ...     shelf.promote(version)
    >>> shelf.champion(), shelf.previous()
    ('v2', 'v1')
    >>> shelf.roll_back()
    'v1'
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.promotions = Promotions(folder / "promotions.ndjson")

    def path(self, version: str) -> Path:
        """Where the bundle of a version stands.

        Raises
        ------
        NotFound
            When there is none.
        """
        path = self.folder / version
        if not version or not path.is_dir():
            raise NotFound(
                f"no model {version!r} in {self.folder}",
                expected="a version that was trained here",
                remedy="Run 'bidloop train'.",
            )
        return path

    def versions(self) -> list[str]:
        """The versions there are, in order of their names; whether they can be read is another matter."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(path.name for path in found if path.is_dir() and not path.name.startswith("."))

    def champion(self) -> str | None:
        """The version that serves, or `None` before the first training."""
        return self._named("champion")

    def challenger(self) -> str | None:
        """The version that was trained last and does not serve, or `None` where there is none."""
        return self._named("challenger")

    def previous(self) -> str | None:
        """The version that a roll-back would bring back, or `None` where the champion is the first."""
        served = self.promotions.served(self.champion())
        return served[-2] if len(served) > 1 else None

    def propose(self, version: str) -> None:
        """Make a version the challenger; where it serves already, there is none."""
        self.path(version)
        with self._changing():
            self._name("challenger", None if self.champion() == version else version)

    def promote(self, version: str, at: datetime | None = None, *, expected: str | UnsetType | None = UNSET) -> None:
        """Make a version the one that serves. Where it does already, nothing changes.

        Parameters
        ----------
        at
            When; by default now.
        expected
            The champion that the caller knows of; by default whichever there is.

        Raises
        ------
        NotFound
            When the version is not on the shelf.
        Unavailable
            When the champion is no longer the expected one.
        """
        self.path(version)
        with self._changing():
            champion = self._champion(expected)
            if champion == version:
                return
            change = Change(how="promoted", version=version, at=at or datetime.now(UTC))
            self.promotions.write_down(change, champion)
            self._name("champion", version)
            if self.challenger() == version:
                self._name("challenger", None)

    def roll_back(self, at: datetime | None = None, *, expected: str | UnsetType | None = UNSET) -> str:
        """Have the champion before serve again; says which. Once more goes back one further.

        Parameters
        ----------
        at, expected
            As for `promote`.

        Raises
        ------
        NotFound
            When the champion is the first, or the one before is no longer on the shelf.
        Unavailable
            When the champion is no longer the expected one.
        """
        with self._changing():
            served = self.promotions.served(self._champion(expected))
            if len(served) < 2:
                raise NotFound(
                    "no champion before the one that serves",
                    expected="two promotions at least",
                    remedy="Name the version that shall serve: 'bidloop models promote VERSION'.",
                )
            self.path(served[-2])
            change = Change(how="rolled back", version=served[-1], at=at or datetime.now(UTC))
            self.promotions.write_down(change, served[-1])
            self._name("champion", served[-2])
            return served[-2]

    def adopt(self, folder: Path) -> str:
        """Take a bundle from elsewhere on the shelf, once every byte of it was checked; says its version.

        Parameters
        ----------
        folder
            The bundle's own folder, on the same disk; it is moved. One that is here already is left as it is.

        Raises
        ------
        NotFound, CorruptArtifact
            As `load_bundle` does.
        """
        version = load_bundle(folder).version
        target = self.folder / version
        with self._changing():
            if not target.exists():
                os.rename(folder, target)
        return version

    def room(self) -> tempfile.TemporaryDirectory[str]:
        """A folder on the shelf's disk for what comes in; it is removed with what is left in it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".incoming-", dir=self.folder)

    def _champion(self, expected: str | UnsetType | None) -> str | None:
        champion = self.champion()
        if expected not in (UNSET, champion):
            raise Unavailable(
                f"{champion or 'no model'} serves by now: the champion was changed meanwhile",
                expected=f"{expected or 'no model'}, as when this began",
                remedy="Look at what serves, and say again what shall.",
            )
        return champion

    def _named(self, word: str) -> str | None:
        """The version that a pointer names; one that is empty, as a full disk may leave it, names none."""
        try:
            return (self.folder / word).read_text(errors="replace").strip() or None
        except FileNotFoundError:
            return None

    def _name(self, word: str, version: str | None) -> None:
        """Point at a version, or at none, so that a power failure leaves either this or what was before."""
        pointer, temporary = self.folder / word, self.folder / f"{word}.part"
        if version is None:
            pointer.unlink(missing_ok=True)
        else:
            with temporary.open("w") as file:
                file.write(version + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, pointer)
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One process at a time changes what the shelf says."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
