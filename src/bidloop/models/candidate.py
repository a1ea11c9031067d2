"""What every kind of performance model can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bidloop.core.encoding import Encoding
from bidloop.core.trained_model import TrainedModel
from bidloop.models.graph import Graph

Parameters = dict[str, float | int | str]
OnEpoch = Callable[[int, float], None]
"""Told the number of an epoch (or tree) and the held-out loss of clicks after it; may raise to end the training."""


class Candidate(Protocol):
    """A fitted performance model, still in the framework that fitted it."""

    @property
    def name(self) -> str:
        """Kind of the model, such as ``trees``."""

    @property
    def parameters(self) -> Parameters:
        """What it was fitted with, for the record."""

    def logits(self, numeric: NDArray[np.float32], categories: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log odds of a click given an impression and of a conversion given a click, shape (n, 2)."""

    def build(self, graph: Graph) -> str:
        """Add the model to a graph with inputs ``numeric`` and ``categories``; name of its (n, 2) float32 tensor."""


def export(candidate: Candidate, encoding: Encoding) -> TrainedModel:
    """The model as an ONNX graph, ready to be served without its framework."""
    graph = Graph()
    logits = candidate.build(graph)
    onnx = graph.finish(
        inputs={"numeric": ("float", len(encoding.numeric)), "categories": ("int64", len(encoding.categories))},
        output="logits",
        tensor=logits,
        columns=2,
    )
    return TrainedModel(candidate.name, onnx, encoding, dict(candidate.parameters))
