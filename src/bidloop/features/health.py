"""Are the features what they should be? How many values are missing, and how many make no sense."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bidloop.core.event import Event
from bidloop.core.feature_table import FeatureTable
from bidloop.features.cards import cards
from bidloop.features.lineage import lineage
from bidloop.features.view import FeatureView

Floats: TypeAlias = NDArray[np.float64]

AT_ONCE = 256
"""Rows that are counted together: one by one, it would take a good part of the time that reading takes."""


@dataclass(frozen=True)
class Tally:
    """What was seen of one feature.

    Parameters
    ----------
    rows, missing, outside
        Values, how many of them were missing, and how many lay outside the declared range.
    bounded
        Whether a range is declared.
    lowest, highest
        Smallest and largest value that was there; `None` of a category, or where none was.
    """

    rows: int
    missing: int
    outside: int
    bounded: bool
    lowest: float | None
    highest: float | None


class FeatureHealth:
    """Counts missing and senseless values of each feature while a server reads them. Threads may share one.

    Parameters
    ----------
    view
        The features; tables of another view are counted in `others` alone.

    Attributes
    ----------
    types
        The types of events that the features are made of.
    reads, failures, others
        Reads so far, those that failed, and rows of another view.

    Examples
    --------
    >>> from datetime import UTC
    >>> from bidloop.core.opportunity import Opportunity
    >>> from bidloop.features.online import InProcessStore
    >>> from bidloop.features.views import campaign_view
    >>> health, store = FeatureHealth(campaign_view()), InProcessStore(campaign_view())
    >>> now = datetime(2026, 1, 1, tzinfo=UTC)
    >>> health.add(store.read([Opportunity(opportunity_id="o", at=now, campaign_id="shoes")]))
    >>> tallies = health.tallies()
    >>> tallies["cell_ctr"].missing, tallies["hour_sin"].missing, health.reads
    (1, 0, 1)
    """

    def __init__(self, view: FeatureView) -> None:
        self.view = view
        self._version = view.version  # to hash a view takes as long as to count a row
        ranges = {card.name: card.range for card in cards(view)}
        lows, highs = zip(*(ranges[name] for name in view.numeric_names), strict=True)
        self._low = np.array([-np.inf if low is None else low for low in lows])
        self._high = np.array([np.inf if high is None else high for high in highs])
        self.types = frozenset(edge.source.name for edge in lineage(view) if edge.source.kind == "event")
        numeric, categorical = len(view.numeric_names), len(view.categorical_names)
        self._missing, self._outside = np.zeros(numeric, dtype=np.int64), np.zeros(numeric, dtype=np.int64)
        self._lowest, self._highest = np.full(numeric, np.inf), np.full(numeric, -np.inf)
        self._empty = np.zeros(categorical, dtype=np.int64)
        self._newest: dict[str, datetime] = {}
        self._waiting: list[FeatureTable] = []
        self._waiting_rows = self._rows = 0
        self._lock = threading.Lock()
        self.reads = 0
        self.failures = 0
        self.others = 0

    def add(self, table: FeatureTable) -> None:
        """Count a table that was read."""
        with self._lock:
            self.reads += 1
            if table.view != self._version:
                self.others += len(table)
                return
            self._waiting.append(table)
            self._waiting_rows += len(table)
            if self._waiting_rows >= AT_ONCE:
                self._count()

    def failed(self) -> None:
        """Count a read that failed."""
        with self._lock:
            self.failures += 1

    def saw(self, events: Iterable[Event]) -> None:
        """Note how new the newest event of each type is."""
        with self._lock:
            note_newest(self._newest, events)

    @property
    def newest(self) -> Mapping[str, datetime]:
        """When the newest event of each type happened, of those that were seen."""
        with self._lock:
            return dict(self._newest)

    @property
    def rows(self) -> int:
        """Rows of the view that were counted."""
        with self._lock:
            self._count()
            return self._rows

    def tallies(self) -> dict[str, Tally]:
        """What was seen so far, by feature."""
        with self._lock:
            self._count()
            told = {
                name: Tally(self._rows, int(empty), 0, False, None, None)
                for name, empty in zip(self.view.categorical_names, self._empty, strict=True)
            }
            for i, name in enumerate(self.view.numeric_names):
                there = bool(self._missing[i] < self._rows)
                told[name] = Tally(
                    rows=self._rows,
                    missing=int(self._missing[i]),
                    outside=int(self._outside[i]),
                    bounded=bool(np.isfinite(self._low[i]) or np.isfinite(self._high[i])),
                    lowest=float(self._lowest[i]) if there else None,
                    highest=float(self._highest[i]) if there else None,
                )
            return told

    def _count(self) -> None:
        """Count what waits. Only with the lock."""
        tables, self._waiting = self._waiting, []
        if not self._waiting_rows:
            return
        self._rows += self._waiting_rows
        self._waiting_rows = 0
        values = np.array(
            [np.concatenate([table.numeric[name] for table in tables]) for name in self.view.numeric_names]
        )
        self._missing += np.isnan(values).sum(axis=1)
        self._outside += ((values < self._low[:, None]) | (values > self._high[:, None])).sum(axis=1)
        self._lowest = np.fmin(self._lowest, np.fmin.reduce(values, axis=1))
        self._highest = np.fmax(self._highest, np.fmax.reduce(values, axis=1))
        for i, name in enumerate(self.view.categorical_names):
            self._empty[i] += sum(table.categorical[name].tolist().count("") for table in tables)


def note_newest(newest: dict[str, datetime], events: Iterable[Event]) -> None:
    """Bring the newest instant of each type of event up to date."""
    for event in events:
        kind = str(event.__struct_config__.tag)
        known = newest.get(kind)
        if known is None or event.at > known:
            newest[kind] = event.at
