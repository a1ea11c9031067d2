"""Increments that make sense: checked as a whole before any of them is counted."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import InvalidInput
from bidloop.core.outcome import FURTHER, Observations


def check_increments(observations: Observations) -> NDArray[np.int64]:
    """Check n observations and return their times in microseconds since 1970-01-01 UTC, int64, shape (n,).

    A negative count is fine: something that was reported turned out otherwise. What makes no sense is only a sum below
    zero, and who reads takes such a sum as zero.

    Raises
    ------
    InvalidInput
        When the columns differ in length, a time is missing, or a count is NaN or infinite.
    """
    n = len(observations.opportunities)
    if np.isnat(observations.at).any():
        raise InvalidInput("an observation without a time", path="at", expected="an instant in UTC")
    at = observations.at.astype("datetime64[us]").astype(np.int64)
    columns = (
        ("impressions", observations.impressions),
        ("clicks", observations.clicks),
        ("conversions", observations.conversions),
        ("value", observations.value),
        ("cost", observations.cost),
        *observations.further.items(),
    )
    for name, column in (("at", at), *columns):
        if len(column) != n:
            raise InvalidInput(f"{len(column)} values of {name} for {n} opportunities", path=name, expected="one each")
    for name, column in columns:
        untold = np.isnan(column) & math.isnan(FURTHER.get(name, 0.0))
        wrong = ~(np.isfinite(column) | untold)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InvalidInput(f"{column[row]} {name} in observation {row}", path=name, expected="a finite number")
    return at
