"""The ceilings: what could have been bought by someone who knew the future."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def _fill(utility: NDArray[np.float64], cost: NDArray[np.float64], budget: float) -> NDArray[np.bool_]:
    """Take the best utility per cost first, and whatever still fits: the greedy rule for a knapsack."""
    ratio = np.divide(utility, cost, out=np.full(len(cost), np.inf), where=cost > 0)
    chosen = np.zeros(len(cost), dtype=bool)
    remaining = budget
    order = np.argsort(-ratio, kind="stable")
    order = order[utility[order] > 0]
    for row, price in zip(order.tolist(), cost[order].tolist(), strict=True):
        if price <= remaining:
            chosen[row] = True
            remaining -= price
    return chosen


class PerfectPrices:
    """Know every market price of the period beforehand, but not who will click: the most these predictions can buy.

    Greedy by expected worth per cost (Dantzig 1957): short of the optimum by less than the last impression that did
    not fit.

    Examples
    --------
    >>> worth, outcome, cost = np.array([0.3, 0.2, 0.1]), np.array([0.0, 0.0, 1.0]), np.array([3.0, 1.0, 1.0])
    >>> PerfectPrices().choose(worth, outcome, cost, budget=2.0).tolist()
    [False, True, True]
    """

    def choose(
        self, worth: NDArray[np.float64], outcome: NDArray[np.float64], cost: NDArray[np.float64], budget: float
    ) -> NDArray[np.bool_]:
        """Which auctions to win."""
        return _fill(worth, cost, budget)


class PerfectForesight:
    """Know every price and every outcome beforehand: what no bidder can pass.

    What is left of the budget once all that brings something is bought stays unspent.

    Examples
    --------
    >>> worth, outcome, cost = np.array([0.3, 0.2, 0.1]), np.array([0.0, 0.0, 1.0]), np.array([3.0, 1.0, 1.0])
    >>> PerfectForesight().choose(worth, outcome, cost, budget=2.0).tolist()
    [False, False, True]
    """

    def choose(
        self, worth: NDArray[np.float64], outcome: NDArray[np.float64], cost: NDArray[np.float64], budget: float
    ) -> NDArray[np.bool_]:
        """Which auctions to win."""
        return _fill(outcome, cost, budget)
