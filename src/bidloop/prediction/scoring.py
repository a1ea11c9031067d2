"""An ONNX graph that scores rows: alone or in a batch, a row gets the same bits."""

from __future__ import annotations

import os
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bidloop.core.encoding import Encoding
from bidloop.core.errors import CorruptArtifact
from bidloop.core.feature_table import FeatureTable

# The runtime tells its makers of itself from its import on, and keeps a folder for that in the user's cache.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

BLOCK = 8
"""Rows per call of the runtime. ONNX Runtime adds in another order when there is one row (ReduceSum), and treats the
last few values of an array differently (Softplus, Elu), so bits would depend on the size of the batch; calls of one
fixed size always take the same way. Eight rows fill whole vector registers; a block costs a single
row some time, and larger blocks would cost it more."""

Column: TypeAlias = NDArray[np.float32] | NDArray[np.int64]
Inputs: TypeAlias = dict[str, Column]


class Graph:
    """An ONNX graph whose rows do not depend on each other, run on one thread.

    Parameters
    ----------
    onnx
        The serialised graph. Every input and output has the rows as its first axis.
    inputs
        Number of columns of each input, by name.
    output, width
        Name of the output and its number of columns.

    Raises
    ------
    CorruptArtifact
        When the runtime cannot read the graph, or the graph has other inputs and outputs, or cannot score a row.

    Notes
    -----
    Rows are scored in blocks of `BLOCK`, the last one filled up with zeros. Whether a row's bits depend on its place
    in the block is tried out when the graph is loaded; should they on some processor, rows are scored one by one.
    """

    def __init__(self, onnx: bytes, inputs: dict[str, int], output: str, width: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        # The runtime's exceptions share no public base class.
        except Exception as error:
            raise CorruptArtifact(
                f"a graph that ONNX Runtime cannot read ({error})", remedy="Train the model again, or restore the file."
            ) from error
        names = {node.name for node in self._session.get_inputs()}
        outputs = {node.name for node in self._session.get_outputs()}
        if not names <= set(inputs) or output not in outputs:
            raise CorruptArtifact(
                f"a graph with inputs {sorted(names)} and outputs {sorted(outputs)}",
                expected=f"inputs {sorted(inputs)} and output {output!r}",
                remedy="Export the model with the signature in bidloop.core.trained_model.",
            )
        # An export drops an input that the graph does not use, such as the features of a constant rate.
        self._names = sorted(names)
        self._output = output
        self.block = BLOCK
        try:
            if not self._rows_keep_their_bits(inputs, width):
                self.block = 1
        except Exception as error:
            raise CorruptArtifact(
                f"a graph that cannot score a row ({error})",
                expected=f"{inputs} columns in and {width} out",
                remedy="Export the model with the signature in bidloop.core.trained_model.",
            ) from error

    def run(self, inputs: Inputs) -> NDArray[np.float32]:
        """Score n rows.

        Parameters
        ----------
        inputs
            Arrays of shape (n, columns) by name.

        Returns
        -------
        numpy.ndarray
            float32, shape (n, columns of the output); a row's values do not depend on the other rows.
        """
        n = len(next(iter(inputs.values())))
        used = {name: _filled_up(inputs[name], self.block) for name in self._names}
        parts = [
            self._call({name: column[i : i + self.block] for name, column in used.items()})
            for i in range(0, max(n, 1), self.block)
        ]
        return np.concatenate(parts)[:n]

    def _call(self, block: Inputs) -> NDArray[np.float32]:
        [scores] = self._session.run([self._output], block)
        result: NDArray[np.float32] = np.asarray(scores, dtype=np.float32)
        if len(result) != self.block:
            # A graph without inputs, or with a constant output, answers one row for all.
            result = np.broadcast_to(result.reshape(1, -1), (self.block, result.size))
        return result

    def _rows_keep_their_bits(self, columns: dict[str, int], width: int) -> bool:
        rng = np.random.default_rng(0)
        # Slot 0 is the one slot that every embedding has.
        rows: Inputs = {
            name: np.zeros((BLOCK, n), dtype=np.int64)
            if name == "categories"
            else rng.normal(size=(BLOCK, n)).astype(np.float32)
            for name, n in columns.items()
        }
        straight = self.run(rows)
        if straight.shape != (BLOCK, width):
            raise ValueError(f"{BLOCK} rows gave scores of shape {straight.shape}")
        for places in range(1, BLOCK):
            turned = self.run({name: np.roll(column, places, axis=0) for name, column in rows.items()})
            if not np.array_equal(np.roll(turned, -places, axis=0), straight, equal_nan=True):
                return False
        return True


def _filled_up(column: NDArray[Any], block: int) -> NDArray[Any]:
    """The rows, and as many zero rows as make whole blocks; at least one block."""
    missing = -len(column) % block or (block if len(column) == 0 else 0)
    if missing:
        column = np.concatenate([column, np.zeros((missing, column.shape[1]), dtype=column.dtype)])
    return np.ascontiguousarray(column)


class Scorer:
    """Scores feature tables with a performance model.

    Parameters
    ----------
    onnx
        A graph with the signature in `bidloop.core.trained_model.TrainedModel`.
    encoding
        How a feature table becomes its inputs.

    Raises
    ------
    CorruptArtifact
        When the graph cannot be read or has another signature.
    """

    def __init__(self, onnx: bytes, encoding: Encoding) -> None:
        self.encoding = encoding
        columns = {"numeric": len(encoding.numeric), "categories": len(encoding.categories)}
        self._graph = Graph(onnx, columns, "logits", 2)

    def logits(self, table: FeatureTable) -> NDArray[np.float32]:
        """Log odds of a click given an impression and of a conversion given a click, float32, shape (n, 2).

        Raises
        ------
        ConfigurationError
            When the table is of another view than the model.
        """
        numeric, categories = self.encoding.apply(table)
        return self._graph.run({"numeric": numeric, "categories": categories})


class LandscapeScorer:
    """Scores bids with a landscape model: graph and encoding as in `bidloop.core.trained_model.TrainedLandscape`.

    Raises
    ------
    CorruptArtifact
        When the graph cannot be read or has another signature.
    """

    def __init__(self, onnx: bytes, encoding: Encoding) -> None:
        self.encoding = encoding
        columns = {"log_bid": 1, "numeric": len(encoding.numeric), "categories": len(encoding.categories)}
        self._graph = Graph(onnx, columns, "win_probability", 1)

    def win_probability(self, table: FeatureTable, bids: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(win | bid) as the graph gives it, for n rows of features and m bids in account currency, float64, shape
        (n, m).

        Raises
        ------
        ConfigurationError
            When the table is of another view than the model.
        """
        numeric, categories = self.encoding.apply(table)
        first, where = _distinct(numeric, categories)
        n, m = len(first), len(bids)
        scores = self._graph.run(
            {
                "log_bid": np.tile(np.log(bids), n).astype(np.float32).reshape(-1, 1),
                "numeric": np.repeat(numeric[first], m, axis=0),
                "categories": np.repeat(categories[first], m, axis=0),
            }
        )
        return scores.reshape(n, m).astype(np.float64)[where]


def _distinct(numeric: NDArray[np.float32], categories: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First row of each distinct one, and for each row the number of its like: a cell is drawn once for all
    requests.
    """
    n = len(numeric)
    if n < 2 or numeric.shape[1] + categories.shape[1] == 0:
        return np.arange(n), np.arange(n)
    rows = np.concatenate([numeric.view(np.uint8), categories.view(np.uint8)], axis=1)
    _, first, where = np.unique(rows.view(f"V{rows.shape[1]}").reshape(n), return_index=True, return_inverse=True)
    return first, where.reshape(n)
