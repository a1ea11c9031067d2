"""Features of views that Bidloop does not define: a team's own, read beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import feast
import numpy as np
import pandas as pd
from feast.types import Bool, Float32, Float64, Int32, Int64, String
from numpy.typing import NDArray

from bidloop.adapters.feast.objects import TIMESTAMP
from bidloop.core.errors import ConfigurationError, closest
from bidloop.core.opportunity import Opportunity
from bidloop.features.local_time import LocalTimes, microseconds
from bidloop.features.source import check_key, column

_NUMBERS = (Bool, Float32, Float64, Int32, Int64)


def team_columns(
    store: feast.FeatureStore,
    opportunities: Sequence[Opportunity],
    features: Sequence[str],
    entities: Mapping[str, str],
    historical: bool,
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.object_]]]:
    """The numeric and the categorical columns of n opportunities, by ``view__feature``; see `FeastRepository`."""
    views = {view.name: view for view in (*store.list_batch_feature_views(), *store.list_stream_feature_views())}
    types = {f"{name}:{field.name}": field.dtype for name, view in views.items() for field in view.features}
    for feature in features:
        if feature not in types:
            raise ConfigurationError(
                f"feature {feature!r}, which Feast does not know",
                expected="one of a feature view, as view:feature",
                remedy=closest(feature, types),
            )
        if types[feature] not in (*_NUMBERS, String):
            raise ConfigurationError(
                f"feature {feature!r} of type {types[feature]}", expected="a number, a truth value or a text"
            )
    asked = {}
    for view in (views[name] for name in dict.fromkeys(feature.partition(":")[0] for feature in features)):
        for field in view.entity_columns:
            asked[field.name] = _keys(opportunities, entities.get(field.name, field.name), field.dtype)
    answer = _answer(store, opportunities, features, asked, historical) if len(opportunities) else {}
    names = {feature: feature.replace(":", "__") for feature in features}
    numeric = {
        names[feature]: np.array(answer.get(names[feature], []), dtype=np.float64)
        for feature in features
        if types[feature] in _NUMBERS
    }
    categorical = {
        names[feature]: np.array([value or "" for value in answer.get(names[feature], [])], dtype=object)
        for feature in features
        if types[feature] == String
    }
    return numeric, categorical


def _keys(opportunities: Sequence[Opportunity], source: str, dtype: Any) -> list[Any]:
    check_key(source)
    texts = column(source, opportunities, LocalTimes(opportunities, "UTC"))
    if dtype not in (Int32, Int64):
        return texts
    # What is no number names nothing that such a view knows.
    return [int(text) if text.isdecimal() else -1 for text in texts]


def _answer(
    store: feast.FeatureStore,
    opportunities: Sequence[Opportunity],
    features: Sequence[str],
    asked: dict[str, list[Any]],
    historical: bool,
) -> dict[str, list[Any]]:
    if not historical:
        found: dict[str, list[Any]] = store.get_online_features(
            features=list(features), entity_rows=asked, full_feature_names=True
        ).to_dict()
        return found
    rows = pd.DataFrame({**asked, "row": np.arange(len(opportunities))})
    instants = np.array(microseconds(opportunities), dtype="datetime64[us]")
    rows[TIMESTAMP] = pd.to_datetime(instants, utc=True)
    table = store.get_historical_features(entity_df=rows, features=list(features), full_feature_names=True).to_arrow()
    past: dict[str, list[Any]] = table.sort_by("row").to_pydict()
    return past
