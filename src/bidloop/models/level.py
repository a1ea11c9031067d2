"""The constant that makes a model predict as many clicks as there were."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from bidloop.models.rows import Response

REACH = 30.0
"""How far from the average log odds the constant is looked for."""


def level(log_odds: NDArray[np.float64], response: Response, average: float) -> float:
    """The constant to add to log odds, with sampling undone, so that predictions sum to what happened.

    Parameters
    ----------
    log_odds
        What the model says of n rows, up to the constant, shape (n,).
    response
        What came of them.
    average
        Taken where nothing, or nothing else, happened; and the middle of the search.

    Examples
    --------
    >>> clicks = Response.of(np.array([1.0, 0.0]), np.array([1.0, 3.0]), np.ones(2))
    >>> round(level(np.zeros(2), clicks, 0.0), 4) == round(float(np.log(1 / 3)), 4)
    True
    """
    total, yes = response.total, float(response.positive.sum())
    if not 0 < yes < total.sum():
        return average

    def surplus(constant: float) -> float:
        return float(np.sum(total * expit(log_odds + constant + response.shift)) - yes)

    return float(brentq(surplus, average - REACH, average + REACH))
