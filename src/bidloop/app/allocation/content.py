"""What an allocation says: plain data, which the page draws, the terminal prints and `--json` hands out."""

from __future__ import annotations

from datetime import datetime

import msgspec

from bidloop.bidding.allocation.allocation import Range
from bidloop.core.money import Money


class CurveDrawn(msgspec.Struct, frozen=True, kw_only=True):
    """A response curve: expected outcome per day at n spends, its interval, and the range of spends that was seen."""

    spend: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seen: tuple[float, float]


class CampaignAdvice(msgspec.Struct, frozen=True, kw_only=True):
    """What one campaign gets, and why.

    Parameters
    ----------
    today, allocated
        Spend per day.
    outcome_today, outcome
        Expected outcome per day at each.
    marginal
        What one more unit of money would bring at the allocated spend.
    elasticity
        Percent more outcome per percent more spend, at the usual spend: low, median and high.
    extrapolated
        Whether the allocated spend lies beyond what was seen.
    binds
        The campaign's own limits that bind, such as ``its maximum``.
    days
        How many days its curve was learned from.
    """

    campaign: str
    today: Money
    allocated: Money
    outcome_today: Range
    outcome: Range
    marginal: Range
    elasticity: tuple[float, float, float]
    extrapolated: bool
    binds: tuple[str, ...]
    days: int
    curve: CurveDrawn

    @property
    def change(self) -> float | None:
        """Relative change of the spend; `None` where nothing is spent today."""
        return self.allocated.micros / self.today.micros - 1 if self.today.micros else None


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """An allocation of a budget per day, as `bidloop.bidding.allocation.allocation.Allocation` says it.

    Parameters
    ----------
    first, until
        First and last day that it was learned from.
    shapes
        The shapes of the curves, and how much each is believed; together 1.
    held_out
        Squared error of held-out days over one expected variance for all, by shape.
    headline, bindings, notes
        Sentences: what it brings, what holds it back, and what to know before believing it.
    """

    objective: str
    currency: str
    made_at: datetime
    first: str
    until: str
    level: float
    risk: float | None
    aversion: float | None
    shapes: dict[str, float]
    held_out: dict[str, float]
    budget: Money
    unspent: Money
    today: Money
    gain: Range
    gain_of_split: Range | None
    better: float
    headline: str
    bindings: tuple[str, ...]
    campaigns: tuple[CampaignAdvice, ...]
    notes: tuple[str, ...]
