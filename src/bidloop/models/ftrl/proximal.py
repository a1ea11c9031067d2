"""The algorithm: how the weights of one outcome learn from a batch of rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from bidloop.models.ftrl.settings import FtrlSettings

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


class Proximal:
    """State of FTRL-Proximal for one outcome: `z` and `n` of the paper, first for the values, then for the numbers.

    Parameters
    ----------
    values
        Number of values; place 0, before them, is the unseen, whose weight stays 0.
    numbers
        Number of numeric columns.
    intercept
        Log odds to start from. It learns at the same rate as the weights, without penalty.

    Examples
    --------
    >>> learner = Proximal(FtrlSettings(alpha=1.0, l1=0.0, l2=0.0), values=2, numbers=0, intercept=0.0)
    >>> learner.learn(np.zeros((1, 0)), np.array([[1]]), np.array([1.0]), np.array([0.0]))  # a click
    >>> learner.weights(slice(None)).round(3).tolist()
    [0.0, 0.333, 0.0]
    """

    def __init__(self, settings: FtrlSettings, values: int, numbers: int, intercept: float) -> None:
        self.settings, self.values = settings, values
        self.z, self.n = np.zeros((2, 1 + values + numbers))
        self.intercept, self.intercept_n = intercept, 0.0
        self.dense = np.arange(1 + values, 1 + values + numbers)

    def weights(self, at: Places | slice) -> Floats:
        """Weights at some places."""
        z, s = self.z[at], self.settings
        return (np.clip(z, -s.l1, s.l1) - z) / ((s.beta + np.sqrt(self.n[at])) / s.alpha + s.l2)

    def learn(self, numbers: Floats, places: Places, positive: Floats, negative: Floats) -> None:
        """One step from a batch of n rows.

        Parameters
        ----------
        numbers
            Shape (n, numbers).
        places
            Places of the values of each row, shape (n, fields).
        positive, negative
            Weighted counts, shape (n,).
        """
        met, inverse = np.unique(places, return_inverse=True)
        inverse, fields = inverse.reshape(places.shape), places.shape[1]
        at = np.concatenate((met, self.dense))
        weights = self.weights(at)
        chance = expit(self.intercept + weights[inverse].sum(axis=1) + numbers @ weights[len(met) :])
        error = (positive + negative) * chance - positive
        # Sum of squared gradients of the single impressions; late conversions can make `negative` negative.
        squared = positive * (1 - chance) ** 2 + np.abs(negative) * chance**2

        def by_weight(column: Floats, dense: Floats) -> Floats:
            sums = np.bincount(inverse.ravel(), np.repeat(column, fields), minlength=len(met))
            return np.where(at == 0, 0.0, np.concatenate((sums, dense)))

        before = self.n[at]
        after = before + by_weight(squared, squared @ numbers**2)
        pace = (np.sqrt(after) - np.sqrt(before)) / self.settings.alpha
        self.z[at] += by_weight(error, error @ numbers) - pace * weights
        self.n[at] = after
        self.intercept_n += float(squared.sum())
        self.intercept -= self.settings.alpha * float(error.sum()) / (self.settings.beta + np.sqrt(self.intercept_n))
