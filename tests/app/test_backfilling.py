from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bidloop.adapters.ibis import backfill as adapter
from bidloop.app.backfilling import backfill
from bidloop.app.settings import Settings
from bidloop.app.wiring import House, open_house
from bidloop.core.clock import ManualClock
from bidloop.core.errors import ConfigurationError, InsufficientData, InvalidInput
from bidloop.core.event import ClickReceived, ImpressionServed
from bidloop.core.opportunity import Opportunity
from bidloop.features.training import point_in_time
from bidloop.features.views import campaign_view

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = open_house(Settings(home=str(tmp_path / "home")), ManualClock(START + timedelta(days=9)))
    for i in range(40):
        at = START + timedelta(hours=i)
        about = Opportunity(opportunity_id=f"o{i}", at=at, campaign_id=f"c{i % 3}", device="mobile")
        house.intake.accept([ImpressionServed(event_id=f"s{i}", at=at, impression_id=f"i{i}", opportunity=about)])
        if i % 3 == 0:
            later = at + timedelta(minutes=2)
            house.intake.accept([ClickReceived(event_id=f"k{i}", at=later, impression_id=f"i{i}")])
    yield house
    house.close()


def test_every_row_is_written_as_of_its_own_instant(house, tmp_path):
    heard: list[tuple[str, float]] = []
    view = campaign_view(half_life_days=1.0)
    done = backfill(house, view, tmp_path / "rows.parquet", on_progress=lambda *told: heard.append(told))
    rows, outcomes = pq.read_table(done.file), house.history.outcomes()
    table = point_in_time(view, house.history.observations(), outcomes.opportunities)
    assert (done.view, done.rows, done.facts) == (view.version, 40, 54)
    for name, column in table.numeric.items():
        np.testing.assert_allclose(rows[name].to_numpy(), column, rtol=1e-9, atol=1e-9, err_msg=name)
    shares = [share for _, share in heard]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


def test_a_range_of_time_writes_its_rows_alone_with_the_same_values(house, tmp_path):
    start, end = START + timedelta(hours=10), START + timedelta(hours=20)
    whole = pq.read_table(backfill(house, campaign_view(), tmp_path / "whole.parquet").file)
    part = pq.read_table(backfill(house, campaign_view(), tmp_path / "part.parquet", start=start, end=end).file)
    assert part["impression_id"].to_pylist() == [f"i{i}" for i in range(10, 20)]
    np.testing.assert_allclose(part["account_ctr"].to_numpy(), whole["account_ctr"].to_numpy()[10:20], rtol=1e-9)


def test_a_sample_is_as_large_as_was_asked_for_and_no_larger_than_what_there_is(house, tmp_path):
    assert backfill(house, campaign_view(), tmp_path / "few.parquet", rows=7).rows == 7
    assert backfill(house, campaign_view(), tmp_path / "all.parquet", rows=700).rows == 40


def test_nothing_shown_is_an_error_that_says_so_and_leaves_nothing(house, tmp_path):
    with pytest.raises(InsufficientData, match="nothing was shown from 2027-01-01T00:00:00"):
        backfill(house, campaign_view(), tmp_path / "out" / "rows.parquet", start=datetime(2027, 1, 1, tzinfo=UTC))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_run_that_fails_leaves_the_old_file_and_nothing_half_written(house, tmp_path, monkeypatch):
    output = tmp_path / "out" / "rows.parquet"
    backfill(house, campaign_view(), output)
    before = output.read_bytes()

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(adapter, "write_rows", full)
    with pytest.raises(OSError, match="no space"):
        backfill(house, campaign_view(), output)
    assert [path.name for path in output.parent.iterdir()] == ["rows.parquet"]
    assert output.read_bytes() == before


def test_what_makes_no_sense_is_refused_before_anything_is_done(house, tmp_path):
    with pytest.raises(InvalidInput, match=r"ends on \.parquet"):
        backfill(house, campaign_view(), tmp_path / "rows.csv")
    with pytest.raises(InvalidInput, match="0 rows"):
        backfill(house, campaign_view(), tmp_path / "rows.parquet", rows=0)


def test_without_ibis_the_extra_is_named(house, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("bidloop.adapters.ibis")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ibis", None)
    with pytest.raises(ConfigurationError, match=r"pip install bidloop\[ibis\]"):
        backfill(house, campaign_view(), tmp_path / "rows.parquet")
