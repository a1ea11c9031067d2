"""What every quarantine must do, on every adapter."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from bidloop.adapters.memory.quarantine import MemoryQuarantine
from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.quarantine import SqlQuarantine
from bidloop.core.errors import NotFound
from bidloop.events.ports import Kept, Quarantine
from bidloop.events.rejected import Rejected
from bidloop.events.sealing import Seal


def row(position: int, code: str = "unknown_date", raw: bytes = b"a,b") -> Rejected:
    return Rejected(
        source="r.csv", position=position, code=code, reason="why", raw=raw, at=datetime(2026, 1, 1, tzinfo=UTC)
    )


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def open_quarantine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Quarantine]]:
    if request.param == "memory":
        one = MemoryQuarantine()
        yield lambda: one
        return
    place = tmp_path / "bidloop.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with ExitStack() as stack:

        def open_it() -> Quarantine:
            engine = open_database(place)
            stack.callback(engine.dispose)
            return SqlQuarantine(engine, Seal(bytes(32)))

        yield open_it


def rows(kept: list[Kept]) -> list[Rejected]:
    return [one.row for one in kept]


def test_rows_come_back_newest_first_and_no_more_than_asked(open_quarantine) -> None:
    open_quarantine().keep([row(1), row(2)])
    open_quarantine().keep([row(3)])
    assert rows(open_quarantine().list()) == [row(3), row(2), row(1)]
    assert rows(open_quarantine().list(limit=1)) == [row(3)]


def test_the_same_row_twice_is_kept_once_even_when_it_comes_later(open_quarantine) -> None:
    quarantine = open_quarantine()
    quarantine.keep([row(1), row(1)])
    quarantine.keep([msgspec.structs.replace(row(1), at=datetime(2026, 2, 2, tzinfo=UTC))])
    assert rows(quarantine.list()) == [row(1)]


def test_the_same_line_of_a_changed_file_is_another_row(open_quarantine) -> None:
    quarantine = open_quarantine()
    quarantine.keep([row(1), row(1, raw=b"a,c"), row(1, code="not_finite")])
    assert quarantine.counts() == {"not_finite": 1, "unknown_date": 2}


def test_keeping_nothing_is_nothing(open_quarantine) -> None:
    open_quarantine().keep([])
    assert open_quarantine().counts() == {}


def test_many_rows_at_once_are_kept(open_quarantine) -> None:
    quarantine = open_quarantine()
    quarantine.keep([row(i) for i in range(2_500)])
    quarantine.keep([row(i) for i in range(2_501)])
    assert quarantine.counts() == {"unknown_date": 2_501}


def test_rows_are_found_by_code_by_state_and_by_the_beginning_of_their_id(open_quarantine) -> None:
    quarantine = open_quarantine()
    quarantine.keep([row(1), row(2, code="not_finite")])
    [kept] = quarantine.list(code="not_finite")
    assert quarantine.get(kept.id) == quarantine.get(kept.id[:10]) == kept
    for unclear in ("", "nothing", "%"):
        with pytest.raises(NotFound):
            quarantine.get(unclear)
    quarantine.settle([kept.id], "replayed")
    assert quarantine.list(code="not_finite") == []
    assert [one.state for one in quarantine.list(state=None)] == ["replayed", "waiting"]
    assert quarantine.counts() == {"unknown_date": 1}


@pytest.mark.parametrize("state", ["replayed", "dismissed"])
def test_a_row_that_is_settled_and_comes_again_is_not_kept_again(open_quarantine, state) -> None:
    quarantine = open_quarantine()
    quarantine.keep([row(1)])
    quarantine.settle([quarantine.list()[0].id], state)
    quarantine.keep([row(1)])
    assert quarantine.counts() == {}


def test_bytes_that_are_no_text_come_back_as_they_were(open_quarantine) -> None:
    odd = row(1, raw=bytes(range(256)))
    open_quarantine().keep([odd])
    assert rows(open_quarantine().list()) == [odd]


def test_erased_rows_are_gone(open_quarantine) -> None:
    quarantine = open_quarantine()
    quarantine.keep([row(1), row(2)])
    assert quarantine.erase([quarantine.list()[0].id, "unknown"]) == 1
    assert rows(quarantine.list()) == [row(1)]


def test_writers_at_once_keep_a_row_once(open_quarantine) -> None:
    open_quarantine()
    failed: list[Exception] = []

    def write() -> None:
        try:
            quarantine = open_quarantine()
            for i in range(20):
                quarantine.keep([row(i), row(i + 1)])
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert open_quarantine().counts() == {"unknown_date": 21}
