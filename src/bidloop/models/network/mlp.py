"""The spec's network: hidden layers of 256, 128 and 64 units on a 128-wide input, and two heads that share them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bidloop.models.graph import Graph
from bidloop.models.network.deep import Deep, Drop, add_join, add_linear, array, join


class Mlp(nn.Module):
    """Hidden layers and two heads.

    Parameters
    ----------
    numbers, fields, width
        Numeric columns, categories, and numbers per embedding.
    hidden
        Units of each hidden layer.
    """

    def __init__(self, numbers: int, fields: int, width: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.deep = Deep(numbers + fields * width, hidden)
        self.heads = nn.Linear(hidden[-1], 2)

    def forward(self, numbers: Tensor, embedded: Tensor, drop: Drop) -> Tensor:
        """Log odds of a click and of a conversion given a click, shape (n, 2)."""
        out: Tensor = self.heads(self.deep(join(numbers, embedded), drop))
        return out

    def add(self, graph: Graph, numbers: str | None, embedded: Sequence[str]) -> str:
        """The same in a graph."""
        wave = self.deep.add(graph, add_join(graph, numbers, embedded))
        return add_linear(graph, wave, array(self.heads.weight), array(self.heads.bias))
