"""Part files: never half written, never counted twice, made again when they are lost."""

from __future__ import annotations

import hashlib
import shutil
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bidloop.adapters.parquet.history import ParquetHistory
from bidloop.adapters.parquet.parts import find_parts
from bidloop.adapters.parquet.rows import SCHEMA, VERSION
from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.decision_log import SqlDecisionLog
from bidloop.adapters.sql.event_log import SqlEventLog
from bidloop.core.errors import CorruptArtifact
from bidloop.core.event import (
    CampaignReported,
    ClickReceived,
    Competitor,
    Event,
    ImpressionServed,
    PageViewed,
    SeasonMarked,
    SessionEnded,
)
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.events.sealing import Seal

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Room:
    def __init__(self, folder: Path) -> None:
        engine = open_database(folder / "bidloop.db")
        self.log = SqlEventLog(engine, Seal(bytes(32)))
        self.folder = folder / "history"
        self.decisions = SqlDecisionLog(engine)
        self.told = 0

    def history(self) -> ParquetHistory:
        return ParquetHistory(self.folder, self.log, self.decisions, part_rows=10)

    def tell(self, number: int) -> None:
        fresh = [self.shown(i) for i in range(self.told, self.told + number)]
        self.told += number
        self.log.append(fresh)

    @staticmethod
    def shown(i: int) -> ImpressionServed:
        cell = Opportunity(opportunity_id=str(i), at=AT, campaign_id="c", keyword="shoes", attributes={"slot": "top"})
        return ImpressionServed(event_id=str(i), at=AT, impression_id=str(i), opportunity=cell)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*.parquet"))


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_parts_are_named_by_their_positions_and_a_small_last_one_grows(room: Room) -> None:
    for number in (3, 4, 25):
        room.tell(number)
        room.history().sync()
    assert room.files() == [
        "events-v2-000000000001-000000000007.parquet",
        "events-v2-000000000008-000000000017.parquet",
        "events-v2-000000000018-000000000027.parquet",
        "events-v2-000000000028-000000000032.parquet",
    ]
    room.tell(2)
    room.history().sync()
    assert room.files()[-1] == "events-v2-000000000028-000000000034.parquet"
    assert len(room.history().outcomes()) == 34


def test_a_part_that_a_crash_left_beside_its_successor_is_not_counted_twice(room: Room) -> None:
    room.tell(3)
    room.history().sync()
    old = room.folder / room.files()[0]
    shutil.copy(old, room.folder.parent / "kept")
    room.tell(3)
    room.history().sync()
    shutil.copy(room.folder.parent / "kept", old)
    (room.folder / "events-v2-000000000007-000000000009.half").write_bytes(b"half a file")
    assert len(room.files()) == 2
    assert len(room.history().outcomes()) == 6
    room.tell(1)
    room.history().sync()
    assert room.files() == ["events-v2-000000000001-000000000007.parquet"]
    assert not list(room.folder.glob("*.half"))
    assert len(room.history().outcomes()) == 7


def test_a_lost_folder_is_made_again_from_the_log(room: Room) -> None:
    room.tell(25)
    room.history().sync()
    shutil.rmtree(room.folder)
    assert room.history().sync() == 25
    assert len(room.history().outcomes()) == 25


def test_a_damaged_part_is_named_with_what_to_do(room: Room) -> None:
    room.tell(3)
    room.history().sync()
    (room.folder / room.files()[0]).write_bytes(b"not parquet at all")
    with pytest.raises(CorruptArtifact, match="made again from the event log"):
        room.history().outcomes()
    with pytest.raises(CorruptArtifact, match="made again from the event log"):
        room.history().erase("p.anna")
    room.tell(1)
    with pytest.raises(CorruptArtifact, match="made again from the event log"):
        room.history().sync()


def test_parts_of_another_version_are_not_read_and_made_again_from_the_log(room: Room) -> None:
    room.folder.mkdir()
    old = [room.folder / f"events-{name}000000000001-000000000012.parquet" for name in ("", "v1-")]
    for path in old:
        pq.write_table(pa.table({"position": [1], "type": ["impression_served"]}), path)
    assert len(room.history().outcomes()) == 0
    assert room.history().sync() == 0
    assert room.files() == []
    room.tell(12)
    pq.write_table(pa.table({"position": [1], "type": ["impression_served"]}), old[0])
    assert room.history().sync() == 12
    assert room.files() == [
        "events-v2-000000000001-000000000010.parquet",
        "events-v2-000000000011-000000000012.parquet",
    ]
    assert len(room.history().outcomes()) == 12


def test_other_columns_are_another_version() -> None:
    # When this fails, raise `rows.VERSION` and put both new figures here: old folders would be read with the wrong columns.
    columns = [f"{field.name} {field.type}" for field in SCHEMA]
    digest = hashlib.blake2b("\n".join(columns).encode(), digest_size=4).hexdigest()
    assert (VERSION, digest) == (2, "958651d8")


