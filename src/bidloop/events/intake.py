"""The door through which every event enters the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, Protocol, TypeAlias

import msgspec

from bidloop.core.clock import Clock
from bidloop.core.event import Event
from bidloop.events.packing import Item
from bidloop.events.ports import EventLog, Offset
from bidloop.events.rejected import Rejected, changed_event
from bidloop.events.settings import EventSettings
from bidloop.events.validation import checked

_DEFAULT = EventSettings()

Status: TypeAlias = Literal["accepted", "duplicate", "rejected"]


class Verdict(msgspec.Struct, frozen=True):
    """What became of one item.

    Parameters
    ----------
    status
        ``accepted``: it is kept, and has its effect once. ``duplicate``: it was kept before. ``rejected``: it is in the
        quarantine.
    code, reason
        Why it was rejected.
    """

    status: Status
    code: str = ""
    reason: str = ""


ACCEPTED, DUPLICATE = Verdict("accepted"), Verdict("duplicate")


class Door(Protocol):
    """Where items go in: straight into the log (`Intake`), or into a stream (`bidloop.events.publisher`)."""

    def take(self, items: Sequence[Item]) -> list[Verdict]:
        """Take items in, all or none, durably before it returns; says of each what became of it."""
        ...


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
    """

    accepted: int = 0
    duplicates: int = 0
    rejected: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, verdicts: Iterable[Verdict]) -> Receipt:
        """The count of some verdicts."""
        statuses: Counter[str] = Counter()
        rejected: Counter[str] = Counter()
        for verdict in verdicts:
            statuses[verdict.status] += 1
            if verdict.code:
                rejected[verdict.code] += 1
        return cls(statuses["accepted"], statuses["duplicate"], dict(rejected))

    def __add__(self, other: Receipt) -> Receipt:
        return Receipt(
            self.accepted + other.accepted,
            self.duplicates + other.duplicates,
            dict(Counter(self.rejected) + Counter(other.rejected)),
        )


class Intake:
    """Takes events into the log: checks each, writes what is new, keeps aside what makes no sense.

    The same delivery twice changes nothing, so a run that was cut off is simply run again.

    Parameters
    ----------
    log
        Where events are kept, and beside them what was rejected.
    clock
        Tells the present, that no event may be ahead of.
    settings
        What counts as sensible.
    """

    def __init__(self, log: EventLog, clock: Clock, settings: EventSettings = _DEFAULT) -> None:
        self._log = log
        self._clock = clock
        self._settings = settings

    def take(self, items: Sequence[Item], *, offset: Offset | None = None) -> list[Verdict]:
        """Take items in, in one transaction that is on the disk when this returns; says of each what became of it.

        Parameters
        ----------
        items
            Events, and rows that a reader could not make sense of.
        offset
            How far their source has been taken in with them; written in the same transaction.
        """
        now = self._clock.now()
        verdicts: list[Verdict] = [ACCEPTED] * len(items)
        good: list[Event] = []
        places: list[int] = []
        bad: list[Rejected] = []
        for place, item in enumerate(checked(item, now, self._settings) for item in items):
            if isinstance(item, Rejected):
                bad.append(item)
                verdicts[place] = Verdict("rejected", item.code, item.reason)
            else:
                good.append(item)
                places.append(place)
        if good or bad or offset is not None:
            appended = self._log.append(good, rejected=bad, offset=offset)
            for place, new in zip(places, appended.new, strict=True):
                if not new:
                    verdicts[place] = DUPLICATE
            for i in appended.changed:
                changed = changed_event(good[i])
                verdicts[places[i]] = Verdict("rejected", changed.code, changed.reason)
        return verdicts

    def accept(self, items: Iterable[Item], on_progress: Callable[[int], None] | None = None) -> Receipt:
        """Take in items of any number, in chunks, each in one transaction.

        Parameters
        ----------
        items
            Events, and rows that a reader could not make sense of.
        on_progress
            Told the number of items done so far, after every chunk.
        """
        receipt, done = Receipt(), 0
        stream = iter(items)
        while chunk := list(islice(stream, self._settings.chunk)):
            receipt += Receipt.of(self.take(chunk))
            done += len(chunk)
            if on_progress is not None:
                on_progress(done)
        return receipt
