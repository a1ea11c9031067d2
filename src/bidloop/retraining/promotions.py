"""Which model served when: every change of the champion, written down before it is made."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the champion: `version` serves from `at` on, or after a roll-back no longer does.

    ``"found"`` is a champion that served before its promotions were written down.
    """

    how: Literal["promoted", "rolled back", "found"]
    version: str
    at: datetime


class Promotions:
    """A file of changes, one JSON object a line, that is only ever appended to.

    What serves is told by the shelf's pointer, not by this file: after a crash between the two, the pointer is believed.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def changes(self) -> list[Change]:
        """Every change, oldest first."""
        try:
            lines = self.file.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        # A line that a crash cut short tells of a change that did not come to be.
        return [change for line in lines if (change := _read(line)) is not None]

    def served(self, champion: str | None) -> list[str]:
        """The champions that roll-backs would go through, with the present one last."""
        served = _stack(self.changes())
        if champion is None:
            return []
        if served[-1:] == [champion]:
            return served
        return served[:-1] if served[-2:-1] == [champion] else [*served, champion]

    def write_down(self, change: Change, champion: str | None) -> None:
        """Write down what the champion is changed to, and before it what the file did not know of the present one."""
        served = _stack(self.changes())
        mended = []
        if champion is not None and served[-1:] != [champion]:
            if served[-2:-1] == [champion]:
                mended.append(Change(how="rolled back", version=served[-1], at=change.at))
            else:
                mended.append(Change(how="found", version=champion, at=change.at))
        with self.file.open("ab") as file:
            # The first line feed ends a line that a crash may have cut short.
            file.write(b"".join(b"\n" + msgspec.json.encode(one) for one in (*mended, change)) + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _stack(changes: Iterable[Change]) -> list[str]:
    served: list[str] = []
    for change in changes:
        if change.how == "rolled back":
            del served[-1:]
        elif served[-1:] != [change.version]:
            served.append(change.version)
    return served


def _read(line: bytes) -> Change | None:
    try:
        return msgspec.json.decode(line, type=Change)
    except (msgspec.MsgspecError, ValueError):
        return None
