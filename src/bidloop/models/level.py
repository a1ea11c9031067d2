"""The constant that makes a model predict as many clicks as there were, and the loss with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from bidloop.core.errors import Diverged
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

    Raises
    ------
    Diverged
        When log odds are not numbers, or so far off that no constant within `REACH` helps.

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

    low, high = average - REACH, average + REACH
    # Also where a surplus is not a number.
    if not (np.isfinite(log_odds).all() and surplus(low) <= 0 <= surplus(high)):
        raise Diverged(
            f"log odds from {log_odds.min():.3g} to {log_odds.max():.3g}",
            expected=f"finite ones that a constant of at most {REACH:g} levels",
            remedy="Train this kind of model with a lower learning rate.",
        )
    return float(brentq(surplus, low, high))


def levelled_loss(log_odds: NDArray[np.float64], response: Response) -> float:
    """Loss of rows at their own level, in nats per (scaled) impression.

    A day that is better for all says nothing of how well a model ranks and spreads, nor of how many epochs are too many.

    Parameters
    ----------
    log_odds
        What the model says of n rows, with sampling undone, shape (n,).
    response
        What came of them.

    Examples
    --------
    >>> clicks = Response.of(np.array([1.0, 0.0]), np.ones(2), np.ones(2))
    >>> round(levelled_loss(np.array([7.0, 7.0]), clicks), 4) == round(float(np.log(2)), 4)
    True
    """
    return response.loss(log_odds + level(log_odds, response, 0.0) + response.shift)
