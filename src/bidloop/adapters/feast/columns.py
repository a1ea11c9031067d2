"""The columns in which Feast keeps a state, and a state as such columns.

Beside the state itself stand two more: the instant that it is of, and what became known since. The latter makes one row right
for every instant from the former on, planned future facts included: a reader takes in those that are due.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bidloop.adapters.feast.naming import span, word
from bidloop.features.plan import BINS, EntityPlan, Plan
from bidloop.features.planning import plan_of
from bidloop.features.state import NEVER
from bidloop.features.view import FeatureView

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """One column of a state.

    Parameters
    ----------
    name
        Such as ``campaign_sum_clicks_7d``.
    place
        Which columns of the state's row; more than one for the counts of a distribution, which stand in one array.
    kind
        Whether it is a number or an array of them.
    description
        One sentence for people.
    """

    name: str
    place: slice
    kind: Literal["number", "array"]
    description: str


@dataclass(frozen=True)
class StateColumns:
    """All columns of one kind of entity.

    Parameters
    ----------
    entity
        Whose.
    columns
        Those of the state.
    as_of
        Name of the column with the instant that the state is of, microseconds since 1970 UTC.
    recent
        Name of the column with what became known since: for each fact its instant and what it adds, as bytes of float64.
    """

    entity: EntityPlan
    columns: tuple[Column, ...]
    as_of: str
    recent: str

    def values(self, state: Floats) -> dict[str, float | list[float] | None]:
        """A state's row by column; what is not finite, and so means that there is none, is `None`."""
        row: dict[str, float | list[float] | None] = {}
        for column in self.columns:
            if column.kind == "array":
                row[column.name] = state[column.place].tolist()
            else:
                value = float(state[column.place.start])
                row[column.name] = value if np.isfinite(value) else None
        return row

    def states(self, columns: Mapping[str, Sequence[Any]], n: int) -> tuple[Floats, NDArray[np.int64]]:
        """The states of n rows as Feast returns them, shape (n, width), and their instants."""
        states = self.entity.nothing(n)
        # `None` where Feast has no such row; where its own table is in between, whole numbers come back as floats.
        as_of = np.array([NEVER if at is None or at != at else int(at) for at in columns[self.as_of]], dtype=np.int64)
        known = np.flatnonzero(as_of != NEVER)
        for column in self.columns:
            found = columns[column.name]
            if column.kind == "array":
                for row in known.tolist():
                    states[row, column.place] = found[row]
            else:
                numbers = np.array(found, dtype=np.float64)
                there = ~np.isnan(numbers)
                states[there, column.place.start] = numbers[there]
        return states, as_of

    def packed(self, due: NDArray[np.int64], inputs: Floats) -> bytes:
        """The facts, m of them, as bytes: float64 of shape (m, 1 + u), the instant from when on each counts and what it adds."""
        return np.column_stack((due.astype(np.float64), inputs)).astype("<f8").tobytes()

    def unpacked(self, packed: bytes) -> tuple[NDArray[np.int64], Floats]:
        """The facts that `packed` made bytes of."""
        rows = np.frombuffer(packed, dtype="<f8").reshape(-1, 1 + len(self.entity.inputs))
        return rows[:, 0].astype(np.int64), rows[:, 1:]


@functools.lru_cache(maxsize=64)
def columns_of(view: FeatureView) -> tuple[StateColumns, ...]:
    """The columns of each entity that a view needs to be kept.

    Examples
    --------
    >>> from bidloop.features.views import campaign_view
    >>> account = columns_of(campaign_view())[0]
    >>> account.as_of, [column.name for column in account.columns][:2]
    ('account_as_of_us', ['account_sum_impressions_halving_14d', 'account_sum_clicks_halving_14d'])
    """
    plan = plan_of(view)
    return tuple(_columns(plan, entity) for entity in plan.entities)


def _columns(plan: Plan, entity: EntityPlan) -> StateColumns:
    amount = [plan.amounts[one.amount] for one in entity.inputs]
    columns: list[Column] = []

    def add(name: str, start: int, description: str, width: int = 1) -> None:
        taken = {column.name for column in columns}
        unique = word(f"{entity.name}_{name}")
        while unique in taken:
            unique += "_more"
        kind: Literal["number", "array"] = "number" if width == 1 else "array"
        columns.append(Column(unique, slice(start, start + width), kind, description))

    for place, (i, per_us) in enumerate(zip(entity.sum_input.tolist(), entity.per_us.tolist(), strict=True)):
        one, long = entity.inputs[i], span(per_us)
        if one.kind == "sum":
            add(f"sum_{amount[i]}_{long}", place, f"Sum of {amount[i]}, fading over {long}.")
        elif one.bin == 0:
            add(
                f"bins_{amount[i]}_{long}",
                place,
                f"How often {amount[i]} fell into each bin, fading over {long}.",
                BINS,
            )
    for place, i in enumerate(entity.first_input.tolist(), start=entity.firsts.start):
        add(f"first_{amount[i]}_us", place, f"First instant with any {amount[i]}, microseconds since 1970 UTC.")
    for place, i in enumerate(entity.last_input.tolist(), start=entity.lasts.start):
        add(f"last_{amount[i]}_us", place, f"Last instant with any {amount[i]}, microseconds since 1970 UTC.")
    for pair, i in enumerate(entity.latest_input.tolist()):
        start = entity.lasts.stop + 2 * pair
        add(f"told_{amount[i]}_us", start, f"When {amount[i]} was told last, microseconds since 1970 UTC.")
        add(f"told_{amount[i]}", start + 1, f"The {amount[i]} that was told last.")
    stem = word(entity.name)
    return StateColumns(entity, tuple(columns), f"{stem}_as_of_us", f"{stem}_recent")
