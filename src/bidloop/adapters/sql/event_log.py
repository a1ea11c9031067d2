"""The append-only event log in a SQL table."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, Engine, func, insert, select

from bidloop.adapters.sql.database import writing
from bidloop.adapters.sql.tables import events
from bidloop.core.event import Event
from bidloop.events.ports import Appended
from bidloop.outcomes.epoch import epoch_us

_IDS_PER_QUERY = 1_000
_encode = msgspec.json.Encoder().encode
_decode: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


class SqlEventLog:
    """Keeps events in the order in which they were told; implements `bidloop.events.ports.EventLog`.

    Parameters
    ----------
    engine
        From `open_database`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine)

    def append(self, batch: Sequence[Event]) -> Appended:
        """Write the events that are not there yet, in one transaction that is on the disk when this returns."""
        if not batch:
            return Appended(0, 0, [])
        with self._writing.begin() as connection:
            told = _told(connection, [event.event_id for event in batch])
            rows: list[dict[str, object]] = []
            new: list[bool] = []
            changed: list[int] = []
            for i, event in enumerate(batch):
                before = told.get(event.event_id)
                new.append(before is None)
                if before is None:
                    told[event.event_id] = event
                    rows.append(_row(event))
                elif before != event:
                    changed.append(i)
            if rows:
                connection.execute(insert(events), rows)
        return Appended(len(rows), len(batch) - len(rows) - len(changed), new, tuple(changed))

    def read(self, after: int = 0, limit: int = 10_000) -> list[tuple[int, Event]]:
        """The next events behind a position, with their positions."""
        query = select(events.c.position, events.c.payload).where(events.c.position > after)
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(events.c.position).limit(limit)).all()
        return [(position, _decode.decode(payload)) for position, payload in rows]

    def counts(self) -> dict[str, int]:
        """How many events there are of each type."""
        query = select(events.c.type, func.count()).group_by(events.c.type).order_by(events.c.type)
        with self._engine.connect() as connection:
            return {row.type: row[1] for row in connection.execute(query)}


def _told(connection: Connection, ids: Sequence[str]) -> dict[str, Event]:
    """The events of these ids that are in the log."""
    told = {}
    for start in range(0, len(ids), _IDS_PER_QUERY):
        some = ids[start : start + _IDS_PER_QUERY]
        query = select(events.c.event_id, events.c.payload).where(events.c.event_id.in_(some))
        for event_id, payload in connection.execute(query):
            told[event_id] = _decode.decode(payload)
    return told


def _row(event: Event) -> dict[str, object]:
    return {
        "event_id": event.event_id,
        "type": event.__struct_config__.tag,
        "at_us": epoch_us(event.at),
        "payload": _encode(event).decode(),
    }
