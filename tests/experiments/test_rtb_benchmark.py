from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bidloop.core.errors import InvalidInput, NotFound
from bidloop.experiments.auctions import Auctions
from bidloop.experiments.periods import episodes
from bidloop.experiments.rtb_benchmark import Benchmark, compare, run
from bidloop.experiments.tuning import best_setting


class Times:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def bids(self, worth: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.factor * worth


def log(n: int = 2000) -> Auctions:
    random = np.random.default_rng(1)
    ctr = random.uniform(0.01, 0.2, n)
    return Auctions.of(ctr=ctr, market_price=random.integers(1, 30, n), click=random.random(n) < ctr, charge=None)


def test_the_rows_are_what_each_policy_bought_at_each_budget() -> None:
    made: list[float] = []

    def make(budget: float) -> Times:
        made.append(budget)
        return Times(100.0)

    result = run(log(), {"small": 100.0, "large": 1e6}, {"times": make}, episode=500)
    assert made == [100.0, 1e6]
    assert [row.budget for row in result.rows] == ["small", "large"]
    small, large = result.rows
    assert small.spend <= 400.0
    assert small.impressions < large.impressions
    assert result.by_episode["times", "small"].sum(axis=0) == pytest.approx([small.clicks, small.expected_clicks])


def test_expected_clicks_of_everything_are_the_clicks_of_the_log() -> None:
    auctions = log()
    row = run(auctions, {"all": np.inf}, {"all": lambda budget: Times(1e6)}).row("all", "all")
    assert row.expected_clicks == pytest.approx(auctions.click.sum())


def test_a_comparison_is_of_episodes_and_its_interval_covers_the_difference() -> None:
    random = np.random.default_rng(0)
    ours, other = random.poisson(5.0, (200, 2)).astype(float), random.poisson(4.0, (200, 2)).astype(float)
    result = Benchmark([], {("ours", "1/2"): ours, ("other", "1/2"): other})
    difference = compare(result, "ours", "other", ["1/2"])
    assert difference.clicks == (ours - other)[:, 0].sum()
    low, high = difference.clicks_interval
    # A difference of two Poisson counts of 5 and 4 has the variance 9 in each of 200 episodes.
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(200 * 9.0), rel=0.15)
    assert compare(result, "ours", "ours", ["1/2"]).clicks_interval == (0.0, 0.0)


def test_comparing_what_did_not_run_names_what_did() -> None:
    with pytest.raises(NotFound, match="no run of 'b' at '1/2'"):
        compare(Benchmark([], {("a", "1/2"): np.zeros((3, 2))}), "a", "b", ["1/2"])
    with pytest.raises(InvalidInput, match="no budgets"):
        compare(Benchmark([], {}), "a", "b", [])


def test_tuning_finds_the_factor_that_buys_most() -> None:
    auctions = log()
    factors = np.geomspace(1, 1000, 30).tolist()
    factor, tally = best_setting(Times, factors, auctions, 500.0, episodes(auctions, 500))
    bought = run(auctions, {"b": 500.0}, {str(f): lambda budget, f=f: Times(f) for f in factors}, episode=500)
    best = max(bought.rows, key=lambda row: row.expected_clicks)
    assert str(factor) == best.policy
    assert tally.spend == best.spend
