"""What the competitors bid, and the floors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bidloop.core.money import MICROS
from bidloop.simulation.randomness import stream
from bidloop.simulation.settings import WorldSettings
from bidloop.simulation.traffic import Cells

CENT = MICROS // 100
FLOOR_SPREAD = 0.3
"""Standard deviation of the logarithm of floors between campaigns and locations."""


class Prices:
    """The highest competing bid: log-normal around what the competitors believe the impression is worth.

    Competitors see the same cells and know part of the truth, so prices rise with value, by the power of
    `competitor_knowledge`; each campaign × hour and each location has a level of its own; the rest is noise. They bid
    for impressions. What a click must be bid, where bids are for clicks, is that price over the true rate of clicks:
    such platforms rank by bid times expected clicks, and are taken to know them.

    Parameters
    ----------
    settings
        Level, spread and noise of the prices.
    typical_worth
        What an impression is worth on average, in account currency.
    """

    def __init__(self, settings: WorldSettings, typical_worth: float) -> None:
        self._settings = settings
        self._typical = typical_worth
        campaigns, locations = len(settings.campaigns), len(settings.locations)
        rng = stream(settings.seed, "price levels")
        self._by_hour = rng.normal(0.0, settings.price_spread, (campaigns, 24))
        self._by_location = rng.normal(0.0, settings.price_spread, locations)
        level = settings.floor_level * settings.price_level * typical_worth
        self._floors = level * np.exp(rng.normal(0.0, FLOOR_SPREAD, (campaigns, locations)))

    def competing(
        self, cells: Cells, worth: NDArray[np.float64], factor: float, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """The highest competing bid for one impression, account currency, shape (n,).

        Parameters
        ----------
        worth
            What an impression of each cell is worth, account currency, shape (n,).
        factor
            What drift multiplies the prices by.
        """
        settings = self._settings
        belief = (worth / self._typical) ** settings.competitor_knowledge
        level = self._by_hour[cells.campaign, cells.hour] + self._by_location[cells.location]
        noise = rng.normal(0.0, settings.price_noise, len(cells))
        return np.asarray(factor * settings.price_level * self._typical * belief * np.exp(level + noise))

    def floors(self, cells: Cells) -> NDArray[np.float64]:
        """The lowest price of one impression that the seller takes, account currency, shape (n,)."""
        return self._floors[cells.campaign, cells.location]


def micros(amount: NDArray[np.float64]) -> NDArray[np.int64]:
    """Account currency as whole micros.

    >>> micros(np.array([1.25])).tolist()
    [1250000]
    """
    return np.rint(amount * MICROS).astype(np.int64)


def cents(amount: NDArray[np.float64]) -> NDArray[np.int64]:
    """Account currency as micros, rounded to whole cents.

    >>> cents(np.array([1.256])).tolist()
    [1260000]
    """
    return np.rint(amount * 100).astype(np.int64) * CENT
