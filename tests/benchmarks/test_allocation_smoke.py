"""The benchmark of allocations runs, on little, and shows what it promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks import allocation


def test_ours_is_nearer_to_the_best_than_the_others_and_its_intervals_hold() -> None:
    rows, covered = allocation.simulate("four weeks", 5, seed=3, days=28, campaigns=6)
    found = {row.way: row for row in rows}
    for way in ("today", "random", "by past return", "naive"):
        assert found["ours"].short < found[way].short
    assert found["ours"].worse_than_today == 0
    held = {told.what: told.covered for told in covered}
    assert held["outcome at today's spend"] > 0.8
    assert held["elasticity"] > 0.75


def test_on_the_real_report_what_ours_moves_goes_to_the_best_of_june(data: Callable[[str], Path]) -> None:
    path = data("display_campaign_report") / allocation.default_report().name
    _, rows = allocation.judge_report(path, "campaign", resamples=20, seed=1)
    found = {row.way: row for row in rows}
    assert found["ours"].gain_interval[0] > 0
    assert found["ours"].top_average == 1.0 > found["random"].top_average
