"""The benchmark of spend forecasts runs, on little, and shows that their intervals hold where the clock's do not."""

from __future__ import annotations

from benchmarks import spend_forecast


def test_intervals_of_the_day_hold_and_err_far_less_than_the_clock() -> None:
    rows = spend_forecast.run_days(40, seed=2, kinds=["held", "under"], noises=["middle"])
    for when in ("6:00", "12:00", "18:00"):
        found = {way: [row for row in rows if (row.when, row.way) == (when, way)] for way in ("ours", "clock")}
        covered = sum(row.covered for row in found["ours"]) / 2
        assert 0.68 < covered < 0.92
        assert sum(row.error for row in found["ours"]) < 0.6 * sum(row.error for row in found["clock"])


def test_intervals_of_the_month_hold_more_often_than_the_clocks() -> None:
    rows = spend_forecast.run_months(12, seed=2, kinds=["under"], noises=["middle", "high"])
    covered = {way: sum(row.covered for row in rows if row.way == way) / 6 for way in ("ours", "clock")}
    assert covered["clock"] + 0.1 < covered["ours"] < 0.97
    assert covered["ours"] > 0.65
