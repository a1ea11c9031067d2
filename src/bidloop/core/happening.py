"""What every event has in common."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

MAX_ID = 512
MAX_TEXT = 2048

Id: TypeAlias = Annotated[str, Meta(max_length=MAX_ID)]
Text: TypeAlias = Annotated[str, Meta(max_length=MAX_TEXT)]


def _tag(name: str) -> str:
    """The type's name in JSON: ``PageViewed`` is told as ``page_viewed``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


# Not tracked by the garbage collector: events cannot form cycles, and millions of them would have it look at each again and
# again.
class Happening(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag=_tag, tag_field="type", gc=False):
    """Something that happened.

    Parameters
    ----------
    event_id
        Unique among all events for ever: the same id again is the same event told again.
    at
        When it happened, timezone-aware, in UTC.
    version
        Version of the event's type. There is one so far of each.
    """

    event_id: Annotated[Id, Meta(description="Unique for ever: the same id again is the same event told again.")]
    at: Annotated[datetime, Meta(description="When it happened, with its time zone.")]
    version: Annotated[Literal[1], Meta(description="Version of the event's type.")] = 1


class Personal(Happening, frozen=True, kw_only=True, omit_defaults=True, tag=_tag, tag_field="type"):
    """Something that one person did or saw.

    Outside of the door through which events enter, all that names a person is a pseudonym (`bidloop.events.privacy`).

    Parameters
    ----------
    user_id, device_id, session_id, ip
        Who, on what, in which visit, from where. All are replaced by pseudonyms before anything is kept.
    consent
        Whether the person agreed to being recognised. Without it nothing is kept that could; `None` means that the source
        did not say, and is taken as the settings say.
    """

    user_id: Annotated[Id, Meta(description="Who; replaced by a pseudonym before anything is kept.")] = ""
    device_id: Annotated[Id, Meta(description="On what device or browser; replaced by a pseudonym.")] = ""
    session_id: Annotated[Id, Meta(description="In which visit; replaced by a pseudonym.")] = ""
    ip: Annotated[Id, Meta(description="From which address; replaced by a pseudonym.")] = ""
    consent: Annotated[
        bool | None,
        Meta(description="Whether the person agreed to being recognised; without it no identifier is kept."),
    ] = None
