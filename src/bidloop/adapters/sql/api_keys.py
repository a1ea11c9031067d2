"""The API keys in a SQL table."""

from __future__ import annotations

import builtins
from datetime import datetime

from sqlalchemy import Engine, Row, insert, select, update

from bidloop.adapters.sql.database import answering, writing
from bidloop.adapters.sql.tables import api_keys
from bidloop.core.api_key import ApiKey
from bidloop.core.errors import NotFound
from bidloop.outcomes.epoch import epoch_us, from_epoch_us


class SqlApiKeys:
    """Keeps what there is to know of the API's keys; implements `bidloop.core.api_key.ApiKeys`.

    Parameters
    ----------
    engine
        From `open_database`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine)

    def add(self, key: ApiKey) -> None:
        """Keep a new key."""
        row = {
            "key_id": key.key_id,
            "name": key.name,
            "scopes": " ".join(key.scopes),
            "digest": key.digest,
            "created_us": epoch_us(key.created_at),
            "revoked_us": None if key.revoked_at is None else epoch_us(key.revoked_at),
        }
        with answering(self._engine), self._writing.begin() as connection:
            connection.execute(insert(api_keys), [row])

    def list(self) -> builtins.list[ApiKey]:
        """All keys that were ever made, in the order of their making."""
        query = select(api_keys).order_by(api_keys.c.created_us, api_keys.c.key_id)
        with answering(self._engine), self._engine.connect() as connection:
            return [_key(row) for row in connection.execute(query)]

    def revoke(self, key_id: str, at: datetime) -> ApiKey:
        """Have a key open nothing any more; one that was revoked before stays as it was."""
        this = api_keys.c.key_id == key_id
        with answering(self._engine), self._writing.begin() as connection:
            changed = update(api_keys).where(this, api_keys.c.revoked_us.is_(None))
            connection.execute(changed.values(revoked_us=epoch_us(at)))
            row = connection.execute(select(api_keys).where(this)).one_or_none()
        if row is None:
            raise NotFound(f"no API key {key_id!r}", expected="the id of one", remedy="`bidloop keys list` has them.")
        return _key(row)


def _key(row: Row[tuple[object, ...]]) -> ApiKey:
    return ApiKey(
        key_id=row.key_id,
        name=row.name,
        scopes=tuple(row.scopes.split()),
        digest=row.digest,
        created_at=from_epoch_us(row.created_us),
        revoked_at=None if row.revoked_us is None else from_epoch_us(row.revoked_us),
    )
