"""What events add up to: impressions, cost, page views, a published figure.

| amounts | of what |
|---|---|
| `AD_AMOUNTS` | of what is known of ads, as `bidloop.outcomes.joining` puts events together |
| an `Amount` of a view | of one type of event that tells of users or of the market, by a field or by counting |
"""

from __future__ import annotations

import functools
import math
from datetime import datetime
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

from bidloop.core.errors import ConfigurationError, closest
from bidloop.core.event import BehaviourEvent, MarketEvent
from bidloop.core.outcome import FURTHER
from bidloop.features.local_time import instant_of

AD_AMOUNTS: dict[str, str] = {
    "impressions": "impressions",
    "clicks": "clicks",
    "conversions": "conversions",
    "value": "account currency",
    "cost": "account currency",
    "share_impressions": "impressions",
    "eligible_impressions": "impressions",
    "quality_points": "quality score times impressions",
    "quality_impressions": "impressions",
    "bids": "bids",
    "bid_total": "account currency",
    "market_price": "account currency",
    "daily_budget": "account currency",
    "competitor_share": "share",
    "competitor_overlap": "share",
}
"""Unit of each amount of what is known of ads."""

TOLD: tuple[str, ...] = tuple(name for name, nothing in FURTHER.items() if math.isnan(nothing))
"""Amounts that are single values, which no sum makes sense of: NaN where none was told."""

_TYPES: dict[str, type[msgspec.Struct]] = {
    kind.__struct_config__.tag: kind for kind in (*get_args(BehaviourEvent), *get_args(MarketEvent))
}


class Amount(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How much one event of a type adds.

    Parameters
    ----------
    name
        What features call it.
    event
        Type of the event, such as ``page_viewed`` or ``indicator_published``.
    field
        Its number, or instant (then in microseconds since 1970, UTC); empty counts events. An event whose field is not told
        adds nothing.
    where
        Fields that must have these values, as text: ``{"series": "consumer_confidence"}``.

    Raises
    ------
    ConfigurationError
        When there is no such type of event, or no such field; with the closest one there is.

    Examples
    --------
    >>> Amount(name="bounces", event="session_ended", where={"page_views": "1"}).of
    <class 'bidloop.core.behaviour.SessionEnded'>
    >>> Amount(name="seconds", event="session_ended", field="duration")
    Traceback (most recent call last):
    bidloop.core.errors.ConfigurationError: amount 'seconds' of field 'duration' of session_ended; expected one of
        duration_seconds, page_views. Did you mean 'duration_seconds'?
    """

    name: str
    event: str
    field: str = ""
    where: dict[str, str] = {}

    def __post_init__(self) -> None:
        if self.event not in _TYPES:
            raise ConfigurationError(
                f"amount {self.name!r} of event {self.event!r}",
                expected=f"one of {', '.join(_TYPES)}",
                remedy=closest(self.event, _TYPES),
            )
        hints = _fields(_TYPES[self.event])
        numbers = [name for name, hint in hints.items() if _is_number(hint)]
        if self.field and self.field not in numbers:
            raise ConfigurationError(
                f"amount {self.name!r} of field {self.field!r} of {self.event}",
                expected=f"one of {', '.join(numbers)}"
                if numbers
                else "none: it has no number, so it can be counted only",
                remedy=closest(self.field, numbers),
            )
        for name in self.where:
            if name not in hints:
                raise ConfigurationError(
                    f"amount {self.name!r} where {name!r} of {self.event} has a value",
                    expected=f"one of {', '.join(hints)}",
                    remedy=closest(name, hints),
                )
            try:
                _read(_TYPES[self.event], name, self.where[name])
            except msgspec.ValidationError as error:
                raise ConfigurationError(
                    f"amount {self.name!r} where {name} = {self.where[name]!r}: {error}",
                    expected="a value of this field",
                ) from error

    def __hash__(self) -> int:
        return hash((self.name, self.event, self.field, tuple(sorted(self.where.items()))))

    @property
    def of(self) -> type[msgspec.Struct]:
        """The type of event."""
        return _TYPES[self.event]

    def value(self, event: msgspec.Struct) -> float | None:
        """How much this event of its type adds; `None` where it does not tell, or is not one of those meant."""
        for name, wanted in self.where.items():
            told = getattr(event, name)
            if told is None or told != _read(_TYPES[self.event], name, wanted):
                return None
        if not self.field:
            return 1.0
        value = getattr(event, self.field)
        if value is None:
            return None
        return float(instant_of(value) if isinstance(value, datetime) else value)


@functools.lru_cache(maxsize=1024)
def _read(kind: type[msgspec.Struct], field: str, text: str) -> Any:
    """A text as a value of a field."""
    return msgspec.convert(text, _fields(kind)[field], strict=False)


def _fields(kind: type[msgspec.Struct]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    own = {name: hints[name] for name in kind.__struct_fields__}
    return {name: hint for name, hint in own.items() if name not in ("event_id", "at", "version", "consent")}


def _is_number(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _is_number(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return any(_is_number(part) for part in get_args(hint))
    return hint in (int, float, datetime)
