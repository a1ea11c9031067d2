"""Rates relative to the account's own, so that a model does not lean on a level that moves with the season.

``slot_ctr / account_ctr`` instead of ``slot_ctr``. The account's own columns are then left out, and so are counts of
past impressions. Smoothed rates carry how much is known already, and what share of a log a slot has had drifts as the
log grows, which trees and networks take for a rise of the rate.

Trees take the ratios, other models their logs. Division gives the same bits here and in ONNX Runtime, a logarithm does
not, and a tree that meets a threshold in the last bit would answer differently.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bidloop.core.encoding import Encoding
from bidloop.models.encoding import is_rate
from bidloop.models.graph import Graph

SMALLEST = np.float32(1e-4)
"""Ratios are held at or above this: a rate of a ten-thousandth of the typical one is as good as none."""


class Relative:
    """The columns that models of tendencies read: plain ones, then ratios of rates.

    Parameters
    ----------
    encoding
        Names and order of the numeric columns.

    Examples
    --------
    >>> from bidloop.core.encoding import NumericField
    >>> fields = tuple(NumericField(name, 1.0, 0.0, 1.0) for name in ("hour_sin", "account_ctr", "slot_ctr"))
    >>> relative = Relative(Encoding("v", fields, ()))
    >>> relative.names, relative.ratios(np.array([[0.5, 2.0, 1.0]], dtype=np.float32)).tolist()
    (['hour_sin', 'slot_ctr'], [[0.5, 0.5]])
    """

    def __init__(self, encoding: Encoding) -> None:
        names = [field.name for field in encoding.numeric]
        place = {name: i for i, name in enumerate(names)}
        own = [i for i, name in enumerate(names) if not name.startswith("account_")]
        self._plain = [i for i in own if not is_rate(names[i])]
        self._rates = [(i, place.get(_account(names[i]))) for i in own if is_rate(names[i])]
        self.plain = len(self._plain)
        self.names = [names[i] for i in (*self._plain, *(i for i, _ in self._rates))]

    def ratios(self, numeric: NDArray[np.float32]) -> NDArray[np.float32]:
        """Plain columns and ratios of rates, float32, shape (n, number of names)."""
        parts = [numeric[:, self._plain]]
        for i, above in self._rates:
            below = np.float32(1) if above is None else np.maximum(numeric[:, [above]], SMALLEST)
            parts.append((np.maximum(numeric[:, [i]], SMALLEST) / below).astype(np.float32))
        return np.concatenate(parts, axis=1)

    def logs(self, numeric: NDArray[np.float32]) -> NDArray[np.float32]:
        """Plain columns and logs of those ratios, float32, shape (n, number of names)."""
        columns = self.ratios(numeric)
        columns[:, self.plain :] = np.log(columns[:, self.plain :])
        return columns

    def add(self, graph: Graph, *, log: bool) -> str:
        """The same in a graph: `logs` or `ratios` as a float32 tensor."""
        parts = [graph.columns("numeric", self._plain)] if self._plain else []
        smallest = graph.constant(SMALLEST)
        for i, above in self._rates:
            ratio = graph.add("Max", graph.columns("numeric", [i]), smallest)
            if above is not None:
                ratio = graph.add("Div", ratio, graph.add("Max", graph.columns("numeric", [above]), smallest))
            parts.append(graph.add("Log", ratio) if log else ratio)
        return graph.add("Concat", *parts, axis=1)


def _account(name: str) -> str:
    """The account's rate of the same kind."""
    return "account_ctr" if name.endswith("_ctr") else "account_conversion_rate"
