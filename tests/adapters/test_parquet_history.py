"""Part files: never half written, never counted twice, made again when they are lost."""

from __future__ import annotations

import shutil
import threading
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from bidloop.adapters.parquet.history import ParquetHistory
from bidloop.adapters.parquet.parts import find_parts
from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.decision_log import SqlDecisionLog
from bidloop.adapters.sql.event_log import SqlEventLog
from bidloop.core.errors import CorruptArtifact
from bidloop.core.event import ImpressionServed
from bidloop.core.opportunity import Opportunity

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Room:
    def __init__(self, folder: Path) -> None:
        engine = open_database(folder / "bidloop.db")
        self.log = SqlEventLog(engine)
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
        "events-000000000001-000000000007.parquet",
        "events-000000000008-000000000017.parquet",
        "events-000000000018-000000000027.parquet",
        "events-000000000028-000000000032.parquet",
    ]
    room.tell(2)
    room.history().sync()
    assert room.files()[-1] == "events-000000000028-000000000034.parquet"
    assert len(room.history().outcomes()) == 34


def test_a_part_that_a_crash_left_beside_its_successor_is_not_counted_twice(room: Room) -> None:
    room.tell(3)
    room.history().sync()
    old = room.folder / room.files()[0]
    shutil.copy(old, room.folder.parent / "kept")
    room.tell(3)
    room.history().sync()
    shutil.copy(room.folder.parent / "kept", old)
    (room.folder / "events-000000000007-000000000009.half").write_bytes(b"half a file")
    assert len(room.files()) == 2
    assert len(room.history().outcomes()) == 6
    room.tell(1)
    room.history().sync()
    assert room.files() == ["events-000000000001-000000000007.parquet"]
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
