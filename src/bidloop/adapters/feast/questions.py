"""What is asked of Feast, and its answer as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from bidloop.adapters.feast.naming import ACCOUNT, EVERYTHING, join_keys, values_name
from bidloop.adapters.feast.on_demand import ASKED, OPPORTUNITY
from bidloop.core.feature_table import FeatureTable
from bidloop.core.opportunity import Opportunity
from bidloop.features.keys import entity_keys
from bidloop.features.local_time import microseconds
from bidloop.features.planning import plan_of
from bidloop.features.view import FeatureView

_encode = msgspec.json.Encoder().encode


def entity_rows(view: FeatureView, opportunities: Sequence[Opportunity]) -> dict[str, list[Any]]:
    """What Feast needs to know of n opportunities: the join keys of their entities, and the request data.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from bidloop.features.views import campaign_view
    >>> shoes = Opportunity(opportunity_id="o", at=datetime(1970, 1, 1, second=1, tzinfo=UTC), campaign_id="shoes")
    >>> rows = entity_rows(campaign_view(), [shoes])
    >>> rows["account"], rows["campaign_id"], rows["asked_us"]
    (['all'], ['shoes'], [1000000])
    """
    plan = plan_of(view)
    sources: dict[str, list[str]] = {}
    entity_keys(plan, opportunities, sources)
    rows: dict[str, list[Any]] = {ACCOUNT: [EVERYTHING] * len(opportunities)}
    for entity in plan.entities:
        for name, source in zip(join_keys(entity), entity.key, strict=False):  # the account has a name and no source
            rows[name] = sources[source]
    rows[ASKED] = microseconds(opportunities, view.lag_seconds)
    rows[OPPORTUNITY] = [_encode(opportunity).decode() for opportunity in opportunities]
    return rows


def references(view: FeatureView) -> list[str]:
    """The values of a view, as Feast refers to them."""
    values = values_name(view)
    return [f"{values}:{name}" for name in (*view.numeric_names, *asked_categories(view))]


def asked_categories(view: FeatureView) -> tuple[str, ...]:
    """The categories that Feast is asked for: those that are a join key by the same name stand in the question already."""
    keys = {name for entity in plan_of(view).entities for name in join_keys(entity)}
    return tuple(name for name in view.categorical_names if name not in keys)


def table_of(view: FeatureView, answer: Mapping[str, Sequence[Any]]) -> FeatureTable:
    """Feast's answer, by name n values each, as a table."""
    return FeatureTable(
        view.version,
        {name: np.array(answer[name], dtype=np.float64) for name in view.numeric_names},
        {name: np.array(answer[name], dtype=object) for name in view.categorical_names},
    )
