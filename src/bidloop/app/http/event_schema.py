"""The JSON types of what is answered to events; what is sent are the told event types (`bidloop.events.told`)."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Annotated, Any, get_args

from msgspec import Meta

from bidloop.app.http.schema import Answer
from bidloop.core.event import Event
from bidloop.events.intake import Status
from bidloop.events.told import told_type

TOLD: dict[str, Any] = {str(kind.__struct_config__.tag): told_type(kind) for kind in get_args(Event)}
"""The type of each event as it is told, by its name."""

ToldEvent: Any = reduce(or_, TOLD.values())
"""An event as it is told: one of all types, by its `type`."""


class EventAnswer(Answer, frozen=True, kw_only=True):
    """What became of one event."""

    index: Annotated[int, Meta(ge=0, description="Its place in the request, from 0; blank lines do not count.")]
    event_id: Annotated[str | None, Meta(description="Its id; null where none can be read.", examples=["order-17"])]
    status: Annotated[
        Status,
        Meta(
            description="`accepted`: it is kept and has its effect once. `duplicate`: it was kept before. `rejected`: it is "
            "in the quarantine."
        ),
    ]
    code: Annotated[str | None, Meta(description="Why it was rejected, as a short stable word.")] = None
    reason: Annotated[str | None, Meta(description="The same as a sentence, with what would have been right.")] = None


class EventsAnswer(Answer, frozen=True, kw_only=True):
    """What became of the events of a request. All that is `accepted` is on the disk."""

    accepted: Annotated[int, Meta(ge=0, description="Events that are new, and kept.")]
    duplicates: Annotated[int, Meta(ge=0, description="Events that were kept before.")]
    rejected: Annotated[int, Meta(ge=0, description="Events that make no sense, and are in the quarantine.")]
    events: Annotated[
        list[EventAnswer],
        Meta(description="Each event, in the order of the request; with `verbose=false` the rejected ones alone."),
    ]
