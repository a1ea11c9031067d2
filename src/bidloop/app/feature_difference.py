"""What two feature views do not have in common."""

from __future__ import annotations

from typing import Any

import msgspec

from bidloop.features.cards import cards
from bidloop.features.lineage import lineage, upstream
from bidloop.features.view import FeatureView


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is another in one view than in the other: of a feature, or of the view itself (then without a name)."""

    feature: str
    what: str
    before: Any
    after: Any


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What two views do not have in common."""

    before: str
    after: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[Change, ...]


def difference(before: FeatureView, after: FeatureView) -> Difference:
    """What two views do not have in common.

    Examples
    --------
    >>> from bidloop.features.views import campaign_view
    >>> told = difference(campaign_view(), campaign_view("Europe/Paris", ["quality_score"]))
    >>> told.added, [(change.feature, change.what) for change in told.changed][0]
    (('quality_score',), ('', 'timezone'))
    """
    then, now = _definitions(before), _definitions(after)
    changed = [
        Change(feature="", what=name, before=getattr(before, name), after=getattr(after, name))
        for name in ("name", "timezone", "lag_seconds", "base_ctr", "base_conversion_rate", "resolution_seconds")
        if getattr(before, name) != getattr(after, name)
    ]
    shared = [name for name in then if name in now]
    if shared != [name for name in now if name in then]:
        changed.append(
            Change(feature="", what="order of the features", before=shared, after=[n for n in now if n in then])
        )
    changed += [
        Change(feature=name, what=what, before=then[name][what], after=now[name][what])
        for name in shared
        for what in then[name]
        if then[name][what] != now[name][what]
    ]
    return Difference(
        before=before.version,
        after=after.version,
        added=tuple(name for name in now if name not in then),
        removed=tuple(name for name in then if name not in now),
        changed=tuple(changed),
    )


def _definitions(view: FeatureView) -> dict[str, dict[str, Any]]:
    """What says which values each feature has, and what is said of it."""
    edges, amounts = lineage(view), {amount.name: msgspec.to_builtins(amount) for amount in view.amounts}
    definitions = {}
    for card in cards(view):
        own = upstream(edges, card.name)
        used = {edge.source.name for edge in own if edge.source.kind == "amount"}
        definitions[card.name] = {
            **msgspec.to_builtins(card),
            "made of": [f"{edge.source} {edge.how}" for edge in own],
            "amounts": {name: amounts[name] for name in sorted(used) if name in amounts},
        }
    return definitions
