"""The benchmark of an average CPA runs, on little, and shows what it promises."""

from __future__ import annotations

from benchmarks import target_cpa


def test_the_average_keeps_its_target_and_late_conversions_are_its_test() -> None:
    rows = {row.way: row for row in target_cpa.run(2, cases=({"promises": 1.3, "delay": 5.0},))}
    assert rows["average"].cpa < target_cpa.TARGET
    assert rows["average"].bought > 1.2 * rows["each win"].bought
    assert rows["not delay-corrected"].bought < rows["average"].bought - 0.03
