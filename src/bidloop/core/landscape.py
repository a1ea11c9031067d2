"""The bid landscape of one opportunity: what a bid wins and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Landscape:
    """Probability of winning as a function of the bid.

    Parameters
    ----------
    bids
        Increasing bids in account currency, in the unit of the opportunity's charge, float64, shape (m,).
    win_probability
        P(win | bid), non-decreasing, in [0, 1], float64, shape (m,).
    lowest, highest
        Range of bids that training saw; a bid beyond it is extrapolated.

    Examples
    --------
    A market price that is uniform on [0, 2]: a bid of 1 wins half of the auctions, at 0.5 each under second price.

    >>> import numpy as np
    >>> bids = np.linspace(0, 2, 201)
    >>> uniform = Landscape(bids, bids / 2, 0.0, 2.0)
    >>> uniform.wins(1.0), round(uniform.second_price(1.0), 3)
    (0.5, 0.5)
    """

    bids: NDArray[np.float64]
    win_probability: NDArray[np.float64]
    lowest: float
    highest: float

    def wins(self, bid: float) -> float:
        """P(win | bid)."""
        return float(np.interp(bid, self.bids, self.win_probability))

    def second_price(self, bid: float) -> float:
        """Expected market price given a win at this bid: ``b - ∫₀ᵇ F(u) du / F(b)``, in the unit of the bid."""
        won = self.wins(bid)
        if won <= 0:
            return bid
        below = self.bids < bid
        grid = np.concatenate(([0.0], self.bids[below], [bid]))
        chance = np.concatenate(([0.0], self.win_probability[below], [won]))
        return float(max(0.0, bid - np.trapezoid(chance, grid) / won))

    def extrapolates(self, bid: float) -> bool:
        """Whether the bid lies beyond the bids that the landscape was learned from."""
        return not self.lowest <= bid <= self.highest
