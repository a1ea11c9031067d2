"""The same bid for everything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Constant:
    """Bid the same amount for everything, whatever it is worth.

    Parameters
    ----------
    amount
        The bid, in the unit of the price.

    Examples
    --------
    >>> Constant(3.0).bids(np.array([0.001, 0.5])).tolist()
    [3.0, 3.0]
    """

    amount: float

    def bids(self, worth: NDArray[np.float64]) -> NDArray[np.float64]:
        """The bid for each worth, shape (n,)."""
        return np.full(len(worth), self.amount)
