"""Labelled rows: what features hand to models, and what models are judged on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidloop.core.feature_table import FeatureTable


@dataclass(frozen=True)
class Examples:
    """Rows to learn from: single impressions, or counts.

    Parameters
    ----------
    features
        n rows of feature values.
    at
        When, datetime64[us] in UTC, shape (n,).
    impressions, clicks, conversions
        Counts, float64, shape (n,); single impressions have `impressions == 1` and `clicks` of 0 or 1.
    value
        Sum of the conversions' values in account currency, float64, shape (n,).
    weight
        How many such rows of the population one row stands for (inverse sampling probability), float64, shape (n,).
        A likelihood multiplies by it, so that down-sampling is undone exactly.
    maturity
        P(a conversion of the row's clicks is reported by now | there will be one), in (0, 1], float64, shape (n,);
        `None` where all are: nothing is still to come.
    """

    features: FeatureTable
    at: NDArray[np.datetime64]
    impressions: NDArray[np.float64]
    clicks: NDArray[np.float64]
    conversions: NDArray[np.float64]
    value: NDArray[np.float64]
    weight: NDArray[np.float64]
    maturity: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.at)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Examples:
        """The given rows, in that order."""
        return Examples(
            self.features.take(rows),
            self.at[rows],
            self.impressions[rows],
            self.clicks[rows],
            self.conversions[rows],
            self.value[rows],
            self.weight[rows],
            None if self.maturity is None else self.maturity[rows],
        )

    def between(self, start: np.datetime64, end: np.datetime64) -> Examples:
        """The rows with ``start <= at < end``."""
        return self.take((self.at >= start) & (self.at < end))
