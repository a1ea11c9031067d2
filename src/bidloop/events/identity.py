"""How an event is known again: by a hash of its id for ever, and by a hash of its content to tell whether it changed.

The hashes outlive the events: when retention has dropped an event, or a person had it erased, its id is still known, so that
a late repetition has no effect.
"""

from __future__ import annotations

from datetime import UTC
from hashlib import blake2b

import msgspec
import xxhash

from bidloop.core.event import CampaignReported, Event, SeasonMarked
from bidloop.core.opportunity import Opportunity

_encode = msgspec.json.Encoder(order="deterministic").encode


def event_key(event_id: str) -> bytes:
    """The 16 bytes that an event id is known by.

    A cryptographic hash: nobody can make an id that hides another one's event.

    >>> event_key("order-1").hex()
    '56eea00bbcad2f0a2ca2cc13492405d7'
    """
    return blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def in_utc(event: Event) -> Event:
    """The same event with its times in UTC, as it is written; the event itself where they are already.

    >>> from datetime import datetime
    >>> from bidloop.core.event import ClickReceived
    >>> there = datetime.fromisoformat("2026-03-01T08:00:00+08:00")
    >>> in_utc(ClickReceived(event_id="c", at=there, impression_id="i")).at.isoformat()
    '2026-03-01T00:00:00+00:00'
    """
    about: Opportunity | None = getattr(event, "opportunity", None)
    if event.at.tzinfo is UTC and (about is None or about.at.tzinfo is UTC) and type(event) not in _MORE_INSTANTS:
        return event
    changes: dict[str, object] = {
        name: value.astimezone(UTC)
        for name in ("at", *_MORE_INSTANTS.get(type(event), ()))
        if (value := getattr(event, name)) is not None and value.tzinfo is not UTC
    }
    if about is not None and about.at.tzinfo is not UTC:
        changes["opportunity"] = msgspec.structs.replace(about, at=about.at.astimezone(UTC))
    return msgspec.structs.replace(event, **changes) if changes else event


def content(event: Event) -> bytes:
    """The event as it is written: JSON, times in UTC, fields in a fixed order, defaults left out."""
    return _encode(in_utc(event))


def content_digest(event: Event, written: bytes) -> int:
    """A number of 64 bits (signed) that is the same for the same content. It guards against mistakes, not against malice:
    whoever makes two contents with one digest gets the second one taken for a repetition of the first.

    When a report row was pulled is not part of its content: the same figures pulled again are no news.

    Parameters
    ----------
    event
        The event.
    written
        The same, from `content`.
    """
    if isinstance(event, CampaignReported) and event.known_at is not None:
        written = content(msgspec.structs.replace(event, known_at=None))
    digest = xxhash.xxh3_64_intdigest(written)
    return digest - (1 << 64) if digest >> 63 else digest  # databases know signed numbers


_MORE_INSTANTS: dict[type[msgspec.Struct], tuple[str, ...]] = {
    CampaignReported: ("known_at",),
    SeasonMarked: ("starts", "ends"),
}
"""Instants of an event beside its `at`."""
