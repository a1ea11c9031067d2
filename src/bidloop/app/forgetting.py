"""All that is known of a person, wherever it lies: to hand it out, or to forget it."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime

import msgspec

from bidloop.app.wiring import House
from bidloop.core.event import DeviceLinked


def export_person(house: House, identifier: str, kind: str = "user_id") -> list[bytes]:
    """Everything of a person as JSON lines: events in the order of the log, then decisions.

    Parameters
    ----------
    identifier
        The user's or device's id as the account's own systems know it.
    kind
        ``user_id`` or ``device_id``.
    """
    persons = _pseudonyms(house, identifier, kind)
    events = [event for person in persons for event in house.log.of_user(person)]
    decisions = [decision for person in persons for decision in house.decisions.of_user(person)]
    return [msgspec.json.encode(record) for record in (*events, *decisions)]


def erase_person(house: House, identifier: str, kind: str = "user_id") -> dict[str, int]:
    """Forget a person in the log, the history, the decisions and the quarantine; says how many records of each.

    Events of before this moment that still wait in a stream are treated alike when they arrive.
    """
    now = datetime.now(UTC)
    persons = _pseudonyms(house, identifier, kind)
    erased = {"events": 0, "decisions": 0, "history": 0}
    for person in persons:
        erased["events"] += house.log.erase(person, now)
        erased["decisions"] += house.decisions.erase(person)
        erased["history"] += house.history.erase(person)
    # What could not be read could not be given a pseudonym: only its bytes can tell whether it names somebody.
    waiting = house.quarantine.list(sys.maxsize, state=None)
    naming = [kept.id for kept in waiting if any(_names(kept.row.raw, name) for name in (identifier, *persons))]
    return erased | {"quarantine": house.quarantine.erase(naming)}


def _names(raw: bytes, identifier: str) -> bool:
    """Whether some bytes name a person: as a value where they are JSON, as a word where they are anything else.

    >>> _names(b'{"userId": "17", "at": "2017"}', "17"), _names(b'{"userId": "170"}', "17"), _names(b"17;2017", "17")
    (True, False, True)
    """
    try:
        return _holds(msgspec.json.decode(raw), identifier)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        word = re.escape(identifier)
        return re.search(rf"(?<!\w){word}(?!\w)", raw.decode(errors="replace")) is not None


def _holds(value: object, identifier: str) -> bool:
    if isinstance(value, dict):
        return any(_holds(part, identifier) for part in value.values())
    if isinstance(value, list):
        return any(_holds(part, identifier) for part in value)
    return str(value) == identifier


def _pseudonyms(house: House, identifier: str, kind: str) -> list[str]:
    """A person's own pseudonym, and those of the devices that were linked to it."""
    own = house.privacy.pseudonym(kind, identifier)
    linked = {event.device_id for event in house.log.of_user(own) if isinstance(event, DeviceLinked)}
    return [own, *sorted(linked - {""})]
