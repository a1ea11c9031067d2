"""What became known, as the amounts that it adds to and the entities that it adds to them for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from bidloop.core.event import CompetitorLaunched, Event, MarketEvent
from bidloop.core.outcome import Observations
from bidloop.features.amounts import TOLD
from bidloop.features.increments import check_increments
from bidloop.features.keys import Keys, entity_keys
from bidloop.features.local_time import LocalTimes, instant_of
from bidloop.features.plan import SEPARATOR, EntityPlan, Plan, bounds_of

_MARKET: tuple[type, ...] = get_args(MarketEvent)


@dataclass(frozen=True)
class Contributions:
    """n facts, each with what it adds and for whom.

    Parameters
    ----------
    due
        From when on it counts: the end of the step of time that it fell in, microseconds since 1970 UTC, int64, shape (n,).
    position
        Position in the log of the event by which it became known, int64, shape (n,); 0 where it comes from no log.
    keys
        For each entity of the plan the n keys; `None` where the fact is not about such an entity.
    amounts
        What it adds to each amount of the plan, float64, shape (n, a). Nothing is 0, of a single value NaN.
    corrects
        Whether it corrects what was told before, bool, shape (n,): then nothing happened at its own time.
    """

    due: NDArray[np.int64]
    position: NDArray[np.int64]
    keys: tuple[Keys, ...]
    amounts: NDArray[np.float64]
    corrects: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.due)

    def to(self, plan: Plan, entity: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """What is added to the entities of one kind.

        Returns
        -------
        rows
            Which of the facts add anything, intp, shape (m,).
        inputs
            How much to each input of the entity, float64, shape (m, u): of sums and bins the amount, of first and last
            instants whether there was any (1 or 0), of latest values the value, or NaN where none was told.
        """
        inputs = _inputs(self.amounts, self.corrects, plan.entities[entity])
        keys = self.keys[entity]
        adds = (np.nan_to_num(inputs) != 0.0) | (np.isfinite(inputs) & _latest(plan.entities[entity]))
        rows = np.flatnonzero(adds.any(axis=1))
        if any(key is None for key in keys):
            rows = rows[[keys[row] is not None for row in rows.tolist()]]
        return rows, inputs[rows]


def contributions(
    plan: Plan, observations: Observations | None = None, events: Sequence[tuple[int, Event]] = ()
) -> Contributions:
    """What observations of ads, and events of users and of the market, add to the amounts of a plan.

    An event of a user counts for every entity whose whole key it tells. A figure or a season of one place counts for entities
    with a place in their key, and one that names none for the others; a competitor's launch in a place counts for both.

    Parameters
    ----------
    events
        With their positions in the log. Those of ads add nothing here: they come as observations.

    Raises
    ------
    InvalidInput
        When an increment is not finite, or a time is missing.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from bidloop.core.event import PageViewed
    >>> from bidloop.features.amounts import Amount
    >>> from bidloop.features.planning import plan_of
    >>> from bidloop.features.signals import Entity, Total
    >>> from bidloop.features.views import campaign_view
    >>> from msgspec.structs import replace
    >>> view = replace(
    ...     campaign_view(),
    ...     entities=(Entity(name="user", key=("user_id",)),),
    ...     amounts=(Amount(name="page_views", event="page_viewed"),),
    ...     signals=(Total(name="pages", entity="user", amount="page_views", over_days=7),),
    ... )
    >>> page = PageViewed(event_id="e", at=datetime(2026, 1, 1, tzinfo=UTC), user_id="p.1")
    >>> found = contributions(plan_of(view), events=[(1, page)])
    >>> found.keys[-1], found.amounts[0].tolist()
    (['p.1'], [0.0, 0.0, 0.0, 1.0])
    """
    parts = []
    if observations is not None and len(observations):
        parts.append(_of_ads(plan, observations))
    told = [(position, event) for position, event in events if event.__struct_config__.tag in _event_types(plan)]
    if told:
        parts.append(_of_events(plan, told))
    if len(parts) == 1:
        return parts[0]
    nothing = np.zeros((0, len(plan.amounts)))
    return Contributions(
        np.concatenate([np.zeros(0, dtype=np.int64), *(part.due for part in parts)]),
        np.concatenate([np.zeros(0, dtype=np.int64), *(part.position for part in parts)]),
        tuple([key for part in parts for key in part.keys[i]] for i in range(len(plan.entities))),
        np.concatenate([nothing, *(part.amounts for part in parts)]),
        np.concatenate([np.zeros(0, dtype=bool), *(part.corrects for part in parts)]),
    )


def _inputs(amounts: NDArray[np.float64], corrects: NDArray[np.bool_], entity: EntityPlan) -> NDArray[np.float64]:
    inputs = np.empty((len(amounts), len(entity.inputs)))
    for i, one in enumerate(entity.inputs):
        column = amounts[:, one.amount]
        if one.kind == "latest":
            inputs[:, i] = column
        elif one.kind == "sum":
            inputs[:, i] = np.where(np.isnan(column), 0.0, column)
        elif one.kind == "bin":
            low, high = bounds_of(one.bin)
            inputs[:, i] = (column > 0.0) & (column >= low) & (column < high)
        else:
            inputs[:, i] = ~np.isnan(column) & (column != 0.0) & ~corrects
    return inputs


def _latest(entity: EntityPlan) -> NDArray[np.bool_]:
    return np.array([one.kind == "latest" for one in entity.inputs], dtype=bool)


def _of_ads(plan: Plan, observations: Observations) -> Contributions:
    at = check_increments(observations)
    n = len(at)
    own = {"impressions", "clicks", "conversions", "value", "cost"}
    amounts = np.zeros((n, len(plan.amounts)))
    for i, name in enumerate(plan.amounts):
        if name in own:
            amounts[:, i] = getattr(observations, name)
        elif (further := observations.further.get(name)) is not None:
            amounts[:, i] = further
        elif name in TOLD:
            amounts[:, i] = np.nan
    _nothing_told_by_events(plan, amounts)
    position = np.zeros(n, dtype=np.int64) if observations.position is None else observations.position
    told_at = observations.spent_at
    corrects = np.zeros(n, dtype=bool) if told_at is None else told_at.astype("datetime64[us]").astype(np.int64) < at
    return Contributions(_due(plan, at), position, entity_keys(plan, observations.opportunities), amounts, corrects)


def _of_events(plan: Plan, told: Sequence[tuple[int, Event]]) -> Contributions:
    amounts = np.zeros((len(told), len(plan.amounts)))
    for i, name in enumerate(plan.amounts):
        if name in TOLD:
            amounts[:, i] = np.nan
    _nothing_told_by_events(plan, amounts)
    first = len(plan.amounts) - len(plan.view.amounts)
    by_type: dict[str, list[int]] = {}
    for row, (_, event) in enumerate(told):
        by_type.setdefault(str(event.__struct_config__.tag), []).append(row)
    for i, amount in enumerate(plan.view.amounts, start=first):
        for row in by_type.get(amount.event, ()):
            value = amount.value(told[row][1])
            if value is not None:
                amounts[row, i] = value
    events = [event for _, event in told]
    at = np.array([instant_of(event.at) for event in events], dtype=np.int64)
    return Contributions(
        _due(plan, at),
        np.array([position for position, _ in told], dtype=np.int64),
        tuple(_event_keys(entity, events, plan.view.timezone) for entity in plan.entities),
        amounts,
        np.zeros(len(events), dtype=bool),
    )


def _nothing_told_by_events(plan: Plan, amounts: NDArray[np.float64]) -> None:
    """Of the view's own amounts that are read as single values, nothing is NaN."""
    single = {one.amount for entity in plan.entities for one in entity.inputs if one.kind == "latest"}
    first = len(plan.amounts) - len(plan.view.amounts)
    for i in single:
        if i >= first:
            amounts[:, i] = np.nan


