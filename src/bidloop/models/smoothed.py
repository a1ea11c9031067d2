"""The rate that the cell has had so far, drawn towards its parents: what a careful spreadsheet would predict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidloop.core.encoding import Encoding
from bidloop.models.candidate import Parameters
from bidloop.models.constant import fit_constant
from bidloop.models.graph import Graph
from bidloop.models.level import level
from bidloop.models.relative import SMALLEST
from bidloop.models.rows import Rows

CLICK, CONVERSION = "cell_ctr", "cell_conversion_rate"


@dataclass(frozen=True)
class Smoothed:
    """Log odds that are a constant plus the log of the cell's smoothed rate over the typical one.

    Parameters
    ----------
    columns
        Index of the cell's click rate and conversion rate among the numeric inputs; `None` where the view has none or
        it never moved.
    levels
        The two constants.
    """

    columns: tuple[int | None, int | None]
    levels: tuple[float, float]
    name: str = "smoothed"

    @property
    def parameters(self) -> Parameters:
        """The two constants."""
        return {"click": self.levels[0], "conversion": self.levels[1]}

    def logits(self, numeric: NDArray[np.float32], categories: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log odds of n rows, shape (n, 2)."""
        return np.column_stack(
            [_log(numeric, column) + constant for column, constant in zip(self.columns, self.levels, strict=True)]
        )

    def build(self, graph: Graph) -> str:
        """A logarithm and a sum for each of the two outputs."""
        return graph.add(
            "Concat", *(self._add(graph, *head) for head in zip(self.columns, self.levels, strict=True)), axis=1
        )

    def _add(self, graph: Graph, column: int | None, constant: float) -> str:
        if column is None:
            return graph.repeat(np.array([constant], dtype=np.float32))
        ratio = graph.add("Max", graph.columns("numeric", [column]), graph.constant(SMALLEST))
        return graph.add("Add", graph.add("Log", ratio), graph.constant(np.float32(constant)))


def fit_smoothed(rows: Rows) -> Smoothed:
    """Set the two constants so that as many clicks and conversions are predicted as there were."""
    columns = _index(rows.encoding, CLICK), _index(rows.encoding, CONVERSION)
    average = fit_constant(rows)
    return Smoothed(
        columns,
        (
            level(_log(rows.numeric, columns[0]), rows.click, average.click),
            level(_log(rows.numeric, columns[1]), rows.conversion, average.conversion),
        ),
    )


def _index(encoding: Encoding, name: str) -> int | None:
    names = [field.name for field in encoding.numeric]
    return names.index(name) if name in names else None


def _log(numeric: NDArray[np.float32], column: int | None) -> NDArray[np.float64]:
    if column is None:
        return np.zeros(len(numeric))
    return np.log(np.maximum(numeric[:, column], SMALLEST)).astype(np.float64)
