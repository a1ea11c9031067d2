"""What is kept of many entities of one kind: a settled state each, and what came after it, one step of time at a time.

Facts that count from after the *base* of an entity stand in its *tail* until the base has passed them. So the state can be told
for any instant from the base on, whatever arrives late, and an event of the future changes nothing before its time has come.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidloop.features.plan import EntityPlan
from bidloop.features.state import advanced, merged

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Places = NDArray[np.intp]


@dataclass(frozen=True)
class Facts:
    """m facts about n entities of one kind.

    Parameters
    ----------
    kind
        Index of the kind of entity in the plan.
    keys
        The n entities.
    owner
        Which of them each fact is about, shape (m,).
    due, position, inputs
        As of `Contributions`: from when on each counts, its position in the log (0: none), and what it adds, shape (m, u).
    """

    kind: int
    keys: list[str]
    owner: Places
    due: Integers
    position: Integers
    inputs: Floats

    def only(self, some: NDArray[np.bool_]) -> Facts:
        """Some of the facts, which a mask of shape (m,) names, about the same n entities."""
        if some.all():
            return self
        return Facts(self.kind, self.keys, self.owner[some], self.due[some], self.position[some], self.inputs[some])

    def about(self, some: NDArray[np.bool_]) -> Facts:
        """Those about some of the entities alone, which a mask of shape (n,) names."""
        if some.all():
            return self
        mine = self.only(some[self.owner])
        keys = [self.keys[i] for i in np.flatnonzero(some).tolist()]
        return Facts(mine.kind, keys, (np.cumsum(some) - 1)[mine.owner], mine.due, mine.position, mine.inputs)


@dataclass(frozen=True)
class KeptStates:
    """What is kept of n entities of one kind, with tails of m steps together.

    Parameters
    ----------
    position
        Up to which position in the log all facts about each are in, shape (n,); 0 where none came from a log.
    base
        Instant of each state, microseconds since 1970 UTC, shape (n,); `NEVER` where nothing is kept.
    states
        Shape (n, width).
    owner, due, inputs
        The tails in order of entity and time: whose, from when on it counts, and what was added in that step of time, shapes
        (m,), (m,) and (m, u).
    """

    position: Integers
    base: Integers
    states: Floats
    owner: Places
    due: Integers
    inputs: Floats

    def news(self, facts: Facts) -> NDArray[np.bool_]:
        """Which facts are not in yet, shape (m,): those from no log, and those of later positions."""
        known: NDArray[np.bool_] = (facts.position > 0) & (facts.position <= self.position[facts.owner])
        return ~known

    def learned(self, entity: EntityPlan, facts: Facts, base: int) -> KeptStates:
        """With further facts, and settled up to an instant where it was not further already."""
        position = self.position.copy()
        np.maximum.at(position, facts.owner, facts.position)
        later = np.maximum(self.base, base)
        owner = np.concatenate((self.owner, facts.owner))
        due = np.concatenate((self.due, facts.due))
        inputs = np.concatenate((self.inputs, facts.inputs))
        order = np.lexsort((due, owner))
        owner, due, inputs = owner[order], due[order], inputs[order]
        old = due <= later[owner]
        states = advanced(entity, self.states, later - self.base)
        if old.any():
            some, starts = np.unique(owner[old], return_index=True)
            states[some] = merged(
                entity, states[some], _together(entity, starts, due[old], inputs[old], later[owner[old]])
            )
        return KeptStates(position, later, states, *_by_step(entity, owner[~old], due[~old], inputs[~old]))

    def at(self, entity: EntityPlan, places: Places, instants: Integers) -> tuple[Floats, Integers]:
        """What was known of p of the entities at p instants, none of them before the base of its entity.

        Returns
        -------
        states
            Shape (p, width).
        since
            The instant that each is of: the one asked, or the base where nothing counts since. Shape (p,).
        """
        states, since = self.states[places], self.base[places]
        if not len(self.owner):
            return states, since
        lengths = np.bincount(self.owner, minlength=len(self.base))
        begins, counts = (np.cumsum(lengths) - lengths)[places], lengths[places]
        asked = np.repeat(np.arange(len(places)), counts)
        step = np.arange(len(asked)) + np.repeat(begins - (np.cumsum(counts) - counts), counts)
        counting = self.due[step] <= instants[asked]
        if not counting.all():
            asked, step = asked[counting], step[counting]
        if len(asked):
            some, starts = np.unique(asked, return_index=True)
            new = _together(entity, starts, self.due[step], self.inputs[step], instants[asked])
            states[some] = merged(entity, advanced(entity, states[some], instants[some] - since[some]), new)
            since[some] = instants[some]
        return states, since


def _together(entity: EntityPlan, starts: Places, due: Integers, inputs: Floats, instants: Integers) -> Floats:
    """What runs of facts amount to: `state.folded` of many at once.

    Parameters
    ----------
    starts
        Where each of r runs begins, shape (r,).
    due, inputs
        Of the facts, shapes (m,) and (m, u).
    instants
        The instant that each fact is taken to, alike within a run, shape (m,).

    Returns
    -------
    Shape (r, width).
    """
    states = np.empty((len(starts), entity.width))
    passed, at = (instants - due).astype(np.float64), due.astype(np.float64)[:, None]
    for per_us in np.unique(entity.per_us).tolist():  # of columns that fade alike one power is enough
        columns = np.flatnonzero(entity.per_us == per_us)
        faded = inputs[:, entity.sum_input[columns]] * np.exp2(-passed * per_us)[:, None]
        states[:, columns] = np.add.reduceat(faded, starts)
    first, last = inputs[:, entity.first_input] != 0.0, inputs[:, entity.last_input] != 0.0
    states[:, entity.firsts] = np.minimum.reduceat(np.where(first, at, np.inf), starts)
    states[:, entity.lasts] = np.maximum.reduceat(np.where(last, at, -np.inf), starts)
    told = inputs[:, entity.latest_input]
    told_at = np.where(np.isnan(told), -np.inf, at)
    latest = np.maximum.reduceat(told_at, starts)
    of_latest = told_at == np.repeat(latest, np.diff(starts, append=len(due)), axis=0)
    states[:, entity.told_at] = latest
    # Of several at one instant the largest; NaN is none.
    states[:, entity.told] = np.fmax.reduceat(np.where(of_latest, told, np.nan), starts)
    return states


def _by_step(entity: EntityPlan, owner: Places, due: Integers, inputs: Floats) -> tuple[Places, Integers, Floats]:
    """Facts in order of owner and time, with those of one owner and one step of time taken together."""
    if not len(owner):
        return owner, due, inputs
    starts = np.flatnonzero((np.diff(owner, prepend=-1) != 0) | (np.diff(due, prepend=due[0]) != 0))
    together = np.add.reduceat(inputs, starts)
    told = entity.latest_input
    together[:, told] = np.fmax.reduceat(inputs[:, told], starts)
    return owner[starts], due[starts], together
