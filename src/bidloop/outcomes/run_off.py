"""Conversions by how long they took and how long they could have taken: the triangle that insurers call run-off.

A conversion is known only if it took no longer than its click is old, so quick ones are too many among the young. Each is
therefore counted against its own age: with F(a) = P(delay <= a | there will be a conversion), one that took d of an age of T
has the likelihood ``f(d) / F(T)`` (right truncation). Delays are counted in buckets, and a conversion counts once its bucket
is over for its click (Badanidiyuru et al., "Handling many conversions per click in modeling delayed feedback", 2021, arXiv
2101.02284), so that their number does not matter for the cost and reports that tell no more than "between the third and
the fifth day" fit in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bidloop.core.outcome import ConversionDelays

Floats: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.intp]

QUANTILES, EVEN = 32, 24
"""Buckets of equal numbers of conversions where most of them are, and of equal length where few are."""
SMALLEST = 1e-12


def bucket_edges(delays: ConversionDelays, window_seconds: float) -> Floats:
    """The ages in seconds at which buckets end, shape (k,), ascending; the last is the conversion window."""
    known = delays.latest[(delays.latest >= 1.0) & (delays.latest < window_seconds)]
    ends = np.quantile(known, np.arange(1, QUANTILES) / QUANTILES) if len(known) else known
    return np.unique(np.concatenate((ends, window_seconds * np.arange(1, EVEN + 1) / EVEN)))


@dataclass(frozen=True)
class RunOff:
    """Numbers of conversions by bucket of delay and by the last bucket that was over for their click.

    Parameters
    ----------
    buckets
        How many buckets there are.
    first, last
        The buckets from and to which the delay may lie, int, shape (g,); the same where it is known.
    seen
        The last bucket that was over, int, shape (g,), not before `last`.
    count
        How many such conversions, float64, shape (g,).

    Examples
    --------
    Three clicks of two days of age, with conversions in the first, first and second day; one of a day, with one:

    >>> run_off = RunOff(2, np.array([0, 1, 0]), np.array([0, 1, 0]), np.array([1, 1, 0]), np.array([2.0, 1, 1]))
    >>> events, at_risk = run_off.hazards(np.array([0.5, 1.0]))
    >>> events.tolist(), at_risk.tolist()  # in the second bucket one of three; the young click says nothing of it
    ([3.0, 1.0], [3.0, 3.0])
    """

    buckets: int
    first: Places
    last: Places
    seen: Places
    count: Floats

    @classmethod
    def of(cls, delays: ConversionDelays, edges: Floats) -> RunOff:
        """Count the delays that say something: their bucket is over, and it is told when they came."""
        exact = delays.earliest == delays.latest
        padded = np.concatenate(([0.0], edges))
        first = np.where(exact, np.searchsorted(edges, delays.latest, "left"), _nearest(padded, delays.earliest))
        last = np.where(exact, first, np.maximum(_nearest(padded, delays.latest) - 1, first))
        seen = np.where(exact, np.searchsorted(edges, delays.age, "right") - 1, _nearest(padded, delays.age) - 1)
        seen = np.where(exact, seen, np.maximum(seen, last))
        # What may lie anywhere up to where it could be seen has a likelihood of 1 under any delays.
        told = (last <= seen) & (last < len(edges)) & ((first > 0) | (last < seen))
        groups, where = np.unique(np.stack((first, last, seen))[:, told], axis=1, return_inverse=True)
        count = np.bincount(where.ravel(), delays.count[told], minlength=groups.shape[1]).astype(np.float64)
        return cls(len(edges), groups[0], groups[1], groups[2], count)

    @property
    def total(self) -> float:
        """How many conversions there are."""
        return float(self.count.sum())

    def log_likelihoods(self, shares: Floats) -> Floats:
        """Log likelihood of each group's conversion under the shares reported by the end of each bucket.

        Parameters
        ----------
        shares
            F at the edges, shape (..., k).

        Returns
        -------
        ndarray
            float64, shape (..., g), to be weighted with `count`.
        """
        padded = np.concatenate((np.zeros((*shares.shape[:-1], 1)), shares), axis=-1)
        within = padded[..., self.last + 1] - padded[..., self.first]
        return np.asarray(np.log(np.maximum(within, SMALLEST) / np.maximum(padded[..., self.seen + 1], SMALLEST)))

    def log_likelihood(self, shares: Floats) -> Floats:
        """Their sum over all conversions, shape (...)."""
        return np.asarray(self.log_likelihoods(shares) @ self.count)

    def hazards(self, shares: Floats) -> tuple[Floats, Floats]:
        """Conversions in each bucket, of how many that came by its end and for whose clicks it was over.

        Their ratio is the hazard in reversed time; under it the truncated likelihood falls into one binomial term per bucket
        (Lagakos, Barraj and De Gruttola, "Nonparametric analysis of truncated survival data", 1988).

        Parameters
        ----------
        shares
            By which a conversion is divided among the buckets in which it may lie, shape (k,).

        Returns
        -------
        tuple of ndarray
            float64, shape (k,) each.
        """
        table = np.zeros((self.buckets, self.buckets))
        known = self.first == self.last
        np.add.at(table, (self.first[known], self.seen[known]), self.count[known])
        mass = np.diff(shares, prepend=0.0) + SMALLEST
        for first, last, seen, count in zip(
            *(column[~known].tolist() for column in (self.first, self.last, self.seen, self.count)), strict=True
        ):
            among = mass[first : last + 1]
            table[first : last + 1, seen] += count * among / among.sum()
        return table.sum(axis=1), np.triu(np.cumsum(table, axis=0)).sum(axis=1)


def _nearest(padded: Floats, ages: Floats) -> Places:
    """Number of the nearest edge."""
    after = np.clip(np.searchsorted(padded, ages), 1, len(padded) - 1)
    return np.where(ages - padded[after - 1] <= padded[after] - ages, after - 1, after)
