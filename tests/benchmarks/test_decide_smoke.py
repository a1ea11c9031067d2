"""What one bid costs, short."""

from __future__ import annotations

from benchmarks.decide import money, stages


def test_every_kind_of_bid_and_both_ways_of_holding_money_are_timed() -> None:
    told = stages(20) | money(1_000)
    assert len(told) == 7
    assert min(told.values()) > 0
