from __future__ import annotations

import numpy as np
import pytest

from bidloop.bidding.policies.hindsight import PerfectForesight, PerfectPrices
from bidloop.bidding.policies.rlb import ValueTable
from bidloop.core.errors import InvalidInput


def plain_value(counts: list[float], worth: float, auctions: int, budget: int) -> list[list[float]]:
    """The recursion of the paper, written out."""
    chance = [c / sum(counts) for c in counts]
    table = [[0.0] * (budget + 1)]
    for _ in range(auctions):
        before = table[-1]
        table.append(
            [
                before[b]
                + sum(
                    m * max(worth + before[b - price] - before[b], 0.0)
                    for price, m in enumerate(chance)
                    if price <= b and b > 0
                )
                for b in range(budget + 1)
            ]
        )
    return table


def plain_bid(before: list[float], worth: float, b: int, max_bid: int) -> int:
    fits = [a for a in range(min(b, max_bid) + 1) if worth + before[b - a] - before[b] >= 0]
    return max(fits)


@pytest.mark.parametrize("seed", range(5))
def test_the_value_table_bids_as_the_papers_recursion_does(seed: int) -> None:
    random = np.random.default_rng(seed)
    counts = random.integers(0, 9, 12).astype(float)
    counts[-1] += 1
    auctions, budget, worth = 12, 40, 0.37
    table = ValueTable(counts, worth, auctions=auctions, budget=budget)
    value = plain_value(counts.tolist(), worth, auctions, budget)
    for left in range(1, auctions + 1):
        for remaining in range(0, budget + 1, 3):
            for own_worth in (0.0531, 0.2719, 0.3701, 1.4142):
                expected = plain_bid(value[left - 1], own_worth, remaining, 11)
                assert table.bid(own_worth, remaining, left) == expected


def test_the_value_table_refuses_a_budget_it_was_not_made_for() -> None:
    table = ValueTable(np.array([0.0, 1.0]), 0.1, auctions=5, budget=10)
    with pytest.raises(InvalidInput, match="a budget of 11 for 5 auctions"):
        table.begin(11, 5)
    with pytest.raises(InvalidInput, match="price counts"):
        ValueTable(np.array([0.0, np.nan]), 0.1, auctions=5, budget=10)


def test_perfect_prices_take_the_best_worth_per_cost_and_skip_what_does_not_fit() -> None:
    worth, cost = np.array([9.0, 8.0, 1.0, 0.0]), np.array([3.0, 4.0, 1.0, 0.0])
    assert PerfectPrices().choose(worth, np.zeros(4), cost, 4.0).tolist() == [True, False, True, False]


def test_perfect_foresight_buys_outcomes_and_nothing_else() -> None:
    outcome, cost = np.array([0.0, 1.0, 1.0]), np.array([0.1, 5.0, 0.0])
    assert PerfectForesight().choose(np.ones(3), outcome, cost, 4.0).tolist() == [False, False, True]
