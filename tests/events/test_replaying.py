"""Rows of the quarantine, taken in after a fix."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.event_log import SqlEventLog
from bidloop.adapters.sql.quarantine import SqlQuarantine
from bidloop.core.clock import ManualClock
from bidloop.core.event import ClickReceived
from bidloop.events.intake import Intake
from bidloop.events.packing import pack
from bidloop.events.privacy import Privacy
from bidloop.events.reception import Reception
from bidloop.events.rejected import Rejected
from bidloop.events.replaying import Replay
from bidloop.events.sealing import Seal
from bidloop.events.settings import EventSettings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SEAL = Seal(bytes(32))


class Room:
    """A house's way in, whose clock and settings can be mended."""

    def __init__(self, path: Path) -> None:
        engine = open_database(path)
        self.log, self.quarantine = SqlEventLog(engine, SEAL), SqlQuarantine(engine, SEAL)
        self.clock = ManualClock(NOW)
        self.mend(currency="EUR")

    def mend(self, **settings: object) -> None:
        sensible = EventSettings(**settings)
        self.reception = Reception(Privacy(bytes(32)), self.clock, sensible)
        self.intake = Intake(self.log, self.clock, sensible)
        self.replay = Replay(self.quarantine, self.reception, self.intake, SEAL)

    def tell(self, **changes: object) -> None:
        told = {"type": "click_received", "eventId": "c1", "at": "2026-03-01T11:00:00Z", "impressionId": "i", **changes}
        self.intake.take([self.reception.receive(msgspec.json.encode(told), source="api")])


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "bidloop.db")


def test_what_makes_sense_after_a_fix_is_taken_in_once(room: Room) -> None:
    room.tell(price=1.5, currency="USD")
    room.tell(eventId="c2", at="2026-03-09T00:00:00Z")
    rows = room.quarantine.list()
    assert {kept.row.code for kept in rows} == {"wrong_currency", "future_date"}
    assert not any(done.settled for done in room.replay.replay(rows))
    room.mend(currency="USD")
    room.clock.set(NOW + timedelta(days=9))
    assert all(done.settled for done in room.replay.replay(rows))
    assert room.quarantine.counts() == {}
    again = room.replay.replay(rows)
    assert [verdict.status for done in again for verdict in done.verdicts] == ["duplicate", "duplicate"]
    assert sorted(event.event_id for _, event in room.log.read()) == ["c1", "c2"]


def test_what_still_makes_no_sense_stays_and_is_not_kept_twice(room: Room) -> None:
    room.tell(impressionId=3)
    for _ in range(2):
        [done] = room.replay.replay(room.quarantine.list())
        assert done.verdicts[0].code == "wrong_field"
    assert room.quarantine.counts() == {"wrong_field": 1}


def test_a_typed_event_and_a_streams_entry_are_replayed_as_they_were_kept(room: Room) -> None:
    early = ClickReceived(event_id="e", at=NOW + timedelta(days=2), impression_id="i")
    room.intake.take([early])
    lines = b"\n".join(pack(msgspec.structs.replace(early, event_id=name, at=NOW), SEAL).line for name in "fg")
    room.quarantine.keep([Rejected(source="stream", code="undigestible_entry", reason="", raw=lines, form="entry")])
    room.clock.set(NOW + timedelta(days=3))
    assert all(done.settled for done in room.replay.replay(room.quarantine.list()))
    assert sorted(event.event_id for _, event in room.log.read()) == ["e", "f", "g"]


def test_what_has_no_bytes_stays_and_is_not_kept_again(room: Room) -> None:
    room.tell(type="device_linked", impressionId=None)
    room.quarantine.keep([Rejected(source="api", code="no_consent", reason="", raw=b"", form="told")])
    before = room.quarantine.counts()
    verdicts = [verdict.code for done in room.replay.replay(room.quarantine.list()) for verdict in done.verdicts]
    assert "bytes_not_kept" in verdicts
    assert room.quarantine.counts() == before


def test_a_row_of_a_file_is_mended_in_the_file(room: Room) -> None:
    room.quarantine.keep([Rejected(source="a.csv", position=2, code="unknown_date", reason="", raw=b"x,1")])
    [done] = room.replay.replay(room.quarantine.list())
    assert not done.settled
    assert "ingested again" in done.verdicts[0].reason


def test_of_an_entry_what_only_a_lost_key_opens_keeps_nothing_else_out(room: Room) -> None:
    shut = pack(Rejected(source="api", code="not_json", reason="why", raw=b"{", at=NOW), Seal(b"1" * 32)).line
    click = ClickReceived(event_id="c7", at=NOW, impression_id="i")
    whole = b"\n".join([shut, pack(click, SEAL).line])
    room.quarantine.keep(
        [Rejected(source="s", code="undigestible_entry", reason="why", raw=whole, form="entry", at=NOW)]
    )
    room.tell(eventId="c8", at="2026-03-09T00:00:00Z")
    room.clock.set(NOW + timedelta(days=9))
    done = room.replay.replay(room.quarantine.list()[::-1])
    assert [[verdict.code or verdict.status for verdict in one.verdicts] for one in done] == [
        ["accepted", "bytes_not_kept"],
        ["accepted"],
    ]
    assert room.log.counts() == {"click_received": 2}
