"""Feature values at any past instant, for many rows at once: what models are trained on.

How the past adds up is written apart from the online stores on purpose. A store walks event by event, this sorts and scans
whole columns; a law in the tests holds both to the same values, so that a model meets in service what it met in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count

import numpy as np
from numpy.typing import NDArray

from bidloop.core.event import Event
from bidloop.core.feature_table import FeatureTable
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Observations
from bidloop.features.contributions import contributions
from bidloop.features.described import describe
from bidloop.features.keys import Keys, absences, entity_keys
from bidloop.features.local_time import microseconds
from bidloop.features.plan import EntityPlan
from bidloop.features.planning import plan_of
from bidloop.features.scan import decayed_running_sums
from bidloop.features.state import Known
from bidloop.features.values import feature_table
from bidloop.features.view import FeatureView

Floats = NDArray[np.float64]


def point_in_time(
    view: FeatureView,
    observations: Observations,
    opportunities: Sequence[Opportunity],
    events: Sequence[tuple[int, Event]] = (),
) -> FeatureTable:
    """What was known of each opportunity at its own instant.

    Only observations whose time lies strictly before an opportunity's `at` enter its row: not the click of the
    impression itself, nor anything later. Neither list need be in order.

    Parameters
    ----------
    view
        The definition of the features.
    observations
        Everything observed of ads, m increments.
    opportunities
        The n rows to compute.
    events
        Events of users and of the market, with their positions in the log; others among them add nothing.

    Returns
    -------
    n rows in the order of `opportunities`.

    Raises
    ------
    InvalidInput
        When an increment is not finite, a time is missing or carries no timezone.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from bidloop.features.views import campaign_view
    >>> def shown(day: int) -> Opportunity:
    ...     return Opportunity(opportunity_id=str(day), at=datetime(2026, 1, day, tzinfo=UTC), campaign_id="shoes")
    >>> seen = Observations(
    ...     at=np.array(["2026-01-01", "2026-01-15"], dtype="datetime64[us]"),
    ...     opportunities=[shown(1), shown(15)],
    ...     impressions=np.array([1000.0, 1000.0]),
    ...     clicks=np.array([10.0, 90.0]),
    ...     conversions=np.zeros(2),
    ...     value=np.zeros(2),
    ...     cost=np.zeros(2),
    ... )
    >>> point_in_time(campaign_view(), seen, [shown(1), shown(15), shown(16)]).numeric["account_impressions"].round()
    array([  nan,  500., 1428.])
    """
    plan = plan_of(view)
    known = contributions(plan, observations, events)
    instants = microseconds(opportunities, view.lag_seconds)
    asked = np.array(instants, dtype=np.int64)
    described = describe(view, opportunities)
    keys = entity_keys(plan, opportunities, described.sources)
    states = []
    for i, entity in enumerate(plan.entities):
        rows, inputs = known.to(plan, i)
        timeline = _Timeline.of(entity, known.due[rows], [known.keys[i][row] for row in rows.tolist()], inputs)
        states.append(timeline.states(asked, keys[i]))
    return feature_table(
        plan, described, Known(tuple(states), (None,) * len(states)), instants, opportunities, absences(keys)
    )


@dataclass(frozen=True)
class _Timeline:
    """The m facts of one kind of entity, by key and within a key by time; `number` numbers the keys."""

    entity: EntityPlan
    number: dict[str | None, int]
    group: NDArray[np.int64]
    due: NDArray[np.int64]
    inputs: Floats

    @classmethod
    def of(cls, entity: EntityPlan, due: NDArray[np.int64], keys: Keys, inputs: Floats) -> _Timeline:
        numbers = dict(zip(dict.fromkeys(keys), count(), strict=False))
        group = np.array([numbers[key] for key in keys], dtype=np.int64)
        order = np.lexsort((due, group))
        return cls(entity, numbers, group[order], due[order], inputs[order])

    def states(self, asked: NDArray[np.int64], keys: Keys) -> Floats:
        """What was known of n keys at n instants, shape (n, width)."""
        entity = self.entity
        states = entity.nothing(len(asked))
        group = np.array([self.number.get(key, -1) if key is not None else -1 for key in keys], dtype=np.int64)
        last = self._last(group, asked)
        found = np.flatnonzero(last >= 0)
        if not len(found):
            return states
        last = last[found]
        passed = (asked[found] - self.due[last]).astype(np.float64)
        for per_us in np.unique(entity.per_us).tolist():
            columns = np.flatnonzero(entity.per_us == per_us)
            sums = decayed_running_sums(self.group, self.due, self.inputs[:, entity.sum_input[columns]], per_us)
            states[found[:, None], columns] = sums[last] * np.exp2(-passed * per_us)[:, None]
        for column, i in zip(range(entity.firsts.start, entity.firsts.stop), entity.first_input.tolist(), strict=True):
            states[found, column] = self._running(np.minimum, np.where(self.inputs[:, i] != 0.0, self.due, np.inf))[
                last
            ]
        for column, i in zip(range(entity.lasts.start, entity.lasts.stop), entity.last_input.tolist(), strict=True):
            states[found, column] = self._running(np.maximum, np.where(self.inputs[:, i] != 0.0, self.due, -np.inf))[
                last
            ]
        for pair, i in enumerate(entity.latest_input.tolist()):
            at, told = self._latest(self.inputs[:, i])
            states[found, entity.lasts.stop + 2 * pair] = at[last]
            states[found, entity.lasts.stop + 2 * pair + 1] = told[last]
        return states

    def _last(self, group: NDArray[np.int64], asked: NDArray[np.int64]) -> NDArray[np.intp]:
        """The last fact of each key that counts at each instant; -1 where there is none."""
        m = len(self.due)
        both = np.concatenate((self.group, group))
        time = np.concatenate((self.due, asked))
        is_asked = np.repeat([0, 1], (m, len(asked)))
        order = np.lexsort(
            (is_asked, time, both)
        )  # a fact counts from its instant on, so it stands before who asks then
        seen = np.cumsum(order < m) - 1
        last = np.full(len(asked), -1, dtype=np.intp)
        questions = np.flatnonzero(order >= m)
        last[order[questions] - m] = seen[questions]
        mine = (last >= 0) & (self.group[np.maximum(last, 0)] == group) if m else np.zeros(len(asked), dtype=bool)
        return np.where(mine, last, -1)

    def _running(self, extreme: np.ufunc, values: Floats) -> Floats:
        """The smallest or largest value so far within each key."""
        running = values.copy()
        for start, end in self._runs:
            extreme.accumulate(values[start:end], out=running[start:end])
        return running

    def _latest(self, told: Floats) -> tuple[Floats, Floats]:
        """Within each key the latest value so far and its instant; of several at one instant the largest."""
        at = self._running(np.maximum, np.where(np.isnan(told), -np.inf, self.due))
        value = np.full(len(told), np.nan)
        for start, end in self._runs:
            best, since = np.nan, -np.inf
            for i in range(start, end):
                if not np.isnan(told[i]):
                    best = told[i] if self.due[i] > since else max(best, told[i])
                    since = float(self.due[i])
                value[i] = best
        return at, value

    @property
    def _runs(self) -> list[tuple[int, int]]:
        """Where each key's facts start and end."""
        starts = np.flatnonzero(np.diff(self.group, prepend=-1))
        return list(zip(starts.tolist(), chain(starts[1:].tolist(), [len(self.group)]), strict=True))
