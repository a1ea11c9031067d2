"""The event stream in memory."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bidloop.events.ports import Delivery, Lag, Parcel, Published
from bidloop.events.settings import StreamSettings

PARCELS_PER_ENTRY = 1_000
DEAD_LETTERS = 10_000

_DEFAULT = StreamSettings()


@dataclass
class _Entry:
    """One entry that nobody has finished; `taken` is when a consumer last got it."""

    id: str
    lines: bytes
    items: int
    published: float
    taken: float | None = None
    attempts: int = 0


class MemoryEventStream:
    r"""Lets events wait in memory, for one process; implements `bidloop.events.ports.EventStream`.

    What a server would keep on disk is gone with the process: use it where nothing is at stake.

    Parameters
    ----------
    settings
        How long an event's id is remembered.
    monotonic
        Seconds since some instant, never going back; by default the machine's own.

    Examples
    --------
    >>> stream = MemoryEventStream()
    >>> stream.publish([Parcel(b"one", b"1", 1), Parcel(b"two", b"2", 2), Parcel(b"one", b"1", 1)])
    ['fresh', 'fresh', 'known']
    >>> [delivery] = stream.take("me", limit=10, wait_seconds=0)
    >>> delivery.lines
    b'one\ntwo'
    >>> stream.lag().items
    2
    >>> stream.done([delivery.entry])
    >>> stream.lag().items
    0
    """

    def __init__(self, settings: StreamSettings = _DEFAULT, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._recent_seconds = settings.recent_seconds
        self._monotonic = monotonic
        self._arrived = threading.Condition()
        self._entries: dict[str, _Entry] = {}
        self._fresh: deque[_Entry] = deque()
        self._recent: dict[bytes, tuple[int, float]] = {}
        self._dead: deque[tuple[Delivery, str]] = deque(maxlen=DEAD_LETTERS)
        self._count = 0
        self._stored = 0

    def publish(self, parcels: Sequence[Parcel]) -> list[Published]:
        """Keep the parcels that are not known of late."""
        with self._arrived:
            now = self._monotonic()
            self._forget(now)
            states = [self._state(parcel, now) for parcel in parcels]
            lines = [parcel.line for parcel, state in zip(parcels, states, strict=True) if state != "known"]
            for start in range(0, len(lines), PARCELS_PER_ENTRY):
                some = lines[start : start + PARCELS_PER_ENTRY]
                self._count += 1
                entry = _Entry(f"{self._count}-0", b"\n".join(some), len(some), now)
                self._entries[entry.id] = entry
                self._fresh.append(entry)
            self._arrived.notify_all()
        return states

    def take(self, consumer: str, limit: int, wait_seconds: float) -> list[Delivery]:
        """The next entries that nobody has, up to `limit`, waiting for the first if there is none."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._fresh, timeout=wait_seconds)
            return [self._hand_out(self._fresh.popleft()) for _ in range(min(limit, len(self._fresh)))]

    def reclaim(self, consumer: str, limit: int, idle_seconds: float) -> list[Delivery]:
        """Entries that were taken and not finished for so long, by whomever."""
        with self._arrived:
            latest = self._monotonic() - idle_seconds
            idle = [entry for entry in self._entries.values() if entry.taken is not None and entry.taken <= latest]
            return [self._hand_out(entry) for entry in idle[:limit]]

    def done(self, entries: Sequence[str]) -> None:
        """Say that entries are stored; they are never handed out again."""
        with self._arrived:
            for id in entries:
                self._finish(id)

    def bury(self, delivery: Delivery, reason: str) -> None:
        """Move an entry to the dead letters, and be done with it."""
        with self._arrived:
            if self._finish(delivery.entry):
                self._dead.appendleft((delivery, reason))

    def dead(self, limit: int = 100) -> list[tuple[Delivery, str]]:
        """The entries that were buried last, newest first, each with the reason."""
        with self._arrived:
            return list(self._dead)[:limit]

    def lag(self) -> Lag:
        """How far the consumers are behind."""
        with self._arrived:
            waiting, now = self._entries.values(), self._monotonic()
            oldest = min((entry.published for entry in waiting), default=now)
            return Lag(len(waiting), sum(entry.items for entry in waiting), now - oldest)

    def trim(self) -> int:
        """Forget how many entries are stored: their lines were dropped when they were done; says how many."""
        with self._arrived:
            stored, self._stored = self._stored, 0
            return stored

    def latest(self) -> str:
        """Id of the entry that was published last; empty before the first."""
        with self._arrived:
            return f"{self._count}-0" if self._count else ""

    def _state(self, parcel: Parcel, now: float) -> Published:
        if not parcel.key:
            return "fresh"
        told = self._recent.get(parcel.key)
        if told is None:
            self._recent[parcel.key] = (parcel.digest, now)
            return "fresh"
        return "known" if told[0] == parcel.digest else "changed"

    def _forget(self, now: float) -> None:
        """Forget ids that were told too long ago; the oldest stand first."""
        while self._recent:
            key = next(iter(self._recent))
            if now - self._recent[key][1] < self._recent_seconds:
                break
            del self._recent[key]

    def _hand_out(self, entry: _Entry) -> Delivery:
        entry.taken = self._monotonic()
        entry.attempts += 1
        return Delivery(entry.id, entry.lines, entry.attempts)

    def _finish(self, id: str) -> bool:
        # As in a group of consumers, what was never taken cannot be finished.
        if id not in self._entries or self._entries[id].taken is None:
            return False
        del self._entries[id]
        self._stored += 1
        return True
