"""What a view needs to be kept for each entity, and which columns its features are made of.

A view names features; several of them share what they are made of (a CTR and a cost per click need the same clicks). The plan
is that, once: for each entity the *inputs* that an event adds to, and the *columns* of the state that is kept of them. A state
is a row of numbers at one instant, and knows how to go on in time and to take in another one (`state`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bidloop.features.amounts import AD_AMOUNTS
from bidloop.features.signals import (
    Age,
    Kept,
    Latest,
    Quantile,
    Ratio,
    Recency,
    Running,
    Total,
    Utilisation,
    amounts_of,
)
from bidloop.features.source import PERSON
from bidloop.features.view import CELL, FeatureView

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
class _RatioPlan:
    """A ratio in the making: entity, columns of its sums, and the ratio that it is drawn towards (-1: the prior)."""

    entity: int
    numerator: int
    denominator: int
    parent: int
    prior: float
    strength: float
    in_numerator: bool
    cap: float


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


@functools.lru_cache(maxsize=64)
def plan_of(view: FeatureView) -> Plan:
    """Make a view ready.

    Examples
    --------
    >>> from bidloop.features.views import campaign_view
    >>> plan = plan_of(campaign_view())
    >>> plan.amounts, [entity.name for entity in plan.entities]
    (('impressions', 'clicks', 'conversions'), ['account', 'campaign', 'ad_group', 'keyword', 'cell'])
    >>> plan.entities[1].width
    3
    """
    return _Planner(view).plan()


class _Kept:
    """One entity in the making."""

    def __init__(self, name: str, key: tuple[str, ...]) -> None:
        self.name, self.key = name, key
        self.inputs: dict[Input, int] = {}
        self.sums: dict[tuple[int, float, bool], int] = {}
        self.firsts: dict[int, int] = {}
        self.lasts: dict[int, int] = {}
        self.latest: dict[int, int] = {}

    def input(self, kind: InputKind, amount: int, bin: int = 0) -> int:
        return self.inputs.setdefault(Input(kind, amount, bin), len(self.inputs))

    def sum(self, kind: InputKind, amount: int, per_us: float, bin: int = 0, *, own: bool = False) -> int:
        return self.sums.setdefault((self.input(kind, amount, bin), per_us, own), len(self.sums))

    def plan(self) -> EntityPlan:
        return EntityPlan(
            name=self.name,
            key=self.key,
            inputs=tuple(self.inputs),
            sum_input=np.array([i for i, _, _ in self.sums], dtype=np.intp),
            per_us=np.array([per_us for _, per_us, _ in self.sums], dtype=np.float64),
            first_input=np.array(list(self.firsts), dtype=np.intp),
            last_input=np.array(list(self.lasts), dtype=np.intp),
            latest_input=np.array(list(self.latest), dtype=np.intp),
        )


class _Planner:
    def __init__(self, view: FeatureView) -> None:
        self.view = view
        self.parents = view.hierarchy
        self.kept: dict[tuple[str, ...], _Kept] = {}
        self.order: dict[tuple[str, ...], int] = {}
        own = [amount.name for amount in view.amounts]
        asked = _asked_of_ads(view)
        self.amounts = (*(name for name in AD_AMOUNTS if name in asked), *own)
        self.ratios: list[_RatioPlan] = []
        self.ratio_of: dict[str, int] = {}
        self.signal_ratio: dict[tuple[Ratio, str], int] = {}
        self.columns: dict[str, list[tuple[str, str, int]]] = {}

    def plan(self) -> Plan:
        for rate in self.view.rates:
            self._entity(rate.name)
        self._rates()
        for signal in self.view.signals:
            if isinstance(signal, Kept):
                self._signal(signal)
        entities = tuple(kept.plan() for kept in self.kept.values())
        columns_of = {
            name: tuple(_place(entities, entity, kind, column) for entity, kind, column in places)
            for name, places in self.columns.items()
        }
        groups, place = _groups(self.ratios)
        return Plan(
            view=self.view,
            amounts=self.amounts,
            entities=entities,
            ratios=groups,
            ratio_of={name: place[ratio] for name, ratio in self.ratio_of.items()},
            columns_of=columns_of,
        )

    def _entity(self, name: str) -> _Kept:
        """What is kept of an entity; two names for the same key share it."""
        key = self.view.key_of(name)
        if key not in self.kept:
            self.kept[key] = _Kept(name, key)
        return self.kept[key]

    def _index(self, kept: _Kept) -> int:
        return list(self.kept).index(kept.key)

    def _amount(self, name: str) -> int:
        return self.amounts.index(name)

    def _rates(self) -> None:
        for rate in self.view.rates:
            kept, per_us = self._entity(rate.name), 1.0 / (rate.half_life_days * DAY)
            # What a caller tells of the cell stands in for the cell's own counts, and for nobody else's.
            impressions, clicks, conversions = (
                kept.sum("sum", self._amount(name), per_us, own=rate.name == CELL)
                for name in ("impressions", "clicks", "conversions")
            )
            top = not rate.parent
            for value, over, under, prior in (
                ("ctr", clicks, impressions, self.view.base_ctr),
                ("conversion_rate", conversions, clicks, self.view.base_conversion_rate),
            ):
                parent = -1 if top else self.ratio_of[f"{rate.parent}_{value}"]
                self.ratio_of[f"{rate.name}_{value}"] = len(self.ratios)
                self.ratios.append(
                    _RatioPlan(self._index(kept), over, under, parent, prior, rate.strength, in_numerator=True, cap=1.0)
                )
            self.columns[f"{rate.name}_impressions"] = [(kept.name, "sum", impressions)]

    def _signal(self, signal: Kept) -> None:
        match signal:
            case Ratio():
                self.ratio_of[signal.name] = self._ratio(signal, signal.entity)
            case Total():
                kept = self._entity(signal.entity)
                column = kept.sum("sum", self._amount(signal.amount), per_microsecond(signal.over_days))
                self.columns[signal.name] = [(kept.name, "sum", column)]
            case Quantile():
                self.columns[signal.name] = [
                    (kept.name, "sum", self._bins(kept, signal))
                    for kept in map(self._entity, self._chain(signal.entity))
                ]
            case Utilisation():
                kept = self._entity(signal.entity)
                column = kept.sum("sum", self._amount(signal.amount), per_microsecond(signal.over_days))
                self.columns[signal.name] = [(kept.name, "sum", column)]
                self._told(f"{signal.name}.limit", signal.entity, signal.limit)
            case Latest():
                self._told(signal.name, signal.entity, signal.amount)
            case Running():
                self._told(f"{signal.name}.starts", signal.entity, signal.starts)
                self._told(f"{signal.name}.ends", signal.entity, signal.ends)
            case Recency() | Age():
                kept = self._entity(signal.entity)
                kind: Literal["first", "last"] = "first" if isinstance(signal, Age) else "last"
                columns = kept.firsts if kind == "first" else kept.lasts
                column = columns.setdefault(kept.input(kind, self._amount(signal.amount)), len(columns))
                self.columns[signal.name] = [(kept.name, kind, column)]

    def _ratio(self, signal: Ratio, entity: str) -> int:
        """Index of a ratio of an entity; those above it come before it."""
        known = self.signal_ratio.get((signal, entity))
        if known is not None:
            return known
        parent = self.parents[entity]
        above = self._ratio(signal, parent) if parent else -1
        kept, per_us = self._entity(entity), per_microsecond(signal.over_days)
        self.ratios.append(
            _RatioPlan(
                self._index(kept),
                kept.sum("sum", self._amount(signal.numerator), per_us),
                kept.sum("sum", self._amount(signal.denominator), per_us),
                above,
                math.nan if signal.prior is None else signal.prior,
                signal.strength,
                in_numerator=signal.strength_in == "numerator",
                cap=math.inf if signal.cap is None else signal.cap,
            )
        )
        self.signal_ratio[signal, entity] = len(self.ratios) - 1
        return len(self.ratios) - 1

    def _bins(self, kept: _Kept, signal: Quantile) -> int:
        amount, per_us = self._amount(signal.amount), per_microsecond(signal.over_days)
        columns = [kept.sum("bin", amount, per_us, bin) for bin in range(BINS)]
        return columns[0]  # they stand in a row

    def _told(self, name: str, entity: str, amount: str) -> None:
        places = []
        # The budget that the account was told last is that of some campaign: it is no other one's.
        chain = [entity] if amount in AD_AMOUNTS else self._chain(entity)
        for kept in map(self._entity, chain):
            column = kept.latest.setdefault(kept.input("latest", self._amount(amount)), len(kept.latest))
            places.append((kept.name, "told", column))
        self.columns[name] = places

    def _chain(self, entity: str) -> list[str]:
        """An entity and those above it, upwards."""
        chain = [entity]
        while parent := self.parents[chain[-1]]:
            chain.append(parent)
        return chain


def _place(entities: Sequence[EntityPlan], name: str, kind: str, column: int) -> tuple[int, int]:
    """Index of an entity, and where in its state one of a kind of columns stands."""
    [(index, entity)] = [(i, one) for i, one in enumerate(entities) if one.name == name]
    if kind == "told":
        return index, entity.lasts.stop + 2 * column + 1
    begin = {"sum": 0, "first": entity.firsts.start, "last": entity.lasts.start}[kind]
    return index, begin + column


def bounds_of(bin: int) -> tuple[float, float]:
    """From where on, and up to where, values fall into a bin; the first and the last take what lies beyond as well.

    >>> bounds_of(0)[0], bounds_of(BINS - 1)[1]
    (0.0, inf)
    """
    return (0.0 if bin == 0 else float(EDGES[bin])), (math.inf if bin == BINS - 1 else float(EDGES[bin + 1]))


def per_microsecond(over_days: float | None) -> float:
    """One over the half-life that a mean life in days means, in microseconds; 0 for what never fades."""
    return 0.0 if over_days is None else 1.0 / (over_days * math.log(2) * DAY)


def _asked_of_ads(view: FeatureView) -> set[str]:
    asked = {"impressions", "clicks", "conversions"}
    for signal in view.signals:
        if isinstance(signal, Kept):
            asked.update(amounts_of(signal))
    return asked


def _groups(ratios: Sequence[_RatioPlan]) -> tuple[tuple[RatioGroup, ...], list[tuple[int, int]]]:
    """The ratios in groups, and group and place in it of each."""
    number: dict[tuple[int, int], int] = {}
    place: list[tuple[int, int]] = []
    members: list[list[_RatioPlan]] = []
    for ratio in ratios:
        above = place[ratio.parent][0] if ratio.parent >= 0 else -1
        group = number.setdefault((ratio.entity, above), len(number))
        if group == len(members):
            members.append([])
        place.append((group, len(members[group])))
        members[group].append(ratio)
    return tuple(
        RatioGroup(
            entity=entity,
            above=above,
            numerator=np.array([one.numerator for one in members[group]], dtype=np.intp),
            denominator=np.array([one.denominator for one in members[group]], dtype=np.intp),
            parent=np.array([place[one.parent][1] if above >= 0 else 0 for one in members[group]], dtype=np.intp),
            prior=np.array([one.prior for one in members[group]], dtype=np.float64),
            events=np.array([one.strength if one.in_numerator else 0.0 for one in members[group]]),
            trials=np.array([0.0 if one.in_numerator else one.strength for one in members[group]]),
            cap=np.array([one.cap for one in members[group]], dtype=np.float64),
        )
        for (entity, above), group in number.items()
    ), place
