"""Items on their way through a stream: one line of JSON each, raw bytes sealed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from bidloop.core.errors import RejectedRow
from bidloop.core.event import Event
from bidloop.events.identity import content, content_digest, event_key
from bidloop.events.ports import Parcel
from bidloop.events.rejected import Rejected
from bidloop.events.sealing import Seal

Item: TypeAlias = Event | Rejected

_decoder: msgspec.json.Decoder[Item] = msgspec.json.Decoder(Event | Rejected)
_encode = msgspec.json.Encoder().encode


def pack(item: Item, seal: Seal) -> Parcel:
    """One item as a parcel.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from bidloop.core.event import ClickReceived
    >>> seal = Seal(bytes(32))
    >>> click = ClickReceived(event_id="c", at=datetime(2026, 1, 1, tzinfo=UTC), impression_id="i")
    >>> unpack(pack(click, seal).line, seal, source="stream") == [click]
    True
    """
    if isinstance(item, Rejected):
        return Parcel(_encode(msgspec.structs.replace(item, raw=seal.close(item.raw))))
    written = content(item)
    return Parcel(written, event_key(item.event_id), content_digest(item, written))


def unpack(lines: bytes, seal: Seal, *, source: str) -> list[Item]:
    """The items of some lines; a line that cannot be read becomes a rejected row.

    Parameters
    ----------
    source
        Where the lines come from, for what cannot be read.
    """
    try:
        items: Sequence[Item] = _decoder.decode_lines(lines)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return [_line(line, seal, source) for line in lines.split(b"\n") if line.strip()]
    return [_opened(item, seal) for item in items]


def _line(line: bytes, seal: Seal, source: str) -> Item:
    try:
        return _opened(_decoder.decode(line), seal)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        # The error's words name a field and a type, never a value.
        rejected = RejectedRow("unreadable_entry", str(error), expected="an event as this version writes it")
        return Rejected.of(rejected, source=source, raw=line, form="entry")


def _opened(item: Item, seal: Seal) -> Item:
    return msgspec.structs.replace(item, raw=seal.open(item.raw)) if isinstance(item, Rejected) else item
