"""The door through which every event enters."""

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
from bidloop.events.ports import Offset
from bidloop.events.rejected import Rejected
from bidloop.events.sealing import Seal
from bidloop.events.settings import EventSettings

SEAL = Seal(bytes(32))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
UNREADABLE = Rejected(source="report.csv", position=3, code="unknown_date", reason="date 'Total'", raw=b"Total,1")


def click(number: int, **changes: object) -> ClickReceived:
    event = ClickReceived(event_id=f"click-{number}", at=NOW - timedelta(hours=1), impression_id=f"i-{number}")
    return msgspec.structs.replace(event, **changes)


@pytest.fixture
def room(tmp_path: Path) -> tuple[Intake, SqlEventLog, SqlQuarantine]:
    engine = open_database(tmp_path / "bidloop.db")
    log, quarantine = SqlEventLog(engine, SEAL), SqlQuarantine(engine, SEAL)
    return Intake(log, ManualClock(NOW), EventSettings(chunk=3)), log, quarantine


def test_good_events_are_logged_and_bad_ones_kept_aside_and_all_are_counted(room) -> None:
    intake, log, quarantine = room
    receipt = intake.accept([click(1), UNREADABLE, click(2, impression_id=""), click(3), click(1)])
    assert (receipt.accepted, receipt.duplicates) == (2, 1)
    assert receipt.rejected == {"unknown_date": 1, "empty_id": 1}
    assert [event.event_id for _, event in log.read()] == ["click-1", "click-3"]
    assert quarantine.counts() == {"empty_id": 1, "unknown_date": 1}


def test_a_kept_row_says_when_it_was_kept_and_what_it_was(room) -> None:
    intake, _, quarantine = room
    intake.accept([UNREADABLE, click(2, impression_id="")])
    event, row = (kept.row for kept in quarantine.list())
    assert row == msgspec.structs.replace(UNREADABLE, at=NOW)
    assert event.at == NOW
    assert b'"event_id":"click-2"' in event.raw


def test_an_id_that_comes_again_with_another_content_is_not_lost_in_silence(room) -> None:
    intake, log, quarantine = room
    intake.accept([click(1)])
    receipt = intake.accept([click(1, impression_id="another")])
    assert (receipt.accepted, receipt.duplicates, receipt.rejected) == (0, 0, {"changed_event": 1})
    assert [event for _, event in log.read()] == [click(1)]
    assert b'"impression_id":"another"' in quarantine.list()[0].row.raw


def test_each_item_of_one_taking_gets_its_verdict(room) -> None:
    intake, log, _ = room
    intake.accept([click(1)])
    items = [click(1), UNREADABLE, click(2), click(1, impression_id="another"), click(3, impression_id=""), click(2)]
    verdicts = intake.take(items, offset=Offset("file", "6"))
    assert [verdict.status for verdict in verdicts] == [
        "duplicate", "rejected", "accepted", "rejected", "rejected", "duplicate",
    ]  # fmt: skip
    assert [verdict.code for verdict in verdicts if verdict.code] == ["unknown_date", "changed_event", "empty_id"]
    assert log.offset("file") == "6"


def test_progress_is_told_after_every_chunk(room) -> None:
    told: list[int] = []
    room[0].accept((click(i) for i in range(7)), told.append)
    assert told == [3, 6, 7]


def test_an_event_that_json_has_no_word_for_is_kept_aside_too(room) -> None:
    intake, _, quarantine = room
    receipt = intake.accept([click(1, at=datetime(2026, 3, 1)), click(2, at=NOW + timedelta(days=2))])
    assert receipt.rejected == {"unknown_date": 1, "future_date": 1}
    assert quarantine.counts() == {"unknown_date": 1, "future_date": 1}


def test_chunks_that_were_acknowledged_stay_when_a_later_item_breaks_the_stream(room) -> None:
    intake, log, _ = room

    def stream():
        yield from (click(i) for i in range(3))
        raise OSError("the network went away")

    with pytest.raises(OSError, match="network"):
        intake.accept(stream())
    assert log.counts() == {"click_received": 3}
    assert intake.accept(click(i) for i in range(5)).duplicates == 3
