"""From the body of a request to the single events in it, each still as its sender wrote it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from bidloop.app.http.body import DEEPEST, ROOT
from bidloop.app.http.incoming import LINES
from bidloop.app.http.problems import NOT_JSON, WRONG_FIELDS, ApiError
from bidloop.app.http.schema import FieldError

Raw: TypeAlias = bytes | msgspec.Raw
"""The bytes of one event."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""What some programs write before UTF-8; it says nothing, and costs no event."""

_one = msgspec.json.Decoder(msgspec.Raw)
_many = msgspec.json.Decoder(list[msgspec.Raw])
# Only where values end matters here: a number of a million digits need not be read.
_lenient = json.JSONDecoder(parse_int=len, parse_float=len, strict=False)
_SPACE = re.compile(r"[ \t\r\n]*")


def split(media: str, body: bytes, longest: int) -> Sequence[Raw]:
    r"""The events of a body, in order; what each tells is not looked at, so that a bad one costs no other.

    Parameters
    ----------
    media
        `JSON`: one object or a list of them. `LINES`: one object a line; a line that cannot be read is a bad event.
    body
        The unpacked bytes.
    longest
        Most events that are taken.

    Raises
    ------
    ApiError
        When the body is empty or no JSON, is something else than an object or a list, or has too many events.

    Examples
    --------
    >>> [bytes(event) for event in split("application/json", b'[{"a": 1}, {"b": [2, 3]}]', 10)]
    [b'{"a": 1}', b'{"b": [2, 3]}']
    >>> split("application/x-ndjson", b'{"a": 1}\n\n{"b":\n', 10)
    [b'{"a": 1}', b'{"b":']
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
    stripped = body.strip()
    if not stripped:
        raise _problem("an empty body", "events")
    events = _lines(stripped, longest) if media == LINES else _document(body, stripped)
    if len(events) > longest:
        raise ApiError(
            WRONG_FIELDS, [FieldError(path=ROOT, found=f"{len(events)} events", expected=f"at most {longest}")]
        )
    return events


def _lines(body: bytes, longest: int) -> list[Raw]:
    if body.count(b"\n") > 64 * longest:  # blank lines cost a sender one byte each
        raise _problem("blank lines without end", "events")
    return [line for line in map(bytes.strip, body.split(b"\n")) if line]


def _document(body: bytes, stripped: bytes) -> Sequence[Raw]:
    try:
        events: Sequence[Raw] = _many.decode(stripped) if stripped[:1] == b"[" else [_one.decode(stripped)]
    except msgspec.DecodeError:
        events = _split_slowly(body)
    except RecursionError as error:
        raise _problem("lists or objects nested too deep", f"at most {DEEPEST} levels") from error
    if stripped[:1] not in (b"{", b"["):
        wrong = FieldError(path=ROOT, found="JSON that is no event", expected="an object, or a list of objects")
        raise ApiError(WRONG_FIELDS, [wrong])
    return events


def _split_slowly(body: bytes) -> Sequence[Raw]:
    """The same by a parser that also reads ``NaN`` and half characters, so that the event with it is the only bad one."""
    text = body.decode("utf-8", "surrogateescape")
    try:
        events, end = _walk(text, _space(text, 0))
        if end < len(text):
            raise json.JSONDecodeError("Extra data", text, end)
    except json.JSONDecodeError as error:
        what = f"{error.msg[:1].lower()}{error.msg[1:]} at line {error.lineno}, column {error.colno}"
        raise _problem(what if error.pos < len(text) else f"{what}, where the body ends", "JSON") from error
    except RecursionError as error:
        raise _problem("lists or objects nested too deep", f"at most {DEEPEST} levels") from error
    return [event.encode("utf-8", "surrogateescape") for event in events]


def _walk(text: str, at: int) -> tuple[list[str], int]:
    """The texts of the list's items, or of the one value, that begin here, and where they end."""
    if text[at] != "[":
        _, end = _lenient.raw_decode(text, at)
        return [text[at:end]], _space(text, end)
    items: list[str] = []
    at = _space(text, at + 1)
    if text[at : at + 1] == "]":
        return items, _space(text, at + 1)
    while True:
        _, end = _lenient.raw_decode(text, at)
        items.append(text[at:end])
        at = _space(text, end) + 1
        match text[at - 1 : at]:
            case "]":
                return items, _space(text, at)
            case ",":
                at = _space(text, at)
            case _:
                raise json.JSONDecodeError("Expecting ',' delimiter", text, at - 1)


def _space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _problem(found: str, expected: str) -> ApiError:
    return ApiError(NOT_JSON, [FieldError(path=ROOT, found=found, expected=expected)])
