"""The tracker pixel: an event told by the address of an image."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from starlette.requests import Request

from bidloop.core.happening import MAX_TEXT
from bidloop.events.told import TOLD_TYPES

GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
"""One transparent point, in 43 bytes."""

HEADERS = {"Cache-Control": "no-store, no-cache, must-revalidate, private", "Pragma": "no-cache", "Expires": "0"}
"""An image that a browser or a proxy had kept would never be asked for again."""

# What a word of an address may stand for: a number, a yes or a no, an instant.
_FIELDS = {
    name: {field.encode_name: field.type for field in msgspec.structs.fields(kind)} for name, kind in TOLD_TYPES.items()
}


def event_of(parameters: Mapping[str, str], request: Request, *, now: datetime, address: str, agreed: bool) -> bytes:
    """The event that a request for the pixel tells, as JSON.

    What the address does not say is filled in: the type, an id, the time, the page (`Referer`) and, where there is consent,
    the sender's address. What it says wrongly is left as it is, for the reception to say so.

    Parameters
    ----------
    parameters
        The query, by the fields' names.
    request
        Its headers: ``DNT`` and ``Sec-GPC`` take consent away.
    now
        The present.
    address
        Where the request comes from.
    agreed
        What holds where nothing is said of consent.
    """
    fields = _FIELDS.get(parameters.get("type", "page_viewed"), {})
    told: dict[str, Any] = {"type": "page_viewed", "eventId": secrets.token_hex(16), "at": now}
    told |= {name: _value(text, fields.get(name)) for name, text in parameters.items()}
    if "consent" in fields:
        if "1" in (request.headers.get("dnt"), request.headers.get("sec-gpc")):
            told["consent"] = False
        if told.get("consent", agreed) is True and address:
            told.setdefault("ip", address)
    if "url" in fields and (page := request.headers.get("referer")):
        told.setdefault("url", page[:MAX_TEXT])
    return msgspec.json.encode(told)


def _value(text: str, kind: Any) -> Any:
    """What a word of an address means for a field of this type; the word itself where it means nothing."""
    if kind is None:
        return text
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError:
        return text
