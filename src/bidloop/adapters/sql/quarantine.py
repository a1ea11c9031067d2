"""The quarantine in a SQL table."""

from __future__ import annotations

import builtins
from collections.abc import Sequence

import msgspec
import xxhash
from sqlalchemy import Engine, func, insert, select

from bidloop.adapters.sql.database import writing
from bidloop.adapters.sql.tables import quarantine
from bidloop.events.rejected import Rejected

_IDS_PER_QUERY = 1_000
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Rejected)


class SqlQuarantine:
    """Keeps rejected rows aside; implements `bidloop.events.ports.Quarantine`.

    Parameters
    ----------
    engine
        From `open_database`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine)

    def keep(self, rejected: Sequence[Rejected]) -> None:
        """Keep rows aside; a row that is there already, from the same line for the same reason, is not kept again."""
        rows = {digest: row for row in reversed(rejected) if (digest := _digest(row))}
        if not rows:
            return
        digests = builtins.list(reversed(rows))
        with self._writing.begin() as connection:
            known: set[str] = set()
            for start in range(0, len(digests), _IDS_PER_QUERY):
                some = digests[start : start + _IDS_PER_QUERY]
                known.update(connection.scalars(select(quarantine.c.digest).where(quarantine.c.digest.in_(some))))
            fresh = [
                {"digest": digest, "code": rows[digest].code, "payload": _encode(rows[digest]).decode()}
                for digest in digests
                if digest not in known
            ]
            if fresh:
                connection.execute(insert(quarantine), fresh)

    def list(self, limit: int = 100) -> builtins.list[Rejected]:
        """The rows that were kept last, newest first."""
        query = select(quarantine.c.payload).order_by(quarantine.c.position.desc()).limit(limit)
        with self._engine.connect() as connection:
            return [_decode.decode(payload) for payload in connection.scalars(query)]

    def counts(self) -> dict[str, int]:
        """How many rows there are of each code."""
        query = select(quarantine.c.code, func.count()).group_by(quarantine.c.code).order_by(quarantine.c.code)
        with self._engine.connect() as connection:
            return {row.code: row[1] for row in connection.execute(query)}


def _digest(row: Rejected) -> str:
    identity = msgspec.json.encode((row.source, row.position, row.code, row.raw))
    return xxhash.xxh3_128_hexdigest(identity)
