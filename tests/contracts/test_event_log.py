"""What every event log must do, on every adapter."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from bidloop.adapters.memory.event_log import MemoryEventLog
from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.event_log import SqlEventLog
from bidloop.adapters.sql.quarantine import SqlQuarantine
from bidloop.core.event import (
    BidLost,
    BidPlaced,
    BidWon,
    CampaignReported,
    ClickReceived,
    Competitor,
    CompetitorLaunched,
    ConversionReported,
    ConversionRestated,
    ConversionRetracted,
    DeviceLinked,
    EmailClicked,
    EmailOpened,
    Event,
    FormSubmitted,
    ImpressionServed,
    IndicatorPublished,
    PageViewed,
    PlatformChanged,
    SeasonMarked,
    SessionEnded,
    SessionStarted,
)
from bidloop.core.money import Money
from bidloop.core.opportunity import Auction, Charge, History, Opportunity
from bidloop.events.ports import EventLog, Offset, Quarantine
from bidloop.events.rejected import Rejected
from bidloop.events.sealing import Seal

SEAL = Seal(bytes(range(32)))

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
    ClickReceived(event_id="3", at=AT, impression_id="i", user_id="p.anna", consent=True),
    ConversionReported(event_id="4", at=AT, impression_id="i", order_id="order", value=Money(10**15)),
    CampaignReported(
        event_id="5", at=AT, opportunity=CELL, impressions=9, clicks=1, conversions=3, spend=Money(4), row_id="5",
        known_at=AT, impression_share=0.4, competitors=(Competitor(name="b", overlap_rate=0.2),),
    ),
    BidPlaced(event_id="6", at=AT, impression_id="i", bid=Money(9)),
    BidWon(event_id="7", at=AT, impression_id="i", price=Money(8)),
    ConversionRestated(event_id="8", at=AT, impression_id="i", order_id="order", value=Money(-1)),
    ConversionRetracted(event_id="9", at=AT, impression_id="i", order_id="order"),
    PageViewed(event_id="10", at=AT, user_id="p.anna", url="https://a.b/c"),
    SessionStarted(event_id="11", at=AT, device="mobile"),
    SessionEnded(event_id="12", at=AT, duration_seconds=0.1 + 0.2, page_views=1),
    FormSubmitted(event_id="13", at=AT, form_id="newsletter"),
    EmailOpened(event_id="14", at=AT, message_id="m"),
    EmailClicked(event_id="15", at=AT, message_id="m", url="https://a.b"),
    DeviceLinked(event_id="16", at=AT, user_id="p.anna", device_id="p.phone"),
    IndicatorPublished(event_id="17", at=AT, series="cpi", period="2026-02", value=101.2),
    SeasonMarked(event_id="18", at=AT, name="sale", starts=AT, ends=AT + timedelta(days=1)),
    CompetitorLaunched(event_id="19", at=AT, competitor="b"),
    PlatformChanged(event_id="20", at=AT, platform="google_ads", change="auction"),
]  # fmt: skip


def click(number: int) -> ClickReceived:
    return ClickReceived(event_id=f"click-{number}", at=AT, impression_id=str(number))


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> MemoryEventLog | Path | str:
    if request.param == "memory":
        return MemoryEventLog()
    return tmp_path / "bidloop.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def open_log(place: MemoryEventLog | Path | str) -> Iterator[Callable[[], EventLog]]:
    """Opens the same log again and again."""
    with ExitStack() as stack:

        def open_it() -> EventLog:
            if isinstance(place, MemoryEventLog):
                return place
            engine = open_database(place)
            stack.callback(engine.dispose)
            return SqlEventLog(engine, SEAL)

        yield open_it


@pytest.fixture
def open_quarantine(place: MemoryEventLog | Path | str, open_log) -> Iterator[Callable[[], Quarantine]]:
    """The quarantine beside the log."""
    with ExitStack() as stack:

        def open_it() -> Quarantine:
            if isinstance(place, MemoryEventLog):
                return place.quarantine
            engine = open_database(place)
            stack.callback(engine.dispose)
            return SqlQuarantine(engine, SEAL)

        yield open_it


def test_every_kind_of_event_reads_back_as_it_was(open_log) -> None:
    assert {type(event) for event in KINDS} == set(get_args(Event))
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
    counts = log.counts()
    assert (counts["click_received"], counts["page_viewed"]) == (2, 1)
    assert sum(counts.values()) == len(KINDS) + 1


def test_the_newest_of_each_type_is_known_whatever_was_told_last(open_log) -> None:
    log = open_log()
    assert log.newest() == {}
    log.append([*KINDS, msgspec.structs.replace(click(1), at=AT + timedelta(days=2))])
    log.append([msgspec.structs.replace(click(2), at=AT - timedelta(days=400))])
    newest = log.newest()
    assert newest.keys() == log.counts().keys()
    assert (newest.pop("click_received"), set(newest.values())) == (AT + timedelta(days=2), {AT})


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


def test_what_was_rejected_and_the_offset_are_written_with_the_events(open_log, open_quarantine) -> None:
    log = open_log()
    assert log.offset("file") is None
    bad = Rejected(source="f", position=3, code="unknown_date", reason="why", raw=b"\xff\x00raw", at=AT)
    log.append([click(1)], rejected=[bad], offset=Offset("file", "3"))
    log.append([], rejected=[bad], offset=Offset("file", "4"))
    assert open_log().offset("file") == "4"
    assert [kept.row for kept in open_quarantine().list()] == [bad]


def test_an_append_that_fails_writes_nothing_of_it(open_log, open_quarantine) -> None:
    log = open_log()
    broken = click(1)
    msgspec.structs.force_setattr(broken, "at", "no time")
    bad = Rejected(source="f", code="unknown_date", reason="why", raw=b"raw")
    with pytest.raises(Exception, match=r".+"):
        log.append([click(2), broken], rejected=[bad], offset=Offset("file", "1"))
    assert (log.read(), log.offset("file"), open_quarantine().counts()) == ([], None, {})


def test_an_event_whose_content_changed_is_in_the_quarantine(open_log, open_quarantine) -> None:
    log = open_log()
    log.append([click(1)])
    log.append([msgspec.structs.replace(click(1), impression_id="another")])
    [kept] = open_quarantine().list()
    assert (kept.row.code, kept.row.form, b"another" in kept.row.raw) == ("changed_event", "event", True)
    assert kept.row.at is not None


def test_the_figures_of_a_report_row_pulled_again_later_are_the_same_event(open_log) -> None:
    log = open_log()
    row = next(event for event in KINDS if isinstance(event, CampaignReported))
    log.append([row])
    assert log.append([msgspec.structs.replace(row, known_at=AT + timedelta(days=3))]).duplicates == 1
    assert log.append([msgspec.structs.replace(row, clicks=2)]).changed == (0,)


def test_digests_tell_which_ids_were_told_and_whether_the_content_is_the_same(open_log) -> None:
    log = open_log()
    log.append([click(1), click(2)])
    digests = log.digests(["click-1", "click-2", "click-3"])
    assert set(digests) == {"click-1", "click-2"}
    assert digests["click-1"] != digests["click-2"]
    assert log.digests([]) == {}


def test_the_events_of_a_person_are_found_by_pseudonym(open_log) -> None:
    log = open_log()
    log.append(KINDS)
    assert [event.event_id for event in log.of_user("p.anna")] == ["3", "10", "16"]
    assert log.of_user("p.nobody") == []


def test_what_an_erased_person_did_is_gone_and_ads_keep_their_counts_without_them(open_log) -> None:
    log = open_log()
    log.append(KINDS)
    last = log.read()[-1][0]
    assert log.erase("p.anna", AT + timedelta(seconds=1)) == 3
    left = {event.event_id: event for _, event in log.read()}
    assert left["3"] == ClickReceived(event_id="3", at=AT, impression_id="i", consent=True)
    assert "10" not in left
    assert "16" not in left
    assert log.of_user("p.anna") == []
    assert log.append(KINDS).accepted == 0  # told again, they stay known
    log.append([click(1)])
    assert log.read(after=last)[0][0] == last + 1  # positions are not used again


def test_what_tells_a_time_after_the_erasure_is_erased_too_and_an_earlier_one_takes_nothing_back(open_log) -> None:
    log = open_log()
    log.append(KINDS)  # a phone whose clock runs ahead
    assert log.erase("p.anna", AT - timedelta(days=1)) == 3
    log.erase("p.bert", AT)
    log.erase("p.bert", AT - timedelta(days=1))
    log.append([PageViewed(event_id="a", at=AT - timedelta(hours=1), user_id="p.bert")])
    assert log.of_user("p.bert") == []


def test_what_arrives_late_of_an_erased_person_is_erased_too_and_what_they_do_afterwards_is_not(open_log) -> None:
    log = open_log()
    log.erase("p.anna", AT)
    before = AT - timedelta(hours=1)
    late = [
        PageViewed(event_id="a", at=before, user_id="p.anna"),
        ClickReceived(event_id="b", at=before, impression_id="i", user_id="p.anna"),
        PageViewed(event_id="c", at=AT, user_id="p.anna"),
    ]
    assert log.append(late).accepted == 3
    assert [(event.event_id, event.user_id) for _, event in log.read()] == [("b", ""), ("c", "p.anna")]
    assert log.append(late).duplicates == 3


def test_pruning_drops_whole_days_and_their_ids_stay_known(open_log) -> None:
    log = open_log()
    assert log.head() == 0
    log.append([click(1), click(2)])
    assert log.head() == log.read()[-1][0]
    assert log.prune(datetime.now(UTC)) == 0
    assert log.prune(datetime.now(UTC) + timedelta(days=1)) == 2
    assert log.read() == []
    assert log.head() == 2
    assert log.append([click(1), click(3)]).accepted == 1
    assert [event.event_id for _, event in log.read()] == ["click-3"]


def test_a_reader_that_follows_writers_at_once_misses_nothing(open_log) -> None:
    open_log()

    def write(start: int) -> None:
        log = open_log()
        for i in range(25):
            log.append([click(start + 3 * i + j) for j in range(3)])

    threads = [threading.Thread(target=write, args=(start,)) for start in (0, 100, 200)]
    for thread in threads:
        thread.start()
    log, seen = open_log(), [(0, None)]
    while any(thread.is_alive() for thread in threads) or log.read(seen[-1][0], 1):
        seen += log.read(seen[-1][0], 10)
    assert len({event.event_id for _, event in seen[1:]}) == len(seen) - 1 == 225


def test_a_whole_number_of_conversions_is_the_same_however_it_is_told(open_log) -> None:
    log = open_log()
    row = next(event for event in KINDS if isinstance(event, CampaignReported))
    log.append([row])
    read = log.read()[0][1]
    assert log.append([read, msgspec.structs.replace(row, conversions=3.0)]).duplicates == 2
    half = CampaignReported(**{**msgspec.structs.asdict(row), "event_id": "half", "conversions": 2.5})
    log.append([half])
    assert log.read()[-1][1].conversions == 2.5
