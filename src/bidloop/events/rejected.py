"""A row or event that is kept aside because it makes no sense."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

from bidloop.core.errors import RejectedRow
from bidloop.core.event import Event
from bidloop.events.identity import content

Form: TypeAlias = Literal["told", "event", "row", "entry"]
"""How the raw bytes read: an event as senders tell it, one as it is kept, a row of a file, or an entry of a stream."""


class Rejected(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="rejected", tag_field="type"):
    """One row or event that was not taken in, with all that is needed to find it and to mend it at its source.

    Parameters
    ----------
    source
        File, API route or stream that it came from.
    position
        Line in a file, counted from 1 with the header; 0 where the source has no lines.
    code
        Short stable word to count by, such as ``clicks_exceed_impressions``.
    reason
        The same for a person: what was found and what would have been right. Never a personal identifier.
    raw
        The row's bytes as they were read. They may name a person, so wherever they rest they are sealed
        (`bidloop.events.sealing`). Empty where not even that may be kept (no consent).
    form
        How `raw` reads, and so whether it can be taken in again after a fix.
    at
        When it was kept aside, UTC; `None` until the intake has seen it.

    Examples
    --------
    >>> error = RejectedRow("negative_spend", "spend -3.00", expected="0 or more")
    >>> Rejected.of(error, source="report.csv", position=7, raw=b"2026-01-01,-3.00").reason
    'spend -3.00; expected 0 or more'
    """

    source: str
    position: int = 0
    code: str
    reason: str
    raw: bytes
    form: Form = "row"
    at: datetime | None = None

    @classmethod
    def of(cls, error: RejectedRow, *, source: str, raw: bytes, position: int = 0, form: Form = "row") -> Rejected:
        """The record of an error that was raised for one row."""
        return cls(source=source, position=position, code=error.code, reason=str(error), raw=raw, form=form)


def rejected_event(error: RejectedRow, event: Event, at: datetime | None = None) -> Rejected:
    """The record of an error that was raised for a typed event."""
    return Rejected(source="event", code=error.code, reason=str(error), raw=_readable(event), form="event", at=at)


def changed_event(event: Event, at: datetime | None = None) -> Rejected:
    """The record of an event whose id was told before with another content: the first telling stands."""
    error = RejectedRow(
        "changed_event",
        f"event {event.event_id!r} again, with another content",
        path="event_id",
        expected="the content that was told first, or a new id",
    )
    return rejected_event(error, event, at)


def _readable(event: Event) -> bytes:
    """The event as JSON; as text where JSON has no word for it (a date without a zone is fine, a broken one is not)."""
    try:
        return content(event)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):
        try:
            return msgspec.json.encode(event)
        except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):
            return repr(event).encode()
