"""The quarantine in memory."""

from __future__ import annotations

import builtins
import threading
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from hashlib import blake2b

import msgspec

from bidloop.core.errors import NotFound
from bidloop.events.ports import Kept, State
from bidloop.events.rejected import Rejected


class MemoryQuarantine:
    """Keeps rejected rows aside in memory; implements `bidloop.events.ports.Quarantine`.

    Examples
    --------
    >>> quarantine = MemoryQuarantine()
    >>> quarantine.keep([Rejected(source="report.csv", position=7, code="negative_spend", reason="why", raw=b"-3.00")])
    >>> quarantine.counts()
    {'negative_spend': 1}
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._kept: dict[str, Kept] = {}

    def keep(self, rejected: Sequence[Rejected]) -> None:
        """Keep rows aside; one that is there already is not kept again."""
        with self._turn:
            for row in rejected:
                kept = Kept(_name(row), row)
                self._kept.setdefault(kept.id, kept)

    def list(self, limit: int = 100, *, code: str = "", state: State | None = "waiting") -> builtins.list[Kept]:
        """The rows that were kept last, newest first."""
        with self._turn:
            asked = [
                kept
                for kept in reversed(self._kept.values())
                if code in ("", kept.row.code) and state in (None, kept.state)
            ]
        return asked[:limit]

    def get(self, id: str) -> Kept:
        """One row, by the first letters of its id."""
        with self._turn:
            found = [kept for kept in self._kept.values() if id and kept.id.startswith(id)]
        if len(found) != 1:
            raise NotFound(
                f"{len(found) or 'no'} rows in the quarantine whose id begins with {id!r}",
                expected="the first letters of one id",
                remedy="`bidloop quarantine list` shows them.",
            )
        return found[0]

    def settle(self, ids: Collection[str], state: State) -> None:
        """Note what became of rows."""
        with self._turn:
            for id in ids:
                if id in self._kept:
                    self._kept[id] = replace(self._kept[id], state=state)

    def counts(self) -> dict[str, int]:
        """How many waiting rows there are of each code."""
        with self._turn:
            return dict(Counter(kept.row.code for kept in self._kept.values() if kept.state == "waiting"))

    def erase(self, ids: Collection[str]) -> int:
        """Delete rows for good; says how many."""
        with self._turn:
            return sum(self._kept.pop(id, None) is not None for id in ids)


def _name(row: Rejected) -> str:
    return blake2b(msgspec.msgpack.encode((row.source, row.position, row.code, row.raw)), digest_size=16).hexdigest()
