"""From states to values, inside Feast."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bidloop.adapters.feast.columns import StateColumns, columns_of
from bidloop.core.errors import InvalidInput
from bidloop.core.opportunity import Opportunity
from bidloop.features.described import describe
from bidloop.features.keys import absences, entity_keys
from bidloop.features.planning import plan_of
from bidloop.features.state import NEVER, Known, advanced, folded, merged
from bidloop.features.values import feature_table
from bidloop.features.view import FeatureView

OPPORTUNITY = "opportunity"
"""Request data: what the opportunity says by itself, as JSON."""
ASKED = "asked_us"
"""Request data: the instant asked, less the view's lag, in microseconds since 1970 UTC."""

Floats = NDArray[np.float64]
_opportunity = msgspec.json.Decoder(Opportunity).decode


def feature_values(definition: str, inputs: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """The values of n opportunities, from the columns that Feast found for them.

    Parameters
    ----------
    definition
        The `FeatureView` as JSON: it stands in the registry, so that an old version can be read without anything else.
    inputs
        By name, n values each: the columns of the states, and the request data.

    Returns
    -------
    By name of the feature n values.

    Raises
    ------
    InvalidInput
        When an instant lies before what the online store remembers.
    """
    plan = plan_of(_view(definition))
    opportunities = [_opportunity(text) for text in inputs[OPPORTUNITY]]
    asked = np.array(inputs[ASKED], dtype=np.int64)
    described = describe(plan.view, opportunities)
    keys = entity_keys(plan, opportunities, described.sources)
    elapsed = np.zeros((len(asked), len(plan.entities)), dtype=np.int64)
    states = []
    for i, columns in enumerate(columns_of(plan.view)):
        found, as_of = _as_of(columns, inputs, asked)
        elapsed[:, i] = asked - as_of
        states.append(found)
    table = feature_table(
        plan, described, Known.of(plan, states, elapsed), asked.tolist(), opportunities, absences(keys)
    )
    return {name: column.tolist() for name, column in (*table.numeric.items(), *table.categorical.items())}


def _as_of(
    columns: StateColumns, inputs: Mapping[str, Sequence[Any]], asked: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.int64]]:
    """The states with all that was due when asked, and the instants that they are of."""
    entity = columns.entity
    states, as_of = columns.states(inputs, len(asked))
    early = np.flatnonzero(asked < as_of)
    if len(early):
        row = int(early[0])
        raise InvalidInput(
            f"a read as of {np.datetime64(int(asked[row]), 'us')}Z",
            path="at",
            expected=f"an instant from {np.datetime64(int(as_of[row]), 'us')}Z on, which Feast's online store remembers",
            remedy="Read the further past with FeastRepository.historical.",
        )
    for row, packed in enumerate(inputs[columns.recent]):
        if not packed:
            continue
        due, added = columns.unpacked(packed)
        instant = int(asked[row])
        counts = due <= instant
        if counts.any():
            base = states[row : row + 1]
            if as_of[row] != NEVER:
                base = advanced(entity, base, instant - as_of[row])
            new = folded(entity, due[counts], added[counts], instant)
            states[row] = merged(entity, base, new[None])[0]
            as_of[row] = instant
    return states, as_of


@functools.lru_cache(maxsize=64)
def _view(definition: str) -> FeatureView:
    return msgspec.json.decode(definition, type=FeatureView)
