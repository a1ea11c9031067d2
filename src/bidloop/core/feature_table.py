"""Feature values: many rows as columns, one row as names and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import ConfigurationError

UNAVAILABLE = "unavailable"
"""In place of a view's version, where the store of features did not answer: nothing is known, and the answer says so."""


class FeatureVector(msgspec.Struct, frozen=True):
    """The feature values of one opportunity, as a decision records them.

    Parameters
    ----------
    view
        Version of the feature view that defines the values: the hash of its definition.
    numeric
        Value by feature name; `None` where it is missing.
    categorical
        Value by feature name; an empty string where it is missing.
    """

    view: str
    numeric: dict[str, float | None]
    categorical: dict[str, str]


@dataclass(frozen=True)
class FeatureTable:
    """Feature values of many rows, by column.

    Parameters
    ----------
    view
        Version of the feature view that defines the values.
    numeric
        One float64 array of shape (n,) per feature; NaN where a value is missing.
    categorical
        One object array of `str` of shape (n,) per feature; empty string where a value is missing.

    Raises
    ------
    ConfigurationError
        When the columns differ in length.
    """

    view: str
    numeric: Mapping[str, NDArray[np.float64]]
    categorical: Mapping[str, NDArray[np.object_]]

    def __post_init__(self) -> None:
        lengths = {len(column) for column in (*self.numeric.values(), *self.categorical.values())}
        if len(lengths) > 1:
            raise ConfigurationError(f"feature columns of lengths {sorted(lengths)}", expected="one length")

    def __len__(self) -> int:
        for column in (*self.numeric.values(), *self.categorical.values()):
            return len(column)
        return 0

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> FeatureTable:
        """The given rows, in that order."""
        return FeatureTable(
            self.view,
            {name: column[rows] for name, column in self.numeric.items()},
            {name: column[rows] for name, column in self.categorical.items()},
        )

    def row(self, i: int) -> FeatureVector:
        """Row `i` as names and values."""
        return FeatureVector(
            self.view,
            {name: None if np.isnan(column[i]) else float(column[i]) for name, column in self.numeric.items()},
            {name: str(column[i]) for name, column in self.categorical.items()},
        )

    @classmethod
    def from_rows(cls, rows: Sequence[FeatureVector]) -> FeatureTable:
        """The table of rows of one view.

        Raises
        ------
        ConfigurationError
            When there are no rows, or rows of different views.
        """
        views = {row.view for row in rows}
        if len(views) != 1:
            raise ConfigurationError(f"rows of feature views {sorted(views)}", expected="rows of exactly one view")
        first = rows[0]
        return cls(
            first.view,
            {
                name: np.array([np.nan if (v := row.numeric[name]) is None else v for row in rows], dtype=np.float64)
                for name in first.numeric
            },
            {name: np.array([row.categorical[name] for row in rows], dtype=object) for name in first.categorical},
        )
