"""What is known of one entity at one instant: a row of numbers that goes on in time and takes in what else becomes known.

The columns are those of `EntityPlan`: fading sums, first and last instants, latest values. Taking two states together is
commutative and associative, and going on in time distributes over it. So it makes no difference in which order facts arrive,
and how they are put together: one by one, a day at once, or from the parts that two processes have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidloop.features.plan import EntityPlan, Plan

Floats = NDArray[np.float64]

NEVER = -(2**62)
"""An instant before any other, and far enough from the edge of int64 to reckon with."""


def states_of(entity: EntityPlan, due: NDArray[np.int64], inputs: Floats) -> Floats:
    """Each fact as the state of who knows nothing else, at the instant from when on it counts.

    Parameters
    ----------
    due
        Microseconds since 1970 UTC, shape (n,).
    inputs
        What each fact adds (`Contributions.to`), shape (n, u).

    Returns
    -------
    Shape (n, width).
    """
    states = np.empty((len(due), entity.width))
    states[:, entity.sums] = inputs[:, entity.sum_input]
    at = due.astype(np.float64)[:, None]
    states[:, entity.firsts] = np.where(inputs[:, entity.first_input] != 0.0, at, np.inf)
    states[:, entity.lasts] = np.where(inputs[:, entity.last_input] != 0.0, at, -np.inf)
    told = inputs[:, entity.latest_input]
    states[:, entity.told_at] = np.where(np.isnan(told), -np.inf, at)
    states[:, entity.told] = told
    return states


def advanced(entity: EntityPlan, states: Floats, elapsed: NDArray[np.int64] | int) -> Floats:
    """The states so many microseconds later, shape (n, width); what fades has faded.

    Examples
    --------
    >>> from bidloop.features.plan import DAY
    >>> from bidloop.features.planning import plan_of
    >>> from bidloop.features.views import campaign_view
    >>> account = plan_of(campaign_view(half_life_days=1)).entities[0]
    >>> advanced(account, np.array([[100.0, 8.0, 1.0]]), 2 * DAY)
    array([[25.  ,  2.  ,  0.25]])
    """
    later = np.array(states, dtype=np.float64)
    passed = np.asarray(elapsed, dtype=np.float64).reshape(-1, 1)
    rates, of = entity.rates
    later[:, entity.sums] *= np.exp2(-passed * rates)[:, of]
    return later


def merged(entity: EntityPlan, one: Floats, other: Floats) -> Floats:
    """What two states of the same instants know together, shape (n, width)."""
    both = np.empty_like(one)
    both[:, entity.sums] = one[:, entity.sums] + other[:, entity.sums]
    both[:, entity.firsts] = np.minimum(one[:, entity.firsts], other[:, entity.firsts])
    both[:, entity.lasts] = np.maximum(one[:, entity.lasts], other[:, entity.lasts])
    at, also = one[:, entity.told_at], other[:, entity.told_at]
    value, too = one[:, entity.told], other[:, entity.told]
    later = (also > at) | ((also == at) & ~(too <= value))  # of two at one instant the larger; NaN is none
    both[:, entity.told_at] = np.where(later, also, at)
    both[:, entity.told] = np.where(later, too, value)
    return both


def folded(entity: EntityPlan, due: NDArray[np.int64], inputs: Floats, instant: int) -> Floats:
    """What n facts amount to at an instant at which all of them count, shape (width,).

    Examples
    --------
    >>> from bidloop.features.plan import DAY
    >>> from bidloop.features.planning import plan_of
    >>> from bidloop.features.views import campaign_view
    >>> account = plan_of(campaign_view(half_life_days=1)).entities[0]
    >>> folded(account, np.array([0, DAY]), np.array([[100.0, 8.0, 0.0], [10.0, 0.0, 0.0]]), DAY)
    array([60.,  4.,  0.])
    """
    if len(due) == 0:
        return entity.empty.copy()
    states = advanced(entity, states_of(entity, due, inputs), instant - due)
    row = np.empty(entity.width)
    row[entity.sums] = states[:, entity.sums].sum(axis=0)
    row[entity.firsts] = states[:, entity.firsts].min(axis=0)
    row[entity.lasts] = states[:, entity.lasts].max(axis=0)
    at, told = states[:, entity.told_at], states[:, entity.told]
    latest = at.max(axis=0)
    row[entity.told_at] = latest
    known = (at == latest) & ~np.isnan(told)
    row[entity.told] = np.where(known.any(axis=0), np.where(known, told, -np.inf).max(axis=0), np.nan)
    return row


@dataclass(frozen=True)
class Known:
    """What is known of the entities that n opportunities belong to, each at the opportunity's own instant.

    Parameters
    ----------
    states
        For each kind of entity, shape (d, width): one for each opportunity, or for each different entity.
    places
        For each kind of entity which of its states an opportunity has, shape (n,); `None` where each has its own.
    """

    states: tuple[Floats, ...]
    places: tuple[NDArray[np.intp] | None, ...]

    @classmethod
    def of(cls, plan: Plan, states: Sequence[Floats], elapsed: NDArray[np.int64]) -> Known:
        """The states of n opportunities' entities, each gone on to the opportunity's instant.

        Parameters
        ----------
        states
            For each entity of the plan, shape (n, width).
        elapsed
            Microseconds from each state's instant to the opportunity's, shape (n, number of entities).
        """
        later = [advanced(entity, states[i], elapsed[:, i]) for i, entity in enumerate(plan.entities)]
        return cls(tuple(later), (None,) * len(later))

    def apart(self) -> Known:
        """The same with a state for each opportunity, which can be changed."""
        states = [
            state.copy() if places is None else state[places]
            for state, places in zip(self.states, self.places, strict=True)
        ]
        return Known(tuple(states), (None,) * len(states))
