"""DCN-V2: the spec's network beside layers that multiply its inputs with each other.

Wang et al., "DCN V2: Improved Deep & Cross Network and Practical Lessons for Web-scale Learning to Rank Systems", 2021,
arXiv 2008.13535. A cross layer is ``x ← x₀ ⊙ (U V x + b) + x``: each one raises by 1 the degree of the products of inputs
that the network can form, which hidden layers of sums can only imitate.

Of the paper's forms this is the parallel one (cross and hidden layers both read the input, and the heads read both) with
weights of low rank. Changed: dropout also on what the cross layers hand to the heads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bidloop.models.graph import Graph
from bidloop.models.network.deep import Deep, Drop, add_join, add_linear, array, join

CROSS_LAYERS = 2
RANK = 32
"""Of each cross layer's weights. On 10 June of iPinYou no worse than full rank, with half the weights."""


class DeepCross(nn.Module):
    """Cross layers beside hidden layers, and two heads on both.

    Parameters
    ----------
    numbers, fields, width
        Numeric columns, categories, and numbers per embedding.
    hidden
        Units of each hidden layer.
    """

    def __init__(self, numbers: int, fields: int, width: int, hidden: Sequence[int]) -> None:
        super().__init__()
        used = numbers + fields * width
        rank = min(RANK, used)
        self.narrow = nn.ModuleList(nn.Linear(used, rank, bias=False) for _ in range(CROSS_LAYERS))
        self.wide = nn.ModuleList(nn.Linear(rank, used) for _ in range(CROSS_LAYERS))
        self.deep = Deep(used, hidden)
        self.heads = nn.Linear(hidden[-1] + used, 2)

    def forward(self, numbers: Tensor, embedded: Tensor, drop: Drop) -> Tensor:
        """Log odds of a click and of a conversion given a click, shape (n, 2)."""
        first = join(numbers, embedded)
        wave = first
        for narrow, wide in zip(self.narrow, self.wide, strict=True):
            wave = first * wide(narrow(wave)) + wave
        out: Tensor = self.heads(torch.cat((drop(wave), self.deep(first, drop)), dim=1))
        return out

    def add(self, graph: Graph, numbers: str | None, embedded: Sequence[str]) -> str:
        """The same in a graph."""
        first = add_join(graph, numbers, embedded)
        wave = first
        for narrow, wide in zip(self.narrow, self.wide, strict=True):
            inner = graph.add("MatMul", wave, graph.constant(array(narrow.get_parameter("weight")).T))
            weights, bias = array(wide.get_parameter("weight")), array(wide.get_parameter("bias"))
            product = graph.add("Mul", first, add_linear(graph, inner, weights, bias))
            wave = graph.add("Add", product, wave)
        both = graph.add("Concat", wave, self.deep.add(graph, first), axis=1)
        return add_linear(graph, both, array(self.heads.weight), array(self.heads.bias))
