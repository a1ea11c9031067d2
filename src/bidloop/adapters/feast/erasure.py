"""A person taken out of Feast's stores.

Feast itself has no means to delete one entity. Its online stores keep a row under the join keys as bytes
(`feast.infra.key_encoding_utils`): SQLite in one table for each feature view, Redis in one hash for all feature views with the
same join keys, so that there only our fields are removed: what a team keeps of the person is theirs.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import feast
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast.infra.key_encoding_utils import deserialize_entity_key
from feast.infra.online_stores.helpers import _mmh3
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig

from bidloop.adapters.feast.naming import TAG
from bidloop.core.errors import InvalidInput
from bidloop.features.source import PERSON


def erase(store: feast.FeatureStore, user_id: str) -> int:
    """Delete what our views keep of a person; says how many rows of entities are gone online.

    Raises
    ------
    InvalidInput
        When no person is named.
    """
    if not user_id:
        raise InvalidInput("an empty user_id", path="user_id", expected="the pseudonym of one person")
    views = [view for view in store.list_batch_feature_views() if TAG in view.tags and PERSON in view.join_keys]
    for view in views:
        assert isinstance(view.batch_source, feast.FileSource)
        _from_file(Path(view.batch_source.path), user_id)
    config = store.config.online_store
    if isinstance(config, RedisOnlineStoreConfig):
        return _from_redis(config, store.project, views, user_id)
    return _from_sqlite(Path(config.path), store.project, views, user_id)


def _from_file(path: Path, user_id: str) -> None:
    new = path.with_suffix(".new")
    with pq.ParquetFile(path) as old, pq.ParquetWriter(new, old.schema_arrow, compression="zstd") as writer:
        for i in range(old.num_row_groups):
            part = old.read_row_group(i)
            writer.write_table(part.filter(pc.not_equal(part.column(PERSON), user_id)))
    os.replace(new, path)


def _from_sqlite(path: Path, project: str, views: Iterable[feast.FeatureView], user_id: str) -> int:
    gone = 0
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection, connection:
        for view in views:
            table = f'"{project}_{view.name}"'
            keys = [key for (key,) in connection.execute(f"SELECT DISTINCT entity_key FROM {table}")]
            theirs = [(key,) for key in keys if _names(key, user_id)]
            connection.executemany(f"DELETE FROM {table} WHERE entity_key = ?", theirs)
            gone += len(theirs)
        connection.commit()
    return gone


def _from_redis(config: RedisOnlineStoreConfig, project: str, views: list[feast.FeatureView], user_id: str) -> int:
    # Feast's own connection would be a private matter of its; this one is opened as it opens its own.
    client = RedisOnlineStore()._get_client(config)
    end, gone = project.encode(), 0
    try:
        for key in client.scan_iter(match=b"*" + end, count=1000):
            with contextlib.suppress(ValueError):  # a key of somebody else
                if not _names(key[: -len(end)], user_id):
                    continue
                for view in views:
                    fields = [f"_ts:{view.name}", *(_mmh3(f"{view.name}:{field.name}") for field in view.features)]
                    gone += bool(client.hdel(key, *fields))
    finally:
        client.close()
    return gone


def _names(key: bytes, user_id: str) -> bool:
    named = deserialize_entity_key(key)
    return any(
        name == PERSON and value.string_val == user_id
        for name, value in zip(named.join_keys, named.entity_values, strict=True)
    )
