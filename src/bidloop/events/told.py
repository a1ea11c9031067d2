"""An event as senders tell it: camelCase JSON, amounts as decimals of the account's currency.

The types are made from the core's event types, field by field, so that what is kept and what is told cannot drift apart:
`Money` becomes a decimal amount, `Opportunity` becomes a `Cell`, and an event with an amount gets a `currency`.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin

import msgspec
from msgspec import Meta, field

from bidloop.core.errors import InvalidInput, RejectedRow
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


class Teller:
    """Reads events as they are told.

    Parameters
    ----------
    currency
        The account's, for amounts that name none.

    Examples
    --------
    >>> Teller("EUR").event(
    ...     b'{"type": "conversion_reported", "eventId": "e1", "at": "2026-03-01T12:00:00Z",'
    ...     b' "impressionId": "i1", "orderId": "o1", "value": 49.9}'
    ... ).value
    Money(micros=49900000, currency='EUR')
    >>> Teller("EUR").event(b'{"type": "click_recieved"}')
    Traceback (most recent call last):
    bidloop.core.errors.RejectedRow: type 'click_recieved'; expected one of the event types. Did you mean 'click_received'?
    """

    def __init__(self, currency: str) -> None:
        self._currency = currency
        # Sixty-four bits of float hold 15 digits: an amount of up to 10⁹ is exact to the micro.
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Union[tuple(_TOLD.values())])  # noqa: UP007

    def event(self, raw: bytes | msgspec.Raw) -> Event:
        """The event that one JSON object tells.

        Raises
        ------
        RejectedRow
            With one of `CODES`, and the path of the field. The words never repeat a value that may name a person.
        """
        try:
            told = self._decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise _explained(error, bytes(raw)) from error
        try:
            return _BACK[type(told)](told, self._currency)
        except InvalidInput as error:
            raise RejectedRow("wrong_field", error.found, path=error.path, expected=error.expected) from error


CODES = {
    "not_json": "the event is not a JSON object",
    "unknown_type": "there is no event type of this name",
    "unknown_version": "the event is of a version that this Bidloop does not know",
    "unknown_field": "a field of a name that the event type does not have",
    "missing_field": "a field that the event type needs is not there",
    "wrong_field": "a field holds what it cannot hold",
}
"""What can be wrong with how an event is told."""

_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$.\[\]-]*")
_PATH = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)


def _explained(error: Exception, raw: bytes) -> RejectedRow:
    """What is wrong, from msgspec's words, which name fields and types but no values."""
    if not isinstance(error, msgspec.ValidationError):
        what = "text that is not UTF-8" if isinstance(error, UnicodeDecodeError) else _first_lower(str(error))
        return RejectedRow("not_json", what, expected="one JSON object in UTF-8")
    match = _PATH.match(str(error))
    what, path = (match["what"], (match["path"] or "$").removeprefix("$").lstrip(".")) if match else (str(error), "")
    if path == "type" or "required field `type`" in what:
        return _unknown_type(raw)
    if path == "version":
        return RejectedRow(
            "unknown_version",
            "a version that is not known here",
            path="version",
            expected="version 1",
            remedy="Replay it from the quarantine after an update of Bidloop.",
        )
    if unknown := re.search(r"unknown field `(.*)`", what):
        return _unknown_field(unknown[1], path, raw)
    if missing := re.search(r"missing required field `(.*)`", what):
        name = f"{path}.{missing[1]}".lstrip(".")
        return RejectedRow("missing_field", f"no {name}", path=name, expected=f"a value for {name}")
    if what.startswith("Expected"):
        wanted, _, got = what.removeprefix("Expected ").partition(", got ")
        found = f"{path or 'the event'} that is {got}" if got else f"{path or 'the event'} that does not fit"
        return RejectedRow("wrong_field" if path else "not_json", found, path=path, expected=wanted)
    return RejectedRow("wrong_field", f"{path}: {_first_lower(what)}", path=path, expected="a value that makes sense")


def _unknown_type(raw: bytes) -> RejectedRow:
    told = _peek(raw, "type")
    near = difflib.get_close_matches(told, _BY_TAG, n=1) if told else []
    return RejectedRow(
        "unknown_type",
        f"type {_repeatable(told[:60])}" if told else "no type",
        path="type",
        expected="one of the event types",
        remedy=f"Did you mean {near[0]!r}?" if near else f"They are {', '.join(_BY_TAG)}.",
    )


def _unknown_field(name: str, path: str, raw: bytes) -> RejectedRow:
    kind = Cell if path else _BY_TAG.get(_peek(raw, "type"), Cell)
    known = [spec.encode_name for spec in msgspec.structs.fields(kind)]
    near = difflib.get_close_matches(name.replace("_", ""), known, n=1)
    where = f"{path}.{name}".lstrip(".")
    return RejectedRow(
        "unknown_field",
        f"field {_repeatable(where[:80])}",
        path=where[:80],
        expected="a field of this event type",
        remedy=f"Did you mean {near[0]!r}?" if near else f"Known here: {', '.join(known)}.",
    )


def _repeatable(name: str) -> str:
    """A name that a sender chose, unless it does not look like one: it may be an address or a number that names somebody."""
    return repr(name) if _NAME.fullmatch(name) else "of a strange name"


def _peek(raw: bytes, name: str) -> str:
    try:
        value = msgspec.json.decode(raw)[name]
    except (msgspec.MsgspecError, KeyError, TypeError, UnicodeDecodeError, RecursionError):
        return ""
    return value if isinstance(value, str) else ""


def _first_lower(text: str) -> str:
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


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
_BY_TAG: dict[str, type[msgspec.Struct]] = {str(told.__struct_config__.tag): told for told in _TOLD.values()}
