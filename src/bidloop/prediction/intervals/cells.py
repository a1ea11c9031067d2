"""Counts of cells: what came after a prediction was made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidloop.core.errors import InvalidInput

Floats: TypeAlias = NDArray[np.float64]

WELL_COUNTED = 1 / 2
"""Largest relative standard error of a cell's number of impressions."""
MOST_CELLS = 50_000
"""More cells than this change neither three numbers that are learned nor a share that is measured."""


@dataclass(frozen=True)
class Cells:
    """Counts of n cells over the impressions that came after their predictions; float64 arrays of shape (n,).

    Parameters
    ----------
    p, impressions, clicks, support
        As `intervals.fit_intervals` takes them.
    design
        Design effect, at least 1: by how much sampling has multiplied the variance of the cell's rate. Divided by it, counts
        say as much as they seem to.
    reported
        Share of the cell's clicks (or conversions) that has had its time to be reported, in (0, 1].
    """

    p: Floats
    impressions: Floats
    clicks: Floats
    support: Floats
    design: Floats
    reported: Floats

    def __len__(self) -> int:
        return len(self.p)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Cells:
        """The given cells, in that order."""
        return Cells(*(column[rows] for column in vars(self).values()))

    def so_far(self) -> Cells:
        """With the rate of what is reported by now, and a past that tells as much of it as it does of the rate in the end:
        `intervals.spread` counts the events expected in it.
        """
        return replace(self, p=self.p * self.reported, support=self.support / self.reported)

    def thinned(self) -> Cells:
        """Every second, third, ... cell: at most `MOST_CELLS`."""
        return self.take(slice(None, None, max(1, -(-len(self) // MOST_CELLS))))


def group_cells(
    keys: ArrayLike,
    p: ArrayLike,
    impressions: ArrayLike,
    clicks: ArrayLike,
    support: ArrayLike,
    weight: ArrayLike | None = None,
    reported: ArrayLike | None = None,
) -> Cells:
    """Rows of the same key as one cell: single impressions become a rate that an interval can be about.

    A cell's `p` and `support` are those of its first row. Later rows have seen how the cell does meanwhile: a mean over them
    contains some of the luck that the interval has to cover, and looks surer than any prediction is that can be asked for.

    Parameters
    ----------
    keys
        Name of each row's cell, including the period if a cell counts once a day; shape (n,).
    p, impressions, clicks, support
        Of each row in the order of time, shape (n,).
    weight
        How many such rows of the population one row stands for, shape (n,); 1 when left out.
    reported
        Share of each row's clicks that has had its time to be reported, in (0, 1], shape (n,); 1 when left out. A cell's is
        the mean over its impressions.

    Returns
    -------
    Cells
        By sorted key; cells without impressions are left out.

    Examples
    --------
    >>> cells = group_cells(["a", "a", "b"], [0.1, 0.3, 0.2], [1, 1, 1], [0, 1, 0], [10, 11, 0])
    >>> cells.p, cells.impressions, cells.clicks
    (array([0.1, 0.2]), array([2., 1.]), array([1., 0.]))
    """
    names, first, where = np.unique(np.asarray(keys, dtype=str), return_index=True, return_inverse=True)
    w = np.ones(len(where)) if weight is None else np.asarray(weight, dtype=np.float64)
    shown, clicked = (w * np.asarray(column, dtype=np.float64) for column in (impressions, clicks))
    share = np.ones(len(where)) if reported is None else np.asarray(reported, dtype=np.float64)

    def total(column: Floats) -> Floats:
        return np.asarray(np.bincount(where, np.nan_to_num(column), minlength=len(names)), dtype=np.float64)

    m, c = total(shown), total(clicked)
    rates, past = (np.asarray(column, dtype=np.float64)[first] for column in (p, support))
    seen = m > 0
    some = np.maximum(m, 1e-300)
    design = _design(rates, w, shown, clicked, total)
    return Cells(rates, m, c, np.nan_to_num(past), design, total(shown * share) / some).take(seen)


def _design(p: Floats, w: Floats, shown: Floats, clicked: Floats, total: Callable[[Floats], Floats]) -> Floats:
    """How much more a weighted rate varies than one of as many impressions that were all kept.

    The variance of a rate comes from its clicks for a share of 1 - p and from the other impressions for a share of p, and
    each part is multiplied by the mean weight. So it is w of a log that was sampled evenly, but hardly more than 1 where all
    clicks were kept. The mean weight of clicks is taken from all cells, beside that of the rest: a cell's own clicks, which
    are few or none, would make its count depend on its luck.
    """
    rest = shown - clicked
    of_rest, of_clicks = (float(np.sum(w * part) / max(np.sum(part), 1e-300)) for part in (rest, clicked))
    if of_rest <= 0:  # all was clicked
        of_rest = of_clicks
    ratio = of_clicks / of_rest if of_clicks > 0 else 1.0
    here = total(rest)
    own = np.where(here > 0, total(w * rest) / np.maximum(here, 1e-300), of_rest)
    return np.maximum(own * (ratio * (1 - p) + p), 1.0)


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


def checked(
    p: ArrayLike,
    impressions: ArrayLike,
    clicks: ArrayLike,
    support: ArrayLike,
    design: ArrayLike | None = None,
    reported: ArrayLike | None = None,
) -> Cells:
    """The cells with impressions, of columns of shape (n,); missing support is 0, and missing columns are 1.

    Raises
    ------
    InvalidInput
        When a number is out of range, or shapes differ.
    """
    rates, m, c, known = (np.asarray(column, dtype=np.float64) for column in (p, impressions, clicks, support))
    effect, share = (
        np.ones(rates.shape) if column is None else np.asarray(column, dtype=np.float64)
        for column in (design, reported)
    )
    shapes = [column.shape for column in (rates, m, c, known, effect, share)]
    if len(set(shapes)) != 1 or rates.ndim != 1:
        raise InvalidInput(f"columns of shapes {', '.join(map(str, shapes))}", expected="one (n,)")
    for name, fine, expected in (
        ("p", (rates >= 0) & (rates <= 1), "rates in [0, 1]"),
        ("impressions", np.isfinite(m) & (m >= 0), "finite counts"),
        ("clicks", (c >= 0) & (c <= m * (1 + 1e-9)), "counts of at most the impressions"),
        ("support", np.isnan(known) | (known >= 0), "counts, or NaN where nothing is known"),
        ("design", np.isfinite(effect) & (effect >= 1), "finite numbers of at least 1"),
        ("reported", (share > 0) & (share <= 1), "shares in (0, 1]"),
    ):
        if not fine.all():
            raise InvalidInput(f"wrong value in row {int(np.argmin(fine))}", path=name, expected=expected)
    return Cells(rates, m, np.minimum(c, m), np.nan_to_num(known), effect, share).take(m > 0)
