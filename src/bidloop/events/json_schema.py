"""The JSON Schema of every event, as senders tell it."""

from __future__ import annotations

from typing import Any

import msgspec

from bidloop.core.errors import NotFound
from bidloop.events.told import TOLD_TYPES

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of one event type.

    Raises
    ------
    NotFound
        When there is no such type.

    Examples
    --------
    >>> sorted(json_schema("click_received")["required"])
    ['at', 'eventId', 'impressionId', 'type']
    """
    if name not in TOLD_TYPES:
        raise NotFound(f"no event type {name!r}", expected=f"one of {', '.join(TOLD_TYPES)}")
    told = TOLD_TYPES[name]
    (reference,), components = msgspec.json.schema_components((told,), ref_template="#/$defs/{name}")
    schema: dict[str, Any] = components.pop(told.__name__)
    assert reference == {"$ref": f"#/$defs/{told.__name__}"}
    schema["properties"]["type"] = {"const": name, "description": "The event's type."}
    schema = {"$schema": DIALECT, **schema, "title": name}
    return schema | ({"$defs": components} if components else {})
