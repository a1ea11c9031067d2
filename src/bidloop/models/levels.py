"""Slots of a category as small numbers: 0 for what was not seen, then 1 … seen in the order of the slots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bidloop.core.encoding import CategoryField, Encoding
from bidloop.models.graph import Graph


def levels(category: CategoryField, slots: NDArray[np.int64]) -> NDArray[np.int64]:
    """Level of each slot, in 0 … number of seen slots.

    >>> device = CategoryField("device", ("device",), buckets=64, seen=(3, 40))
    >>> levels(device, np.array([40, 0, 3]))
    array([2, 0, 1])
    """
    return _table(category)[slots].astype(np.int64)


def add_levels(graph: Graph, encoding: Encoding, field: int) -> str:
    """The same in a graph: levels of one column of ``categories``, int32, shape (n,)."""
    table = graph.constant(_table(encoding.categories[field]))
    return graph.add("Gather", table, graph.column("categories", field), axis=0)


def _table(category: CategoryField) -> NDArray[np.int32]:
    table = np.zeros(category.buckets + 1, dtype=np.int32)
    table[list(category.seen)] = np.arange(1, len(category.seen) + 1)
    return table
