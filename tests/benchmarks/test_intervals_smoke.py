"""The benchmark of the intervals runs, on little, and holds every kind of interval to the same promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import intervals


def test_on_a_small_market_ours_are_narrower_than_any_spreadsheets_and_saying_nothing_fails() -> None:
    rows = intervals.market(3, ("smoothed",), auctions=4000)
    assert {row.part for row in rows} == {"true CTR", "true conversion rate"}
    found = {row.interval: row for row in rows if row.part == "true CTR"}
    assert found["± 0.95"].covered == 1
    assert not found["± 0.95"].passes
    assert found["ours"].covered > 0.85
    assert found["ours"].width < min(found[name].width for name in ("Wald", "Wilson", "Jeffreys"))


def test_the_coming_days_of_the_campaign_report_are_covered_as_stated(data: Callable[[str], Path]) -> None:
    log = data("display_campaign_report") / "online_advertising_performance_data.csv.gz"
    found = {row.interval: row for row in intervals.report(log, ("smoothed",), seed=1, first=77)}
    assert 0.92 < found["ours"].covered < 0.98, (
        "two weeks are too few for the promise itself, which the benchmark holds"
    )
    assert not any(found[name].passes for name in ("Wald", "Wilson", "Jeffreys", "± 0.95"))
    assert found["Jeffreys predictive"].covered < 0.9, "told how many impressions come, but not that rates move"
    assert found["own past days"].width > found["ours"].width


def test_the_peers_are_those_of_the_textbook() -> None:
    bounds = intervals.peers(np.array([0.1]), np.array([100.0]), np.array([10.0]))
    assert np.round(np.concatenate(bounds["Wald"]), 3).tolist() == [0.041, 0.159]
    assert np.round(np.concatenate(bounds["Wilson"]), 3).tolist() == [0.055, 0.174]
    assert np.round(np.concatenate(bounds["Jeffreys"]), 3).tolist() == [0.053, 0.170]
    nothing = intervals.peers(np.array([0.1]), np.zeros(1), np.zeros(1))
    assert np.concatenate(nothing["Wald"]).tolist() == [0.0, 1.0]


def test_the_peers_that_predict_know_the_past_of_the_cell_and_how_many_impressions_come() -> None:
    day, one = np.arange(4), np.full(4, 100.0)
    table = intervals.Table.of(np.array(["a"] * 4), day, one, np.array([10.0, 20.0, 30.0, 0.0]))
    found = table.predictive(np.array([0, 3]))
    assert [bound[0] for name in found for bound in found[name]] == [0.0, 1.0, 0.0, 1.0], (
        "nothing is known on the first day"
    )
    low, high = (bound[1] for bound in found["own past days"])
    assert (low, high) == (np.quantile([0.1, 0.2, 0.3], 0.025), np.quantile([0.1, 0.2, 0.3], 0.975))
    rng = np.random.default_rng(0)
    drawn = rng.binomial(100, rng.beta(60.5, 240.5, 200_000)) / 100
    predictive = [bound[1] for bound in found["Jeffreys predictive"]]
    assert np.allclose(predictive, np.quantile(drawn, [0.025, 0.975]), atol=0.01)
