"""An event as senders tell it: camelCase JSON, amounts as decimals of the account's currency.

The types are made from the core's event types, field by field, so that what is kept and what is told cannot drift apart:
`Money` becomes a decimal amount, `Opportunity` becomes a `Cell`, and an event with an amount gets a `currency`.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin

import msgspec
from msgspec import Meta, field

from bidloop.core.event import CampaignReported, Event
from bidloop.core.happening import Id, Text
from bidloop.core.money import Money
from bidloop.core.opportunity import Auction, Charge, Opportunity

MAX_AMOUNT = 1e12
"""Keeps every amount, in micros, well inside 64 bits."""

Amount: TypeAlias = Annotated[float, Meta(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]
Price: TypeAlias = Annotated[float, Meta(ge=0, le=MAX_AMOUNT)]
Instant: TypeAlias = Annotated[datetime, Meta(tz=True)]
Currency: TypeAlias = Annotated[
    str, Meta(pattern="^([A-Z]{3})?$", description="ISO 4217 code of the amounts; the account's where it is left out.")
]


class Cell(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What an ad event is about: the place in the account, or one bid request."""

    campaign_id: Annotated[str, Meta(min_length=1, max_length=512, description="The campaign.")]
    ad_group_id: Annotated[Id, Meta(description="The ad group.")] = ""
    keyword: Annotated[Id, Meta(description="The keyword.")] = ""
    device: Annotated[Id, Meta(description="The kind of device.")] = ""
    location: Annotated[Id, Meta(description="The place, as your platform names it.")] = ""
    attributes: Annotated[dict[Id, Text], Meta(max_length=64, description="Further categorical facts.")] = {}
    measures: Annotated[dict[Id, float], Meta(max_length=64, description="Further numeric facts.")] = {}
    user_id: Annotated[Id, Meta(description="Who was bid for; replaced by a pseudonym before anything is kept.")] = ""
    auction: Annotated[Auction, Meta(description="How the winner pays.")] = Auction.SECOND_PRICE
    charge: Annotated[Charge, Meta(description="What a bid is the price of.")] = Charge.PER_CLICK
    floor: Annotated[Price | None, Meta(description="The least bid that the auction takes.")] = None
    at: Annotated[Instant | None, Meta(description="When the bid was for; the event's own time if left out.")] = None


def told_type(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The told form of an event type.

    Examples
    --------
    >>> from bidloop.core.event import ClickReceived
    >>> [field.encode_name for field in msgspec.structs.fields(told_type(ClickReceived))][-3:]
    ['impressionId', 'price', 'currency']
    """
    return _TOLD[kind]


def event_of(told: Any, account_currency: str) -> Event:
    """The event that one of `TOLD_TYPES` tells.

    Raises
    ------
    InvalidInput
        For an amount that is none.
    """
    return _BACK[type(told)](told, account_currency)


def _make(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    fields: list[Any] = []
    for spec in msgspec.structs.fields(kind):
        told = _told(spec.type)
        if spec.name == "opportunity":
            told = Annotated[
                told, Meta(description="What the ad was about; left out where a decision's record knows it.")
            ]
        if spec.required:
            fields.append((spec.name, told))
        else:
            fields.append((spec.name, told, field(default=spec.default)))
    if any(_mentions(spec.type, Money) or _mentions(spec.type, Opportunity) for spec in msgspec.structs.fields(kind)):
        fields.append(("currency", Currency, ""))
    return msgspec.defstruct(
        kind.__name__,
        fields,
        module=__name__,
        namespace={"__doc__": (kind.__doc__ or "").partition("\n")[0]},
        tag=kind.__struct_config__.tag,
        tag_field="type",
        frozen=True,
        kw_only=True,
        rename="camel",
        forbid_unknown_fields=True,
    )


def _told(kind: Any) -> Any:
    """A type of the core as it is told."""
    if kind is Money:
        return Amount
    if kind is Opportunity:
        return Cell
    if kind is datetime:
        return Instant
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *notes = get_args(kind)
        return Annotated[(_told(inner), *notes)]
    if origin in (Union, types.UnionType):
        return Union[tuple(_told(part) for part in get_args(kind))]  # noqa: UP007
    return kind


def _back(kind: type[msgspec.Struct]) -> Callable[[Any, str], Event]:
    """From the told form of one type to the event."""
    specs = msgspec.structs.fields(kind)
    amounts = tuple(spec.name for spec in specs if _mentions(spec.type, Money))
    plain = tuple(spec.name for spec in specs if spec.name not in (*amounts, "opportunity"))
    about = any(spec.name == "opportunity" for spec in specs)
    names_it = "event_id" if kind is CampaignReported else "impression_id"

    def read(told: Any, account_currency: str) -> Any:
        currency = getattr(told, "currency", "") or account_currency
        values = {name: getattr(told, name) for name in plain}
        for name in amounts:
            amount = getattr(told, name)
            values[name] = None if amount is None else Money.of(amount, currency)
        if about:
            cell = told.opportunity
            values["opportunity"] = None if cell is None else _opportunity(cell, told, values[names_it], currency)
        return kind(**values)

    return read


def _opportunity(cell: Cell, told: Any, opportunity_id: str, currency: str) -> Opportunity:
    return Opportunity(
        opportunity_id=opportunity_id,
        at=cell.at or told.at,
        campaign_id=cell.campaign_id,
        ad_group_id=cell.ad_group_id,
        keyword=cell.keyword,
        device=cell.device,
        location=cell.location,
        attributes=cell.attributes,
        measures=cell.measures,
        user_id=cell.user_id,
        auction=cell.auction,
        charge=cell.charge,
        currency=currency,
        floor=None if cell.floor is None else Money.of(cell.floor, currency),
    )


def _mentions(kind: Any, wanted: type) -> bool:
    return kind is wanted or any(_mentions(part, wanted) for part in get_args(kind))


_TOLD: dict[type[msgspec.Struct], type[msgspec.Struct]] = {kind: _make(kind) for kind in get_args(Event)}
_BACK = {told: _back(kind) for kind, told in _TOLD.items()}

TOLD_TYPES: dict[str, type[msgspec.Struct]] = {str(told.__struct_config__.tag): told for told in _TOLD.values()}
"""The told form of every event type, by the name that `type` gives it."""
