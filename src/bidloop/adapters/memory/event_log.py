"""The event log in memory."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bidloop.adapters.memory.quarantine import MemoryQuarantine
from bidloop.core.clock import Clock, SystemClock
from bidloop.core.event import Event
from bidloop.events.identity import content, content_digest, in_utc
from bidloop.events.ports import Appended, Offset
from bidloop.events.privacy import forgotten, person_of
from bidloop.events.rejected import Rejected, changed_event


@dataclass(frozen=True)
class _Row:
    position: int
    written: datetime
    event: Event


class MemoryEventLog:
    """Keeps events in memory in the order in which they were told; implements `bidloop.events.ports.EventLog`.

    Nothing of it outlives the process.

    Parameters
    ----------
    clock
        Tells when something was written; by default the machine's own.
    quarantine
        Where rejected rows go; by default one of its own.

    Examples
    --------
    >>> from bidloop.core.event import ClickReceived
    >>> click = ClickReceived(event_id="c", at=datetime(2026, 1, 1, tzinfo=UTC), impression_id="i")
    >>> log = MemoryEventLog()
    >>> log.append([click, click]).new
    [True, False]
    >>> log.counts()
    {'click_received': 1}
    """

    def __init__(self, clock: Clock | None = None, quarantine: MemoryQuarantine | None = None) -> None:
        self._clock = clock or SystemClock()
        self.quarantine = quarantine or MemoryQuarantine()
        self._turn = threading.Lock()
        self._rows: list[_Row] = []
        self._positions = 0
        self._digests: dict[str, int] = {}
        self._offsets: dict[str, str] = {}
        self._erased: dict[str, datetime] = {}

    def append(
        self, events: Sequence[Event], *, rejected: Sequence[Rejected] = (), offset: Offset | None = None
    ) -> Appended:
        """Write the events that are not there yet, all or none."""
        # Before anything is written, for what cannot be written at all says so here.
        digests = [content_digest(event, content(event)) for event in events]
        new: list[bool] = []
        changed: list[int] = []
        with self._turn:
            now = self._clock.now()
            for i, (event, digest) in enumerate(zip(events, digests, strict=True)):
                told = self._digests.get(event.event_id)
                new.append(told is None)
                if told is None:
                    self._digests[event.event_id] = digest
                    self._write(in_utc(event), now)
                elif told != digest:
                    changed.append(i)
            self.quarantine.keep([*rejected, *(changed_event(events[i], at=now) for i in changed)])
            if offset is not None:
                self._offsets[offset.source] = offset.position
        accepted = sum(new)
        return Appended(accepted, len(new) - accepted - len(changed), new, tuple(changed))

    def read(self, after: int = 0, limit: int = 10_000) -> list[tuple[int, Event]]:
        """The next events behind a position, with their positions."""
        with self._turn:
            start = bisect_right(self._rows, after, key=lambda row: row.position)
            return [(row.position, row.event) for row in self._rows[start : start + limit]]

    def head(self) -> int:
        """The position that was given out last."""
        with self._turn:
            return self._positions

    def counts(self) -> dict[str, int]:
        """How many events there are of each type."""
        with self._turn:
            counts = Counter(str(row.event.__struct_config__.tag) for row in self._rows)
        return dict(sorted(counts.items()))

    def newest(self) -> dict[str, datetime]:
        """When the newest event of each type happened."""
        newest: dict[str, datetime] = {}
        with self._turn:
            for row in self._rows:
                kind = str(row.event.__struct_config__.tag)
                newest[kind] = max(row.event.at, newest.get(kind, row.event.at))
        return newest

    def digests(self, event_ids: Collection[str]) -> dict[str, int]:
        """The content digests of those of these ids that were ever told."""
        with self._turn:
            return {id: self._digests[id] for id in event_ids if id in self._digests}

    def offset(self, source: str) -> str | None:
        """How far a source has been taken in."""
        with self._turn:
            return self._offsets.get(source)

    def of_user(self, user_id: str) -> list[Event]:
        """All events of a person, by pseudonym."""
        with self._turn:
            return [row.event for row in self._rows if user_id and person_of(row.event) == user_id]

    def erase(self, user_id: str, at: datetime) -> int:
        """Forget a person: delete what they did, leave them out of what happened to ads; says how many."""
        if not user_id:
            return 0
        with self._turn:
            self._erased[user_id] = max(at, self._erased.get(user_id, at))
            rows: list[_Row] = []
            erased = 0
            for row in self._rows:
                if person_of(row.event) != user_id:
                    rows.append(row)
                    continue
                erased += 1
                if (bare := forgotten(row.event)) is not None:
                    rows.append(_Row(row.position, row.written, bare))
            self._rows = rows
        return erased

    def erased(self, since: datetime) -> list[tuple[str, datetime]]:
        """Who was erased at an instant from `since` on, and when."""
        with self._turn:
            return [(person, at) for person, at in self._erased.items() if at >= since]

    def prune(self, before: datetime) -> int:
        """Drop the events that were written before the day (UTC) of an instant; says how many."""
        first = before.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        with self._turn:
            kept = [row for row in self._rows if row.written >= first]
            dropped, self._rows = len(self._rows) - len(kept), kept
        return dropped

    def _write(self, event: Event, now: datetime) -> None:
        erased = self._erased.get(person_of(event))
        bare = forgotten(event) if erased is not None and event.at < erased else event
        if bare is not None:
            self._positions += 1
            self._rows.append(_Row(self._positions, now, bare))
