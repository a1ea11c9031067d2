"""Which entities an opportunity belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from bidloop.core.opportunity import Opportunity
from bidloop.features.local_time import LocalTimes
from bidloop.features.plan import SEPARATOR, Plan
from bidloop.features.source import column

Keys: TypeAlias = Sequence[str | None]
"""One text for each of n rows: the values at the sources of an entity's key, joined; `None` where there is no such entity."""


def entity_keys(
    plan: Plan, opportunities: Sequence[Opportunity], sources: dict[str, list[str]] | None = None
) -> tuple[Keys, ...]:
    r"""The keys of n opportunities for each entity of a plan.

    An empty value is a value as well, of a platform that has no such thing; but an empty user is nobody.

    Parameters
    ----------
    sources
        Columns that were read already.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from bidloop.features.planning import plan_of
    >>> from bidloop.features.views import campaign_view
    >>> cell = Opportunity(opportunity_id="1", at=datetime(2026, 1, 1, tzinfo=UTC), campaign_id="a", ad_group_id="b")
    >>> [keys[0] for keys in entity_keys(plan_of(campaign_view()), [cell])][:3]
    ['', 'a', 'a\x1fb']
    """
    columns = {} if sources is None else sources
    missing = dict.fromkeys(source for entity in plan.entities for source in entity.key if source not in columns)
    times = LocalTimes(opportunities if any(name.startswith("time.") for name in missing) else (), plan.view.timezone)
    for source in missing:
        columns[source] = column(source, opportunities, times)
    for source, values in columns.items():
        if SEPARATOR in "".join(values):  # or two cells would share a key
            columns[source] = [value.replace(SEPARATOR, " ") for value in values]
    keys: list[Keys] = []
    for entity in plan.entities:
        if not entity.key:
            keys.append([""] * len(opportunities))
        elif len(entity.key) == 1:
            keys.append(columns[entity.key[0]])
        else:
            keys.append(list(map(SEPARATOR.join, zip(*(columns[source] for source in entity.key), strict=True))))
        if entity.personal:
            users = columns["user_id"]
            keys[-1] = [key if user else None for key, user in zip(keys[-1], users, strict=True)]
    return tuple(keys)


def absences(keys: Sequence[Keys]) -> list[list[bool] | None]:
    """For each entity which rows name none of it; `None` where all do."""
    return [[key is None for key in column] if None in column else None for column in keys]
