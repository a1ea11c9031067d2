"""What is remembered of one entity: every fact with its time, so that its state at any instant can be told."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bidloop.features.plan import EntityPlan
from bidloop.features.state import NEVER, advanced, folded, merged

Floats = NDArray[np.float64]
State = tuple[Floats, int]
"""A row of shape (width,), and the instant that it is of, in microseconds since 1970 UTC."""

STRIDE = 256
"""Facts from one noted state to the next: so many are added up at most when the past is asked for."""
_NO_TIMES: NDArray[np.int64] = np.zeros(0, dtype=np.int64)


class Memory:
    """The facts of one entity in order of time, and the state that they amount to.

    Facts may come in any order; a late one is put in its place. Taking them in is put off until somebody asks.

    Parameters
    ----------
    entity
        What is kept of such an entity.

    Examples
    --------
    >>> from bidloop.features.plan import DAY
    >>> from bidloop.features.planning import plan_of
    >>> from bidloop.features.views import campaign_view
    >>> memory = Memory(plan_of(campaign_view(half_life_days=1)).entities[0])
    >>> memory.add(np.array([2 * DAY]), np.array([[100.0, 1.0, 0.0]]))
    >>> memory.add(np.array([0]), np.array([[100.0, 2.0, 0.0]]))
    >>> memory.at(DAY)
    (array([100., 2., 0.]), 0)
    >>> memory.at(2 * DAY)
    (array([125. , 1.5, 0. ]), 172800000000)
    """

    __slots__ = ("_base", "_due", "_entity", "_inputs", "_length", "_newest", "_noted", "_pending")

    def __init__(self, entity: EntityPlan) -> None:
        self._entity = entity
        self._due = _NO_TIMES
        self._inputs: Floats = np.zeros((0, len(entity.inputs)))
        self._length = 0
        self._base: State | None = None  # what was settled
        self._newest: State = (entity.empty, NEVER)
        self._noted: list[State] = []  # after every STRIDE facts
        self._pending: list[tuple[NDArray[np.int64], Floats]] = []

    def add(self, due: NDArray[np.int64], inputs: Floats) -> None:
        """Take in n facts: from when on each counts, shape (n,), and what it adds to the inputs, shape (n, u)."""
        self._pending.append((due, inputs))

    def at(self, instant: int) -> State:
        """What was known at an instant, as a state of that instant or of an earlier one since which nothing happened."""
        if self._pending:
            self._take_in()
        if self._newest[1] <= instant:
            return self._newest
        length = bisect_right(self._due[: self._length], instant)  # type: ignore[call-overload, unused-ignore]
        return self._after(length)

    def settle(self, instant: int) -> None:
        """Forget the facts that count up to an instant; what they amount to stays, and later states do not change."""
        if self._pending:
            self._take_in()
        length = bisect_right(self._due[: self._length], instant)  # type: ignore[call-overload, unused-ignore]
        if length or self._base is not None:
            self._base = self._gone_on(self._after(length), instant)
            self._due = self._due[length : self._length].copy()
            self._inputs = self._inputs[length : self._length].copy()
            self._length -= length
            self._noted.clear()
            if not self._length:
                self._newest = self._base

    def _take_in(self) -> None:
        pending, self._pending = self._pending, []
        due = np.concatenate([one for one, _ in pending]) if len(pending) > 1 else pending[0][0]
        inputs = np.concatenate([one for _, one in pending]) if len(pending) > 1 else pending[0][1]
        if len(due) > 1 and (due[1:] < due[:-1]).any():
            order = np.argsort(due, kind="stable")
            due, inputs = due[order], inputs[order]
        last = max(self._newest[1], int(due[-1]))
        sums, _ = self._gone_on(self._newest, last)
        new = folded(self._entity, due, inputs, last)
        self._newest = (merged(self._entity, sums[None], new[None])[0], last)
        self._insert(due, inputs)

    def _insert(self, due: NDArray[np.int64], inputs: Floats) -> None:
        place = bisect_right(self._due[: self._length], int(due[0]))  # type: ignore[call-overload, unused-ignore]
        if place < self._length:  # late: what stands behind is sorted anew together with it
            due = np.concatenate((self._due[place : self._length], due))
            inputs = np.concatenate((self._inputs[place : self._length], inputs))
            order = np.argsort(due, kind="stable")
            due, inputs = due[order], inputs[order]
            del self._noted[place // STRIDE :]
        length = place + len(due)
        if length > len(self._due):
            room = length if not self._length else max(length, 2 * len(self._due))
            self._due = np.concatenate((self._due[:place], np.empty(room - place, dtype=np.int64)))
            self._inputs = np.concatenate((self._inputs[:place], np.empty((room - place, self._inputs.shape[1]))))
        self._due[place:length], self._inputs[place:length] = due, inputs
        self._length = length

    def _after(self, length: int) -> State:
        """What the first so many facts amount to, beside what was settled, when the last of them counts."""
        while len(self._noted) < length // STRIDE:
            self._noted.append(self._more(len(self._noted) * STRIDE, (len(self._noted) + 1) * STRIDE))
        return self._more(length // STRIDE * STRIDE, length)

    def _more(self, start: int, end: int) -> State:
        """The state after `end` facts, from the noted one after `start`."""
        before = self._noted[start // STRIDE - 1] if start else self._base or (self._entity.empty, NEVER)
        if end == start:
            return before
        last = max(before[1], int(self._due[end - 1]))
        new = folded(self._entity, self._due[start:end], self._inputs[start:end], last)
        return merged(self._entity, self._gone_on(before, last)[0][None], new[None])[0], last

    def _gone_on(self, state: State, instant: int) -> State:
        row, at = state
        if at in (instant, NEVER):
            return row, instant
        return advanced(self._entity, row[None], instant - at)[0], instant


def facts_by_key(keys: Sequence[str | None], rows: NDArray[np.intp]) -> dict[str, list[int]]:
    """Which of some rows belong to which key, as places among the rows."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows.tolist()):
        key = keys[row]
        assert key is not None
        places.setdefault(key, []).append(place)
    return places
