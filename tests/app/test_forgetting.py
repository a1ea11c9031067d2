"""All that is known of a person: to hand it out, or to forget it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from bidloop.app.forgetting import erase_person, export_person
from bidloop.app.settings import Settings
from bidloop.app.wiring import House, open_house
from bidloop.core.errors import InvalidInput
from bidloop.core.event import ClickReceived, PageViewed
from bidloop.events.packing import pack, unpack
from bidloop.events.privacy import without_person
from bidloop.events.rejected import Rejected

AT = "2026-03-01T12:00:00Z"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = open_house(Settings(home=str(tmp_path)))
    told = [
        {"type": "device_linked", "eventId": "e1", "userId": "anna", "deviceId": "phone"},
        {"type": "page_viewed", "eventId": "e2", "deviceId": "phone"},
        {"type": "page_viewed", "eventId": "e3", "userId": "anna"},
        {"type": "page_viewed", "eventId": "e4", "userId": "ben"},
    ]
    events = [msgspec.json.encode({"at": AT, "consent": True, **event}) for event in told]
    house.door.take([house.reception.receive(event, source="api") for event in events])
    yield house
    house.close()


def prune_all(house: House) -> None:
    house.history.sync()
    house.log.prune(house.clock.now() + timedelta(days=2))


def test_what_only_the_history_still_has_of_a_person_is_exported_and_forgotten_with_their_devices(house: House) -> None:
    before = export_person(house, "anna")
    assert len(before) == 3
    house.history.sync()
    assert export_person(house, "anna") == before
    prune_all(house)
    assert export_person(house, "anna") == before
    assert erase_person(house, "anna") == {"events": 0, "decisions": 0, "history": 3, "features": 0, "quarantine": 0}
    assert export_person(house, "anna") == export_person(house, "phone", "device_id") == []
    assert len(export_person(house, "ben")) == 1


def test_an_erasure_that_was_cut_off_finds_the_devices_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(type(house.decisions), "erase", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            erase_person(house, "anna")
    erase_person(house, "anna")
    assert house.log.counts() == {"page_viewed": 1}


def test_of_an_entry_in_the_quarantine_only_what_names_the_person_is_forgotten(house: House) -> None:
    anna, ben = (house.privacy.pseudonym("user_id", name) for name in ("anna", "ben"))
    at = house.clock.now()
    told = [
        PageViewed(event_id="v1", at=at, user_id=anna),
        PageViewed(event_id="v2", at=at, user_id=ben),
        ClickReceived(event_id="c1", at=at, impression_id="i", user_id=anna),
        Rejected(source="api", code="not_json", reason="why", raw=b'{"userId": "anna"', at=at),
        Rejected(source="api", code="not_json", reason="why", raw=b'{"userId": "ben"', at=at),
    ]
    lines = b"\n".join(pack(item, house.seal).line for item in told)
    entry = Rejected(source="s", code="undigestible_entry", reason="why", raw=lines, form="entry", at=at)
    house.quarantine.keep([entry])
    assert erase_person(house, "anna")["quarantine"] == 1
    assert erase_person(house, "anna")["quarantine"] == 0
    [kept] = house.quarantine.list()
    assert unpack(kept.row.raw, house.seal, source="s") == [told[1], without_person(told[2]), told[4]]


@pytest.mark.parametrize("nobody", ["", " "])
def test_nobody_in_particular_is_neither_exported_nor_forgotten(house: House, nobody: str) -> None:
    broken = b'{"type": "page_viewed", "eventId": ""}'
    house.door.take([house.reception.receive(broken, source="api")])
    for ask in (erase_person, export_person):
        with pytest.raises(InvalidInput, match="an empty id"):
            ask(house, nobody)
    assert len(house.quarantine.list()) == 1
