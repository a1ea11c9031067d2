"""What a view needs to be kept for each entity, and which columns its features are made of.

A view names features; several of them share what they are made of (a CTR and a cost per click need the same clicks). The plan
is that, once: for each entity the *inputs* that an event adds to, and the *columns* of the state that is kept of them. A state
is a row of numbers at one instant, and knows how to go on in time and to take in another one (`state`).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bidloop.features.signals import (
    Kept,
)
from bidloop.features.source import PERSON
from bidloop.features.view import FeatureView

DAY = 86_400_000_000
"""Microseconds."""
EDGES = 2.0 ** (np.arange(49) / 2 - 12)
"""Edges of the bins of a `Quantile`, shape (49,)."""
BINS = len(EDGES) - 1

SEPARATOR = "\x1f"
"""Between the values that make a key."""

InputKind: TypeAlias = Literal["sum", "bin", "latest", "first", "last"]


@dataclass(frozen=True)
class Input:
    """What one event adds to: an amount, a bin of its values, its latest value, or when there was any of it.

    Parameters
    ----------
    amount
        Index among the amounts of the plan.
    bin
        Which bin, of a ``bin``.
    """

    kind: InputKind
    amount: int
    bin: int = 0


@dataclass(frozen=True)
class EntityPlan:
    """What is kept of each entity of one kind, and where it stands in its state.

    A state's row is: fading sums, then first instants, then last instants, then pairs of an instant and the latest value.

    Parameters
    ----------
    name, key
        Name (that of its `Entity` or `RateFeature`) and sources.
    inputs
        What events add to, u of them.
    sum_input, per_us
        For each fading sum its input, and one over its half-life in microseconds; 0 where it never fades. Shape (k,).
    first_input, last_input, latest_input
        Inputs of the other columns.
    """

    name: str
    key: tuple[str, ...]
    inputs: tuple[Input, ...]
    sum_input: NDArray[np.intp]
    per_us: NDArray[np.float64]
    first_input: NDArray[np.intp]
    last_input: NDArray[np.intp]
    latest_input: NDArray[np.intp]

    @functools.cached_property
    def rates(self) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """The different `per_us`, and which of them each fading sum takes: of columns that fade alike one power is enough."""
        different, of = np.unique(self.per_us, return_inverse=True)
        return different, of

    @functools.cached_property
    def sums(self) -> slice:
        """Columns of the fading sums."""
        return slice(0, len(self.sum_input))

    @functools.cached_property
    def firsts(self) -> slice:
        """Columns of first instants, in microseconds; infinite where there is none."""
        return slice(self.sums.stop, self.sums.stop + len(self.first_input))

    @functools.cached_property
    def lasts(self) -> slice:
        """Columns of last instants; minus infinity where there is none."""
        return slice(self.firsts.stop, self.firsts.stop + len(self.last_input))

    @functools.cached_property
    def told_at(self) -> slice:
        """Columns of the instants of latest values; minus infinity where there is none."""
        return slice(self.lasts.stop, self.width, 2)

    @functools.cached_property
    def told(self) -> slice:
        """Columns of latest values; NaN where there is none."""
        return slice(self.lasts.stop + 1, self.width + 1, 2)

    @functools.cached_property
    def width(self) -> int:
        """Number of columns."""
        return len(self.sum_input) + len(self.first_input) + len(self.last_input) + 2 * len(self.latest_input)

    @functools.cached_property
    def empty(self) -> NDArray[np.float64]:
        """The state of one of which nothing is known, shape (width,)."""
        row = np.zeros(self.width)
        row[self.firsts], row[self.lasts], row[self.told_at], row[self.told] = math.inf, -math.inf, -math.inf, math.nan
        row.flags.writeable = False
        return row

    def nothing(self, n: int) -> NDArray[np.float64]:
        """The states of n of which nothing is known, shape (n, width)."""
        states = np.empty((n, self.width))
        states[:] = self.empty
        return states

    @property
    def personal(self) -> bool:
        """Whether it names a person: without one, there is nothing to know."""
        return PERSON in self.key

    def names(self, key: str, user_id: str) -> bool:
        """Whether a key is one of this person's."""
        return self.personal and key.split(SEPARATOR)[self.key.index(PERSON)] == user_id

    def columns(self) -> list[str]:
        """A name for each column that says what it holds, such as ``sum:clicks:7d``; the amounts by their number."""
        names = []
        for i, per_us in zip(self.sum_input.tolist(), self.per_us.tolist(), strict=True):
            one = self.inputs[i]
            span = "ever" if per_us == 0 else f"{1 / (per_us * DAY):.6g}d"
            names.append(f"{one.kind}:{one.amount}:{one.bin}:{span}")
        names += [f"first:{self.inputs[i].amount}" for i in self.first_input.tolist()]
        names += [f"last:{self.inputs[i].amount}" for i in self.last_input.tolist()]
        for i in self.latest_input.tolist():
            names += [f"told_at:{self.inputs[i].amount}", f"told:{self.inputs[i].amount}"]
        return names


