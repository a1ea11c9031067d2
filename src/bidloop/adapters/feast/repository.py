"""Registry and stores of Feast in one folder, without any file written by hand."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import feast
import numpy as np
import pandas as pd
from feast.repo_config import RegistryConfig, RepoConfig

from bidloop.adapters.feast.answering import answering
from bidloop.adapters.feast.columns import columns_of
from bidloop.adapters.feast.erasure import erase
from bidloop.adapters.feast.history import EntityHistory
from bidloop.adapters.feast.metrics import put_switches_back
from bidloop.adapters.feast.objects import TIMESTAMP, FeastObjects, feast_objects, history_path
from bidloop.adapters.feast.offline_store import NAME
from bidloop.adapters.feast.on_demand import ASKED
from bidloop.adapters.feast.questions import entity_rows, references, table_of
from bidloop.adapters.feast.team_features import team_columns
from bidloop.core.errors import ConfigurationError
from bidloop.core.feature_table import FeatureTable
from bidloop.core.opportunity import Opportunity
from bidloop.features.contributions import Contributions
from bidloop.features.planning import plan_of
from bidloop.features.view import FeatureView

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class FeastRepository:
    """Feast in a folder: its registry, its online store (SQLite there, or a Redis), and the Parquet files of the past.

    On either online store the last write wins: each of ours says all that is known of an entity.

    Parameters
    ----------
    folder
        Where everything lies; made when it is not there. It must not be moved: Feast knows its files by their whole path.
    online
        Kind of online store.
    redis_url
        Address of the Redis, such as ``redis://localhost:6379/0``.
    project
        Name of the Feast project.

    Raises
    ------
    ConfigurationError
        When the address of the Redis is none that Feast can be told.
    """

    def __init__(
        self,
        folder: Path,
        *,
        online: Literal["sqlite", "redis"] = "sqlite",
        redis_url: str = "",
        project: str = "bidloop",
    ) -> None:
        put_switches_back()
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store = feast.FeatureStore(
            config=RepoConfig(
                project=project,
                provider="local",
                registry=RegistryConfig(
                    registry_type="file", path=str(self.folder / "registry.db"), cache_ttl_seconds=0
                ),
                online_store=_online_store(online, self.folder, redis_url),
                offline_store={"type": NAME},
                entity_key_serialization_version=3,
            )
        )

    def apply(self, view: FeatureView) -> FeastObjects:
        """Make a view known to Feast; what is there stays, other versions of the view among it."""
        objects = feast_objects(view, self.folder)
        for entity, columns in zip(plan_of(view).entities, columns_of(view), strict=True):
            path = history_path(self.folder, view, entity.name)
            if not path.exists():
                EntityHistory(columns).write(path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "On demand feature view is an experimental feature", RuntimeWarning)
            self.store.apply(objects.all)
        return objects

    def write_history(self, view: FeatureView, known: Iterable[Contributions]) -> int:
        """Write the Parquet files of a view anew; says how many states they hold.

        Parameters
        ----------
        known
            All facts there are, in parts of any size and order (`bidloop.features.contributions`).
        """
        plan = plan_of(view)
        histories = [EntityHistory(columns) for columns in columns_of(view)]
        for part in known:
            for i, history in enumerate(histories):
                rows, inputs = part.to(plan, i)
                keys = (part.keys[i][row] for row in rows.tolist())
                history.add((key for key in keys if key is not None), part.due[rows], inputs)
        return sum(
            history.write(history_path(self.folder, view, entity.name))
            for history, entity in zip(histories, plan.entities, strict=True)
        )

    def materialize(self, view: FeatureView, until: datetime) -> None:
        """Fill the online store from the Parquet files by Feast's own means: with what counted at an instant, less the lag.

        What a `FeastStore` has published since is overwritten.
        """
        lag = timedelta(seconds=view.lag_seconds)
        names = [states.name for states in feast_objects(view, self.folder).states]
        self.store.materialize(_BEGINNING, until.astimezone(UTC) - lag, feature_views=names)

    def online(self, view: FeatureView, opportunities: Sequence[Opportunity]) -> FeatureTable:
        """The values at each opportunity's own `at`, from what is known in Feast's online store.

        Raises
        ------
        InvalidInput
            When an instant carries no timezone, or lies before what the online store remembers.
        Unavailable
            When the online store does not answer.
        """
        rows = entity_rows(view, opportunities)
        if not opportunities:
            return table_of(view, {name: [] for name in (*view.numeric_names, *view.categorical_names)})
        with answering():
            answer = self.store.get_online_features(features=references(view), entity_rows=rows).to_dict()
        return table_of(view, {**rows, **answer})

    def historical(self, view: FeatureView, opportunities: Sequence[Opportunity]) -> FeatureTable:
        """The values at each opportunity's own `at`, from the Parquet files, by Feast's point-in-time join.

        Raises
        ------
        InvalidInput
            When an instant carries no timezone.
        """
        if not opportunities:
            return self.online(view, opportunities)
        rows = entity_rows(view, opportunities)
        asked = pd.DataFrame({**rows, "row": np.arange(len(opportunities))})
        asked[TIMESTAMP] = pd.to_datetime(asked[ASKED].to_numpy().astype("datetime64[us]"), utc=True)
        found = self.store.get_historical_features(entity_df=asked, features=references(view)).to_arrow()
        return table_of(view, {**rows, **found.sort_by("row").select(_names(references(view))).to_pydict()})

    def with_team_features(
        self,
        table: FeatureTable,
        opportunities: Sequence[Opportunity],
        features: Sequence[str],
        entities: Mapping[str, str] | None = None,
        *,
        historical: bool = False,
    ) -> FeatureTable:
        """A table with further columns, from feature views that Bidloop does not define.

        Parameters
        ----------
        table
            The features of n opportunities.
        features
            As Feast refers to them, such as ``creative_stats:age_days``; the column is then ``creative_stats__age_days``.
        entities
            Where in an opportunity the value of each join key is found (`bidloop.features.source`); not needed for one that is
            called as its source.
        historical
            Whether as of the opportunities' `at` (up to and including it, as Feast joins), instead of now.

        Raises
        ------
        ConfigurationError
            When there is no such feature, with the closest one; or when it is neither a number nor a text.
        """
        numeric, categorical = team_columns(self.store, opportunities, features, entities or {}, historical)
        version = "+".join((table.view, *sorted(features)))
        return FeatureTable(version, {**table.numeric, **numeric}, {**table.categorical, **categorical})

    def forget(self, user_id: str) -> int:
        """Forget a person, by pseudonym, in all versions of all our views; says how many rows of entities are gone online.

        Raises
        ------
        InvalidInput
            When no person is named.
        Unavailable
            When the online store does not answer.
        """
        with answering():
            return erase(self.store, user_id)


def _names(features: Sequence[str]) -> list[str]:
    return [feature.partition(":")[2] for feature in features]


def _online_store(online: Literal["sqlite", "redis"], folder: Path, redis_url: str) -> dict[str, Any]:
    if online == "sqlite":
        return {"type": "sqlite", "path": str(folder / "online.db")}
    url = urlsplit(redis_url)
    secret = unquote(url.password or "")
    if url.scheme not in ("redis", "rediss") or not url.hostname or "," in secret + unquote(url.username or ""):
        raise ConfigurationError(
            f"Redis at {url.scheme}://{url.hostname or ''}",
            expected="an address such as redis://localhost:6379/0, without a comma in its password",
        )
    told = [f"{url.hostname}:{url.port or 6379}", f"db={url.path.strip('/') or 0}"]
    if url.username:
        told.append(f"username={json.dumps(unquote(url.username))}")
    if secret:
        told.append(f"password={json.dumps(secret)}")
    if url.scheme == "rediss":
        told.append("ssl=true")
    # Without `skip_dedup` Redis keeps what has the later time, and a late fact would wait for the next one.
    return {"type": "redis", "connection_string": ",".join(told), "skip_dedup": True}
