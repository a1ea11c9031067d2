"""From the bytes of a request to its type, or the list of everything that is wrong with it.

A good body takes one pass of msgspec. Only a body that fails is read a second time, slowly, by the same type's
description, to name every wrong field at once, as a person would want to hear it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import inspect

from bidloop.app.http.problems import MAX_ERRORS, NOT_JSON, WRONG_FIELDS, ApiError, nearest
from bidloop.app.http.schema import CampaignData, FieldError, HistoricalMetrics

T = TypeVar("T")
ROOT = "$"
DEEPEST = 64


class BodyReader(Generic[T]):
    """Reads bodies of one type.

    Parameters
    ----------
    kind
        The type of the body, as of `schema`.
    contradiction
        Says whether a well-formed value contradicts itself, so that it must be told in detail.
    longest
        Most rows of a list that are taken.

    Raises
    ------
    ApiError
        From `read`, with everything that is wrong.

    Examples
    --------
    >>> try:
    ...     BodyReader(HistoricalMetrics).read(b'{"ctr": 1.7, "clicks": NaN}')
    ... except ApiError as error:
    ...     for wrong in error.errors[:3]:
    ...         print(wrong.path, "|", wrong.found, "|", wrong.expected)
    ctr | 1.7 | a number from 0 to 1
    conversionRate | nothing | a number from 0 to 1
    spend | nothing | a number from 0 to 1000000000000
    """

    def __init__(
        self,
        kind: type[T],
        *,
        contradiction: Callable[[T], bool] = lambda _: False,
        longest: int | None = None,
    ) -> None:
        self._kind = kind
        self._decoder = msgspec.json.Decoder(kind)
        self._description = inspect.type_info(kind)
        self._contradiction = contradiction
        self._longest = longest

    def read(self, body: bytes) -> T:
        """The value that the body stands for."""
        try:
            value = self._decoder.decode(body)
            if not self._contradiction(value) and not self._too_long(value):
                return value
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        return self._read_slowly(body)

    def _too_long(self, value: object) -> bool:
        return self._longest is not None and isinstance(value, list) and len(value) > self._longest

    def _read_slowly(self, body: bytes) -> T:
        raw = parse(body)
        if self._longest is not None and isinstance(raw, list) and len(raw) > self._longest:
            raise ApiError(
                WRONG_FIELDS, [FieldError(path=ROOT, found=f"{len(raw)} rows", expected=f"at most {self._longest}")]
            )
        errors: list[FieldError] = []
        value = _check(raw, self._description, ROOT, errors)
        if errors:
            raise ApiError(WRONG_FIELDS, errors)
        try:
            return msgspec.convert(value, self._kind)
        except msgspec.ValidationError as error:  # a rule of the type that the description does not tell
            raise ApiError(
                WRONG_FIELDS, [FieldError(path=ROOT, found="a value that is refused", expected=str(error))]
            ) from error


def contradicts(data: CampaignData) -> bool:
    """Whether a cell's figures contradict each other; `read` then says which."""
    return data.historical_metrics.clicks > data.historical_metrics.impressions


class Unwritable(float):
    """A number as it was written that no JSON document or no double can hold, such as ``NaN`` or ``1e999``."""

    text: str

    def __new__(cls, text: str) -> Unwritable:
        number = super().__new__(cls, "nan")
        number.text = text
        return number


def parse(body: bytes) -> Any:
    """The JSON in a body. ``NaN``, ``Infinity`` and numbers out of range are kept, so as to say where they stand.

    Raises
    ------
    ApiError
        When the body is empty or not JSON in UTF-8, with line and column.
    """
    if not body.strip():
        raise _not_json("an empty body", "one JSON document")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _not_json(f"byte {body[error.start]:#04x} at position {error.start}", "JSON in UTF-8") from error
    try:
        return json.loads(text, parse_constant=Unwritable, parse_float=_float, parse_int=_int)
    except json.JSONDecodeError as error:
        near = text[error.pos : error.pos + 20]
        what = f"{error.msg[:1].lower()}{error.msg[1:]} at line {error.lineno}, column {error.colno}"
        raise _not_json(
            f"{what}, before {_quoted(near)}" if near else f"{what}, where the body ends", "JSON"
        ) from error
    except RecursionError as error:
        raise _not_json("lists or objects nested too deep", f"at most {DEEPEST} levels") from error


def _not_json(found: str, expected: str) -> ApiError:
    return ApiError(NOT_JSON, [FieldError(path=ROOT, found=found, expected=expected)])


