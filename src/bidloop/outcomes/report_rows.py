"""The rows of campaign reports: told once, and perhaps told again with other figures."""

from __future__ import annotations

import heapq
from typing import NamedTuple

from bidloop.core.event import CampaignReported
from bidloop.outcomes.epoch import epoch_us

LEAST_SHARE = 1e-6
"""A smaller share of the possible impressions is none that a report tells."""


MOST_SCORE = 1e9
"""A larger quality score is none that a platform gives."""


class Figures(NamedTuple):
    """Counts of a report row, or by how much they changed; value and cost in micros.

    `share_impressions` are those of which the share of the possible ones is told, `eligible` these possible ones;
    `quality_points` the quality score times the impressions, and `quality_impressions` those of which a score is told.
    """

    impressions: int
    clicks: int
    conversions: float
    value: int
    cost: int
    share_impressions: int = 0
    eligible: float = 0.0
    quality_points: float = 0.0
    quality_impressions: int = 0

    def since(self, before: Figures) -> Figures:
        """By how much these differ from earlier ones."""
        return Figures(
            self.impressions - before.impressions,
            self.clicks - before.clicks,
            self.conversions - before.conversions,
            self.value - before.value,
            self.cost - before.cost,
            self.share_impressions - before.share_impressions,
            self.eligible - before.eligible,
            self.quality_points - before.quality_points,
            self.quality_impressions - before.quality_impressions,
        )


class ReportRows:
    """What was told last of each named report row, so that a restatement adds only what it changes.

    Rows are forgotten by number, those of the oldest periods first. Not by age: a first import brings years of rows in
    any order, and platforms restate when they like. A row from before the latest forgotten period that is not known can be
    a new one or a forgotten one, and is not counted: better missing than counted twice.

    Parameters
    ----------
    most
        How many rows are remembered at most.

    Examples
    --------
    >>> from datetime import UTC, datetime, timedelta
    >>> from bidloop.core.money import Money
    >>> from bidloop.core.opportunity import Opportunity
    >>> at = datetime(2026, 1, 1, tzinfo=UTC)
    >>> def row(name: str, clicks: int) -> CampaignReported:
    ...     cell = Opportunity(opportunity_id="o", at=at, campaign_id="spring")
    ...     return CampaignReported(event_id=f"{name}{clicks}", at=at, opportunity=cell, impressions=90, clicks=clicks,
    ...                             conversions=0, spend=Money(5), row_id=name, known_at=at + timedelta(days=1))
    >>> rows = ReportRows(most=1)
    >>> rows.told(row("a", 9))[1]
    Figures(impressions=90, clicks=9, conversions=0.0, value=0, cost=5, share_impressions=0, eligible=0.0,
            quality_points=0.0, quality_impressions=0)
    >>> rows.told(row("a", 7))[1]
    Figures(impressions=0, clicks=-2, conversions=0.0, value=0, cost=0, share_impressions=0, eligible=0.0,
            quality_points=0.0, quality_impressions=0)
    >>> rows.told(row("b", 3)) is None, rows.told(row("a", 8)) is None
    (False, True)
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._last: dict[str, Figures] = {}
        self._oldest: list[tuple[int, str]] = []
        self._forgotten: int | None = None  # the latest period of which a row was forgotten

    def told(self, event: CampaignReported) -> tuple[int, Figures, bool] | None:
        """When an event became known, by how much it changes its row, and whether that is the first that is told of it.

        `None` for a row that may be a forgotten one.

        The first telling of a row is known at the row's own `at`, a later one when the platform told it.
        """
        at, figures = epoch_us(event.at), _figures(event)
        if not event.row_id:
            return at, figures, True
        before = self._last.get(event.row_id)
        if before is None:
            if self._forgotten is not None and at <= self._forgotten:
                return None
            self._remember(at, event.row_id, figures)
            return at, figures, True
        self._last[event.row_id] = figures
        known = at if event.known_at is None else max(at, epoch_us(event.known_at))
        return known, figures.since(before), False

    def _remember(self, at: int, row_id: str, figures: Figures) -> None:
        self._last[row_id] = figures
        heapq.heappush(self._oldest, (at, row_id))
        if len(self._oldest) > self._most:
            # The oldest goes and nothing older comes in any more, so this only moves forward.
            self._forgotten, name = heapq.heappop(self._oldest)
            del self._last[name]


def _figures(event: CampaignReported) -> Figures:
    value = 0 if event.value is None else event.value.micros
    share, score = event.impression_share, event.quality_score
    shared = share is not None and share >= LEAST_SHARE
    scored = score is not None and abs(score) <= MOST_SCORE
    return Figures(
        event.impressions,
        event.clicks,
        event.conversions,
        value,
        event.spend.micros,
        share_impressions=event.impressions if shared else 0,
        eligible=event.impressions / share if shared and share else 0.0,
        quality_points=score * event.impressions if scored and score else 0.0,
        quality_impressions=event.impressions if scored else 0,
    )
