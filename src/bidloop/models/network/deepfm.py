"""DeepFM: the spec's network plus what each pair of categories says together.

Guo et al., "DeepFM: A Factorization-Machine based Neural Network for CTR Prediction", 2017, arXiv 1703.04247. The effect of two
values together is the product of their embeddings, summed: a page and a creative that never met still have one, learned
from what each met with others. Lines, pairs and hidden layers add up to the log odds, and read the same embeddings.

Changed: two heads share the embeddings, so each weighs the products of the embeddings' entries on its own, where the
paper adds them up; and a value's own effect is read off its embedding, not from a second table.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bidloop.models.graph import Graph
from bidloop.models.network.deep import Deep, Drop, add_join, add_linear, array, join


class DeepFM(nn.Module):
    """A factorisation machine beside hidden layers, both with an output per head.

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
        self.deep = Deep(used, hidden)
        self.linear = nn.Linear(used, 2, bias=False)
        self.pairs = nn.Linear(width, 2, bias=False)
        self.heads = nn.Linear(hidden[-1], 2)

    def forward(self, numbers: Tensor, embedded: Tensor, drop: Drop) -> Tensor:
        """Log odds of a click and of a conversion given a click, shape (n, 2)."""
        joined = join(numbers, embedded)
        # Σ over pairs of fields of eᵢ ⊙ eⱼ, without going through the pairs.
        products = (embedded.sum(dim=1).square() - embedded.square().sum(dim=1)) / 2
        out: Tensor = self.heads(self.deep(joined, drop)) + self.linear(joined) + self.pairs(products)
        return out

    def add(self, graph: Graph, numbers: str | None, embedded: Sequence[str]) -> str:
        """The same in a graph."""
        joined = add_join(graph, numbers, embedded)
        heads = add_linear(graph, self.deep.add(graph, joined), array(self.heads.weight), array(self.heads.bias))
        terms = [heads, graph.add("MatMul", joined, graph.constant(array(self.linear.weight).T))]
        if embedded:
            total = graph.add("Sum", *embedded)
            squares = graph.add("Sum", *(graph.add("Mul", one, one) for one in embedded))
            products = graph.add("Sub", graph.add("Mul", total, total), squares)
            terms.append(graph.add("MatMul", products, graph.constant(array(self.pairs.weight).T / 2)))
        return graph.add("Sum", *terms)
