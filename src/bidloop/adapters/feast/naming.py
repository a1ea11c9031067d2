"""What things are called in Feast: the version of a view is part of each name, so that old versions stay beside new ones."""

from __future__ import annotations

import math
import re

from bidloop.features.plan import DAY, EntityPlan
from bidloop.features.view import FeatureView

ACCOUNT = "account"
"""Join key of the account as a whole, which has none of its own."""
EVERYTHING = "all"
"""The one value of that key."""
TAG = "bidloop_version"
"""Tag that tells our Feast objects from those of others; its value is the version of our view."""

_UNITS = (("d", DAY), ("h", DAY // 24), ("m", DAY // 1440), ("s", 1_000_000))


def word(text: str) -> str:
    """A text as a part of a name: letters, digits and single underscores.

    >>> word("attributes.slot")
    'attributes_slot'
    """
    return re.sub(r"_+", "_", re.sub(r"\W", "_", text)).strip("_") or "x"


def values_name(view: FeatureView) -> str:
    """Name of the on-demand feature view that has the values of a view, such as ``campaign_1f0a6c0e93b2``."""
    return f"{word(view.name)}_{view.version}"


def states_name(view: FeatureView, entity: EntityPlan) -> str:
    """Name of the feature view that has the states of one kind of entity, such as ``campaign_1f0a6c0e93b2_keyword``."""
    return f"{values_name(view)}_{word(entity.name)}"


def join_keys(entity: EntityPlan) -> tuple[str, ...]:
    """Names of the join keys of an entity: one for each source of its key, in that order.

    >>> from bidloop.features.planning import plan_of
    >>> from bidloop.features.views import campaign_view
    >>> [join_keys(entity) for entity in plan_of(campaign_view()).entities][:3]
    [('account',), ('campaign_id',), ('campaign_id', 'ad_group_id')]
    """
    return tuple(word(source) for source in entity.key) or (ACCOUNT,)


def span(per_us: float) -> str:
    """For how long a sum remembers: its mean life where that is a round number, else its half-life.

    >>> from bidloop.features.planning import per_microsecond
    >>> span(per_microsecond(7)), span(per_microsecond(1 / 24)), span(1 / (14 * DAY)), span(0.0)
    ('7d', '1h', 'halving_14d', 'ever')
    """
    if per_us == 0.0:
        return "ever"
    half_life = 1.0 / per_us
    for prefix, length in (("", half_life / math.log(2)), ("halving_", half_life)):
        for letter, unit in _UNITS:
            number = length / unit
            if number >= 1.0 - 1e-9 and math.isclose(number, round(number), rel_tol=1e-9):
                return f"{prefix}{round(number)}{letter}"
    return "halving_" + f"{half_life / DAY:.6g}d".replace(".", "p")
