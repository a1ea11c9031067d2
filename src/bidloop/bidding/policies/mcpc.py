"""Bidding what a click has cost before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MaxCostPerClick:
    """Bid so that no click is expected to cost more than clicks have cost before.

    The policy ``mcpc`` of the RTB benchmark (Cai et al., WSDM 2017, arXiv 1701.02490): the worth of an impression
    times the cost per click of the training log. It does not know its budget, and runs out of it early when the
    budget is small.

    Parameters
    ----------
    cost_per_click
        Cost of the training log over its clicks, in the unit of the price per unit of worth.

    Examples
    --------
    >>> MaxCostPerClick(14_000.0).bids(np.array([0.001, 0.002])).tolist()
    [14.0, 28.0]
    """

    cost_per_click: float

    def bids(self, worth: NDArray[np.float64]) -> NDArray[np.float64]:
        """The bid for each worth, shape (n,)."""
        return worth * self.cost_per_click
