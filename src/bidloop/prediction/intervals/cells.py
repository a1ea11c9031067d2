"""Counts of cells: what came after a prediction was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidloop.core.errors import InvalidInput

Floats: TypeAlias = NDArray[np.float64]

WELL_COUNTED = 1 / 2
"""Largest relative standard error of a cell's number of impressions."""


@dataclass(frozen=True)
class Cells:
    """Counts of n cells over the impressions that came after their predictions; float64 arrays of shape (n,)."""

    p: Floats
    impressions: Floats
    clicks: Floats
    support: Floats

    def __len__(self) -> int:
        return len(self.p)


def group_cells(
    keys: ArrayLike,
    p: ArrayLike,
    impressions: ArrayLike,
    clicks: ArrayLike,
    support: ArrayLike,
    weight: ArrayLike | None = None,
) -> Cells:
    """Rows of the same key as one cell: single impressions become a rate that an interval can be about.

    Parameters
    ----------
    keys
        Name of each row's cell, including the period if a cell counts once a day; shape (n,).
    p, impressions, clicks, support
        Of each row, shape (n,). A cell's `p` and `support` are means over its impressions.
    weight
        How many such rows of the population one row stands for, shape (n,); 1 when left out.

    Returns
    -------
    Cells
        By sorted key; cells without impressions are left out.

    Examples
    --------
    >>> cells = group_cells(["a", "a", "b"], [0.1, 0.3, 0.2], [1, 1, 1], [0, 1, 0], [10, 10, 0])
    >>> cells.p, cells.impressions, cells.clicks
    (array([0.2, 0.2]), array([2., 1.]), array([1., 0.]))
    """
    names, where = np.unique(np.asarray(keys, dtype=str), return_inverse=True)
    w = np.ones(len(where)) if weight is None else np.asarray(weight, dtype=np.float64)
    shown = w * np.asarray(impressions, dtype=np.float64)

    def total(column: ArrayLike) -> Floats:
        values = np.nan_to_num(np.asarray(column, dtype=np.float64))
        return np.asarray(np.bincount(where, values, minlength=len(names)), dtype=np.float64)

    m, c = total(shown), total(w * np.asarray(clicks, dtype=np.float64))
    seen = m > 0
    mean_p = total(shown * np.asarray(p, dtype=np.float64))[seen] / m[seen]
    mean_support = total(shown * np.nan_to_num(np.asarray(support, dtype=np.float64)))[seen] / m[seen]
    return Cells(mean_p, m[seen], c[seen], mean_support)


def counted_well(keys: ArrayLike, impressions: ArrayLike, weight: ArrayLike) -> NDArray[np.bool_]:
    """Rows of cells whose number of impressions is known, bool, shape (n,).

    In a sampled log it is estimated as a sum of weights w, with variance Σ w (w - 1), to which one more row is added that
    the sample may have missed: a cell of a few sampled rows, or of clicks alone, has no rate that an interval could be held
    against. Where nothing was sampled (w = 1), all are known.

    Parameters
    ----------
    keys, impressions, weight
        As for `group_cells`, shape (n,).

    Examples
    --------
    >>> counted_well(["a", "b", "b"], [1, 1, 1], [300, 1, 1]), counted_well(["a", "b"], [1, 1], [1, 1])
    (array([False, False, False]), array([ True,  True]))
    """
    _, where = np.unique(np.asarray(keys, dtype=str), return_inverse=True)
    w = np.asarray(weight, dtype=np.float64)
    shown = w * np.asarray(impressions, dtype=np.float64)
    excess = np.maximum(w - 1.0, 0.0)
    missed = float((w * excess).max(initial=0.0))
    variance = np.bincount(where, shown * excess) + missed
    return np.asarray((variance <= (WELL_COUNTED * np.bincount(where, shown)) ** 2)[where])


def checked(p: ArrayLike, impressions: ArrayLike, clicks: ArrayLike, support: ArrayLike) -> Cells:
    """The cells with impressions, of columns of shape (n,); missing support is 0.

    Raises
    ------
    InvalidInput
        When a number is out of range, or shapes differ.
    """
    rates, m, c, known = (np.asarray(column, dtype=np.float64) for column in (p, impressions, clicks, support))
    if len({column.shape for column in (rates, m, c, known)}) != 1 or rates.ndim != 1:
        raise InvalidInput(f"columns of shapes {rates.shape}, {m.shape}, {c.shape}, {known.shape}", expected="one (n,)")
    for name, fine, expected in (
        ("p", (rates >= 0) & (rates <= 1), "rates in [0, 1]"),
        ("impressions", np.isfinite(m) & (m >= 0), "finite counts"),
        ("clicks", (c >= 0) & (c <= m * (1 + 1e-9)), "counts of at most the impressions"),
        ("support", np.isnan(known) | (known >= 0), "counts, or NaN where nothing is known"),
    ):
        if not fine.all():
            raise InvalidInput(f"wrong value in row {int(np.argmin(fine))}", path=name, expected=expected)
    shown = m > 0
    return Cells(rates[shown], m[shown], np.minimum(c, m)[shown], np.nan_to_num(known)[shown])
