"""What every quarantine must do, on every adapter."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.quarantine import SqlQuarantine
from bidloop.events.ports import Quarantine
from bidloop.events.rejected import Rejected


def row(position: int, code: str = "unknown_date", raw: str = "a,b") -> Rejected:
    return Rejected(
        source="r.csv", position=position, code=code, reason="why", raw=raw, at=datetime(2026, 1, 1, tzinfo=UTC)
    )


@pytest.fixture(params=["sqlite"])
def open_quarantine(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Quarantine]:
    return {"sqlite": lambda: SqlQuarantine(open_database(tmp_path / "bidloop.db"))}[request.param]


def test_rows_come_back_newest_first_and_no_more_than_asked(open_quarantine) -> None:
    open_quarantine().keep([row(1), row(2)])
    open_quarantine().keep([row(3)])
    assert open_quarantine().list() == [row(3), row(2), row(1)]
    assert open_quarantine().list(limit=1) == [row(3)]


def test_the_same_row_twice_is_kept_once_even_when_it_comes_later(open_quarantine) -> None:
    quarantine = open_quarantine()
    quarantine.keep([row(1), row(1)])
    quarantine.keep([msgspec.structs.replace(row(1), at=datetime(2026, 2, 2, tzinfo=UTC))])
    assert quarantine.list() == [row(1)]


def test_the_same_line_of_a_changed_file_is_another_row(open_quarantine) -> None:
    quarantine = open_quarantine()
    quarantine.keep([row(1), row(1, raw="a,c"), row(1, code="not_finite")])
    assert quarantine.counts() == {"not_finite": 1, "unknown_date": 2}


def test_keeping_nothing_is_nothing(open_quarantine) -> None:
    open_quarantine().keep([])
    assert open_quarantine().counts() == {}


def test_many_rows_at_once_are_kept(open_quarantine) -> None:
    quarantine = open_quarantine()
    quarantine.keep([row(i) for i in range(2_500)])
    quarantine.keep([row(i) for i in range(2_501)])
    assert quarantine.counts() == {"unknown_date": 2_501}
