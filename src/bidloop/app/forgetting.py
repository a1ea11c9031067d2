"""All that is known of a person, wherever it lies: to hand it out, or to forget it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence

import msgspec

from bidloop.app.wiring import House, shared_features
from bidloop.core.errors import CorruptArtifact, InvalidInput
from bidloop.core.event import DeviceLinked, Event
from bidloop.events.packing import pack, unpack
from bidloop.events.privacy import forgotten, person_of
from bidloop.events.rejected import Rejected


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
    events = [event for person in persons for event in _events_of(house, person)]
    decisions = [decision for person in persons for decision in house.decisions.of_user(person)]
    return [msgspec.json.encode(record) for record in (*events, *decisions)]


def erase_person(house: House, identifier: str, kind: str = "user_id") -> dict[str, int]:
    """Forget a person in the log, the history, the decisions, the quarantine and a shared store of features; says how many
    records of each.

    A process that decides forgets them within a second, when it next follows the log.

    Events of before this moment that still wait in a stream are treated alike when they arrive.
    """
    now = house.clock.now()
    persons = _pseudonyms(house, identifier, kind)
    erased = {"events": 0, "decisions": 0, "history": 0, "features": 0}
    features = shared_features(house)
    for person in persons:
        erased["events"] += house.log.erase(person, now)
        # After the log: whoever follows it learns of the erasure there, and nothing of before it any more.
        erased["features"] += 0 if features is None else features.forget(person)
        erased["decisions"] += house.decisions.erase(person)
        erased["history"] += house.history.erase(person)
    # What could not be read could not be given a pseudonym: only its bytes can tell whether it names somebody.
    naming: list[str] = []
    spared: list[Rejected] = []
    for kept in house.quarantine.list(sys.maxsize, state=None):
        if kept.row.form == "entry":
            rest = b"\n".join(_spared(house, kept.row, (identifier, *persons)))
            if rest == kept.row.raw:
                continue
            if rest and kept.state == "waiting":
                spared.append(msgspec.structs.replace(kept.row, raw=rest))
        elif not any(_names(kept.row.raw, name) for name in (identifier, *persons)):
            continue
        naming.append(kept.id)
    house.quarantine.keep(spared)
    return erased | {"quarantine": house.quarantine.erase(naming)}


def _spared(house: House, row: Rejected, names: Sequence[str]) -> Iterator[bytes]:
    """The lines that are left of an entry of the stream without a person: most of them tell of others."""
    for line in row.raw.split(b"\n"):
        try:
            items = unpack(line, house.seal, source=row.source)
        except CorruptArtifact:  # a lost key's: it names nobody any more
            yield line
            continue
        for item in items:
            if isinstance(item, Rejected):
                if not any(_names(item.raw, name) for name in names):
                    yield line
            elif person_of(item) not in names:
                yield line
            elif (bare := forgotten(item)) is not None:
                yield pack(bare, house.seal).line


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
    """The pseudonyms of the devices that were linked to a person, and the person's own.

    The own one last: forgetting it takes the links along, and if that is cut off before its end, it must find them again.

    Raises
    ------
    InvalidInput
        For an empty identifier, which stands in nearly every row of the quarantine.
    """
    if not identifier.strip():
        raise InvalidInput("an empty id", expected="the id of one person or device")
    own = house.privacy.pseudonym(kind, identifier)
    linked = {event.device_id for event in _events_of(house, own) if isinstance(event, DeviceLinked)}
    return [*sorted(linked - {""}), own]


def _events_of(house: House, person: str) -> list[Event]:
    """The events of a pseudonym: those that only the history still has, then those in the log."""
    logged = house.log.of_user(person)
    ids = {event.event_id for event in logged}
    return [*(event for event in house.history.of_user(person) if event.event_id not in ids), *logged]
