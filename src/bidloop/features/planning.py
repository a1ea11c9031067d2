"""From a view to its plan: what is to be kept of which entity, each thing once."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bidloop.features.amounts import AD_AMOUNTS
from bidloop.features.plan import BINS, DAY, EntityPlan, Input, InputKind, Plan, RatioGroup
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
from bidloop.features.view import CELL, FeatureView


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

    def __init__(self, index: int, name: str, key: tuple[str, ...]) -> None:
        self.index, self.name, self.key = index, name, key
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
            self.kept[key] = _Kept(len(self.kept), name, key)
        return self.kept[key]

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
                    _RatioPlan(kept.index, over, under, parent, prior, rate.strength, in_numerator=True, cap=1.0)
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
                kept.index,
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
