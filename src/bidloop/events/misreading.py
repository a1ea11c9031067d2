"""Why an event cannot be read as it is told, in words that name fields and types, and never repeat who it may be about."""

from __future__ import annotations

import difflib
import re

import msgspec

from bidloop.core.errors import RejectedRow
from bidloop.events.told import TOLD_TYPES, Cell

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


def explained(error: Exception, raw: bytes) -> RejectedRow:
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
    near = difflib.get_close_matches(told, TOLD_TYPES, n=1) if told else []
    return RejectedRow(
        "unknown_type",
        f"type {_repeatable(told[:60])}" if told else "no type",
        path="type",
        expected="one of the event types",
        remedy=f"Did you mean {near[0]!r}?" if near else f"They are {', '.join(TOLD_TYPES)}.",
    )


def _unknown_field(name: str, path: str, raw: bytes) -> RejectedRow:
    kind = Cell if path else TOLD_TYPES.get(_peek(raw, "type"), Cell)
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
