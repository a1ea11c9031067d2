"""What every event log must do, on every adapter."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import msgspec
import pytest

from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.event_log import SqlEventLog
from bidloop.core.event import BidLost, CampaignReported, ClickReceived, ConversionReported, Event, ImpressionServed
from bidloop.core.money import Money
from bidloop.core.opportunity import Auction, Charge, History, Opportunity
from bidloop.events.ports import EventLog

AT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
CELL = Opportunity(
    opportunity_id="o", at=AT, campaign_id="spring", keyword="schöne \u2028 schuhe 👟", attributes={"slot": "'; DROP TABLE"},
    measures={"quality": 0.1 + 0.2}, auction=Auction.FIRST_PRICE, charge=Charge.PER_MILLE, floor=Money(1),
    history=History(ctr=0.1, conversion_rate=0.2, spend=Money(3), impressions=4, clicks=5),
)  # fmt: skip
KINDS: list[Event] = [
    ImpressionServed(
        event_id="1", at=AT, impression_id="i", opportunity=CELL, price=Money(7), weight=289.49708963911525
    ),
    BidLost(event_id="2", at=AT, impression_id="j", market_price=Money(2)),
    ClickReceived(event_id="3", at=AT, impression_id="i"),
    ConversionReported(event_id="4", at=AT, impression_id="i", order_id="order", value=Money(10**15)),
    CampaignReported(event_id="5", at=AT, opportunity=CELL, impressions=9, clicks=1, conversions=3, spend=Money(4)),
]


def click(number: int) -> ClickReceived:
    return ClickReceived(event_id=f"click-{number}", at=AT, impression_id=str(number))


@pytest.fixture(params=["sqlite"])
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], EventLog]:
    """Opens the same log again and again."""
    return {"sqlite": lambda: SqlEventLog(open_database(tmp_path / "bidloop.db"))}[request.param]


def test_every_kind_of_event_reads_back_as_it_was(open_log) -> None:
    open_log().append(KINDS)
    assert [event for _, event in open_log().read()] == KINDS


def test_positions_grow_in_the_order_of_telling_and_reading_goes_on_behind_one(open_log) -> None:
    log = open_log()
    log.append([click(3), click(1)])
    log.append([click(2)])
    read = log.read()
    assert [event.event_id for _, event in read] == ["click-3", "click-1", "click-2"]
    positions = [position for position, _ in read]
    assert positions == sorted(set(positions))
    assert positions[0] > 0
    assert log.read(after=positions[0], limit=1) == [read[1]]
    assert log.read(after=positions[-1]) == []


def test_the_same_event_twice_is_written_once(open_log) -> None:
    log = open_log()
    first = log.append([click(1), click(2), click(1)])
    assert (first.accepted, first.duplicates, first.new) == (2, 1, [True, True, False])
    again = open_log().append([click(2), click(3)])
    assert (again.accepted, again.duplicates, again.new, again.changed) == (1, 1, [False, True], ())
    assert len(log.read()) == 3


def test_the_first_telling_of_an_id_stands_and_a_changed_one_is_named(open_log) -> None:
    log = open_log()
    log.append([click(1)])
    changed = msgspec.structs.replace(click(1), impression_id="another")
    appended = log.append([click(2), changed, click(1)])
    assert (appended.accepted, appended.duplicates, appended.changed) == (1, 1, (1,))
    assert [event for _, event in log.read()] == [click(1), click(2)]


def test_the_same_instant_in_another_time_zone_is_the_same_event(open_log) -> None:
    log = open_log()
    log.append([click(1)])
    there = msgspec.structs.replace(click(1), at=AT.astimezone(timezone(timedelta(hours=8))))
    assert log.append([there]).duplicates == 1


def test_an_append_of_nothing_is_nothing(open_log) -> None:
    appended = open_log().append([])
    assert (appended.accepted, appended.duplicates, appended.new) == (0, 0, [])
    assert open_log().counts() == {}


def test_events_are_counted_by_type(open_log) -> None:
    log = open_log()
    log.append([*KINDS, click(1)])
    assert log.counts() == {
        "bid_lost": 1, "campaign_reported": 1, "click_received": 2, "conversion_reported": 1, "impression_served": 1,
    }  # fmt: skip


def test_many_more_events_than_one_query_can_name_are_known_again(open_log) -> None:
    log = open_log()
    many = [click(i) for i in range(2_500)]
    assert log.append(many).accepted == 2_500
    assert log.append(many).duplicates == 2_500
    assert len(log.read(limit=5_000)) == 2_500


def test_writers_at_once_lose_nothing_and_write_nothing_twice(open_log) -> None:
    open_log()
    accepted: list[int] = []

    def write(start: int) -> None:
        log = open_log()
        for i in range(20):
            accepted.append(log.append([click(start + i), click(start + i + 10)]).accepted)

    threads = [threading.Thread(target=write, args=(start,)) for start in (0, 10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(accepted) == 50
    assert sorted(int(event.impression_id) for _, event in open_log().read()) == list(range(50))
