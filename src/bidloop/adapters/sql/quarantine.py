"""The quarantine in a SQL table, the raw bytes sealed."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Sequence

import msgspec
from sqlalchemy import Connection, Engine, Row, delete, func, select, update

from bidloop.adapters.sql.database import answering, insert_new, writing
from bidloop.adapters.sql.tables import quarantine
from bidloop.core.errors import CorruptArtifact, NotFound
from bidloop.events.ports import Kept, State
from bidloop.events.rejected import Rejected
from bidloop.events.sealing import Seal

_NAMES_PER_QUERY = 1_000
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Rejected)


class SqlQuarantine:
    """Keeps rejected rows aside; implements `bidloop.events.ports.Quarantine`.

    Parameters
    ----------
    engine
        From `open_database`.
    seal
        Seals the raw bytes, and opens them to who looks.
    """

    def __init__(self, engine: Engine, seal: Seal) -> None:
        self._engine = engine
        self._writing = writing(engine)
        self._seal = seal

    def keep(self, rejected: Sequence[Rejected]) -> None:
        """Keep rows aside; a row that is there already, from the same line for the same reason, is not kept again."""
        if rejected:
            with answering(self._engine), self._writing.begin() as connection:
                keep(connection, rejected, self._seal)

    def list(self, limit: int = 100, *, code: str = "", state: State | None = "waiting") -> builtins.list[Kept]:
        """The rows that were kept last, newest first."""
        query = select(quarantine).order_by(quarantine.c.position.desc()).limit(limit)
        if code:
            query = query.where(quarantine.c.code == code)
        if state is not None:
            query = query.where(quarantine.c.state == state)
        with answering(self._engine), self._engine.connect() as connection:
            return [self._kept(row) for row in connection.execute(query)]

    def get(self, id: str) -> Kept:
        """One row; the first letters of its id are enough where they name only one."""
        query = select(quarantine).where(quarantine.c.name.startswith(id, autoescape=True)).limit(2)
        with answering(self._engine), self._engine.connect() as connection:
            rows = connection.execute(query).all() if id else []
        if len(rows) != 1:
            raise NotFound(
                f"{'more than one row' if rows else 'no row'} {id!r} in the quarantine",
                expected="the id of one row",
                remedy="'bidloop quarantine list' shows them.",
            )
        return self._kept(rows[0])

    def settle(self, ids: Collection[str], state: State) -> None:
        """Note what became of rows."""
        with answering(self._engine), self._writing.begin() as connection:
            for some in _pieces(ids):
                connection.execute(update(quarantine).where(quarantine.c.name.in_(some)).values(state=state))

    def counts(self) -> dict[str, int]:
        """How many waiting rows there are of each code."""
        query = select(quarantine.c.code, func.count()).where(quarantine.c.state == "waiting")
        with answering(self._engine), self._engine.connect() as connection:
            rows = connection.execute(query.group_by(quarantine.c.code).order_by(quarantine.c.code)).all()
        return {row.code: row[1] for row in rows}

    def erase(self, ids: Collection[str]) -> int:
        """Delete rows for good; says how many."""
        with answering(self._engine), self._writing.begin() as connection:
            return sum(
                connection.execute(delete(quarantine).where(quarantine.c.name.in_(some))).rowcount
                for some in _pieces(ids)
            )

    def _kept(self, row: Row[tuple[object, ...]]) -> Kept:
        try:
            raw = self._seal.open(row.raw) if row.sealed else row.raw
        except CorruptArtifact:  # of a key that is gone for good: what is not sealed can still be told
            raw = b""
        return Kept(row.name, msgspec.structs.replace(_decode.decode(row.payload), raw=raw), row.state)


def keep(connection: Connection, rejected: Sequence[Rejected], seal: Seal) -> None:
    """Keep rows aside within a transaction; the same row twice is kept once."""
    # Written backwards: of a row that stands there twice, the first telling is left.
    rows = {name_of(row, seal): row for row in reversed(rejected)}
    fresh = [
        {
            "name": name,
            "code": row.code,
            "state": "waiting",
            "payload": _encode(msgspec.structs.replace(row, raw=b"")).decode(),
            "raw": seal.close(row.raw),
            "sealed": True,
        }
        for name, row in reversed(rows.items())
    ]
    if fresh:
        connection.execute(insert_new(connection, quarantine).on_conflict_do_nothing(index_elements=["name"]), fresh)


def name_of(row: Rejected, seal: Seal) -> str:
    """What a row is known by: a keyed hash of where it stood, what was wrong, and its bytes."""
    return seal.name(msgspec.json.encode((row.source, row.position, row.code, row.raw)))


def _pieces(names: Collection[str]) -> list[list[str]]:
    listed = list(names)
    return [listed[start : start + _NAMES_PER_QUERY] for start in range(0, len(listed), _NAMES_PER_QUERY)]
