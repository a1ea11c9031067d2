"""Which features a model looks at, and where their values are kept."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

SetName: TypeAlias = Literal["campaign", "user", "calendar", "market"]


class FeatureSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the features.

    Parameters
    ----------
    view
        ``"campaign"`` for campaign × ad group × keyword cells, ``"display"`` for bid requests with attributes, ``"ipinyou"``
        for that log's fields, or ``"auto"``: what suits the attributes that the log carries.
    attributes, measures
        Names of the categorical and numeric facts that the display view reads; empty means all that the log carries.
    cell
        Attributes that together with the campaign make the display view's cell, which intervals speak of: coarse enough that
        a cell sees traffic every day. Empty means the first of the attributes.
    signals
        Ready-made signals beside those of the view: of campaigns, users, the calendar and the market (`signal_sets`).
    definitions
        A TOML file with entities, amounts and signals of your own (`definitions`).
    use
        Names of the signals that the model looks at; empty means all of them.
    country, subdivision
        ISO 3166 codes of the calendar of holidays, such as ``DE`` and ``BY``; without a country there are none.
    series
        Economic series that become features, by the names that `IndicatorPublished` events give them.
    resolution_seconds
        Steps in which time is told: an event counts from the end of the step that it fell in. 0 is exact to the microsecond. A
        store that is shared needs steps, or it would keep each recent event by itself.
    store
        ``"memory"`` keeps values in each process, rebuilt from the log at its start; ``"redis"`` shares them among processes;
        ``"feast"`` keeps them in a Feast repository in the home folder.
    redis_url
        ``redis://host:port/db`` of the shared values, and of Feast's online store (which is SQLite where this is empty).
    keep_seconds
        How far into the past the shared values can be asked for.
    answer_seconds
        How long Redis may take to answer a read; after that the decision is made without, and says so.
    expire_days
        Days after which what is known of an entity that nothing happens to is dropped from Redis; 0 keeps all.
    lineage
        Where OpenLineage events of training runs go: a file, or the URL of a server; empty sends none.
    """

    view: str = "auto"
    attributes: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    cell: tuple[str, ...] = ()
    signals: tuple[SetName, ...] = ()
    definitions: str = ""
    use: tuple[str, ...] = ()
    country: str = ""
    subdivision: str = ""
    series: tuple[str, ...] = ()
    resolution_seconds: Annotated[float, Meta(ge=0)] = 0.0
    store: Literal["memory", "redis", "feast"] = "memory"
    redis_url: str = ""
    keep_seconds: Annotated[float, Meta(gt=0)] = 15.0
    answer_seconds: Annotated[float, Meta(gt=0)] = 0.25
    expire_days: Annotated[float, Meta(ge=0)] = 0.0
    lineage: str = ""
