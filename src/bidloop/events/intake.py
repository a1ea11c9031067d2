"""The door through which every event enters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from bidloop.core.clock import Clock
from bidloop.core.errors import RejectedRow
from bidloop.core.event import Event
from bidloop.events.ports import EventLog, Quarantine
from bidloop.events.rejected import Rejected
from bidloop.events.settings import EventSettings
from bidloop.events.validation import check

_DEFAULT = EventSettings()


@dataclass(frozen=True)
class Receipt:
    """What came of a delivery.

    Parameters
    ----------
    accepted
        Events that were new and are in the log.
    duplicates
        Events that were in the log already.
    rejected
        How many rows were kept aside, by code.
    events
        The new events in the order of the log, if they were asked for.
    """

    accepted: int = 0
    duplicates: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


class Intake:
    """Takes events in: checks each, writes what is new, keeps aside what makes no sense.

    The same delivery twice changes nothing, so a run that was cut off is simply run again.

    Parameters
    ----------
    log, quarantine
        Where events and rejected rows go.
    clock
        Tells what is the future.
    settings
        What counts as sensible.
    """

    def __init__(self, log: EventLog, quarantine: Quarantine, clock: Clock, settings: EventSettings = _DEFAULT) -> None:
        self._log = log
        self._quarantine = quarantine
        self._clock = clock
        self._settings = settings

    def accept(
        self,
        items: Iterable[Event | Rejected],
        on_progress: Callable[[int], None] | None = None,
        *,
        keep_events: bool = False,
    ) -> Receipt:
        """Take in events and the rows that a reader could not make sense of.

        Parameters
        ----------
        items
            Events and rejected rows, in any number; they are taken in chunks, each in one transaction.
        on_progress
            Told the number of items done so far, after every chunk.
        keep_events
            Whether the receipt shall hold the new events; leave it off for a large import.
        """
        accepted = duplicates = done = 0
        rejected: Counter[str] = Counter()
        events: list[Event] = []
        stream = iter(items)
        while chunk := list(islice(stream, self._settings.chunk)):
            good, bad = self._sort(chunk)
            appended = self._log.append(good)
            bad.extend(self._changed(good[i]) for i in appended.changed)
            if bad:
                now = self._clock.now()
                self._quarantine.keep([row if row.at else msgspec.structs.replace(row, at=now) for row in bad])
            accepted += appended.accepted
            duplicates += appended.duplicates
            rejected.update(row.code for row in bad)
            if keep_events:
                events.extend(event for event, new in zip(good, appended.new, strict=True) if new)
            done += len(chunk)
            if on_progress is not None:
                on_progress(done)
        return Receipt(accepted, duplicates, dict(rejected), events)

    def _sort(self, chunk: Sequence[Event | Rejected]) -> tuple[list[Event], list[Rejected]]:
        now = self._clock.now()
        good: list[Event] = []
        bad: list[Rejected] = []
        for item in chunk:
            if isinstance(item, Rejected):
                bad.append(item)
                continue
            try:
                check(item, now, self._settings)
            except RejectedRow as error:
                bad.append(_rejected(error, item))
            else:
                good.append(item)
        return good, bad

    @staticmethod
    def _changed(event: Event) -> Rejected:
        error = RejectedRow(
            "changed_event",
            f"event {event.event_id!r} again, with another content",
            path="event_id",
            expected="the content that was told first, or a new id",
        )
        return _rejected(error, event)


def _rejected(error: RejectedRow, event: Event) -> Rejected:
    return Rejected.of(error, source="event", position=0, raw=_readable(event))


def _readable(event: Event) -> str:
    """The event as JSON; as text where JSON has no word for it (a date without a zone is fine, a broken one is not)."""
    try:
        return msgspec.json.encode(event).decode()
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):
        return repr(event)
