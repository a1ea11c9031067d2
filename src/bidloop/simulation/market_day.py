"""One day of a market, and what became of it."""

from __future__ import annotations

import numpy as np

from bidloop.core.opportunity import Opportunity
from bidloop.simulation.potential import Potential


class MarketDay:
    """One day of a market: its opportunities, their potential outcomes, and what became of the bids on them.

    Parameters
    ----------
    opportunities
        In order of time, n of them.
    potential
        Of the same n auctions.
    """

    def __init__(self, opportunities: list[Opportunity], potential: Potential) -> None:
        n = len(opportunities)
        self.opportunities = opportunities
        self.potential = potential
        self.row = {opportunity.opportunity_id: i for i, opportunity in enumerate(opportunities)}
        # Auctions are held one by one, and plain numbers are read ten times as fast from a list as from an array.
        self.price: list[int] = potential.price.tolist()
        self.weight: list[float] = potential.weight.tolist()
        self.click: list[bool] = potential.click.tolist()
        self.settled = np.zeros(n, dtype=bool)
        self.won = np.zeros(n, dtype=bool)
        self.spend = np.zeros(n)
        self.predicted = np.zeros((n, 3))
        self.spent: dict[str, float] = {}
