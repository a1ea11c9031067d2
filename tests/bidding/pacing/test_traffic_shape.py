"""Which share of the day's traffic comes by when."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from bidloop.bidding.pacing.traffic import TrafficShape
from bidloop.core.errors import ConfigurationError, InvalidInput

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


def test_an_even_day_passes_with_the_clock() -> None:
    shape = TrafficShape()
    shares = [shape.elapsed(MONDAY + timedelta(hours=hours)) for hours in (0, 6, 12, 23.5)]
    assert shares == pytest.approx([0, 0.25, 0.5, 23.5 / 24])


def test_the_share_never_falls_within_a_day() -> None:
    rng = np.random.default_rng(1)
    shape = TrafficShape(weights=tuple(tuple(map(float, day)) for day in rng.random((7, 24))), timezone="Europe/Berlin")
    start = datetime(2026, 3, 28, 23, tzinfo=UTC)  # Berlin's midnight, on the day with 23 hours
    shares = [shape.elapsed(start + timedelta(minutes=minutes)) for minutes in range(23 * 60)]
    assert shares[0] == 0
    assert np.all(np.diff(shares) > 0)
    assert shares[-1] > 0.99


@pytest.mark.parametrize(("date", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 6, 1), 24)])
def test_a_day_of_a_clock_change_has_its_own_length(date: tuple[int, int, int], hours: int) -> None:
    shape = TrafficShape(timezone="Europe/Berlin")
    day = shape.day(datetime(*date, 12, tzinfo=ZoneInfo("Europe/Berlin")))
    assert (day.end - day.start) / 3600 == hours == len(day.passed) - 1
    assert day.elapsed(day.start + hours * 1800) == pytest.approx(0.5)


def test_an_hour_keeps_its_traffic_on_a_day_of_a_clock_change() -> None:
    lunch = tuple(float(hour == 12) for hour in range(24))
    shape = TrafficShape(weights=(lunch,) * 7, timezone="Europe/Berlin")
    assert shape.elapsed(datetime(2026, 3, 29, 12, 30, tzinfo=ZoneInfo("Europe/Berlin"))) == pytest.approx(0.5)


def test_half_an_hour_of_clock_change_is_half_an_hour_of_traffic() -> None:
    day = TrafficShape(timezone="Australia/Lord_Howe").day(datetime(2026, 10, 4, 2, tzinfo=UTC))
    assert day.end - day.start == 23.5 * 3600
    assert day.elapsed(day.end - 900) == pytest.approx(1 - 0.25 / 23.5)


def test_the_day_begins_at_the_accounts_midnight() -> None:
    late = datetime(2026, 1, 5, 16, 30, tzinfo=UTC)  # half past midnight on Tuesday in Shanghai
    shape = TrafficShape(timezone="Asia/Shanghai")
    assert shape.day(late).date.day == 6
    assert shape.elapsed(late) == pytest.approx(0.5 / 24)


def test_a_learned_shape_finds_the_hours_of_the_log() -> None:
    rng = np.random.default_rng(2)
    hours = np.concatenate([rng.choice(24, 5000, p=_evening()) + 24 * day for day in range(14)])
    at = np.datetime64("2026-01-05T00:00:00") + hours.astype("timedelta64[h]")
    shape = TrafficShape.learn(at)
    for weekday in range(7):
        assert np.abs(np.array(shape.weights[weekday]) - _evening()).max() < 0.01


def test_counts_and_rows_say_the_same() -> None:
    at = np.array(["2026-01-05T08:10", "2026-01-05T08:20", "2026-01-06T20:00"], dtype="datetime64[us]")
    rows = TrafficShape.learn(np.repeat(at, [3, 1, 2]))
    assert TrafficShape.learn(at, np.array([3.0, 1.0, 2.0])) == rows


def test_a_log_in_utc_is_learned_in_the_accounts_hours() -> None:
    at = np.full(10, np.datetime64("2026-01-05T20:00:00"))  # Tuesday, four in the morning in Shanghai
    shape = TrafficShape.learn(at, timezone="Asia/Shanghai", smoothing=0.0)
    assert np.argmax(shape.weights[1]) == 4
    assert sum(shape.weights[0]) == 0
    assert shape.elapsed(datetime(2026, 1, 5, 4, tzinfo=UTC)) == pytest.approx(0.5), "a weekday without traffic is even"


def test_an_empty_log_gives_an_even_day() -> None:
    assert TrafficShape.learn(np.array([], dtype="datetime64[us]")) == TrafficShape()


def test_a_table_of_shares_gives_hours_and_weekdays() -> None:
    table = np.ones((7, 24))
    table[6] = 0.25
    table[0, 12:] = 3.0
    shape = TrafficShape.from_shares(table / table.sum(), timezone="Europe/Berlin")
    assert shape.weekday_shares == pytest.approx(np.array([48, 24, 24, 24, 24, 24, 6]) / 174)
    assert shape.elapsed(datetime(2026, 1, 5, 12, tzinfo=ZoneInfo("Europe/Berlin"))) == pytest.approx(0.25)
    assert sum(shape.volume(date(2026, 1, 5) + timedelta(days=i)) for i in range(7)) == pytest.approx(7)
    assert TrafficShape.from_shares(np.zeros((7, 24))) == TrafficShape(weights=((0.0,) * 24,) * 7)


def test_a_log_tells_what_weekdays_bring_however_often_each_is_in_it() -> None:
    days = [date(2026, 1, 5) + timedelta(days=i) for i in range(24)]  # Monday to Wednesday are there four times
    at = np.array([np.datetime64(f"{day}T12:00") for day in days])
    counts = np.array([50.0 if day.weekday() >= 5 else 100.0 for day in days])
    shares = np.array(TrafficShape.learn(at, counts, smoothing=0.0).weekday_shares)
    assert shares / shares[0] == pytest.approx([1] * 5 + [0.5] * 2)
    smooth = TrafficShape.learn(at, counts).weekday_shares
    assert 0.5 < smooth[6] / smooth[0] < 0.65


def test_weekdays_that_a_log_does_not_have_are_taken_as_average() -> None:
    at = np.array(["2026-01-05T08", "2026-01-06T08"], dtype="datetime64[us]")
    shape = TrafficShape.learn(at, [100.0, 300.0], smoothing=0.0)
    assert shape.volume(date(2026, 1, 7)) == pytest.approx(1)
    assert shape.volume(date(2026, 1, 6)) == pytest.approx(1.5)


def test_a_shape_that_was_stored_before_it_knew_weekdays_still_reads() -> None:
    text = msgspec.json.encode({"weights": [[1.0] * 24] * 7, "timezone": "Europe/Berlin"})
    shape = msgspec.json.decode(text, type=TrafficShape)
    assert shape.volume(date(2026, 1, 5)) == pytest.approx(1)
    assert msgspec.json.decode(msgspec.json.encode(shape), type=TrafficShape) == shape


@pytest.mark.data
def test_avitos_hourly_shares_make_a_shape(data: Callable[[str], Path]) -> None:
    """The evening is quieter than the afternoon, and the weekend than the week."""
    tables: dict[str, np.ndarray] = {}
    with gzip.open(data("avito_traffic") / "traffic_share.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            table = tables.setdefault(row["region_id"], np.zeros((7, 24)))
            table[int(row["dow"]) - 1, int(row["hour"])] = float(row["traffic_share"])
    assert len(tables) == 114
    mean = np.mean(list(tables.values()), axis=0)
    shape = TrafficShape.from_shares(mean)
    assert sum(shape.weekday_shares) == pytest.approx(1)
    assert shape.weekday_shares == pytest.approx(mean.sum(axis=1) / mean.sum(), abs=1e-9)
    assert max(shape.weekday_shares[5:]) < min(shape.weekday_shares[:5])
    assert shape.elapsed(MONDAY + timedelta(hours=12)) == pytest.approx(0.342, abs=1e-3)
    assert np.argmin(shape.weights[0]) in (2, 3, 4)


def test_shapes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="7 weekdays of 24 hours"):
        TrafficShape(weights=((1.0,) * 23,) * 7)
    with pytest.raises(ConfigurationError, match="negative or not finite"):
        TrafficShape(weights=((float("nan"),) * 24,) * 7)
    with pytest.raises(ConfigurationError, match="weekday shares"):
        TrafficShape(weekday_shares=(0.5, -0.1, 0.1, 0.1, 0.1, 0.1, 0.1))
    with pytest.raises(ConfigurationError, match=r"\(24, 7\)"):
        TrafficShape.from_shares(np.ones((24, 7)))
    with pytest.raises(InvalidInput, match="negative or not finite"):
        TrafficShape.learn(np.array(["2026-01-05"], dtype="datetime64[us]"), [-1.0])


def _evening() -> np.ndarray:
    weights = 1 + 0.8 * np.sin((np.arange(24) - 12) / 24 * 2 * np.pi)
    return weights / weights.sum()
