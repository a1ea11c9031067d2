"""The door in front of a stream: what is taken in waits there for `bidloop absorb`."""

from __future__ import annotations

from collections.abc import Sequence

from bidloop.events.intake import ACCEPTED, DUPLICATE, Verdict
from bidloop.events.packing import Item, pack
from bidloop.events.ports import EventStream
from bidloop.events.rejected import Rejected, changed_event
from bidloop.events.sealing import Seal


class Publisher:
    """Publishes items to a stream; implements `bidloop.events.intake.Door`.

    It needs the stream alone, so that events are taken in while the database is down. ``accepted`` means that the stream has
    the event on its disk; one that the log knows from earlier than the stream remembers is found out later, and has no
    second effect.

    Parameters
    ----------
    stream
        Where items wait.
    seal
        Seals the raw bytes of what was rejected.
    """

    def __init__(self, stream: EventStream, seal: Seal) -> None:
        self._stream = stream
        self._seal = seal

    def take(self, items: Sequence[Item]) -> list[Verdict]:
        """Publish items, all or none; says of each what became of it."""
        if not items:
            return []
        published = self._stream.publish([pack(item, self._seal) for item in items])
        verdicts = []
        for item, state in zip(items, published, strict=True):
            if isinstance(item, Rejected):
                verdicts.append(Verdict("rejected", item.code, item.reason))
            elif state == "changed":
                changed = changed_event(item)
                verdicts.append(Verdict("rejected", changed.code, changed.reason))
            else:
                verdicts.append(ACCEPTED if state == "fresh" else DUPLICATE)
        return verdicts
