"""A bid in proportion to the worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Linear:
    """Bid a base price for an impression of average worth, and in proportion for the others.

    The policy ``lin`` of Perlich et al., "Bid optimizing and inventory scoring in targeted online advertising" (KDD
    2012), with the base bid tuned to the budget as in Zhang, Yuan and Wang, "Optimal real-time bidding for display
    advertising" (KDD 2014).

    Parameters
    ----------
    base
        The bid for `average_worth`, in the unit of the price. Tune it with `bidloop.experiments.tuning.best_setting`.
    average_worth
        Such as the click rate of the training log. Above 0.

    Examples
    --------
    >>> Linear(10.0, average_worth=0.002).bids(np.array([0.001, 0.002, 0.004])).tolist()
    [5.0, 10.0, 20.0]
    """

    base: float
    average_worth: float

    def bids(self, worth: NDArray[np.float64]) -> NDArray[np.float64]:
        """The bid for each worth, shape (n,)."""
        return self.base * worth / self.average_worth
