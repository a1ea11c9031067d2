"""Every feature view that was ever used, by version: a folder of definitions that are written once."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from bidloop.core.clock import Clock, SystemClock
from bidloop.core.errors import ConfigurationError, CorruptArtifact, NotFound
from bidloop.features.view import FeatureView


class KeptView(msgspec.Struct, frozen=True, kw_only=True):
    """That a version is kept, and since when (UTC)."""

    version: str
    kept_at: datetime


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kept_at: datetime
    view: dict[str, Any]


class Catalogue:
    """A folder with one file ``VERSION.json`` for each view.

    Parameters
    ----------
    folder
        Made when the first view is kept.
    clock
        Tells when a view was kept; by default the machine's own.

    Examples
    --------
    >>> from bidloop.features.views import campaign_view
    >>> catalogue = Catalogue(Path(tempfile.mkdtemp()) / "views")
    >>> version = catalogue.keep(campaign_view())
    >>> catalogue.view(version[:4]) == campaign_view()
    True
    >>> [kept.version == version for kept in catalogue.versions()]
    [True]
    """

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self.folder = folder
        self._clock = clock or SystemClock()

    def keep(self, view: FeatureView) -> str:
        """Keep a view, if it is not kept yet; returns its version."""
        target = self.folder / f"{view.version}.json"
        if target.exists():
            return view.version
        self.folder.mkdir(parents=True, exist_ok=True)
        definition = msgspec.to_builtins(view, order="deterministic")
        written = msgspec.json.encode(_File(kept_at=self._clock.now(), view=definition))
        handle, beside = tempfile.mkstemp(prefix=f".{view.version}-", dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.format(written, indent=2) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.chmod(beside, 0o644)  # what the others of the folder may read is the folder's to say
            os.replace(beside, target)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
        return view.version

    def view(self, version: str) -> FeatureView:
        """The view of a version, or of the only one that begins so.

        Raises
        ------
        NotFound
            When there is none, or several.
        CorruptArtifact
            When its file cannot be read, or holds another definition than its name says.
        """
        path = self.folder / f"{find_version(version, self.names())}.json"
        try:
            view = msgspec.convert(_read(path).view, FeatureView)
        except (msgspec.MsgspecError, ConfigurationError) as error:
            raise _corrupt(path, str(error)) from error
        if view.version != path.stem:
            raise _corrupt(path, f"the definition of {view.version}")
        return view

    def names(self) -> list[str]:
        """The versions that are kept, by the names of their files alone: none of these is read."""
        return sorted(path.stem for path in self.folder.glob("[!.]*.json"))

    def versions(self) -> list[KeptView]:
        """The versions that are kept, in the order of keeping.

        Raises
        ------
        CorruptArtifact
            When a file cannot be read.
        """
        kept = [KeptView(version=name, kept_at=_read(self.folder / f"{name}.json").kept_at) for name in self.names()]
        return sorted(kept, key=lambda one: (one.kept_at, one.version))


def find_version(prefix: str, versions: Iterable[str]) -> str:
    """The version of a view that begins so.

    Raises
    ------
    NotFound
        When there is none, with the closest, or several.

    Examples
    --------
    >>> find_version("58d0", ["58d08977b803", "a1c3b7f00d21"])
    '58d08977b803'
    """
    known = list(versions)
    found = [version for version in known if prefix and version.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFound(
            f"feature views {', '.join(found)} all begin with {prefix!r}",
            expected="the beginning of one",
            remedy="Give more of its digits.",
        )
    near = difflib.get_close_matches(prefix, known, n=1, cutoff=0.3)
    raise NotFound(
        f"no feature view {prefix!r}",
        expected="the version of one that was kept, or that a model on the shelf reads",
        remedy=f"Did you mean {near[0]!r}?" if near else "'bidloop features list --views' shows them.",
    )


def _read(path: Path) -> _File:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File)
    except (msgspec.MsgspecError, OSError, UnicodeDecodeError) as error:
        raise _corrupt(path, str(error)) from error


def _corrupt(path: Path, found: str) -> CorruptArtifact:
    return CorruptArtifact(
        f"feature view {path}: {found}",
        expected="the definition as it was kept",
        remedy="Restore the file, or delete it: the next training keeps the present view again.",
    )
