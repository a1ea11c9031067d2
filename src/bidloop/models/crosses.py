"""Pairs of categories that say more together than each alone, and the slot that each pair of values falls into.

A cross is worth having when slots of the same page differ by creative, more than chance would have them differ. Which ones
do is asked of the residuals of a model without crosses: let the pairs' effects be drawn from a normal distribution, and
take the crosses whose variance the data call greater than 0, by the evidence (the same measure that sets the penalties in
`logistic`). Evidence pays for its own complexity, so that a cross of a thousand pairs that were seen once each gains
nothing by fitting them. And a cross must be likelier than none by as many times as there are crosses to choose from, because
among many one looks good by chance.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from scipy.special import expit

from bidloop.models.graph import Graph
from bidloop.models.rows import Response

PRIME = 2**31 - 1
MULTIPLIERS = 1_664_525_909, 1_013_904_223
"""Below the prime, so that no product of theirs with a level overflows 64 bits."""
VARIANCES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Of the log odds of pairs, tried for each cross."""

Levels = NDArray[np.int64]
Floats = NDArray[np.float64]


class Cross(msgspec.Struct, frozen=True):
    """Two categories, by their place in the encoding, and how their levels become one slot.

    Slot 0 is for rows where either value was not seen. Where there is room, every pair of levels has a slot of its own;
    else pairs are hashed (Carter and Wegman, "Universal Classes of Hash Functions", 1979). Sums, products and remainders of
    64-bit integers only, so that the graph gives the same slots.

    Parameters
    ----------
    first, second
        Columns of the encoded categories.
    multipliers
        Of the two levels.
    buckets
        Number of slots beside 0.

    Examples
    --------
    >>> cross = Cross.of(0, 1, seen=(3, 2), rows=1000, bits=16)
    >>> cross.slots(np.array([1, 3, 0]), np.array([1, 2, 2])).tolist()
    [5, 12, 0]
    """

    first: int
    second: int
    multipliers: tuple[int, int]
    buckets: int

    @classmethod
    def of(cls, first: int, second: int, *, seen: tuple[int, int], rows: int, bits: int) -> Cross:
        """A cross of categories with so many seen values.

        Parameters
        ----------
        rows
            Of the training set: there cannot be more pairs.
        bits
            At most two to this power slots.
        """
        exact = (seen[0] + 1) * (seen[1] + 1)
        hashed = 1 << min(bits, int(np.ceil(np.log2(8 * max(rows, 8)))))
        if exact <= hashed:
            return cls(first, second, (seen[1] + 1, 1), exact)
        return cls(first, second, MULTIPLIERS, hashed)

    def slots(self, first: Levels, second: Levels) -> Levels:
        """Slot of each pair of levels, in 0 … `buckets`, shape (n,)."""
        mixed = (first * self.multipliers[0] + second * self.multipliers[1]) % PRIME % self.buckets + 1
        return mixed * np.minimum(first, 1) * np.minimum(second, 1)

    def add(self, graph: Graph, first: str, second: str) -> str:
        """The same in a graph, int64; takes the two levels of any integer type."""
        first, second = (graph.add("Cast", name, to=TensorProto.INT64) for name in (first, second))
        one = graph.constant(np.int64(1))
        parts = [
            graph.add("Mul", name, graph.constant(np.int64(multiplier)))
            for name, multiplier in zip((first, second), self.multipliers, strict=True)
        ]
        mixed = graph.add("Mod", graph.add("Add", *parts), graph.constant(np.int64(PRIME)))
        slot = graph.add("Add", graph.add("Mod", mixed, graph.constant(np.int64(self.buckets))), one)
        return graph.add("Mul", slot, graph.add("Mul", graph.add("Min", first, one), graph.add("Min", second, one)))


def choose_crosses(
    levels: Levels, seen: Sequence[int], response: Response, log_odds: Floats, *, most: int, bits: int
) -> list[Cross]:
    """The crosses that the residuals of a model without crosses speak for, the strongest first.

    Each one that is taken gives its pairs their most probable effects before the next is chosen, so that of two crosses
    that say the same only one is taken.

    Parameters
    ----------
    levels
        Levels of all categories, shape (n, k).
    seen
        Number of seen values of each category.
    response
        What happened.
    log_odds
        What the model says of the rows, with the shift of the sampling, shape (n,).
    most
        Take at most so many.
    bits
        As in `Cross.of`.
    """
    pairs = itertools.combinations(range(len(seen)), 2)
    rows = len(levels)
    left = [Cross.of(i, j, seen=(seen[i], seen[j]), rows=rows, bits=bits) for i, j in pairs]

    def slots(cross: Cross) -> Levels:  # anew each time: kept, those of all pairs would fill the memory
        return cross.slots(levels[:, cross.first], levels[:, cross.second])

    chosen: list[Cross] = []
    least = np.log(max(1, len(left)))
    while left and len(chosen) < most:
        chance = expit(log_odds)
        surplus, spread = response.positive - response.total * chance, response.total * chance * (1 - chance)
        judged = [(_evidence(slots(cross), cross.buckets, surplus, spread), cross) for cross in left]
        left = [cross for (evidence, _), cross in judged if evidence > least]
        if left:
            (_, variance), best = max(judged, key=lambda of: of[0][0])
            place = slots(best)
            by_slot = [np.bincount(place, column, minlength=best.buckets + 1) for column in (surplus, spread)]
            effects = variance * by_slot[0] / (1 + variance * by_slot[1])
            effects[0] = 0.0
            log_odds = log_odds + effects[place]
            left.remove(best)
            chosen.append(best)
    return chosen


def _evidence(slots: Levels, buckets: int, surplus: Floats, spread: Floats) -> tuple[float, float]:
    """Log of how much likelier the data are with effects than without, and the variance at which they are likeliest."""
    total = np.bincount(slots, surplus, minlength=buckets + 1)[1:]
    weight = np.bincount(slots, spread, minlength=buckets + 1)[1:]
    met = weight > 0
    total, weight = total[met], weight[met]
    return max((float(np.sum(v * total**2 / (1 + v * weight) - np.log1p(v * weight)) / 2), v) for v in VARIANCES)
