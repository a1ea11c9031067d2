"""One number from 0 to 1 for how much a predicted rate can be leaned on, from its interval and the data behind it."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]

HALF_WAY = 9.0
"""Past events of its own, beside the one that everything is granted, with which a cell's evidence is about a half."""

FELL_BACK = 0.5
"""What is left of the confidence where the model did not answer, or brings no interval of the true rate."""


def confidence(p: ArrayLike, lower: ArrayLike, upper: ArrayLike, events: ArrayLike, fell_back: ArrayLike) -> Floats:
    """How much each of n predicted rates can be leaned on, in [0, 1], shape (n,).

    ``sqrt(precision × evidence)``, where

    - ``precision = p / (p + (upper - lower) / 2)``: 0.5 for a rate give or take all of itself, 0.91 for one give or take a
      tenth;
    - ``evidence = (events + 1) / (events + 1 + 9)``: 0.1 for a cell of which the past tells nothing, 0.53 after 9 expected
      clicks, 0.92 after 100.

    A narrower interval gives more, and so do more data. Where the model did not answer, or brings no interval of the true rate,
    half of it is left, and nothing at all if there is no past either. It is not a probability: the interval is what makes a
    promise that can be checked.

    Parameters
    ----------
    p
        Predicted rates, in (0, 1).
    lower, upper
        Bounds of their true rates.
    events
        Expected past events of the cell: its past impressions times p. Clicks rather than impressions, so that one number
        suits a rate of 5 % and one of 0.05 %. NaN and negative count as none.
    fell_back
        Whether pooled rates answered, or the interval is a plain one and not the model's.

    Examples
    --------
    >>> confidence([0.03, 0.03, 0.03], [0.02, 0.028, 0.02], [0.045, 0.032, 0.045], [4, 900, 4], False).round(2)
    array([0.5 , 0.96, 0.5 ])
    >>> confidence([0.01], [0.001], [0.04], [0.0], True)
    array([0.])
    """
    rates, low, high = (np.asarray(column, dtype=np.float64) for column in (p, lower, upper))
    known = np.maximum(np.nan_to_num(np.asarray(events, dtype=np.float64), nan=0.0, posinf=1e300), 0.0)
    back = np.asarray(fell_back, dtype=np.bool_)
    precision = rates / (rates + (high - low) / 2)
    evidence = (known + 1) / (known + 1 + HALF_WAY)
    full = np.sqrt(precision * evidence)
    return np.asarray(np.clip(np.where(back, np.where(known > 0, FELL_BACK * full, 0.0), full), 0.0, 1.0))
