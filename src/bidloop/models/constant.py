"""One click rate and one conversion rate for everything: what any other model has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidloop.models.candidate import Parameters
from bidloop.models.graph import Graph
from bidloop.models.rows import Rows


@dataclass(frozen=True)
class Constant:
    """The average log odds of a click and of a conversion."""

    click: float
    conversion: float
    name: str = "constant"

    @property
    def parameters(self) -> Parameters:
        """The two log odds."""
        return {"click": self.click, "conversion": self.conversion}

    def logits(self, numeric: NDArray[np.float32], categories: NDArray[np.int64]) -> NDArray[np.float64]:
        """The two log odds for each of n rows, shape (n, 2)."""
        return np.tile([self.click, self.conversion], (len(numeric), 1))

    def build(self, graph: Graph) -> str:
        """Two constants, as often as there are rows."""
        return graph.repeat(np.array([self.click, self.conversion], dtype=np.float32))


def fit_constant(rows: Rows) -> Constant:
    """The weighted average rates; half an event is added to each side, so that no rate is 0 or 1."""
    return Constant(rows.click.base - rows.click.shift, rows.conversion.base - rows.conversion.shift)
