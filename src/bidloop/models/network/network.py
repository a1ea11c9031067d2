"""A trained network: what predicts, and its export."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bidloop.core.encoding import Encoding
from bidloop.models.candidate import Parameters
from bidloop.models.graph import Graph
from bidloop.models.levels import add_levels
from bidloop.models.network.deep import INPUT_WIDTH, array
from bidloop.models.network.settings import NetworkSettings
from bidloop.models.network.towers import Tower
from bidloop.models.network.training import places
from bidloop.models.relative import Relative

ROWS_AT_ONCE = 8192
"""Predicting millions of rows in one piece would hold all their hidden units at the same time."""


@dataclass(frozen=True)
class Network:
    """A trained network with the scale of its numbers.

    Parameters
    ----------
    tower
        What stands on the inputs, its weights averaged over the last steps.
    table
        Embeddings of all categories, one field after the other and in each the unseen value first, averaged likewise.
    centre, scale
        Mean and standard deviation of the numeric columns in training, shape (columns,).
    shift
        What sampling and the noise of the last steps added to the log odds of a click and of a conversion: without it,
        predictions sum to the clicks and to the conversions of the training rows.
    conversion
        Log odds of a conversion for all rows where there were too few to learn from; `None` where the head was trained.
    epochs
        Passes over the rows.
    """

    encoding: Encoding
    settings: NetworkSettings
    tower: Tower
    table: Tensor
    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    shift: tuple[float, float]
    conversion: float | None
    epochs: int

    @property
    def name(self) -> str:
        """``network``, or what the tower is called."""
        return "network" if self.settings.tower == "mlp" else self.settings.tower

    @property
    def parameters(self) -> Parameters:
        """Shape and training of the network."""
        return {
            "input": INPUT_WIDTH,
            "hidden": "-".join(map(str, self.settings.hidden)),
            "embedding": self.table.shape[1],
            "dropout": self.settings.dropout,
            "hidden_categories": self.settings.hidden_categories,
            "epochs": self.epochs,
            "learning_rate": self.settings.learning_rate,
            "weight_decay": self.settings.weight_decay,
            "counterfactual": self.settings.counterfactual,
        }

    def logits(self, numeric: NDArray[np.float32], categories: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log odds of n rows, shape (n, 2)."""
        numbers = torch.from_numpy((Relative(self.encoding).logs(numeric) - self.centre) / self.scale)
        rows = torch.from_numpy(places(self.encoding, categories) + self._starts)
        with torch.inference_mode():
            parts = [
                self.tower(numbers[i : i + ROWS_AT_ONCE], self.table[rows[i : i + ROWS_AT_ONCE]], _keep)
                for i in range(0, len(rows), ROWS_AT_ONCE)
            ]
        out = torch.cat(parts).numpy().astype(np.float64) if parts else np.zeros((0, 2))
        out -= self.shift
        if self.conversion is not None:
            out[:, 1] = self.conversion
        return np.asarray(out)

    def build(self, graph: Graph) -> str:
        """Look-ups, the tower, and the constants that are taken off."""
        numbers = None
        if len(self.centre):
            numbers = graph.add("Sub", Relative(self.encoding).add(graph, log=True), graph.constant(self.centre))
            numbers = graph.add("Div", numbers, graph.constant(self.scale))
        tables = np.split(array(self.table), self._starts[1:]) if len(self._starts) else []
        embedded = [
            graph.add("Gather", graph.constant(table), add_levels(graph, self.encoding, j), axis=0)
            for j, table in enumerate(tables)
        ]
        out = self.tower.add(graph, numbers, embedded)
        added = -np.array(self.shift, dtype=np.float32)
        if self.conversion is not None:
            out = graph.add("Mul", out, graph.constant(np.array([1, 0], dtype=np.float32)))
            added[1] = self.conversion
        return graph.add("Add", out, graph.constant(added))

    @property
    def _starts(self) -> NDArray[np.int64]:
        """First row of each field in the table."""
        sizes = np.array([len(field.seen) + 1 for field in self.encoding.categories], dtype=np.int64)
        return np.cumsum(sizes) - sizes


def _keep(wave: Tensor) -> Tensor:
    return wave
