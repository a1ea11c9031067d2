"""The hidden layers that every tower shares, over one 128-wide input."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bidloop.models.graph import Graph

INPUT_WIDTH = 128

Drop = Callable[[Tensor], Tensor]
"""Applies dropout; the training loop owns the random numbers, and outside training it does nothing."""


class Deep(nn.Module):
    """Fully connected layers with ReLU and dropout.

    Parameters
    ----------
    used
        How many of the 128 inputs carry something; the others are 0.
    hidden
        Units of each layer, 256-128-64 in the performance network.
    """

    def __init__(self, used: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.used = used
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise((INPUT_WIDTH, *hidden)))

    def forward(self, joined: Tensor, drop: Drop) -> Tensor:
        """From `used` inputs, shape (n, used), to the last layer's units."""
        wave = functional.pad(joined, (0, INPUT_WIDTH - self.used))
        for layer in self.layers:
            wave = drop(functional.relu(layer(wave)))
        return wave

    def add(self, graph: Graph, joined: str) -> str:
        """The same in a graph, without the inputs that are 0."""
        wave, used = joined, self.used
        for layer in self.layers:
            weights = array(layer.get_parameter("weight"))
            wave = graph.add("Relu", add_linear(graph, wave, weights[:, :used], array(layer.get_parameter("bias"))))
            used = len(weights)
        return wave


def join(numbers: Tensor, embedded: Tensor) -> Tensor:
    """Numbers (n, d) and embeddings (n, fields, width), flattened, side by side."""
    return torch.cat((numbers, embedded.flatten(1)), dim=1)


def add_join(graph: Graph, numbers: str | None, embedded: Sequence[str]) -> str:
    """The same in a graph; one tensor (n, width) for each field."""
    return graph.add("Concat", *([] if numbers is None else [numbers]), *embedded, axis=1)


def add_linear(graph: Graph, tensor: str, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
    """A linear layer; weights of shape (outputs, inputs)."""
    return graph.add("Gemm", tensor, graph.constant(weights), graph.constant(bias), transB=1)


def array(parameter: Tensor) -> NDArray[np.float32]:
    """The values of a parameter."""
    return np.asarray(parameter.detach().cpu().numpy(), dtype=np.float32)
