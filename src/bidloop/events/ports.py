"""What this room needs from outside: a log to append to and a place for what makes no sense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bidloop.core.event import Event
from bidloop.events.rejected import Rejected


@dataclass(frozen=True)
class Appended:
    """What came of one append.

    Parameters
    ----------
    accepted
        How many events were new and are now in the log.
    duplicates
        How many were there already, word for word.
    new
        For each event handed in, whether it was written.
    changed
        Places of the events whose id was there already with another content. They were not written: the first
        telling stands.
    """

    accepted: int
    duplicates: int
    new: list[bool]
    changed: tuple[int, ...] = ()


class EventLog(Protocol):
    """The append-only record of what happened. An event that is acknowledged survives the process."""

    def append(self, events: Sequence[Event]) -> Appended:
        """Write the events that are not there yet, all or none, durably before it returns."""
        ...

    def read(self, after: int = 0, limit: int = 10_000) -> list[tuple[int, Event]]:
        """The next events behind a position, with their positions: whole numbers that grow in the order of writing."""
        ...

    def counts(self) -> dict[str, int]:
        """How many events there are of each type (``impression_served`` …)."""
        ...


class Quarantine(Protocol):
    """Where rows wait that made no sense. The same row twice is kept once."""

    def keep(self, rejected: Sequence[Rejected]) -> None:
        """Keep rows aside."""
        ...

    def list(self, limit: int = 100) -> list[Rejected]:
        """The rows that were kept last, newest first."""
        ...

    def counts(self) -> dict[str, int]:
        """How many rows there are of each code."""
        ...
