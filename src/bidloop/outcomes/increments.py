"""Increments in the making: what each event adds to what is known, or takes back from it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import FURTHER, Observations

_NOTHING: Mapping[str, float] = MappingProxyType({})


class Increments:
    """Rows of `Observations`, one after another. What changes nothing is no row.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> cell = Opportunity(opportunity_id="o", at=datetime(2026, 1, 1, tzinfo=UTC), campaign_id="spring")
    >>> increments = Increments()
    >>> increments.add(0, cell, conversions=1.0, value=20.0)
    >>> increments.add(1, cell, value=-5.0)
    >>> increments.add(2, cell)
    >>> increments.observations().value.tolist()
    [20.0, -5.0]
    """

    def __init__(self) -> None:
        self.position = 0  # in the log, of the event that is being joined
        self._rows: list[tuple[int, float, float, float, float, float]] = []
        self._further: list[Mapping[str, float]] = []
        self._spent_at: list[int] = []
        self._positions: list[int] = []
        self._opportunities: list[Opportunity] = []

    def add(
        self,
        at: int,
        opportunity: Opportunity,
        *,
        impressions: float = 0.0,
        clicks: float = 0.0,
        conversions: float = 0.0,
        value: float = 0.0,
        cost: float = 0.0,
        spent_at: int | None = None,
        further: Mapping[str, float] = _NOTHING,
    ) -> None:
        """One increment at an instant, in microseconds since 1970; its cost booked on another one if that is told.

        What is known `further` is by name (`bidloop.core.outcome.FURTHER`); what changes nothing may be left out.
        """
        if impressions or clicks or conversions or value or cost or further:
            self._rows.append((at, impressions, clicks, conversions, value, cost))
            self._further.append(further)
            self._spent_at.append(at if spent_at is None else spent_at)
            self._positions.append(self.position)
            self._opportunities.append(opportunity)

    def observations(self) -> Observations:
        """All increments so far."""
        at = np.array([row[0] for row in self._rows], dtype=np.int64)
        counts = np.array([row[1:] for row in self._rows], dtype=np.float64).reshape(-1, 5)
        impressions, clicks, conversions, value, cost = np.ascontiguousarray(counts.T)
        return Observations(
            at=at.view("datetime64[us]"),
            opportunities=self._opportunities,
            impressions=impressions,
            clicks=clicks,
            conversions=conversions,
            value=value,
            cost=cost,
            spent_at=np.array(self._spent_at, dtype=np.int64).view("datetime64[us]"),
            further={
                name: np.array([row.get(name, nothing) for row in self._further], dtype=np.float64)
                for name, nothing in FURTHER.items()
            },
            position=np.array(self._positions, dtype=np.int64),
        )
