"""Decayed running sums of many keys at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def decayed_running_sums(
    group: NDArray[np.int64],
    time: NDArray[np.int64] | NDArray[np.float64],
    amounts: NDArray[np.float64],
    per_unit: float = 1.0,
) -> NDArray[np.float64]:
    """Running sums within each group, in which an amount halves with every half-life.

    A scan by doubling (Hillis and Steele, 1986): after pass d each row holds the sum over the last ``2 ** d`` rows of
    its group. It takes log2 of the largest group's size passes over the rows. The quicker way, one cumulative sum of
    ``amount * 2 ** time``, overflows after 1,023 half-lives and loses small groups beside large ones.

    Parameters
    ----------
    group
        Group of each row, shape (n,), sorted.
    time
        Shape (n,), non-decreasing within a group.
    amounts
        Shape (n, m); negative ones take away.
    per_unit
        Half-lives in one unit of time. Differences of time are taken first, so that whole microseconds lose nothing.

    Returns
    -------
    float64, shape (n, m): row i holds ``sum over j <= i of amounts[j] * 2 ** ((time[j] - time[i]) * per_unit)`` within its group.

    Examples
    --------
    >>> decayed_running_sums(np.array([0, 0, 1]), np.array([0.0, 1.0, 1.0]), np.array([[8.0], [1.0], [3.0]])).ravel()
    array([8., 5., 3.])
    """
    sums = np.array(amounts, dtype=np.float64).T.copy()  # one contiguous line per amount
    place = np.arange(len(group)) - np.searchsorted(group, group)  # 0, 1, 2 … within each group
    longest = int(place.max(initial=0))
    reach = 1
    while reach <= longest:
        # A row of another group may lie later in time: its factor would be infinite, so it is capped before it is
        # masked.
        left = np.exp2(np.minimum((time[:-reach] - time[reach:]) * per_unit, 0.0))
        left[place[reach:] < reach] = 0.0
        # The right side is complete before the left side is written, so every row still sees the last pass.
        sums[:, reach:] += sums[:, :-reach] * left
        reach *= 2
    return sums.T
