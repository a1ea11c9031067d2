"""The true rates of clicks and conversions, with their users and their drifts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bidloop.simulation.log_odds import Effects, intercept, sigmoid
from bidloop.simulation.randomness import stream
from bidloop.simulation.settings import WorldSettings
from bidloop.simulation.traffic import Cells


class Rate:
    """The true rate of clicks, or of conversions, of every user in every cell on every day.

    Parameters
    ----------
    settings
        The mean, the spread between cells and users, and the drifts.
    name
        ``"ctr"`` or ``"conversion_rate"``, as in the settings.
    """

    def __init__(self, settings: WorldSettings, name: str) -> None:
        def effects(spread: float, purpose: str, number: int = 0) -> Effects:
            return Effects(settings, spread, stream(settings.seed, purpose, number))

        self._base = effects(getattr(settings, f"{name}_spread"), name)
        users = stream(settings.seed, f"{name} of users").normal(0.0, settings.user_spread, settings.users)
        self._users = np.append(users, 0.0)  # number -1, someone unknown, is an average user
        self._intercept = 0.0
        self._drifts = [
            (
                drift.day,
                getattr(drift, f"{name}_shift"),
                effects(getattr(drift, f"{name}_spread"), f"{name} drift", number),
            )
            for number, drift in enumerate(settings.drifts)
        ]

    def set_mean(self, cells: Cells, mean: float) -> None:
        """Set the level so that the mean over the given cells and users, before any drift, is the one wanted."""
        self._intercept = 0.0
        self._intercept = intercept(self._log_odds(cells, None, users=True), mean)

    def of(self, cells: Cells, day: int | NDArray[np.intp] | None, *, users: bool = True) -> NDArray[np.float64]:
        """The rates on a day, or on the day of each row, float64, shape (n,); `None` is before any drift."""
        return sigmoid(self._log_odds(cells, day, users=users))

    def _log_odds(self, cells: Cells, day: int | NDArray[np.intp] | None, *, users: bool) -> NDArray[np.float64]:
        total = self._base.of(cells) + self._intercept
        if users:
            total += self._users[cells.user]
        for first, shift, effects in self._drifts if day is not None else ():
            drifted = np.asarray(day) >= first
            if drifted.any():
                total += drifted * (shift + effects.of(cells))
        return total
