"""Feature values now, from a store in this process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta

import numpy as np

from bidloop.core.errors import InvalidInput
from bidloop.core.event import Event
from bidloop.core.feature_table import FeatureTable
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Observations
from bidloop.features.contributions import contributions
from bidloop.features.described import describe
from bidloop.features.keys import absences, entity_keys
from bidloop.features.local_time import EPOCH, instant_of, microseconds
from bidloop.features.memory import Floats, Memory, facts_by_key
from bidloop.features.planning import plan_of
from bidloop.features.state import Known
from bidloop.features.values import feature_table
from bidloop.features.view import FeatureView


class InProcessStore:
    """Remembers every entity of a view in memory, and answers as of any instant.

    The order in which observations arrive does not matter, and neither do observations of the future: a read takes
    only what lies strictly before the opportunity's own instant. Memory grows with what is observed (per fact and kind of
    entity 8 bytes, and 8 for each input of the view) until `settle` is called. Reading and observing from several threads is
    safe.

    Parameters
    ----------
    view
        The definition of the features.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from bidloop.features.views import campaign_view
    >>> noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
    >>> opportunity = Opportunity(opportunity_id="o", at=noon, campaign_id="shoes", device="mobile")
    >>> store = InProcessStore(campaign_view())
    >>> store.read([opportunity]).row(0).numeric["cell_ctr"] is None
    True
    >>> store.observe(
    ...     Observations(
    ...         at=np.array(["2026-01-05T11:59"], dtype="datetime64[us]"),
    ...         opportunities=[opportunity],
    ...         impressions=np.array([1000.0]),
    ...         clicks=np.array([50.0]),
    ...         conversions=np.array([2.0]),
    ...         value=np.array([80.0]),
    ...         cost=np.array([25.0]),
    ...     )
    ... )
    >>> round(store.read([opportunity]).row(0).numeric["cell_ctr"], 4)
    0.05
    """

    def __init__(self, view: FeatureView) -> None:
        self._plan = plan_of(view)
        self._memories: list[dict[str, Memory]] = [{} for _ in self._plan.entities]
        self._settled: int | None = None
        self._lock = threading.Lock()

    @property
    def view(self) -> FeatureView:
        """The definition of the features."""
        return self._plan.view

    def observe(self, observations: Observations | None = None, events: Sequence[tuple[int, Event]] = ()) -> None:
        """Add what became known; all of it or, when a number makes no sense, nothing.

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
        added = []
        for i in range(len(self._plan.entities)):
            rows, inputs = known.to(self._plan, i)
            added.append((facts_by_key(known.keys[i], rows), known.due[rows], inputs))
        with self._lock:  # all at once: nobody reads a keyword that knows more than its campaign
            for entity, memories, (places, due, inputs) in zip(self._plan.entities, self._memories, added, strict=True):
                for key, place in places.items():
                    memory = memories.get(key)
                    if memory is None:
                        memory = memories[key] = Memory(entity)
                    memory.add(due[place], inputs[place])

    def rebuilding(self) -> AbstractContextManager[None]:
        """While a log is read from its beginning; nothing is put off here."""
        return nullcontext()

    def read(self, opportunities: Sequence[Opportunity]) -> FeatureTable:
        """The values at each opportunity's own `at`, from observations whose time lies strictly before it, less the lag.

        Raises
        ------
        InvalidInput
            When an instant carries no timezone, or lies before what `settle` has folded together.
        """
        plan = self._plan
        instants = microseconds(opportunities, plan.view.lag_seconds)
        described = describe(plan.view, opportunities)
        keys = entity_keys(plan, opportunities, described.sources)
        elapsed = np.zeros((len(instants), len(plan.entities)), dtype=np.int64)
        states: list[Floats] = []
        with self._lock:
            self._check_settled(instants)
            for i, entity in enumerate(plan.entities):
                memories, found = self._memories[i], entity.nothing(len(instants))
                for row, (key, instant) in enumerate(zip(keys[i], instants, strict=True)):
                    if key is not None and (memory := memories.get(key)) is not None:
                        found[row], at = memory.at(instant)
                        elapsed[row, i] = instant - at
                states.append(found)
        return feature_table(plan, described, Known.of(plan, states, elapsed), instants, opportunities, absences(keys))

    @property
    def earliest(self) -> datetime | None:
        """The earliest instant that can be asked for: the one that was settled last, or any."""
        lag = timedelta(seconds=self.view.lag_seconds)
        return None if self._settled is None else EPOCH + timedelta(microseconds=self._settled) + lag

    def forget(self, user_id: str) -> int:
        """Forget a person, by pseudonym; says of how many entities."""
        gone = 0
        with self._lock:
            for entity, memories in zip(self._plan.entities, self._memories, strict=True):
                for key in [key for key in memories if entity.names(key, user_id)]:
                    del memories[key]
                    gone += 1
        return gone

    def settle(self, before: datetime) -> None:
        """Free the memory of the steps by which what was known before an instant came about; later reads do not change.

        From then on a read of an earlier instant is refused. Observations that arrive late are still counted.
        """
        instant = instant_of(before) - round(self._plan.view.lag_seconds * 1e6)
        with self._lock:
            self._settled = instant if self._settled is None else max(instant, self._settled)
            for memories in self._memories:
                for memory in memories.values():
                    memory.settle(self._settled)

    def _check_settled(self, instants: list[int]) -> None:
        if self._settled is not None and instants and min(instants) < self._settled:
            raise InvalidInput(
                f"a read as of {np.datetime64(min(instants), 'us')}Z",
                path="at",
                expected=f"an instant from {np.datetime64(self._settled, 'us')}Z on, the store's settled time",
                remedy="Compute features of the further past with bidloop.features.training.point_in_time.",
            )
