"""The model bundles of one house, and which of them serves."""

from __future__ import annotations

import os
from pathlib import Path

from bidloop.core.errors import NotFound


class Shelf:
    """A folder of model bundles, one folder per version, and a file that names the champion.

    Examples
    --------
    >>> import tempfile
    >>> shelf = Shelf(Path(tempfile.mkdtemp()))
    >>> shelf.champion() is None
    True
    >>> (shelf.folder / "v1").mkdir()
    >>> shelf.promote("v1")
    >>> shelf.champion()
    'v1'
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

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

    def champion(self) -> str | None:
        """The version that serves, or `None` before the first training."""
        pointer = self.folder / "champion"
        return pointer.read_text().strip() if pointer.exists() else None

    def promote(self, version: str) -> None:
        """Make a version the one that serves."""
        self.path(version)
        temporary = self.folder / "champion.part"
        temporary.write_text(version + "\n")
        os.replace(temporary, self.folder / "champion")
