"""Feature values now, from Feast's online store."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from logging import getLogger
from typing import Any, TypeAlias

import numpy as np
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, Value

from bidloop.adapters.feast.answering import answering
from bidloop.adapters.feast.columns import StateColumns, columns_of
from bidloop.adapters.feast.history import key_parts
from bidloop.adapters.feast.naming import join_keys
from bidloop.adapters.feast.repository import FeastRepository
from bidloop.adapters.feast.steps import Floats, Instants, in_steps
from bidloop.core.clock import Clock, SystemClock
from bidloop.core.event import Event
from bidloop.core.feature_table import FeatureTable
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Observations
from bidloop.features.contributions import Contributions, contributions
from bidloop.features.local_time import instant_of
from bidloop.features.memory import Memory, facts_by_key
from bidloop.features.plan import EntityPlan
from bidloop.features.planning import plan_of
from bidloop.features.state import NEVER
from bidloop.features.view import FeatureView

Row: TypeAlias = tuple[EntityKey, dict[str, Value], datetime, datetime | None]

_log = getLogger("bidloop.feast")


class FeastStore:
    """Keeps what is known of every entity in Feast's online store, and reads feature values there.

    The process that observes remembers every entity, as `bidloop.features.online.InProcessStore` does, and writes the rows of
    those that changed. A process that only reads needs no memory: what it reads is as fresh as the last observation
    of the other. Only one process may observe; after a restart it reads the log anew (`rebuilding`), for a row that is
    written says all that is known.

    A row is the state as of some time ago together with what became known since, planned future facts included. So it is right for
    every instant from then on, whatever the order in which facts arrive; a read of the further past is refused.

    Parameters
    ----------
    view
        The definition of the features; made known to Feast.
    repository
        Where Feast lives.
    clock
        Tells when "some time ago" is.
    keep_seconds
        How long ago that is: how late the `at` of an opportunity may be. Each row holds the facts of that time one by one, so
        this times the rate of facts is what a read carries; a coarser `resolution_seconds` of the view puts them together.
    """

    def __init__(
        self, view: FeatureView, repository: FeastRepository, *, clock: Clock | None = None, keep_seconds: float = 60.0
    ) -> None:
        self._repository = repository
        self._clock = SystemClock() if clock is None else clock
        self._reach = timedelta(seconds=keep_seconds)
        self._keep = round((keep_seconds + view.lag_seconds) * 1e6)
        self._plan = plan_of(view)
        self._states = repository.apply(view).states
        self._known: list[dict[str, _Entity]] = [{} for _ in self._plan.entities]
        self._changed: list[set[str]] = [set() for _ in self._plan.entities]
        self._as_of = NEVER  # never goes back, for what counted before it is not kept fact by fact
        self._rebuilding = False
        self._lock = threading.Lock()

    @property
    def view(self) -> FeatureView:
        """The definition of the features."""
        return self._plan.view

    def observe(self, observations: Observations | None = None, events: Sequence[tuple[int, Event]] = ()) -> None:
        """Add what became known, and publish it; all of it or, when a number makes no sense, nothing.

        Where the online store does not answer, it is published by the next call.

        Parameters
        ----------
        observations
            Of ads.
        events
            Of users and of the market, with their positions in the log. Others among them add nothing.

        Raises
        ------
        InvalidInput
            When an increment is not finite, or a time is missing.
        """
        known = contributions(self._plan, observations, events)
        with self._lock:
            self._take_in(known)
        if not self._rebuilding:
            try:
                self.publish()
            except (
                Exception
            ) as error:  # whatever it is: what was taken in is remembered, and told again it would count twice
                _log.warning("What was observed is published later: %s", error)

    @contextmanager
    def rebuilding(self) -> Iterator[None]:
        """While a log is read from its beginning: what is observed is published once at the end, so that nobody reads half."""
        self._rebuilding = True
        try:
            yield
        finally:
            self._rebuilding = False
        self.publish()

    def publish(self) -> int:
        """Write the rows of the entities that changed since the last time; says how many.

        Raises
        ------
        Unavailable
            When the online store does not answer; what it did not take is written the next time.
        """
        total, store = 0, self._repository.store
        with self._lock:
            now = self._clock.now()
            self._as_of = max(self._as_of, instant_of(now) - self._keep)
            for i, columns in enumerate(columns_of(self.view)):
                rows = [self._row(columns, key, self._known[i][key], now) for key in sorted(self._changed[i])]
                if rows:
                    with answering():
                        store.provider.online_write_batch(store.config, self._states[i], rows, None)
                self._changed[i].clear()
                total += len(rows)
        return total

    def read(self, opportunities: Sequence[Opportunity]) -> FeatureTable:
        """The values at each opportunity's own `at`, from what was known strictly before it, less the lag.

        Raises
        ------
        InvalidInput
            When an instant carries no timezone, or lies before what the online store remembers (`keep_seconds`).
        Unavailable
            When the online store does not answer.
        """
        with self._lock:
            return self._repository.online(self.view, opportunities)

    def forget(self, user_id: str) -> int:
        """Forget a person, by pseudonym, here and in Feast's stores; says of how many entities."""
        gone = 0
        with self._lock:
            for entity, known, changed in zip(self._plan.entities, self._known, self._changed, strict=True):
                for key in [key for key in known if entity.names(key, user_id)]:
                    del known[key]
                    changed.discard(key)
                    gone += 1
            return max(gone, self._repository.forget(user_id))

    @property
    def earliest(self) -> datetime | None:
        """The earliest instant that can be asked for now."""
        return self._clock.now() - self._reach

    def settle(self, before: datetime) -> None:
        """Free the memory of the steps by which what was known before an instant came about.

        Rows that are written from then on remember no further back. Observations that arrive late are still counted.
        """
        instant = instant_of(before) - round(self.view.lag_seconds * 1e6)
        with self._lock:
            self._as_of = max(self._as_of, instant)
            for known in self._known:
                for one in known.values():
                    one.memory.settle(self._as_of)

    def _take_in(self, part: Contributions) -> None:
        for i, entity in enumerate(self._plan.entities):
            rows, inputs = part.to(self._plan, i)
            due = part.due[rows]
            for key, place in facts_by_key(part.keys[i], rows).items():
                one = self._known[i].get(key)
                if one is None:
                    one = self._known[i][key] = _Entity(entity)
                one.add(due[place], inputs[place])
                self._changed[i].add(key)

    def _row(self, columns: StateColumns, key: str, one: _Entity, now: datetime) -> Row:
        state, at = one.memory.at(self._as_of)
        due, inputs = one.since(self._as_of)
        values = {name: _value(value) for name, value in columns.values(state).items()}
        values[columns.as_of] = Value(int64_val=at)
        values[columns.recent] = Value(bytes_val=columns.packed(due, inputs))
        names, parts = join_keys(columns.entity), key_parts(columns.entity, key)
        entity = EntityKey(join_keys=names, entity_values=[Value(string_val=part) for part in parts])
        return entity, values, now, None


class _Entity:
    """All that is known of one entity, and apart from it what became known of late."""

    def __init__(self, entity: EntityPlan) -> None:
        self.memory = Memory(entity)
        self._due: Instants = np.zeros(0, dtype=np.int64)
        self._inputs: Floats = np.zeros((0, len(entity.inputs)))
        self._entity = entity

    def add(self, due: Instants, inputs: Floats) -> None:
        self.memory.add(due, inputs)
        self._due = np.concatenate((self._due, due))
        self._inputs = np.concatenate((self._inputs, inputs))

    def since(self, instant: int) -> tuple[Instants, Floats]:
        """What counts only after an instant, one row for each step of time; the rest need not be kept apart any more."""
        later = self._due > instant
        due = self._due[later]
        _, self._due, self._inputs = in_steps(self._entity, np.zeros_like(due), due, self._inputs[later])
        return self._due, self._inputs


def _value(value: Any) -> Value:
    if value is None:
        return Value()
    return Value(double_list_val=DoubleList(val=value)) if isinstance(value, list) else Value(double_val=value)
