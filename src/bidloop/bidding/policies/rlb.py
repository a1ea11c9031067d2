"""Bidding by dynamic programming over the prices of the training log (RLB)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import InvalidInput


class ValueTable:
    """Bid as long as an impression brings more than the money it may cost would bring later.

    The strongest published policy of the RTB benchmark: Cai et al., "Real-time bidding by reinforcement learning in
    display advertising" (WSDM 2017, arXiv 1701.02490). With n auctions and b money left,

    ``V(n, b) = V(n-1, b) + Σ_{δ≤a} m(δ)·(θ̄ + V(n-1, b-δ) - V(n-1, b))``

    where m is the price histogram of the training log, θ̄ its click rate and a the largest price at which the bracket
    is not negative. The bid for an impression of worth θ is the largest a with ``θ + V(n-1, b-a) - V(n-1, b) ≥ 0``.

    Prices, budgets and bids are whole numbers. Only the differences of V in b are kept, as float32: 4 bytes for each
    auction and unit of budget. We take the histogram as it is; the authors' code adds one to each price first
    (`smoothing=1`), which moves the figures by at most one click on campaign 2997.

    Parameters
    ----------
    price_counts
        How often each whole price 0, 1, 2 … was the market price, shape (k,); its last index is the highest bid.
    average_worth
        θ̄, such as the click rate of the training log.
    auctions
        Longest episode, N.
    budget
        Largest budget, in whole units of the price. One table serves every smaller budget.
    smoothing
        Added to every count; 1 in the authors' code.
    on_progress
        Is told the share that is done.

    Raises
    ------
    InvalidInput
        When there is no auction, a negative budget, or no price that was counted.

    Examples
    --------
    Prices of 1 and 3, equally likely. With one auction left money is good for nothing else: the bid
    is all that remains. With more to come it holds back.

    >>> table = ValueTable(np.array([0, 5, 0, 5]), average_worth=0.5, auctions=10, budget=8)
    >>> table.begin(8, 10)
    >>> table.bid(0.5, remaining=2, left=1)
    2.0
    >>> table.bid(0.5, remaining=3, left=10)
    1.0
    """

    def __init__(
        self,
        price_counts: NDArray[np.float64],
        average_worth: float,
        *,
        auctions: int,
        budget: int,
        smoothing: float = 0.0,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        counts = np.asarray(price_counts, dtype=np.float64) + smoothing
        if auctions < 1 or budget < 0 or not np.isfinite(counts).all() or counts.min() < 0 or counts.sum() <= 0:
            raise InvalidInput(
                f"{auctions} auctions, a budget of {budget} and {len(counts)} price counts",
                expected="at least one auction, a budget of at least 0 and counts of which one is above 0",
            )
        self.auctions, self.budget, self.max_bid = auctions, budget, len(counts) - 1
        self._difference = np.empty((auctions, budget), dtype=np.float32)
        value = np.zeros(budget + 1)
        for n in range(auctions):
            self._difference[n] = np.diff(value)
            value = _one_more_auction(value, counts / counts.sum(), average_worth)
            if on_progress is not None:
                on_progress((n + 1) / auctions)

    def begin(self, budget: float, auctions: float) -> None:
        """A new budget starts to run.

        Raises
        ------
        InvalidInput
            When it is larger, or for more auctions, than the table was made for.
        """
        if budget > self.budget or auctions > self.auctions:
            raise InvalidInput(
                f"a budget of {budget:g} for {auctions:g} auctions",
                expected=f"at most {self.budget} for {self.auctions}",
                remedy="Make a larger table.",
            )

    def bid(self, worth: float, remaining: float, left: float) -> float:
        """The bid for an impression of this worth with so much money, and so many auctions with this one, left."""
        b, n = int(remaining), int(left)
        dearest = min(b, self.max_bid)
        # Money spent on a price of 1, 2, 3 … loses the topmost differences of the next auction's value.
        lost = np.cumsum(self._difference[n - 1, b - dearest : b][::-1], dtype=np.float64)
        return float(np.searchsorted(lost, worth, side="right"))

    def learn(self, bid: float, price: float | None, weight: float, charges: float) -> None:
        """Nothing: the table was made before the first auction."""


def _one_more_auction(value: NDArray[np.float64], chance: NDArray[np.float64], worth: float) -> NDArray[np.float64]:
    """V(n, ·) from V(n-1, ·), shape (B+1,)."""
    budget = np.arange(len(value))
    # V does not fall in b, so the lowest level still worth going down to is found by bisection.
    down_to = np.searchsorted(value, value - worth, side="left")
    highest = np.minimum(budget - down_to, len(chance) - 1)
    cumulative = np.cumsum(chance)
    raised = value.copy()
    edges = np.flatnonzero(np.diff(highest)) + 1
    # Neighbouring budgets share the highest bid: each run of them is one convolution with the price histogram.
    for start, end in zip([0, *edges.tolist()], [*edges.tolist(), len(value)], strict=True):
        first, bid = max(start, 1), int(highest[start])
        if first >= end:
            continue
        after = np.convolve(value[first - bid : end], chance[: bid + 1], "valid")
        raised[first:end] += cumulative[bid] * (worth - value[first:end]) + after
    return raised
