"""What two feature views do not have in common."""

from __future__ import annotations

from typing import Any

import msgspec

from bidloop.features.cards import cards
from bidloop.features.lineage import lineage, upstream
from bidloop.features.view import FeatureView

UNUSED = "(no feature changes by it)"
"""Said of an entity or an amount."""


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

    Entities and amounts are told of where no feature changes by them; otherwise the features tell.

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
        for name in FeatureView.__struct_fields__
        if not isinstance(getattr(before, name), tuple) and getattr(before, name) != getattr(after, name)
    ]
    shared = [name for name in then if name in now]
    if shared != [name for name in now if name in then]:
        changed.append(
            Change(feature="", what="order of the features", before=shared, after=[n for n in now if n in then])
        )
    exactly_then, exactly_now = _exactly(before), _exactly(after)
    moved: list[Change] = []
    for name in shared:
        words = [what for what in then[name] if then[name][what] != now[name][what]]
        moved += [Change(feature=name, what=what, before=then[name][what], after=now[name][what]) for what in words]
        # Too small for words, such as a strength of 2.0000001.
        if not words and exactly_then[name] != exactly_now[name]:
            moved.append(Change(feature=name, what="definition", before=exactly_then[name], after=exactly_now[name]))
    added = tuple(name for name in now if name not in then)
    removed = tuple(name for name in then if name not in now)
    changed += moved
    changed += _unused(before, after, {*added, *removed, *(one.feature for one in moved)})
    if before != after and not (added or removed or changed):  # such as the order of the entities
        whole = [msgspec.to_builtins(view) for view in (before, after)]
        changed.append(Change(feature="", what="definition", before=whole[0], after=whole[1]))
    return Difference(before=before.version, after=after.version, added=added, removed=removed, changed=tuple(changed))


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


def _exactly(view: FeatureView) -> dict[str, Any]:
    """Each feature to its last digit, as the view defines it."""
    alone = (*view.categories, *view.measures, *view.signals)
    exactly: dict[str, Any] = {card.name: None for card in cards(view)}
    exactly |= {one.name: msgspec.to_builtins(one) for one in alone}
    return exactly | {
        rate.feature(value): msgspec.to_builtins(rate) | {"values": value}
        for rate in view.rates
        for value in rate.values
    }


def _unused(before: FeatureView, after: FeatureView, features: set[str]) -> list[Change]:
    """Entities and amounts that are others, though none of these features, which are others as well, uses them."""
    changes = []
    for kind, table in (("entity", "entities"), ("amount", "amounts")):
        then = {one.name: msgspec.to_builtins(one) for one in getattr(before, table)}
        now = {one.name: msgspec.to_builtins(one) for one in getattr(after, table)}
        used = _uses(before, features) | _uses(after, features)
        changes += [
            Change(feature="", what=f"{kind} {name!r} {UNUSED}", before=then.get(name), after=now.get(name))
            for name in {**then, **now}
            if then.get(name) != now.get(name) and (kind, name) not in used
        ]
    return changes


def _uses(view: FeatureView, features: set[str]) -> set[tuple[str, str]]:
    """The entities and amounts that features are made of."""
    edges = [edge for name in features for edge in upstream(lineage(view), name)]
    used = {("amount", edge.source.name) for edge in edges if edge.source.kind == "amount"}
    for card in cards(view):
        entity = card.entity if card.name in features else ""
        while entity:
            used.add(("entity", entity))
            entity = view.hierarchy[entity]
    return used
