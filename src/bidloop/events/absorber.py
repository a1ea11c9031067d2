"""From the stream into the log: every event has its effect once, whatever dies on the way."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from bidloop.core.clock import Clock
from bidloop.core.errors import Unavailable
from bidloop.core.event import Event
from bidloop.events.intake import Receipt
from bidloop.events.packing import unpack
from bidloop.events.patience import Patience
from bidloop.events.ports import Delivery, EventLog, EventStream, Offset
from bidloop.events.rejected import Rejected
from bidloop.events.sealing import Seal
from bidloop.events.settings import EventSettings, StreamSettings
from bidloop.events.validation import checked

CODES = {"undigestible_entry": "an entry of the stream that failed again and again; all its lines are kept"}
"""The codes of this file."""

MOST_ENTRIES = 100
"""Entries taken at once: they may carry a thousand events each."""

_WAIT_S, _SHORT_WAIT_S = 1.0, 0.05
_TRIM_S = 10.0
_EVENTS, _STREAM = EventSettings(), StreamSettings()
_log = logging.getLogger("bidloop.absorb")


@dataclass(frozen=True)
class Absorbed:
    """What was taken out of the stream.

    Parameters
    ----------
    receipt
        Events that were new, events that were known, and rows that were rejected.
    entries
        Entries of the stream that are finished.
    buried
        How many of them nobody could digest; they are with the dead letters and in the quarantine.
    """

    receipt: Receipt = field(default_factory=Receipt)
    entries: int = 0
    buried: int = 0

    def __add__(self, other: Absorbed) -> Absorbed:
        return Absorbed(self.receipt + other.receipt, self.entries + other.entries, self.buried + other.buried)


class Absorber:
    """One consumer of a stream: takes entries, checks what is in them, writes it to the log, and only then is done with them.

    A crash anywhere between has the entries handed out again, and the log knows what it has: at least once and known again
    make once. While the log is busy with one batch, the next one is read and checked in a second thread. A server that does
    not answer is waited for, with the batch in hand.

    Parameters
    ----------
    stream, log
        From where to where.
    seal
        Opens the raw bytes of rejected rows.
    clock
        The present, that no event may be ahead of.
    consumer
        Name of this consumer; the log keeps how far it has come under it.
    events
        What counts as sensible, and how many events make a batch.
    settings
        Name of the stream, when a silent consumer is taken for dead, and when an entry is given up.
    on_progress
        Told what was absorbed so far, after every batch and about once a second.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from bidloop.adapters.memory.event_log import MemoryEventLog
    >>> from bidloop.adapters.memory.event_stream import MemoryEventStream
    >>> from bidloop.core.clock import SystemClock
    >>> from bidloop.core.event import ClickReceived
    >>> from bidloop.events.publisher import Publisher
    >>> stream, log, seal, clock = MemoryEventStream(), MemoryEventLog(), Seal(bytes(32)), SystemClock()
    >>> click = ClickReceived(event_id="c", at=datetime(2026, 1, 1, tzinfo=UTC), impression_id="i")
    >>> [verdict.status for verdict in Publisher(stream, seal).take([click, click])]
    ['accepted', 'duplicate']
    >>> Absorber(stream, log, seal, clock, consumer="one").run(threading.Event(), until_empty=True).receipt
    Receipt(accepted=1, duplicates=0, rejected={})
    """

    def __init__(
        self,
        stream: EventStream,
        log: EventLog,
        seal: Seal,
        clock: Clock,
        *,
        consumer: str,
        events: EventSettings = _EVENTS,
        settings: StreamSettings = _STREAM,
        on_progress: Callable[[Absorbed], None] | None = None,
    ) -> None:
        self._stream = stream
        self._log = log
        self._seal = seal
        self._clock = clock
        self._consumer = consumer
        self._events = events
        self._settings = settings
        self._on_progress = on_progress
        self._source = f"{settings.name}/{consumer}"
        self._position = ""
        self._items_per_entry = 1_000.0
        self._absorbed = Absorbed()
        self._trimmed = time.monotonic()

    def run(self, stop: threading.Event, *, until_empty: bool = False) -> Absorbed:
        """Absorb until it is told to stop; then finish what is in hand, and say what was absorbed.

        Parameters
        ----------
        stop
            Set from another thread or a signal handler. While a server does not answer, what is in hand stays in the stream.
        until_empty
            Whether to end by itself when no consumer has anything left to do.
        """
        stream, log = Patience("The stream", stop), Patience("The event log", stop)
        try:
            self._look_for_loss(stream, log)
            self._absorb(stream, log, stop, until_empty=until_empty)
        except Unavailable:
            # Patience ends when it is told to stop: then the stream still has all that is not stored.
            if not stop.is_set():
                raise
        self._trim(at_once=True)
        return self._absorbed

    def _absorb(self, stream: Patience, log: Patience, stop: threading.Event, *, until_empty: bool) -> None:
        wait_s = _SHORT_WAIT_S if until_empty else _WAIT_S
        with ThreadPoolExecutor(1, thread_name_prefix="absorb") as reader:
            coming = reader.submit(self._gather, (), wait_s)
            ended = False
            while not ended:
                try:
                    batch = coming.result()
                except Unavailable as error:
                    stream.wait(error)
                    coming = reader.submit(self._gather, (), wait_s)
                    continue
                stream.answered()
                ended = stop.is_set() or (until_empty and batch.is_empty and stream.ask(self._stream.lag).entries == 0)
                if not ended:
                    coming = reader.submit(self._gather, {delivery.entry for delivery in batch.deliveries}, wait_s)
                self._store(batch, stream, log)
                self._trim()
                if self._on_progress is not None:
                    self._on_progress(self._absorbed)

    def _look_for_loss(self, stream: Patience, log: Patience) -> None:
        """Say so when the log has come further than the stream, which must have lost what it had acknowledged."""
        self._position = log.ask(lambda: self._log.offset(self._source)) or ""
        latest = stream.ask(self._stream.latest)
        if _order(self._position) > _order(latest):
            _log.warning(
                "The stream ends at entry %s, but entry %s was taken from it before: it lost entries that it had "
                "acknowledged, and those behind it may have been lost unseen. Have its server write to disk at once "
                "(appendonly yes, appendfsync always), and have the senders send again: what is repeated has no second effect.",
                latest or "0-0",
                self._position,
            )
            self._position = ""

    def _gather(self, busy: Collection[str], wait_s: float) -> _Batch:
        """The next batch, checked: first what others left behind, then what is new; empty when nothing came for a while."""
        batch = _Batch()
        try:
            left = self._stream.reclaim(self._consumer, self._limit(batch), self._settings.reclaim_seconds)
            # A log that was away for long makes our own entries look abandoned.
            self._digest(batch, [delivery for delivery in left if delivery.entry not in busy])
            while batch.items < self._events.chunk:
                taken = self._stream.take(self._consumer, self._limit(batch), wait_s if batch.is_empty else 0)
                if not taken:
                    break
                self._digest(batch, taken)
        except Unavailable:
            if batch.is_empty:
                raise
        return batch

    def _limit(self, batch: _Batch) -> int:
        """How many entries to take, so that a batch comes out about as large as it should: they may hold one event each."""
        if batch.deliveries:
            self._items_per_entry = max(1.0, batch.items / len(batch.deliveries))
        return max(1, min(MOST_ENTRIES, round((self._events.chunk - batch.items) / self._items_per_entry)))

    def _digest(self, batch: _Batch, deliveries: Sequence[Delivery]) -> None:
        """Read and check entries, and put what is in them into a batch."""
        now = self._clock.now()
        for delivery in deliveries:
            events: list[Event] = []
            rejected: list[Rejected] = []
            try:
                if delivery.attempts > self._settings.max_attempts:
                    # Nobody has come back to say what is wrong with it: whoever took it died.
                    raise RuntimeError(f"handed out {delivery.attempts} times, and never finished")
                for item in unpack(delivery.lines, self._seal, source=self._settings.name):
                    item = checked(item, now, self._events)
                    if isinstance(item, Rejected):
                        rejected.append(item)
                    else:
                        events.append(item)
            except Exception as error:  # whatever it is, it must not stop the entries behind it
                batch.failed.append((delivery, error))
            else:
                batch.deliveries.append(delivery)
                batch.events += events
                batch.rejected += rejected

    def _store(self, batch: _Batch, stream: Patience, log: Patience) -> None:
        """Write a batch, and be done with its entries; where that fails, entry by entry."""
        for delivery, error in batch.failed:
            self._give_up(delivery, error, stream, log)
        if not batch.deliveries:
            return
        entries = [delivery.entry for delivery in batch.deliveries]
        offset = Offset(self._source, max(*entries, self._position, key=_order))
        try:
            appended = log.ask(lambda: self._log.append(batch.events, rejected=batch.rejected, offset=offset))
        except Unavailable:
            raise
        except Exception as error:
            if len(entries) == 1:
                self._give_up(batch.deliveries[0], error, stream, log)
                return
            for delivery in batch.deliveries:
                alone = _Batch()
                self._digest(alone, [delivery])
                self._store(alone, stream, log)
            return
        self._position = offset.position
        rejected = Counter(row.code for row in batch.rejected)
        if appended.changed:
            rejected["changed_event"] += len(appended.changed)
        self._absorbed += Absorbed(Receipt(appended.accepted, appended.duplicates, dict(rejected)))
        stream.ask(lambda: self._stream.done(entries))
        self._absorbed += Absorbed(entries=len(entries))

    def _give_up(self, delivery: Delivery, error: Exception, stream: Patience, log: Patience) -> None:
        """Leave an entry that fails to a later attempt, or bury it after the last."""
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:500]}"
        attempt, last = delivery.attempts, self._settings.max_attempts
        if attempt < last:
            _log.warning("Entry %s fails (attempt %d of %d): %s", delivery.entry, attempt, last, reason)
            return
        whole = Rejected(
            source=self._settings.name,
            code="undigestible_entry",
            reason=reason,
            raw=delivery.lines,
            form="entry",
            at=self._clock.now(),
        )
        try:
            log.ask(lambda: self._log.append([], rejected=[whole]))
        except Unavailable:
            raise
        except Exception as second:
            _log.error("Entry %s fails, and cannot be kept aside either (%s); it stays.", delivery.entry, second)
            return
        stream.ask(lambda: self._stream.bury(delivery, reason))
        _log.error("Entry %s failed %d times and is in the quarantine: %s", delivery.entry, attempt, reason)
        self._absorbed += Absorbed(Receipt(rejected={whole.code: 1}), 1, 1)

    def _trim(self, *, at_once: bool = False) -> None:
        if at_once or time.monotonic() - self._trimmed > _TRIM_S:
            self._trimmed = time.monotonic()
            with suppress(Unavailable):  # there is time for it later
                self._stream.trim()


@dataclass
class _Batch:
    """Some entries and what is in them; beside them those that cannot even be read."""

    deliveries: list[Delivery] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    failed: list[tuple[Delivery, Exception]] = field(default_factory=list)

    @property
    def items(self) -> int:
        return len(self.events) + len(self.rejected)

    @property
    def is_empty(self) -> bool:
        return not self.deliveries and not self.failed


def _order(entry: str) -> tuple[int, ...]:
    """The order of entry ids, ``milliseconds-sequence``.

    >>> _order("") < _order("99-1") < _order("99-10") < _order("100-0")
    True
    """
    return tuple(int(part) for part in entry.split("-")) if entry else ()
