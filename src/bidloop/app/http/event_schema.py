"""The JSON types of what is answered to events; what is sent are the told event types (`bidloop.events.told`)."""

from __future__ import annotations

from typing import Annotated, Any, Union

from msgspec import Meta

from bidloop.app.http.schema import Answer
from bidloop.events.intake import Status
from bidloop.events.told import TOLD_TYPES

ToldEvent: Any = Union[tuple(TOLD_TYPES.values())]  # noqa: UP007
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