@dataclass(frozen=True)
class RatioGroup:
    """Ratios of one kind of entity that are drawn towards ratios of one other group: r of them, computed at once.

    Parameters
    ----------
    entity
        Index of the kind of entity.
    above
        Index of the group of the ratios that these are drawn towards; -1 at the top, where it is numbers instead.
    numerator, denominator
        Columns of the entity's state, shape (r,).
    parent
        Which of the group above each is drawn towards.
    prior
        The number that those at the top are drawn towards; NaN for none.
    events, trials
        What a ratio is drawn towards weighs so many of the numerator, or so many of the denominator; one of the two is 0.
    cap
        Largest value.
    """

    entity: int
    above: int
    numerator: NDArray[np.intp]
    denominator: NDArray[np.intp]
    parent: NDArray[np.intp]
    prior: NDArray[np.float64]
    events: NDArray[np.float64]
    trials: NDArray[np.float64]
    cap: NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """A view, made ready to be computed.

    Parameters
    ----------
    view
        What it was made of.
    amounts
        Names of the amounts, a of them: those of ads that are asked for, then those of the view.
    entities
        What is kept. The one of the account, with the empty key, is among them.
    ratios
        All ratios, in groups; each group stands behind the one that it is drawn towards.
    ratio_of
        Group and place in it of a feature that is a ratio, by name.
    columns_of
        (entity, column) of a feature that reads a column as it is, or its first bin; along the hierarchy from the entity itself
        upwards. By the feature's name.
    """

    view: FeatureView
    amounts: tuple[str, ...]
    entities: tuple[EntityPlan, ...]
    ratios: tuple[RatioGroup, ...]
    ratio_of: dict[str, tuple[int, int]]
    columns_of: dict[str, tuple[tuple[int, int], ...]]

    @functools.cached_property
    def version(self) -> str:
        """Version of the view."""
        return self.view.version  # to hash a view takes as long as to read a row

    @functools.cached_property
    def entity_of(self) -> dict[str, int]:
        """Index of the entity that each signal speaks of, by the signal's name."""
        keys = {entity.key: i for i, entity in enumerate(self.entities)}
        return {
            signal.name: keys[self.view.key_of(signal.entity)]
            for signal in self.view.signals
            if isinstance(signal, Kept)
        }

    @functools.cached_property
    def determined(self) -> tuple[bool, ...]:
        """Of each kind of entity whether its key names all entities above it, so that one of them has the same ratios for all."""
        told = [True] * len(self.entities)
        for group in self.ratios:  # those above come first
            if group.above >= 0:
                above = self.ratios[group.above].entity
                named = set(self.entities[above].key) <= set(self.entities[group.entity].key)
                told[group.entity] &= named and told[above]
        return tuple(told)


def bounds_of(bin: int) -> tuple[float, float]:
    """From where on, and up to where, values fall into a bin; the first and the last take what lies beyond as well.

    >>> bounds_of(0)[0], bounds_of(BINS - 1)[1]
    (0.0, inf)
    """
    return (0.0 if bin == 0 else float(EDGES[bin])), (math.inf if bin == BINS - 1 else float(EDGES[bin + 1]))
