"""The append-only event log in SQL tables."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import msgspec
from sqlalchemy import Connection, Engine, Select, delete, func, select, update

from bidloop.adapters.sql.database import answering, insert_new, writing
from bidloop.adapters.sql.postgresql import PostgresBulk
from bidloop.adapters.sql.quarantine import keep
from bidloop.adapters.sql.sqlite import SqliteBulk
from bidloop.adapters.sql.tables import erasures, events, log_head, offsets
from bidloop.core.event import Event
from bidloop.events.identity import content, content_digest, event_key
from bidloop.events.ports import Appended, Offset
from bidloop.events.privacy import forgotten, person_of
from bidloop.events.rejected import Rejected, changed_event
from bidloop.events.sealing import Seal
from bidloop.outcomes.epoch import epoch_us, from_epoch_us

_DAY_S = 86_400
_decode: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


class Bulk(Protocol):
    """What the two kinds of database do each in its own way."""

    def known(self, connection: Connection, keys: Sequence[bytes]) -> dict[bytes, int]: ...
    def erased(self, connection: Connection, persons: Sequence[str]) -> dict[str, int]: ...
    def add(self, connection: Connection, keys: list[tuple[bytes, int]], rows: list[_Row]) -> None: ...
    def prune(self, connection: Connection, day: int) -> int: ...


class _Row(NamedTuple):
    """A row of `events`, in the order of its columns."""

    position: int
    day: int
    type: str
    at_us: int
    person: str | None
    payload: str


class SqlEventLog:
    """Keeps events in the order in which they were told; implements `bidloop.events.ports.EventLog`.

    Events are kept by the day on which they were written, so that retention drops whole days; what they are known by, a hash
    of their id, is kept apart and for ever. Writers take turns: whoever has locked the log's head writes and commits before
    the next one begins, so positions become visible in their order, and a reader never misses one.

    Parameters
    ----------
    engine
        From `open_database`.
    seal
        Seals the raw bytes of rejected rows.
    """

    def __init__(self, engine: Engine, seal: Seal) -> None:
        self._engine = engine
        self._writing = writing(engine)
        self._seal = seal
        self._bulk: Bulk = PostgresBulk() if engine.dialect.name == "postgresql" else SqliteBulk()

    def append(
        self, batch: Sequence[Event], *, rejected: Sequence[Rejected] = (), offset: Offset | None = None
    ) -> Appended:
        """Write what is new, what was rejected and the offset, in one transaction that is on the disk when this returns."""
        if not batch and not rejected and offset is None:
            return Appended(0, 0, [])
        told = [_Told.of(event) for event in batch]
        with answering(self._engine), self._writing.begin() as connection:
            appended, changed = self._append(connection, told)
            keep(connection, [*rejected, *changed], self._seal)
            if offset is not None:
                _set_offset(connection, offset)
        return appended

    def _append(self, connection: Connection, told: list[_Told]) -> tuple[Appended, list[Rejected]]:
        head = _lock(connection)
        digests = {} if not told else self._bulk.known(connection, [one.key for one in told])
        new: list[bool] = []
        changed: list[int] = []
        fresh: list[_Told] = []
        for i, one in enumerate(told):
            before = digests.get(one.key)
            new.append(before is None)
            if before is None:
                digests[one.key] = one.digest
                fresh.append(one)
            elif before != one.digest:
                changed.append(i)
        if fresh:
            keys = [(one.key, one.digest) for one in fresh]
            day = int(time.time() // _DAY_S)
            erased = self._bulk.erased(connection, sorted({one.person for one in fresh if one.person}))
            rows = [one.row(head + i, day) for i, one in enumerate(_remembered(fresh, erased), start=1)]
            self._bulk.add(connection, keys, rows)
            connection.execute(update(log_head).values(position=head + len(rows)))
        duplicates = len(told) - len(fresh) - len(changed)
        appended = Appended(len(fresh), duplicates, new, tuple(changed))
        return appended, [changed_event(told[i].event, at=datetime.now(UTC)) for i in changed]

    def read(self, after: int = 0, limit: int = 10_000) -> list[tuple[int, Event]]:
        """The next events behind a position, with their positions."""
        query = select(events.c.position, events.c.payload).where(events.c.position > after)
        return [
            (position, _decode.decode(payload))
            for position, payload in self._rows(query.order_by(events.c.position).limit(limit))
        ]

    def head(self) -> int:
        """The position that was given out last."""
        with answering(self._engine), self._engine.connect() as connection:
            head: int = connection.execute(select(log_head.c.position)).scalar_one()
        return head

    def counts(self) -> dict[str, int]:
        """How many events there are of each type."""
        query = select(events.c.type, func.count()).group_by(events.c.type).order_by(events.c.type)
        return {row.type: row[1] for row in self._rows(query)}

    def newest(self) -> dict[str, datetime]:
        """When the newest event of each type happened."""
        query = select(events.c.type, func.max(events.c.at_us)).group_by(events.c.type)
        return {row.type: from_epoch_us(row[1]) for row in self._rows(query)}

    def digests(self, event_ids: Collection[str]) -> dict[str, int]:
        """The content digests of those of these ids that were ever told."""
        by_key = {event_key(event_id): event_id for event_id in event_ids}
        if not by_key:
            return {}
        with answering(self._engine), self._engine.connect() as connection:
            known = self._bulk.known(connection, list(by_key))
        return {by_key[key]: digest for key, digest in known.items()}

    def offset(self, source: str) -> str | None:
        """How far a source has been taken in; `None` where nothing was."""
        rows = self._rows(select(offsets.c.position).where(offsets.c.source == source))
        return rows[0].position if rows else None

    def of_user(self, user_id: str) -> list[Event]:
        """All events of a person, by pseudonym, in the order of the log."""
        query = select(events.c.payload).where(events.c.person == user_id).order_by(events.c.position)
        return [_decode.decode(payload) for (payload,) in self._rows(query)]

    def erase(self, user_id: str, at: datetime) -> int:
        """Forget a person: what they did is deleted, and from what happened to ads they are left out; says how many."""
        with answering(self._engine), self._writing.begin() as connection:
            _lock(connection)
            _remember_erasure(connection, user_id, epoch_us(at))
            mine = select(events.c.position, events.c.payload).where(events.c.person == user_id)
            found = connection.execute(mine).all()
            for position, payload in found:
                bare = forgotten(_decode.decode(payload))
                this = events.c.position == position
                if bare is None:
                    connection.execute(delete(events).where(this))
                else:
                    connection.execute(update(events).where(this).values(payload=content(bare).decode(), person=None))
        return len(found)

    def erased(self, since: datetime) -> list[tuple[str, datetime]]:
        """Who was erased at an instant from `since` on, and when."""
        query = select(erasures.c.person, erasures.c.at_us).where(erasures.c.at_us >= epoch_us(since))
        return [(row.person, from_epoch_us(row.at_us)) for row in self._rows(query)]

    def prune(self, before: datetime) -> int:
        """Drop the events that were written before an instant, in whole days; says how many. Their ids stay known."""
        with answering(self._engine), self._writing.begin() as connection:
            _lock(connection)
            return self._bulk.prune(connection, int(before.astimezone(UTC).timestamp() // _DAY_S))

    def _rows(self, query: Select[Any]) -> Sequence[Any]:
        with answering(self._engine), self._engine.connect() as connection:
            return connection.execute(query).all()


class _Told(NamedTuple):
    """An event as it will be written."""

    event: Event
    key: bytes
    digest: int
    written: bytes
    person: str

    @classmethod
    def of(cls, event: Event) -> _Told:
        written = content(event)
        return cls(event, event_key(event.event_id), content_digest(event, written), written, person_of(event))

    def row(self, position: int, day: int) -> _Row:
        kind: str = self.event.__struct_config__.tag  # type: ignore[assignment]
        return _Row(position, day, kind, epoch_us(self.event.at), self.person or None, self.written.decode())


def _lock(connection: Connection) -> int:
    """Wait for one's turn to write; says which position was given out last."""
    head: int = connection.execute(select(log_head.c.position).with_for_update()).scalar_one()
    return head


def _remembered(fresh: list[_Told], erased: dict[str, int]) -> list[_Told]:
    """What may be kept of new events: of somebody who was erased, nothing of before the erasure that tells of them."""
    if not erased:
        return fresh
    kept: list[_Told] = []
    for one in fresh:
        if epoch_us(one.event.at) >= erased.get(one.person, -(2**62)):
            kept.append(one)
        elif (bare := forgotten(one.event)) is not None:
            kept.append(one._replace(event=bare, written=content(bare), person=""))
    return kept


def _remember_erasure(connection: Connection, person: str, at_us: int) -> None:
    new = insert_new(connection, erasures).values(person=person, at_us=at_us)
    later = erasures.c.at_us < at_us
    connection.execute(new.on_conflict_do_update(index_elements=["person"], set_={"at_us": at_us}, where=later))


def _set_offset(connection: Connection, offset: Offset) -> None:
    new = insert_new(connection, offsets).values(source=offset.source, position=offset.position)
    connection.execute(new.on_conflict_do_update(index_elements=["source"], set_={"position": offset.position}))
