"""What winning each auction would cost and bring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Potential:
    """n auctions with their outcomes, whether or not anybody wins them.

    The outcomes are fixed before any bid is made, so that every policy meets the same luck and the difference between
    two policies is theirs (common random numbers).

    Parameters
    ----------
    at
        When, datetime64[us] in UTC, shape (n,), non-decreasing.
    price
        The lowest bid that wins, floor included, in micros of the unit that bids are in, int64, shape (n,).
    click, conversion
        Whether winning brings a click, and whether that click brings a conversion, bool, shape (n,).
    click_at, conversion_at
        When these would be known, datetime64[us] in UTC, shape (n,); without meaning where there is none.
    value
        Value of the conversion in micros, int64, shape (n,); 0 where there is none.
    weight
        How many such auctions of the population one row stands for, float64, shape (n,).
    """

    at: NDArray[np.datetime64]
    price: NDArray[np.int64]
    click: NDArray[np.bool_]
    conversion: NDArray[np.bool_]
    click_at: NDArray[np.datetime64]
    conversion_at: NDArray[np.datetime64]
    value: NDArray[np.int64]
    weight: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.at)
