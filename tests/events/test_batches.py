"""Batches that are cut off, come again, or fail as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bidloop.adapters.memory.event_log import MemoryEventLog
from bidloop.adapters.memory.quarantine import MemoryQuarantine
from bidloop.core.clock import ManualClock
from bidloop.core.event import CampaignReported, ClickReceived
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.events import batches
from bidloop.events.batches import (
    Batches,
    Examination,
    Progress,
    failed_batch,
    failed_batches,
    mended,
)
from bidloop.events.intake import Intake
from bidloop.events.packing import Item
from bidloop.events.rejected import Rejected

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BAD = Rejected(source="a.csv", position=3, code="unknown_date", reason="date 'Total'", raw=b"Total,1")
FAILURE = Examination(("not met: The report has rows (0 of them)",), Path("/site/page.html"))


def clicks(*numbers: int) -> list[Item]:
    return [ClickReceived(event_id=f"c{n}", at=NOW - timedelta(hours=1), impression_id=f"i{n}") for n in numbers]


def report_row(name: str, conversions: int) -> CampaignReported:
    at = NOW - timedelta(days=2)
    return CampaignReported(
        event_id=name, row_id=name, at=at, opportunity=Opportunity(opportunity_id=name, at=at, campaign_id=name),
        impressions=90, clicks=9, conversions=conversions, spend=Money.of(3),
    )  # fmt: skip


def desk(log: MemoryEventLog, chunk: int = 2) -> Batches:
    return Batches(Intake(log, ManualClock(NOW)), log, chunk=chunk)


class PowerCut(Exception):
    """The process is gone."""


def until(items: list[Item], cut: int) -> Iterator[Item]:
    yield from items[:cut]
    raise PowerCut


def ids(log: MemoryEventLog) -> list[str]:
    return [event.event_id for _, event in log.read()]


def test_a_batch_is_taken_in_once_and_then_known_without_being_read() -> None:
    log = MemoryEventLog()
    taken = desk(log).take("f", [*clicks(1, 2), BAD, *clicks(3, 1)])
    assert (taken.receipt.accepted, taken.receipt.duplicates, taken.receipt.rejected) == (3, 1, {"unknown_date": 1})
    assert desk(log).progress("f") == Progress(5, whole=True)
    assert desk(log).take("f", until([], 0)).before
    assert not desk(log).take("g", clicks(1)).before


def test_a_batch_is_read_again_on_demand_and_nothing_of_it_is_twice() -> None:
    log = MemoryEventLog()
    desk(log).take("f", clicks(1, 2, 3))
    again = desk(log).take("f", clicks(1, 2, 3), again=True)
    assert (again.before, again.receipt.accepted, again.receipt.duplicates) == (False, 0, 3)


@pytest.mark.parametrize("cut", range(8))
def test_a_batch_that_was_cut_off_goes_on_where_it_was(cut: int) -> None:
    log, items = MemoryEventLog(), [*clicks(1, 2), BAD, *clicks(3, 4, 5, 6)]
    with pytest.raises(PowerCut):
        desk(log).take("f", until(items, cut))
    before = desk(log).progress("f")
    assert before.items <= cut
    assert not before.whole
    taken = desk(log).take("f", items)
    assert taken.resumed_at == before.items
    assert taken.receipt.duplicates == 0
    assert ids(log) == ["c1", "c2", "c3", "c4", "c5", "c6"]
    assert log.quarantine.counts() == {"unknown_date": 1}
    assert desk(log).progress("f") == Progress(7, whole=True)


def test_the_progress_of_a_transaction_that_failed_is_not_written() -> None:
    log = MemoryEventLog()

    class Full(MemoryEventLog):
        def append(self, events, *, rejected=(), offset=None):
            if events and events[0].event_id == "c3":
                raise PowerCut
            return log.append(events, rejected=rejected, offset=offset)

    with pytest.raises(PowerCut):
        desk(Full()).take("f", clicks(1, 2, 3, 4))
    assert desk(log).progress("f") == Progress(2)


def test_an_empty_batch_is_done_too() -> None:
    log = MemoryEventLog()
    desk(log).take("f", [])
    assert desk(log).progress("f") == Progress(0, whole=True)


def test_rows_of_a_report_restate_and_their_number_is_told() -> None:
    log = MemoryEventLog()
    desk(log).take("monday", [report_row(name, 1) for name in "abc"], report=True)
    tuesday = desk(log).take("tuesday", [report_row("a", 1), report_row("b", 2), report_row("d", 1)], report=True)
    assert (tuesday.receipt.accepted, tuesday.restated, tuesday.receipt.duplicates) == (2, 1, 1)
    assert ids(log) == ["a", "b", "c", "b#1", "d"]


def test_a_report_that_was_cut_off_still_knows_which_rows_it_told() -> None:
    log, rows = MemoryEventLog(), [report_row("a", 1), report_row("b", 1), report_row("a", 2)]
    with pytest.raises(PowerCut):
        desk(log, chunk=1).take("f", until(rows, 2), report=True)
    assert desk(log, chunk=1).progress("f") == Progress(1)
    taken = desk(log, chunk=1).take("f", rows, report=True)
    assert (taken.receipt.accepted, taken.receipt.rejected) == (1, {"changed_event": 1})


def test_events_that_name_a_row_of_their_own_keep_their_ids() -> None:
    log = MemoryEventLog()
    desk(log).take("f", [report_row("a", 1)])
    taken = desk(log).take("g", [report_row("a", 2)])
    assert taken.receipt.rejected == {"changed_event": 1}


def test_a_failed_file_is_kept_whole_with_its_reason_until_it_is_mended(tmp_path: Path) -> None:
    quarantine, report, other = MemoryQuarantine(), tmp_path / "a" / "report.csv", tmp_path / "b" / "report.csv"
    for file in (report, other):
        file.parent.mkdir()
        file.write_bytes(b"date,campaign\r\n\xff")
        quarantine.keep([failed_batch(file, FAILURE)])
    quarantine.keep([BAD])
    waiting = failed_batches(quarantine)
    assert {kept.row.source for kept in waiting} == {str(report), str(other)}
    assert {kept.row.raw for kept in waiting} == {b"date,campaign\r\n\xff"}
    assert "The report has rows (0 of them)" in waiting[0].row.reason
    assert "/site/page.html" in waiting[0].row.reason
    mended(quarantine, report)
    assert [kept.row.source for kept in failed_batches(quarantine)] == [str(other)], (
        "one of the same name elsewhere waits"
    )
    assert quarantine.counts()["unknown_date"] == 1


def test_of_a_large_file_the_place_and_the_hash_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_RAW", 10)
    file = tmp_path / "report.csv"
    file.write_bytes(b"0123456789")
    assert failed_batch(file, FAILURE).raw == b"0123456789"
    file.write_bytes(b"01234567890")
    digest = hashlib.sha256(b"01234567890").hexdigest()
    assert failed_batch(file, FAILURE).raw == f"{file} sha256:{digest}".encode()
