"""From what is known of an opportunity's entities to the values of its features.

The one place where features become numbers: whoever knows the states (a store in this process, Redis, Feast, a query over the
whole log) gets the values from here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from bidloop.core.feature_table import FeatureTable
from bidloop.core.opportunity import History, Opportunity
from bidloop.features.described import Described
from bidloop.features.holidays import days_until_holiday
from bidloop.features.plan import BINS, DAY, EDGES, Plan
from bidloop.features.signals import (
    Age,
    Calendar,
    Holiday,
    Latest,
    Quantile,
    Ratio,
    Recency,
    Running,
    Signal,
    Total,
    Utilisation,
)
from bidloop.features.state import Known
from bidloop.features.view import CELL, FORGOTTEN

Floats = NDArray[np.float64]


def feature_table(
    plan: Plan,
    described: Described,
    known: Known,
    instants: Sequence[int],
    opportunities: Sequence[Opportunity],
    absent: Sequence[Sequence[bool] | None],
) -> FeatureTable:
    """The feature values of n opportunities.

    Parameters
    ----------
    described
        What the opportunities say by themselves.
    known
        What was known of their entities at their instants.
    instants
        The instants, less the view's lag, in microseconds since 1970 UTC.
    absent
        For each entity which opportunities name none of it; `None` where all do.
    """
    return _Values(plan, described, known, instants, opportunities, absent).table()


class _Values:
    def __init__(
        self,
        plan: Plan,
        described: Described,
        known: Known,
        instants: Sequence[int],
        opportunities: Sequence[Opportunity],
        absent: Sequence[Sequence[bool] | None],
    ) -> None:
        self.plan, self.described, self.opportunities = plan, described, opportunities
        self.now = np.array(instants, dtype=np.float64) + round(plan.view.lag_seconds * 1e6)
        self.absent = absent
        self.distributions: dict[tuple[tuple[tuple[int, int], ...], float], Floats] = {}
        self.known = _told_instead(plan, known, opportunities)

    def table(self) -> FeatureTable:
        numeric = dict(self.described.numeric)
        ratios = self._ratios()
        counts: dict[str, Floats] = {}
        for rate in self.plan.view.rates:
            seen = self._column(f"{rate.name}_impressions")
            above = counts.get(rate.parent)
            unseen = np.nan if above is None else np.where(np.isnan(above), np.nan, 0.0)
            counts[rate.name] = np.where(seen >= FORGOTTEN, seen, unseen)
            for value in rate.values:
                name = rate.feature(value)
                if value in ("ctr", "conversion_rate"):
                    numeric[name] = self._ratio(ratios, name)
                elif value == "impressions":
                    numeric[name] = counts[rate.name]
                else:
                    numeric[name] = np.array([math.log1p(count) for count in counts[rate.name].tolist()])
        for signal in self.plan.view.signals:
            if isinstance(signal, Ratio):
                numeric[signal.name] = self._known(signal, self._ratio(ratios, signal.name))
            else:
                numeric[signal.name] = self._signal(signal)
        return FeatureTable(self.plan.version, numeric, self.described.categorical)

    def _ratios(self) -> list[Floats]:
        """The ratios of each group, one row for each opportunity."""
        found: list[Floats] = []
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # what is divided by nothing is not used
            for group in self.plan.ratios:
                states = self.known.states[group.entity]
                # Taken back before it was added, or more than was added: less than nothing was not seen.
                x = np.maximum(states[:, group.numerator], 0.0)
                y = np.maximum(states[:, group.denominator], 0.0)
                prior = group.prior if group.above < 0 else found[group.above][:, group.parent]
                if group.above >= 0:
                    rows = self._rows_above(group.entity, self.plan.ratios[group.above].entity)
                    prior = prior if rows is None else prior[rows]
                weight = np.where(group.events > 0.0, group.events / prior, group.trials)
                drawn = (x + group.events + group.trials * prior) / (y + weight)
                # Without a prior the plain ratio; a prior of 0 weighs no events, but trials.
                ratio = np.minimum(
                    np.where((prior > 0.0) | (prior >= 0.0) & (group.trials > 0.0), drawn, x / y), group.cap
                )
                found.append(np.where(y >= FORGOTTEN, ratio, np.nan if group.above < 0 else prior))
        places = [self.known.places[group.entity] for group in self.plan.ratios]
        return [one if rows is None else one[rows] for one, rows in zip(found, places, strict=True)]

    def _rows_above(self, entity: int, above: int) -> NDArray[np.intp] | None:
        """Which state of the entity above each state of an entity belongs to; `None` where they stand in the same order."""
        places, over = self.known.places[entity], self.known.places[above]
        if places is None:
            return over
        first = np.zeros(len(self.known.states[entity]), dtype=np.intp)
        first[places[::-1]] = np.arange(len(places))[::-1]  # any opportunity with this state; the first is as good
        return first if over is None else over[first]

    def _ratio(self, ratios: Sequence[Floats], name: str) -> Floats:
        group, column = self.plan.ratio_of[name]
        return ratios[group][:, column]

    def _signal(self, signal: Signal) -> Floats:
        match signal:
            case Total():
                total = np.maximum(self._column(signal.name), 0.0)
                if signal.missing == "missing":
                    total = np.where(total >= FORGOTTEN, total, np.nan)
                return self._known(signal, total)
            case Recency() | Age():
                at = self._column(signal.name)
                return np.where(np.isfinite(at), (self.now - at) / DAY, np.nan)
            case Utilisation():
                limit = self._latest(f"{signal.name}.limit")
                used = np.maximum(self._column(signal.name), 0.0)
                return np.where(limit > 0.0, used / np.where(limit > 0.0, limit, 1.0), np.nan)
            case Latest():
                return self._latest(signal.name, signal.max_age_days)
            case Running():
                starts, ends = self._latest(f"{signal.name}.starts"), self._latest(f"{signal.name}.ends")
                return np.where((starts <= self.now) & (self.now < ends), 1.0, 0.0)
            case Quantile():
                return self._quantile(signal)
            case Calendar() | Holiday():
                return np.array([_on_day(signal, local) for local in self.described.local])
            case Ratio():
                raise AssertionError  # computed together

    def _column(self, name: str, level: int = 0, width: int = 1) -> Floats:
        entity, column = self.plan.columns_of[name][level]
        states, places = self.known.states[entity], self.known.places[entity]
        columns = states[:, column] if width == 1 else states[:, column : column + width]
        return columns if places is None else columns[places]

    def _latest(self, name: str, max_age_days: float | None = None) -> Floats:
        """The latest value of the entity, or of the nearest above it that has one."""
        value = np.full(len(self.now), np.nan)
        for entity, column in self.plan.columns_of[name]:
            states, places = self.known.states[entity], self.known.places[entity]
            at, told = states[:, column - 1], states[:, column]
            if places is not None:
                at, told = at[places], told[places]
            if max_age_days is not None:
                told = np.where(self.now - at <= max_age_days * DAY, told, np.nan)
            value = np.where(np.isnan(value), told, value)
        return value

    def _quantile(self, signal: Quantile) -> Floats:
        below = self._shares(signal)
        share = np.diff(below, axis=1, prepend=0.0)
        bin = np.minimum((below < signal.quantile).sum(axis=1), BINS - 1)
        rows = np.arange(len(bin))
        width = share[rows, bin]
        within = (signal.quantile - below[rows, bin] + width) / np.where(width > 0.0, width, 1.0)
        value = EDGES[bin] * np.exp2(np.clip(within, 0.0, 1.0) / 2)
        return np.where(below[:, -1] > 0.5, value, np.nan)

    def _shares(self, signal: Quantile) -> Floats:
        """The share of the values up to the end of each bin, shape (n, bins); zero where nothing is known."""
        key = (self.plan.columns_of[signal.name], signal.strength)
        if key not in self.distributions:
            share = np.zeros((len(self.now), BINS))
            for level in reversed(range(len(key[0]))):
                counts = np.maximum(self._column(signal.name, level, BINS), 0.0) + signal.strength * share
                total = counts.sum(axis=1, keepdims=True)
                share = np.where(total >= FORGOTTEN, counts / np.where(total >= FORGOTTEN, total, 1.0), 0.0)
            self.distributions[key] = np.cumsum(share, axis=1)
        return self.distributions[key]

    def _known(self, signal: Total | Ratio, values: Floats) -> Floats:
        """The values, missing where the opportunity names no such entity."""
        nobody = self.absent[self.plan.entity_of[signal.name]]
        return values if nobody is None else np.where(np.array(nobody), np.nan, values)


def _on_day(signal: Calendar | Holiday, local: datetime) -> float:
    if isinstance(signal, Holiday):
        until = days_until_holiday(local.date(), signal.country, signal.subdivision)
        return float(until) if signal.days_ahead else float(until == 0)
    if signal.part == "day_of_month":
        return float(local.day)
    if signal.part == "is_weekend":
        return float(local.weekday() >= 5)
    turn = 2.0 * math.pi * (local.timetuple().tm_yday - 1) / 365.25
    return math.sin(turn) if signal.part == "year_sin" else math.cos(turn)


def _told_instead(plan: Plan, known: Known, opportunities: Sequence[Opportunity]) -> Known:
    """What is known, with what the caller knows of the cell where nothing was seen of it."""
    told = [
        (i, past) for i, one in enumerate(opportunities) if (past := one.history) is not None and past.impressions > 0
    ]
    if not told:
        return known
    entity, impressions = plan.columns_of[f"{CELL}_impressions"][0]
    places, states = known.places[entity], known.states[entity]
    unseen = [(i, past) for i, past in told if states[i if places is None else places[i], impressions] < FORGOTTEN]
    if not unseen:
        return known
    own = known.apart()
    columns = [impressions, *(plan.ratios[group].numerator[column] for group, column in _cell_rates(plan))]
    for i, past in unseen:
        own.states[entity][i, columns] = _counts(past)
    return own


def _cell_rates(plan: Plan) -> tuple[tuple[int, int], tuple[int, int]]:
    return plan.ratio_of[f"{CELL}_ctr"], plan.ratio_of[f"{CELL}_conversion_rate"]


def _counts(history: History) -> tuple[float, float, float]:
    """What the caller's knowledge of the cell amounts to in counts."""
    ctr = min(max(history.ctr, 0.0), 1.0) if math.isfinite(history.ctr) else history.clicks / history.impressions
    rate = min(max(history.conversion_rate, 0.0), 1.0) if math.isfinite(history.conversion_rate) else 0.0
    clicks = ctr * history.impressions
    return float(history.impressions), clicks, rate * clicks
