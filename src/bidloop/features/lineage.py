"""Where a feature comes from: which field of which event adds to which amount, and which amounts make which feature.

The instants of events and of the opportunity belong to every value, and are not drawn as edges of their own.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from bidloop.features.amounts import AD_AMOUNTS, TOLD
from bidloop.features.signals import Calendar, Holiday, Ratio, Total, Utilisation, amounts_of
from bidloop.features.view import CELL, FeatureView

NodeKind: TypeAlias = Literal["event", "opportunity", "amount", "feature"]
How: TypeAlias = Literal["counted", "added", "taken away", "told", "weighed", "selected", "aggregated", "read", "key"]

AD_SOURCES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "impressions": (("impression_served", ""), ("campaign_reported", "impressions")),
    "clicks": (("click_received", ""), ("campaign_reported", "clicks")),
    "conversions": (("conversion_reported", ""), ("conversion_retracted", ""), ("campaign_reported", "conversions")),
    "value": (
        ("conversion_reported", "value"),
        ("conversion_restated", "value"),
        ("conversion_retracted", ""),
        ("campaign_reported", "value"),
    ),
    "cost": (
        ("impression_served", "price"),
        ("bid_won", "price"),
        ("click_received", "price"),
        ("campaign_reported", "spend"),
    ),
    "share_impressions": (("campaign_reported", "impressions"), ("campaign_reported", "impression_share")),
    "eligible_impressions": (("campaign_reported", "impressions"), ("campaign_reported", "impression_share")),
    "quality_points": (("campaign_reported", "impressions"), ("campaign_reported", "quality_score")),
    "quality_impressions": (("campaign_reported", "impressions"), ("campaign_reported", "quality_score")),
    "bids": (("bid_placed", ""),),
    "bid_total": (("bid_placed", "bid"),),
    "market_price": (
        ("bid_lost", "market_price"),
        ("bid_won", "price"),
        ("impression_served", "price"),
        ("click_received", "price"),
    ),
    "daily_budget": (("campaign_reported", "budget"), ("impression_served", "opportunity.budget")),
    "competitor_share": (("campaign_reported", "competitors.impression_share"),),
    "competitor_overlap": (("campaign_reported", "competitors.overlap_rate"),),
}
"""Types and fields of the events that each amount of ads is joined from (`bidloop.outcomes.joining`); without a field the event is
counted."""

RETRACTION = "conversion_retracted"

_WEIGHED = ("impressions", "clicks", "conversions", "value", "cost")
"""Amounts that the weight of a sampled log's impression multiplies."""


class Node(msgspec.Struct, frozen=True, order=True):
    """One thing that values pass through.

    Parameters
    ----------
    kind
        An ``event``'s type, the ``opportunity``, an ``amount`` or a ``feature``.
    name
        Type of the event, name of the amount or feature; ``opportunity``.
    field
        Which field of it; empty for the whole.
    """

    kind: NodeKind
    name: str
    field: str = ""

    def __str__(self) -> str:
        return f"{self.name}.{self.field}" if self.field else self.name


class Edge(msgspec.Struct, frozen=True, order=True):
    """That a value passes from one thing to another, and how.

    Parameters
    ----------
    source, target
        From where, and where to.
    how
        An event is ``counted``, its number ``added``, its single value ``told``; what an event takes back is ``taken away``; a
        weight is ``weighed`` in; a field has ``selected`` events; amounts are ``aggregated`` into features; of an opportunity a
        field is ``read``, or is part of the ``key`` by which the past is looked up.
    """

    source: Node
    target: Node
    how: How


@functools.lru_cache(maxsize=64)
def lineage(view: FeatureView) -> tuple[Edge, ...]:
    """All edges from events and opportunities to the features of a view, each once.

    Examples
    --------
    >>> from bidloop.features.views import campaign_view
    >>> for edge in upstream(lineage(campaign_view()), "campaign_ctr")[:4]:
    ...     print(edge.source, edge.how, edge.target)
    click_received counted clicks
    campaign_reported.clicks added clicks
    impression_served.weight weighed clicks
    impression_served counted impressions
    """
    amounts = dict.fromkeys(
        edge.source.name
        for name in view.numeric_names
        for edge in _to_feature(view, name)
        if edge.source.kind == "amount"
    )
    edges = [edge for amount in amounts for edge in _to_amount(view, amount)]
    for name in (*view.categorical_names, *view.numeric_names):
        edges += _to_feature(view, name)
    return tuple(dict.fromkeys(edges))


