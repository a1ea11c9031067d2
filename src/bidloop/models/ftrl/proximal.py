"""The algorithm: how the weights of one outcome learn from a batch of rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from bidloop.models.ftrl.settings import FtrlSettings

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

TINY = 1e-9
"""Of a row that counts for nothing."""


class Proximal:
    """State of FTRL-Proximal for one outcome: `z` and `n` of the paper, first for the values, then for the numbers.

    No step is longer than Newton's, shared by all weights that a row reads. A row of a million impressions has a gradient as
    large as theirs together but a learning rate that fell as the root of their number, and would throw its weights beyond all
    bounds. So `n` is at least what makes the learning rate one over the curvature; on single impressions it nearly always is.

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
        total = positive + negative
        error = total * chance - positive
        # Sum of squared gradients of the single impressions; late conversions can make `negative` negative.
        squared = positive * (1 - chance) ** 2 + np.abs(negative) * chance**2

        def by_weight(column: Floats, dense: Floats) -> Floats:
            sums = np.bincount(inverse.ravel(), np.repeat(column, fields), minlength=len(met))
            return np.where(at == 0, 0.0, np.concatenate((sums, dense)))

        # Of the rate predicted or the rate that was, whichever bends more: from a rate near 0 the step would be endless.
        spread = np.maximum(total * chance * (1 - chance), positive * negative / np.maximum(total, TINY))
        curvature = (1 + fields + numbers.shape[1]) * spread
        before = self.n[at]
        after = np.maximum(
            before + by_weight(squared, squared @ numbers**2),
            self._least(by_weight(curvature, curvature @ numbers**2), self.settings.l2),
        )
        pace = (np.sqrt(after) - np.sqrt(before)) / self.settings.alpha
        self.z[at] += by_weight(error, error @ numbers) - pace * weights
        self.n[at] = after
        self.intercept_n = max(self.intercept_n + float(squared.sum()), float(self._least(curvature.sum(), 0.0)))
        self.intercept -= self.settings.alpha * float(error.sum()) / (self.settings.beta + np.sqrt(self.intercept_n))

    def _least(self, curvature: Floats, l2: float) -> Floats:
        """The `n` at which a step is as long as Newton's."""
        return np.maximum(self.settings.alpha * (curvature - l2) - self.settings.beta, 0.0) ** 2
