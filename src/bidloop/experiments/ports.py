"""What a policy must answer to be replayed. It is one of three kinds, by what it is allowed to know.

A policy speaks of `worth`: what is expected of one unit of what the price pays for (of a click where clicks are
priced, of an impression otherwise), and bids in the unit of the price.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class FixedBids(Protocol):
    """Bids from the worth alone, whatever happened before."""

    def bids(self, worth: NDArray[np.float64]) -> NDArray[np.float64]:
        """The bid for each worth, shape (n,)."""
        ...


@runtime_checkable
class AdaptiveBids(Protocol):
    """Bids one auction at a time, knowing its budget and what became of its own bids: never what comes later."""

    def begin(self, budget: float, auctions: float) -> None:
        """A new budget starts to run, for about this many auctions."""
        ...

    def bid(self, worth: float, remaining: float, left: float) -> float:
        """The bid, given the rest of the budget and the number of auctions still to come, this one included."""
        ...

    def learn(self, bid: float, price: float | None, weight: float, charges: float) -> None:
        """What became of the bid just made.

        Parameters
        ----------
        bid
            The bid as it was sent, after the cap and the rest of the budget.
        price
            The market price where the bid won; `None` where it lost, which only says that the price is above the bid.
        weight
            How many auctions it stands for.
        charges
            How many prices a win is expected to cost.
        """
        ...


@runtime_checkable
class Foresight(Protocol):
    """Chooses with the whole period before it, prices included: no policy, but a ceiling for them."""

    def choose(
        self, worth: NDArray[np.float64], outcome: NDArray[np.float64], cost: NDArray[np.float64], budget: float
    ) -> NDArray[np.bool_]:
        """Which of the period's auctions to win.

        Parameters
        ----------
        worth
            What is expected of winning, weights included, shape (n,).
        outcome
            What winning does bring, weights included, shape (n,).
        cost
            What winning costs, shape (n,).
        """
        ...


Policy: TypeAlias = FixedBids | AdaptiveBids | Foresight