def _float(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else Unwritable(text)


def _int(text: str) -> float | int:
    # Python refuses to read integers of thousands of digits, and no field takes one.
    return int(text) if len(text) <= 300 else Unwritable(text)


def _check(value: Any, kind: inspect.Type, path: str, errors: list[FieldError]) -> Any:
    """Collect what is wrong with a value; returns it with whole floats made integers where integers are wanted."""
    if isinstance(kind, inspect.Metadata):
        return _check(value, kind.type, path, errors)
    if isinstance(kind, inspect.UnionType):
        if value is None:
            return None
        kind = next(t for t in kind.types if not isinstance(t, inspect.NoneType))
        return _check(value, kind, path, errors)
    if isinstance(kind, inspect.ListType) and isinstance(value, list):
        return [_check(item, kind.item_type, _index(path, i), errors) for i, item in enumerate(value)]
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        return _check_struct(value, kind, path, errors)
    if isinstance(kind, inspect.DictType) and isinstance(value, dict):
        return _check_dict(value, kind, path, errors)
    if isinstance(kind, inspect.IntType) and isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one kind of number: 3.0 is a whole one
    if not _fits(value, kind):
        errors.append(FieldError(path=path, found=describe(value), expected=expectation(kind)))
    return value


def _check_struct(
    value: dict[str, Any], kind: inspect.StructType, path: str, errors: list[FieldError]
) -> dict[str, Any]:
    names = [field.encode_name for field in kind.fields]
    checked: dict[str, Any] = {}
    for field in kind.fields:
        here = _inside(path, field.encode_name)
        if field.encode_name in value:
            checked[field.encode_name] = _check(value[field.encode_name], field.type, here, errors)
        elif field.required:
            errors.append(FieldError(path=here, found="nothing", expected=expectation(field.type)))
    for name in value:
        if name not in names:
            # Looking for the nearest name takes its time, and nobody is told of more errors than these.
            told = len(errors) < MAX_ERRORS
            near = nearest(name, [known for known in names if known not in value] or names) if told else None
            known = f"perhaps {near!r}" if near else f"one of {', '.join(names)}"
            errors.append(FieldError(path=_inside(path, name), found="a field of an unknown name", expected=known))
    if kind.cls is HistoricalMetrics:
        _check_counts(checked, path, errors)
    return checked


def _check_counts(metrics: dict[str, Any], path: str, errors: list[FieldError]) -> None:
    impressions, clicks = metrics.get("impressions"), metrics.get("clicks")
    if type(impressions) is int and type(clicks) is int and 0 <= impressions < clicks:
        errors.append(
            FieldError(
                path=_inside(path, "clicks"),
                found=describe(clicks),
                expected=f"at most the impressions ({impressions})",
            )
        )


def _check_dict(value: dict[str, Any], kind: inspect.DictType, path: str, errors: list[FieldError]) -> dict[str, Any]:
    if kind.max_length is not None and len(value) > kind.max_length:
        errors.append(FieldError(path=path, found=f"{len(value)} entries", expected=f"at most {kind.max_length}"))
        return value
    for name in value:
        if not _fits(name, kind.key_type):
            errors.append(
                FieldError(
                    path=path, found=f"the name {describe(name)}", expected=f"names: {expectation(kind.key_type)}"
                )
            )
    return {name: _check(item, kind.value_type, _inside(path, name), errors) for name, item in value.items()}


def _inside(path: str, name: str) -> str:
    shown = name if len(name) <= 80 else f"{name[:80]}…"
    shown = shown.encode("utf-8", "replace").decode()
    return shown if path == ROOT else f"{path}.{shown}"


def _index(path: str, i: int) -> str:
    return f"[{i}]" if path == ROOT else f"{path}[{i}]"


def _fits(value: Any, kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.StrType):
        return isinstance(value, str) and _fits_text(value, kind)
    if isinstance(kind, inspect.FloatType | inspect.IntType):
        kinds = (int, float) if isinstance(kind, inspect.FloatType) else (int,)
        if not isinstance(value, kinds) or isinstance(value, bool | Unwritable):
            return False
        return (kind.ge is None or value >= kind.ge) and (kind.le is None or value <= kind.le)
    if isinstance(kind, inspect.BoolType):
        return isinstance(value, bool)
    if isinstance(kind, inspect.EnumType):
        return value in [member.value for member in kind.cls]
    return False


def _fits_text(value: str, kind: inspect.StrType) -> bool:
    long_enough = kind.min_length is None or len(value) >= kind.min_length
    short_enough = kind.max_length is None or len(value) <= kind.max_length
    matches = kind.pattern is None or re.search(kind.pattern, value) is not None
    return long_enough and short_enough and matches and not _half_characters(value)


def _half_characters(value: str) -> bool:
    """Whether the text has half of a surrogate pair, which no UTF-8 can hold."""
    return any("\ud800" <= character <= "\udfff" for character in value)


def describe(value: Any) -> str:
    """A JSON value in few words, for `found`.

    >>> describe("x" * 600), describe(None), describe([1, 2])
    ('text of 600 characters', 'null', 'a list of 2')
    """
    if isinstance(value, Unwritable):
        return value.text if len(value.text) <= 40 else f"a number of {len(value.text)} digits"
    if isinstance(value, str):
        return _quoted(value) if len(value) <= 60 else f"text of {len(value)} characters"
    if isinstance(value, dict):
        return f"an object of {len(value)} fields"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = repr(value)
    return text if len(text) <= 40 else f"a number of {len(text)} digits"


def _quoted(text: str) -> str:
    """Text in quotes, with every character that a terminal or a log could trip over as an escape."""
    return json.dumps(text)


def expectation(kind: inspect.Type) -> str:
    """What a type takes, in words, for `expected`.

    >>> expectation(inspect.type_info(CampaignData).fields[5].type)
    'a whole number from 0 to 23'
    """
    if isinstance(kind, inspect.Metadata):
        return expectation(kind.type)
    if isinstance(kind, inspect.UnionType):
        return " or ".join("null" if isinstance(t, inspect.NoneType) else expectation(t) for t in kind.types)
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        noun = "a whole number" if isinstance(kind, inspect.IntType) else "a finite number"
        if kind.ge is None or kind.le is None:
            return noun
        return f"{noun.replace('finite ', '')} from {kind.ge} to {kind.le:.0f}"
    if isinstance(kind, inspect.StrType):
        least = f"{kind.min_length} to " if kind.min_length else "at most "
        return f"text of {least}{kind.max_length} characters, none of them a control character"
    if isinstance(kind, inspect.BoolType):
        return "true or false"
    if isinstance(kind, inspect.EnumType):
        return " or ".join(repr(member.value) for member in kind.cls)
    if isinstance(kind, inspect.ListType):
        return "a list of objects"
    return "an object"
