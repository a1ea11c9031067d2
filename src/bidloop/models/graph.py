"""ONNX graphs, node by node: small enough to read, and the same bytes for the same model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
ML_OPSET = 3
IR_VERSION = 8

_TYPES = {"float": TensorProto.FLOAT, "int64": TensorProto.INT64}


class Graph:
    """A graph in the making.

    Tensors are known by name; `add` returns the name of what a node computes.

    Examples
    --------
    >>> import numpy as np
    >>> graph = Graph()
    >>> doubled = graph.add("Mul", "numeric", graph.constant(np.float32(2)))
    >>> model = graph.finish({"numeric": ("float", 1)}, "doubled", doubled, columns=1)
    >>> isinstance(model, bytes)
    True
    """

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._known: dict[tuple[str, ...], str] = {}

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output. The same node on the same inputs is added once."""
        key = (op, *inputs, repr(sorted(attributes.items()))) if len(repr(attributes)) < 200 else None
        if key is not None and key in self._known:
            return self._known[key]
        name = f"t{len(self._nodes)}"
        domain = "ai.onnx.ml" if op.startswith("TreeEnsemble") else ""
        self._nodes.append(helper.make_node(op, list(inputs), [name], domain=domain, **attributes))
        if key is not None:
            self._known[key] = name
        return name

    def constant(self, value: NDArray[Any] | np.generic) -> str:
        """A constant tensor. Equal constants are kept once."""
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        key = ("constant", array.dtype.str, str(array.shape), array.tobytes().hex() if array.nbytes < 4096 else "")
        if array.nbytes < 4096 and key in self._known:
            return self._known[key]
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(array, name))
        self._known[key] = name
        return name

    def column(self, tensor: str, index: int) -> str:
        """One column of a matrix, as a vector of shape (n,)."""
        return self.add("Gather", tensor, self.constant(np.int64(index)), axis=1)

    def columns(self, tensor: str, indices: list[int]) -> str:
        """Some columns of a matrix, in the given order."""
        return self.add("Gather", tensor, self.constant(np.array(indices, dtype=np.int64)), axis=1)

    def repeat(self, row: NDArray[np.float32]) -> str:
        """The same row for each row of the input, float32 of shape (n, width)."""
        bounds = [self.constant(np.array([i], dtype=np.int64)) for i in (0, 1)]
        rows = self.add("Slice", self.add("Shape", "categories"), *bounds)
        shape = self.add("Concat", rows, self.constant(np.array([len(row)], dtype=np.int64)), axis=0)
        return self.add("Expand", self.constant(row.reshape(1, -1)), shape)

    def finish(
        self,
        inputs: Mapping[str, tuple[Literal["float", "int64"], int]],
        output: str,
        tensor: str,
        columns: int,
    ) -> bytes:
        """The serialised model, checked.

        Parameters
        ----------
        inputs
            Type and number of columns of each input.
        output
            Name of the output.
        tensor
            Name of the tensor that becomes it, float32 of shape (n, columns).
        """
        self._nodes.append(helper.make_node("Identity", [tensor], [output]))
        graph = helper.make_graph(
            self._nodes,
            "bidloop",
            [helper.make_tensor_value_info(name, _TYPES[kind], ["n", width]) for name, (kind, width) in inputs.items()],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", columns])],
            self._constants,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
            ir_version=IR_VERSION,
            producer_name="bidloop",
        )
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))