def test_what_has_no_columns_of_its_own_is_carried_whole(room: Room) -> None:
    market = SeasonMarked(event_id="s", at=AT, name="sale", starts=AT, ends=AT + timedelta(days=3), location="größe")
    session = SessionEnded(event_id="e", at=AT, user_id="p.anna", duration_seconds=1.5, page_views=3, campaign_id="c")
    insight = CampaignReported(
        event_id="r", at=AT, opportunity=Opportunity(opportunity_id="r", at=AT, campaign_id="c"), impressions=9, clicks=2,
        conversions=1, spend=Money(5), row_id="c/1", known_at=AT + timedelta(hours=1), impression_share=0.5,
        quality_score=7.0, average_position=1.5, budget=Money(9),
        competitors=(Competitor(name="shop.example", overlap_rate=0.25),),
    )  # fmt: skip
    room.log.append([market, session, insight, room.shown(1)])
    room.history().sync()
    rows = pq.read_table(room.folder / room.files()[0]).to_pylist()
    payloads = [row["payload"] for row in rows]
    assert msgspec.json.decode(payloads[0], type=Event) == market
    assert msgspec.json.decode(payloads[1], type=Event) == session
    assert payloads[2:] == [None, None]
    assert [row["type"] for row in rows[:2]] == ["season_marked", "session_ended"]
    assert rows[2]["known_at_utc"] == (AT + timedelta(hours=1)).replace(tzinfo=None)
    told = ("row_id", "impression_share", "quality_score", "average_position", "budget_micros")
    assert [rows[2][name] for name in told] == ["c/1", 0.5, 7.0, 1.5, 9]
    assert msgspec.json.decode(rows[2]["competitors"], type=tuple[Competitor, ...]) == insight.competitors


def test_an_erased_person_stands_in_no_file_and_does_not_come_back(room: Room) -> None:
    room.tell(8)
    room.log.append([PageViewed(event_id=f"v{i}", at=AT, user_id="p.anna", url=f"p.anna/{i}") for i in range(14)])
    room.history().sync()
    before = room.files()
    assert before[-1] == "events-v2-000000000021-000000000022.parquet"  # nothing but pages that she viewed
    untouched = (room.folder / before[0]).stat()
    (room.folder / "events-v2-000000000023-000000000023.half").write_bytes(b"p.anna")
    assert room.history().erase("p.bob") == 0
    assert (room.folder / before[0]).stat().st_mtime_ns == untouched.st_mtime_ns
    assert room.history().erase("p.anna") == 14
    assert room.files() == before
    rows = [row for name in before for row in pq.read_table(room.folder / name).to_pylist()]
    assert [row["event_id"] for row in rows] == [str(i) for i in range(8)]
    assert not list(room.folder.glob("*.half"))
    assert room.history().sync() == 0  # the positions that she stood at are not read again
    room.tell(3)
    assert room.history().sync() == 3
    assert len(room.history().outcomes()) == 11


def test_syncs_at_once_take_every_event_over_once(room: Room) -> None:
    room.tell(95)
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(room.history().sync())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 95
    assert len(room.history().outcomes()) == 95
    live, dead = find_parts(room.folder)
    assert sum(pq.read_metadata(part.path).num_rows for part in live) == 95
    assert dead == []


def test_what_is_left_of_an_erased_person_is_what_the_log_leaves(room: Room) -> None:
    cell = Opportunity(opportunity_id="o", at=AT, campaign_id="c", user_id="p.anna", attributes={"slot": "größe"})
    room.log.append([
        ImpressionServed(event_id="i", at=AT, impression_id="i", user_id="p.anna", opportunity=cell),
        ClickReceived(event_id="k", at=AT, impression_id="i", user_id="p.anna", device_id="p.phone"),
        PageViewed(event_id="v", at=AT, user_id="p.anna"), PageViewed(event_id="w", at=AT, user_id="p.bob"),
    ])  # fmt: skip
    room.history().sync()
    room.log.erase("p.anna", AT + timedelta(days=1))
    assert room.history().erase("p.anna") == 2
    erased = pq.read_table(room.folder / room.files()[0])
    shutil.rmtree(room.folder)
    room.history().sync()
    assert pq.read_table(room.folder / room.files()[0]) == erased


def test_the_names_of_what_the_opportunities_carry_are_told(room: Room) -> None:
    assert (room.history().attributes(), room.history().measures()) == ((), ())
    cell = Opportunity(opportunity_id="m", at=AT, campaign_id="c", attributes={"banner": ""}, measures={"quality": 1.0})
    room.log.append([ImpressionServed(event_id="m", at=AT, impression_id="m", opportunity=cell)])
    room.tell(3)
    room.history().sync()
    assert (room.history().attributes(), room.history().measures()) == (("banner", "slot"), ("quality",))


def test_other_tools_can_read_the_parts(room: Room) -> None:
    room.tell(12)
    room.history().sync()
    query = f"""
        SELECT keyword, opportunity->>'$.attributes.slot' AS slot, count(*)
        FROM read_parquet('{room.folder}/*.parquet') GROUP BY ALL
    """
    with duckdb.connect() as connection:
        assert connection.execute(query).fetchall() == [("shoes", "top", 12)]