def _event_types(plan: Plan) -> set[str]:
    return {amount.event for amount in plan.view.amounts}


def _event_keys(entity: EntityPlan, events: Sequence[Event], timezone: str) -> Keys:
    times = LocalTimes(events, timezone) if any(source.startswith("time.") for source in entity.key) else None
    return [_event_key(entity, event, i, times) for i, event in enumerate(events)]


def _event_key(entity: EntityPlan, event: Event, row: int, times: LocalTimes | None) -> str | None:
    located = bool(getattr(event, "location", ""))
    if isinstance(event, _MARKET) and located != ("location" in entity.key) and not (located and _adds_up(event)):
        return None
    parts = [
        times.column(source.partition(".")[2])[row]
        if times is not None and source.startswith("time.")
        else getattr(event, source, "")
        for source in entity.key
    ]
    return SEPARATOR.join(part.replace(SEPARATOR, " ") for part in parts) if all(parts) else None


def _adds_up(event: Event) -> bool:
    """Whether what happened in one place happened to the account as well; a figure or a season of one place does not."""
    return isinstance(event, CompetitorLaunched)


def _due(plan: Plan, at: NDArray[np.int64]) -> NDArray[np.int64]:
    """The end of the step of time that an instant falls in."""
    tick = plan.view.tick
    return (at // tick + 1) * tick
