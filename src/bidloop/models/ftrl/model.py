"""A trained FTRL model: what predicts, and its export."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidloop.core.encoding import Encoding
from bidloop.models.candidate import Parameters
from bidloop.models.crosses import Cross
from bidloop.models.ftrl.settings import FtrlSettings
from bidloop.models.graph import Graph
from bidloop.models.levels import add_levels, levels
from bidloop.models.relative import Relative

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Ftrl:
    """Sum of a weight per value, per cross of values and per number, for clicks and for conversions.

    Parameters
    ----------
    crosses
        Pairs of categories that are read as categories.
    centre, scale
        Mean and standard deviation of the numeric columns in training, float32, shape (columns,).
    intercepts
        Log odds at weights of 0, with sampling undone, shape (2,).
    numeric
        Weights of the numeric columns, shape (columns, 2).
    effects
        Weights of the values, field after field and then cross after cross, shape (1 + values, 2); the first, of all that
        training did not see, is 0.
    epochs
        Passes over the rows.
    """

    encoding: Encoding
    settings: FtrlSettings
    crosses: tuple[Cross, ...]
    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    intercepts: Floats
    numeric: Floats
    effects: Floats
    epochs: int
    name: str = "ftrl"

    @property
    def parameters(self) -> Parameters:
        """Settings, the crosses by name, and how many weights are not 0."""
        names = [field.name for field in self.encoding.categories]
        return {
            **{name: getattr(self.settings, name) for name in ("alpha", "beta", "l1", "l2", "batch")},
            "epochs": self.epochs,
            "crosses": ", ".join(f"{names[cross.first]} × {names[cross.second]}" for cross in self.crosses),
            "weights": int(np.count_nonzero(self.effects[:, 0])),
        }

    def logits(self, numeric: NDArray[np.float32], categories: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log odds of n rows, shape (n, 2)."""
        numbers = (Relative(self.encoding).logs(numeric) - self.centre) / self.scale
        at = places(self.encoding, self.crosses, categories)
        out = self.intercepts + numbers.astype(np.float64) @ self.numeric
        for column in at.T:
            out += self.effects[column]
        return np.asarray(out)

    def build(self, graph: Graph) -> str:
        """One look-up per category and per cross, and one matrix product."""
        slots = [add_levels(graph, self.encoding, j) for j in range(len(self.encoding.categories))]
        slots += [cross.add(graph, slots[cross.first], slots[cross.second]) for cross in self.crosses]
        terms = [graph.repeat(self.intercepts.astype(np.float32))]
        begin = 1
        for slot, size in zip(slots, sizes(self.encoding, self.crosses), strict=True):
            table = np.concatenate((self.effects[:1], self.effects[begin : begin + size])).astype(np.float32)
            terms.append(graph.add("Gather", graph.constant(table), slot, axis=0))
            begin += size
        if len(self.centre):
            numbers = graph.add("Sub", Relative(self.encoding).add(graph, log=True), graph.constant(self.centre))
            numbers = graph.add("Div", numbers, graph.constant(self.scale))
            terms.append(graph.add("MatMul", numbers, graph.constant(self.numeric.astype(np.float32))))
        return graph.add("Sum", *terms)


def sizes(encoding: Encoding, crosses: tuple[Cross, ...]) -> list[int]:
    """Number of values of each category and slots of each cross."""
    return [*(len(field.seen) for field in encoding.categories), *(cross.buckets for cross in crosses)]


def places(encoding: Encoding, crosses: tuple[Cross, ...], categories: NDArray[np.int64]) -> Places:
    """Place of each value among all, shape (n, fields + crosses); 0 for the unseen."""
    columns = [levels(field, categories[:, j]) for j, field in enumerate(encoding.categories)]
    columns += [cross.slots(columns[cross.first], columns[cross.second]) for cross in crosses]
    begin = 0
    out = np.zeros((len(categories), len(columns)), dtype=np.int64)
    for j, (column, size) in enumerate(zip(columns, sizes(encoding, crosses), strict=True)):
        out[:, j] = np.where(column > 0, begin + column, 0)
        begin += size
    return out
