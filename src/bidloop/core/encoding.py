"""Feature values as a model's graph reads them: floats and slot numbers.

Fitted where models are trained and applied where they are served, so the definition stands in the words that both share.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from bidloop.core.errors import ConfigurationError
from bidloop.core.feature_table import FeatureTable

UNSEEN = 0
"""Slot of a category that training never saw, or saw too rarely, or that is missing."""


@functools.lru_cache(maxsize=1 << 18)
def bucket(field: str, value: str, buckets: int) -> int:
    """Stable slot of a category in 1 … `buckets`, by xxHash64 of the field's name and the value."""
    return xxhash.xxh64_intdigest(f"{field}={value}".encode()) % buckets + 1


class NumericField(msgspec.Struct, frozen=True):
    """``(value - shift) / scale``, with `fill` in place of a missing value, clipped to ±`clip`."""

    name: str
    fill: float
    shift: float
    scale: float
    clip: float = 8.0


class CategoryField(msgspec.Struct, frozen=True):
    """A category, or a cross of several, hashed into `buckets` slots of which only the `seen` ones are used.

    `sources` are the feature names whose values are joined; a plain category has one.
    """

    name: str
    sources: tuple[str, ...]
    buckets: int
    seen: tuple[int, ...]


class Encoding(msgspec.Struct, frozen=True):
    """From a feature table to the two arrays that every model graph takes.

    Parameters
    ----------
    view
        Version of the feature view it reads.
    numeric, categories
        The fields, in the order of the arrays' columns.
    """

    view: str
    numeric: tuple[NumericField, ...]
    categories: tuple[CategoryField, ...]

    def apply(self, table: FeatureTable) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Encode n rows.

        Returns
        -------
        numeric
            float32, shape (n, number of numeric fields).
        categories
            int64 slots, shape (n, number of category fields); `UNSEEN` (0) for what training did not see.

        Raises
        ------
        ConfigurationError
            When the table is of another view or lacks a column.
        """
        if table.view != self.view:
            raise ConfigurationError(
                f"features of view {table.view}",
                expected=f"view {self.view}, which the model was trained on",
                remedy="Train a model on the present view, or serve the view of this model.",
            )
        n = len(table)
        numeric = np.zeros((n, len(self.numeric)), dtype=np.float32)
        for j, field in enumerate(self.numeric):
            column = table.numeric[field.name]
            filled = np.where(np.isnan(column), field.fill, column)
            numeric[:, j] = np.clip((filled - field.shift) / field.scale, -field.clip, field.clip)
        slots = np.zeros((n, len(self.categories)), dtype=np.int64)
        for j, category in enumerate(self.categories):
            slots[:, j] = _slots(category, [table.categorical[source] for source in category.sources])
        return numeric, slots


@functools.lru_cache(maxsize=4096)
def _seen(category: CategoryField) -> frozenset[int]:
    return frozenset(category.seen)


def cross(columns: Sequence[NDArray[np.object_]]) -> list[str]:
    r"""The joined values of one or more category columns, row by row; empty where all parts are missing.

    >>> import numpy as np
    >>> cross([np.array(["a", ""], dtype=object), np.array(["x", ""], dtype=object)])
    ['a\x1fx', '']
    """
    if len(columns) == 1:
        return [str(value) for value in columns[0]]
    return ["\x1f".join(map(str, parts)) if any(parts) else "" for parts in zip(*columns, strict=True)]


def _slots(category: CategoryField, columns: Sequence[NDArray[np.object_]]) -> list[int]:
    seen, name, buckets = _seen(category), category.name, category.buckets
    return [slot if value and (slot := bucket(name, value, buckets)) in seen else UNSEEN for value in cross(columns)]