def upstream(edges: Sequence[Edge], feature: str) -> tuple[Edge, ...]:
    """The edges that lead to one feature, from the events on."""
    own = [edge for edge in edges if edge.target == Node("feature", feature)]
    amounts = {edge.source for edge in own if edge.source.kind == "amount"}
    return (*(edge for edge in edges if edge.target in amounts), *own)


def origins(edges: Sequence[Edge], feature: str) -> dict[str, tuple[str, ...]]:
    """The amounts that a feature is made of, and the types of events that each is told by.

    Examples
    --------
    >>> from bidloop.features.views import campaign_view
    >>> origins(lineage(campaign_view()), "cell_conversion_rate")["clicks"]
    ('click_received', 'campaign_reported')
    """
    amounts: dict[str, dict[str, None]] = {}
    for edge in upstream(edges, feature):
        if edge.source.kind == "amount":
            amounts.setdefault(edge.source.name, {})
        elif edge.target.kind == "amount" and edge.how != "weighed":
            amounts.setdefault(edge.target.name, {})[edge.source.name] = None
    return {name: tuple(types) for name, types in amounts.items()}


def _to_amount(view: FeatureView, name: str) -> Iterator[Edge]:
    target = Node("amount", name)
    if name in AD_AMOUNTS:
        for event, field in AD_SOURCES[name]:
            how: How = "told" if name in TOLD else "added" if field else "counted"
            yield Edge(Node("event", event, field), target, "taken away" if event == RETRACTION else how)
        if name in _WEIGHED:
            yield Edge(Node("event", "impression_served", "weight"), target, "weighed")
        return
    [amount] = [one for one in view.amounts if one.name == name]
    how = "counted" if not amount.field else "added" if name in _summed(view) else "told"
    yield Edge(Node("event", amount.event, amount.field), target, how)
    for field in amount.where:
        yield Edge(Node("event", amount.event, field), target, "selected")


def _to_feature(view: FeatureView, name: str) -> Iterator[Edge]:
    """The edges that end at one feature."""
    target = Node("feature", name)

    def of(field: str, how: How = "read") -> Edge:
        return Edge(Node("opportunity", "opportunity", field), target, how)

    for category in view.categories:
        if category.name == name:
            yield of(_field(category.source))
    for measure in view.measures:
        if measure.name == name:
            yield of(f"measures.{measure.measure}")
    for part in view.cyclic:
        if name in (f"{part}_sin", f"{part}_cos"):
            yield of("at")
    for rate in view.rates:
        for value in rate.values:
            if rate.feature(value) == name:
                for amount in _amounts_of_rate(value):
                    yield Edge(Node("amount", amount), target, "aggregated")
                yield from (of(field, "key") for field in _keys(view, rate.name))
                if rate.name == CELL:
                    yield of("history")  # what the caller knows of a cell of which nothing was seen
    for signal in view.signals:
        if signal.name == name:
            if isinstance(signal, Calendar | Holiday):
                yield of("at")
                continue
            for amount in amounts_of(signal):
                yield Edge(Node("amount", amount), target, "aggregated")
            yield from (of(field, "key") for field in _keys(view, signal.entity))


def _summed(view: FeatureView) -> set[str]:
    """Amounts that some signal adds up; of all others each value speaks for itself."""
    sums = [one for one in view.signals if isinstance(one, Total | Ratio)]
    used = [one.amount for one in view.signals if isinstance(one, Utilisation)]
    return {amount for one in sums for amount in amounts_of(one)}.union(used)


def _amounts_of_rate(value: str) -> tuple[str, ...]:
    return {"ctr": ("clicks", "impressions"), "conversion_rate": ("conversions", "clicks")}.get(value, ("impressions",))


def _keys(view: FeatureView, entity: str) -> dict[str, None]:
    """Fields of the opportunity that name an entity or one above it."""
    fields: dict[str, None] = {}
    while entity:
        fields.update(dict.fromkeys(_field(source) for source in view.key_of(entity)))
        entity = view.hierarchy[entity]
    return fields


def _field(source: str) -> str:
    """Field of the opportunity that a source is read from: a time is read from its instant."""
    return "at" if source.startswith("time.") else source
