"""Feast's offline store over Parquet files, with a join that walks through time once.

The stores that Feast brings for files pair each question with every earlier row of its entity and then keep the latest pair:
for the account as a whole that is everything that ever happened, times the questions. DuckDB's ``ASOF`` join finds the latest
row by sorting both sides. What is returned is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureView, FileSource, RepoConfig
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.dask import DaskOfflineStore, DaskOfflineStoreConfig
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView

NAME: Literal["bidloop.adapters.feast.offline_store.AsofOfflineStore"] = (
    "bidloop.adapters.feast.offline_store.AsofOfflineStore"
)
"""What Feast's configuration calls the store."""
AT = "event_timestamp"
_PLACE = "__place"
_UTC = pa.timestamp("us", tz="UTC")


class AsofOfflineStoreConfig(DaskOfflineStoreConfig):
    """Names the store in Feast's configuration."""

    type: Literal["bidloop.adapters.feast.offline_store.AsofOfflineStore"] = NAME  # type: ignore[assignment]


class AsofOfflineStore(DaskOfflineStore):
    """Parquet files, read by Arrow and joined by DuckDB; in all else as Feast's own store of files."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: Any,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **kwargs: Any,
    ) -> RetrievalJob:
        """The features of each row of a data frame as of its ``event_timestamp``, in the order of its rows."""
        if not isinstance(entity_df, pd.DataFrame) or AT not in entity_df or filter_by_created_timestamp:
            return DaskOfflineStore.get_historical_features(
                config,
                feature_views,
                feature_refs,
                entity_df,
                registry,
                project,
                full_feature_names,
                filter_by_created_timestamp,
                **kwargs,
            )
        asked = pa.Table.from_pandas(entity_df, preserve_index=False)
        asked = asked.set_column(asked.column_names.index(AT), AT, _instants(asked[AT]))
        for view in feature_views:
            name = str(view.projection.name_to_use())  # type: ignore[no-untyped-call]
            features = [feature.partition(":")[2] for feature in feature_refs if feature.partition(":")[0] == name]
            found = _as_of(asked, view, features, config)
            for feature in features:
                column = f"{name}__{feature}" if full_feature_names else feature
                asked = asked.append_column(column, found[feature])
        return _Job(
            asked,
            full_feature_names,
            OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            RetrievalMetadata(feature_refs, [name for name in entity_df.columns if name != AT], *_range(asked[AT])),
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """The latest row of each entity in a stretch of time, both ends included: what Feast fills its online store with."""
        times = [timestamp_field, *([created_timestamp_column] if created_timestamp_column else [])]
        rows = _read(data_source, [*join_key_columns, *feature_name_columns, *times], times, config)
        keys = ", ".join(map(_quoted, join_key_columns)) or "1"
        latest = ", ".join(f"{_quoted(name)} DESC" for name in times)
        within = [
            f"{_quoted(timestamp_field)} {compared} ${name}"
            for name, compared, date in (("start", ">=", start_date), ("end", "<=", end_date))
            if date is not None
        ]
        found = _select(
            f"SELECT * FROM source WHERE {' AND '.join(within) or 'true'} "
            f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {latest}) = 1",
            {"source": rows},
            {name: date for name, date in (("start", start_date), ("end", end_date)) if date is not None},
        )
        if not join_key_columns:
            found = found.append_column(DUMMY_ENTITY_ID, pa.array([DUMMY_ENTITY_VAL] * len(found)))
        return _Job(found, False, [], None)


class _Job(RetrievalJob):
    """A table that is there already."""

    def __init__(
        self,
        table: pa.Table,
        full_feature_names: bool,
        on_demand_feature_views: list[OnDemandFeatureView],
        metadata: RetrievalMetadata | None,
    ) -> None:
        self._table = table
        self._full_feature_names = full_feature_names
        self._on_demand_feature_views = on_demand_feature_views
        self._metadata = metadata

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._metadata

    def supports_remote_storage_export(self) -> bool:
        return False

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._table.to_pandas()

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._table


def _as_of(asked: pa.Table, view: FeatureView, features: Sequence[str], config: RepoConfig) -> pa.Table:
    """The features of one view for each row that asks; missing where there is nothing, or nothing young enough."""
    source = view.batch_source
    assert source is not None
    keys = {
        field.name: view.projection.join_key_map.get(field.name, field.name)
        for field in view.entity_columns
        if field.name != DUMMY_ENTITY_ID
    }
    at = source.timestamp_field
    times = [at, *([source.created_timestamp_column] if source.created_timestamp_column else [])]
    rows = _read(source, [*keys, *features, *times], times, config)
    latest = ", ".join(f"{_quoted(name)} DESC" for name in times)
    same = ", ".join(map(_quoted, [*keys, at]))
    # Of several rows of one instant that which was written last, as Feast has it.
    once = f"(SELECT * FROM source QUALIFY row_number() OVER (PARTITION BY {same} ORDER BY {latest}) = 1)"
    on = "".join(f"asked.{_quoted(mine)} = known.{_quoted(its)} AND " for its, mine in keys.items())
    age = f"asked.at - known.{_quoted(at)}"
    young = f"{age} <= to_microseconds({round(view.ttl.total_seconds() * 1e6)})" if view.ttl else "true"
    columns = ", ".join(f"CASE WHEN {young} THEN known.{_quoted(name)} END AS {_quoted(name)}" for name in features)
    asking = asked.select(list(dict.fromkeys(keys.values())))
    asking = asking.append_column("at", asked[AT]).append_column(_PLACE, pa.array(np.arange(len(asked))))
    return _select(
        f"SELECT {columns} FROM asked ASOF LEFT JOIN {once if len(times) > 1 else 'source'} AS known "
        f"ON {on}asked.at >= known.{_quoted(at)} ORDER BY asked.{_PLACE}",
        {"asked": asking, "source": rows},
    )


def _read(source: DataSource, columns: Sequence[str], times: Sequence[str], config: RepoConfig) -> pa.Table:
    """Columns of a Parquet file, or a folder of them, by the names that the view gives them."""
    assert isinstance(source, FileSource)
    uri = FileSource.get_uri_for_file_path(repo_path=config.repo_path, uri=source.file_options.uri)
    filesystem, path = FileSource.create_filesystem_and_path(uri, source.file_options.s3_endpoint_override)
    of = {new: old for old, new in source.field_mapping.items()}
    names = list(dict.fromkeys(columns))
    table = pq.read_table(path, filesystem=filesystem, columns=[of.get(name, name) for name in names])
    table = table.select([of.get(name, name) for name in names]).rename_columns(names)
    for name in times:
        table = table.set_column(table.column_names.index(name), name, _instants(table[name]))
    return table


def _instants(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Instants in UTC to the microsecond; without a timezone they are in UTC, as Feast has it."""
    # DuckDB knows no nanoseconds with a timezone, which is what pandas writes.
    return column.cast(pa.timestamp("us", tz=column.type.tz), safe=False).cast(_UTC)


def _select(query: str, tables: dict[str, pa.Table], parameters: dict[str, Any] | None = None) -> pa.Table:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, table in tables.items():
            connection.register(name, table)
        return connection.sql(query, params=parameters).to_arrow_table()


def _range(instants: pa.ChunkedArray) -> tuple[datetime | None, datetime | None]:
    found = instants.to_pandas()
    return found.min().to_pydatetime(), found.max().to_pydatetime()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
