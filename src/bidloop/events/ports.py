"""What this room needs from outside: a log to append to, a place for what makes no sense, and a stream to wait in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

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
        Places of the events whose id was there already with another content. They were not written, the first telling
        stands; they are in the quarantine.
    """

    accepted: int
    duplicates: int
    new: list[bool]
    changed: tuple[int, ...] = ()


@dataclass(frozen=True)
class Offset:
    """How far a source has been taken in: written together with what was taken from it, or not at all.

    Parameters
    ----------
    source
        Name of the source: a stream and its consumer, a file by its fingerprint.
    position
        Where to go on, in the source's own terms.
    """

    source: str
    position: str


class EventLog(Protocol):
    """The append-only record of what happened. An event that is acknowledged survives the process."""

    def append(
        self, events: Sequence[Event], *, rejected: Sequence[Rejected] = (), offset: Offset | None = None
    ) -> Appended:
        """Write the events that are not there yet, all or none, durably before it returns.

        In the same transaction `rejected` rows, and events whose content changed, go to the quarantine, and `offset`
        replaces the one of its source.
        """
        ...

    def read(self, after: int = 0, limit: int = 10_000) -> list[tuple[int, Event]]:
        """The next events behind a position, with their positions: whole numbers that grow in the order of writing.

        Whoever has read up to a position has missed nothing before it, however many write at once.
        """
        ...

    def head(self) -> int:
        """The position that was given out last; 0 before the first. Pruning does not take it back."""
        ...

    def counts(self) -> dict[str, int]:
        """How many events there are of each type (``impression_served`` …)."""
        ...

    def newest(self) -> dict[str, datetime]:
        """When the newest event of each type happened (UTC), whatever the order in which they were told."""
        ...

    def digests(self, event_ids: Collection[str]) -> dict[str, int]:
        """The content digests of those of these ids that were ever told."""
        ...

    def offset(self, source: str) -> str | None:
        """How far a source has been taken in; `None` where nothing was."""
        ...

    def of_user(self, user_id: str) -> list[Event]:
        """All events of a person, by pseudonym, in the order of the log."""
        ...

    def erase(self, user_id: str, at: datetime) -> int:
        """Forget a person: what they did is deleted, and from what happened to ads they are left out; says how many.

        All that is there is erased, whatever time it tells; of what arrives later, what happened before `at`.
        """
        ...

    def erased(self, since: datetime) -> list[tuple[str, datetime]]:
        """Who was erased at an instant from `since` on, and when."""
        ...

    def prune(self, before: datetime) -> int:
        """Drop the events that were written before an instant, in whole days; says how many. Their ids stay known."""
        ...


State: TypeAlias = Literal["waiting", "replayed", "dismissed"]
"""It waits, it was taken in after all, or somebody decided that it never will be."""


@dataclass(frozen=True)
class Kept:
    """A row in the quarantine.

    Parameters
    ----------
    id
        Names it; a hash of what it is, so that the same row is kept once.
    row
        The row.
    state
        What became of it.
    """

    id: str
    row: Rejected
    state: State = "waiting"


class Quarantine(Protocol):
    """Where rows wait that made no sense. The same row twice is kept once."""

    def keep(self, rejected: Sequence[Rejected]) -> None:
        """Keep rows aside."""
        ...

    def list(self, limit: int = 100, *, code: str = "", state: State | None = "waiting") -> list[Kept]:
        """The rows that were kept last, newest first; of one code, and one state, if asked (`None`: of all)."""
        ...

    def get(self, id: str) -> Kept:
        """One row; the first letters of its id are enough where they name only one.

        Raises
        ------
        NotFound
            When there is none, or more than one.
        """
        ...

    def settle(self, ids: Collection[str], state: State) -> None:
        """Note what became of rows."""
        ...

    def counts(self) -> dict[str, int]:
        """How many waiting rows there are of each code."""
        ...

    def erase(self, ids: Collection[str]) -> int:
        """Delete rows for good; says how many."""
        ...


Published: TypeAlias = Literal["fresh", "known", "changed"]
"""What the stream says of a parcel: new to it, published before word for word, or with another content."""


@dataclass(frozen=True)
class Parcel:
    """One item on its way through a stream.

    Parameters
    ----------
    line
        The item as one line of bytes (`bidloop.events.packing`).
    key, digest
        Of an event its key and content digest, by which a repetition is known; empty and 0 for a rejected row.
    """

    line: bytes
    key: bytes = b""
    digest: int = 0


@dataclass(frozen=True)
class Delivery:
    """One entry taken from a stream.

    Parameters
    ----------
    entry
        Its id in the stream.
    lines
        The lines of its parcels, joined by line feeds.
    attempts
        How often it was handed out, this time included.
    """

    entry: str
    lines: bytes
    attempts: int = 1


@dataclass(frozen=True)
class Lag:
    """How far the consumers are behind.

    Parameters
    ----------
    entries
        Entries that no consumer has finished.
    items
        Events and rejected rows in them.
    oldest_seconds
        Age of the oldest of them; 0 when there is none.
    """

    entries: int
    items: int
    oldest_seconds: float


class EventStream(Protocol):
    """Where events wait between the door and the log, on disk, handed out to consumers that share the work.

    An entry is handed out until a consumer has said that it is done with it: at least once, and the log makes that once.
    Every method raises `Unavailable` when the server does not answer.
    """

    def publish(self, parcels: Sequence[Parcel]) -> list[Published]:
        """Write the parcels that are not known of late, all or none, durably before it returns.

        ``known`` parcels are not written again. ``changed`` ones are, so that the log can say so.
        """
        ...

    def take(self, consumer: str, limit: int, wait_seconds: float) -> list[Delivery]:
        """The next entries that nobody has, up to `limit`, waiting for the first if there is none."""
        ...

    def reclaim(self, consumer: str, limit: int, idle_seconds: float) -> list[Delivery]:
        """Entries that another consumer took and has not finished for so long: it is taken for dead."""
        ...

    def done(self, entries: Sequence[str]) -> None:
        """Say that entries are stored; they are never handed out again."""
        ...

    def bury(self, delivery: Delivery, reason: str) -> None:
        """Move an entry that nobody can digest to the dead letters, and be done with it."""
        ...

    def lag(self) -> Lag:
        """How far the consumers are behind."""
        ...

    def trim(self) -> int:
        """Drop the entries behind which everything is stored; says how many."""
        ...

    def latest(self) -> str:
        """Id of the entry that was published last; empty before the first."""
        ...
