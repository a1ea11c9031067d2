"""Facts put together that fall in the same step of time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bidloop.features.plan import EntityPlan

Floats = NDArray[np.float64]
Instants = NDArray[np.int64]

_WAYS = {"sum": np.add, "bin": np.add, "first": np.maximum, "last": np.maximum, "latest": np.fmax}


def in_steps(
    entity: EntityPlan, group: NDArray[np.int64], due: Instants, inputs: Floats
) -> tuple[NDArray[np.int64], Instants, Floats]:
    """The facts in order of entity and time, those of one step of time as one: as if one event had told them all.

    Parameters
    ----------
    group, due, inputs
        Number of the entity, from when on each fact counts, and what it adds; shapes (n,), (n,) and (n, u).

    Examples
    --------
    >>> from bidloop.features.planning import plan_of
    >>> from bidloop.features.views import campaign_view
    >>> account = plan_of(campaign_view()).entities[0]
    >>> inputs = np.array([[100.0, 1.0, 0.0], [10.0, 0.0, 0.0], [20.0, 1.0, 1.0]])
    >>> in_steps(account, np.array([0, 0, 0]), np.array([7, 5, 7]), inputs)[1:]
    (array([5, 7]), array([[ 10.,   0.,   0.], [120.,   2.,   1.]]))
    """
    order = np.lexsort((due, group))
    group, due, inputs = group[order], due[order], inputs[order]
    new = np.ones(len(due), dtype=bool)
    new[1:] = (group[1:] != group[:-1]) | (due[1:] != due[:-1])
    first = np.flatnonzero(new)
    together = np.empty((len(first), inputs.shape[1]))
    if len(first):
        for i, one in enumerate(entity.inputs):
            together[:, i] = _WAYS[one.kind].reduceat(inputs[:, i], first)
    return group[first], due[first], together
