"""What came of what was shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bidloop.core.opportunity import Opportunity


@dataclass(frozen=True)
class Outcomes:
    """What came of n impressions or report rows, as known at one instant.

    Parameters
    ----------
    impression_id
        Object array of `str`, shape (n,).
    opportunities
        What each row was for, n of them.
    at
        When it was shown, datetime64[us] in UTC, shape (n,), non-decreasing.
    impressions, clicks, conversions
        Counts, float64, shape (n,).
    value, cost
        Account currency, float64, shape (n,). `cost` is NaN where the source does not tell.
    weight
        How many such rows of the population one row stands for, float64, shape (n,).
    mature
        Whether the conversion window of the row had closed at that instant, bool, shape (n,). A conversion may still
        arrive for the others.
    valued
        Conversions whose value is told, be it 0: `value` is that of these. float64, shape (n,); `None` where that is not known,
        and all count as told.
    """

    impression_id: NDArray[np.object_]
    opportunities: list[Opportunity]
    at: NDArray[np.datetime64]
    impressions: NDArray[np.float64]
    clicks: NDArray[np.float64]
    conversions: NDArray[np.float64]
    value: NDArray[np.float64]
    cost: NDArray[np.float64]
    weight: NDArray[np.float64]
    mature: NDArray[np.bool_]
    valued: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.at)


FURTHER: Mapping[str, float] = {
    "share_impressions": 0.0,
    "eligible_impressions": 0.0,
    "quality_points": 0.0,
    "quality_impressions": 0.0,
    "bids": 0.0,
    "bid_total": 0.0,
    "market_price": math.nan,
    "daily_budget": math.nan,
    "competitor_share": math.nan,
    "competitor_overlap": math.nan,
}
"""What else is known of ads, and how nothing reads: a sum gains 0, a single value was not told.

Impressions of which the share of the possible ones is told, and those possible ones; quality score times impressions, and
impressions with a score; bids and their sum; what winning cost, the budget of the day, and the largest share and overlap of a
competitor. Money in account currency, prices in the unit of bids."""


@dataclass(frozen=True)
class Observations:
    """Increments of what is known: n facts in the order in which they became known.

    What turns out otherwise, a restated report row or a retracted conversion, takes back: an increment may be negative. An
    impression adds its weight in impressions at the time it was shown; its click adds one click at the time of the
    click; a conversion adds one conversion and its value at the time of the report; a report row adds its counts.

    Parameters
    ----------
    at
        When the fact became known, datetime64[us] in UTC, shape (n,).
    opportunities
        What the fact is about, n of them.
    impressions, clicks, conversions
        Increments, float64, shape (n,).
    value, cost
        Increments in account currency, float64, shape (n,); 0 where there is none.
    spent_at
        On which instant the cost is to be booked, datetime64[us] in UTC, shape (n,): of a restated report row that of the row,
        so that yesterday's correction does not touch today's budget. `None` where it is always `at`.
    further
        What else became known, by name (`FURTHER`), float64, shape (n,) each. Names that nothing was told of may be absent.
    position
        Position in the log of the event by which the fact became known, int64, shape (n,); `None` where they come from no log.
    """

    at: NDArray[np.datetime64]
    opportunities: list[Opportunity]
    impressions: NDArray[np.float64]
    clicks: NDArray[np.float64]
    conversions: NDArray[np.float64]
    value: NDArray[np.float64]
    cost: NDArray[np.float64]
    spent_at: NDArray[np.datetime64] | None = None
    further: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    position: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.at)

    def take(self, rows: NDArray[np.intp]) -> Observations:
        """The given rows, in that order."""
        return Observations(
            self.at[rows],
            [self.opportunities[i] for i in rows],
            self.impressions[rows],
            self.clicks[rows],
            self.conversions[rows],
            self.value[rows],
            self.cost[rows],
            None if self.spent_at is None else self.spent_at[rows],
            {name: column[rows] for name, column in self.further.items()},
            None if self.position is None else self.position[rows],
        )


@dataclass(frozen=True)
class BidOutcomes:
    """What became of n bids: what a bid landscape is learned from.

    Parameters
    ----------
    at
        When the bid was for, datetime64[us] in UTC, shape (n,).
    opportunities
        What the bids were for, n of them.
    bid
        The bid sent, in account currency per unit of the opportunity's charge; NaN where only the price is known (a log of
        won impressions). float64, shape (n,).
    won
        Whether it won, bool, shape (n,).
    price
        The price of winning in the same unit, where it is known: what a second-price winner paid, or the market price that
        the platform told a loser. NaN elsewhere. float64, shape (n,).
    weight
        How many such bids of the population one row stands for, float64, shape (n,).
    """

    at: NDArray[np.datetime64]
    opportunities: list[Opportunity]
    bid: NDArray[np.float64]
    won: NDArray[np.bool_]
    price: NDArray[np.float64]
    weight: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.at)

    def take(self, rows: NDArray[np.intp]) -> BidOutcomes:
        """The given rows, in that order."""
        return BidOutcomes(
            self.at[rows],
            [self.opportunities[i] for i in rows],
            self.bid[rows],
            self.won[rows],
            self.price[rows],
            self.weight[rows],
        )


@dataclass(frozen=True)
class ConversionDelays:
    """How long after their click n conversions were reported, as known at one instant.

    What was taken back by then is not there, and what was only restated keeps the delay of its first report. Conversions that
    a platform tells in daily figures have no time of their own: of those that a row gained between two tellings it is
    known that their delay lies between the two ages of the row. What stood in its first telling came somewhere before.

    Parameters
    ----------
    campaign
        Object array of `str`, shape (n,).
    at
        Time of the click; of the impression where no click before the conversion is known, and of the row in a report.
        datetime64[us] in UTC, shape (n,), non-decreasing.
    earliest, latest
        The delay in seconds is known to be above `earliest`, and at most `latest`; where both are the same it is that.
        float64, shape (n,).
    age
        Seconds from `at` until the instant as of which this is known, or until the row was told last: had the conversion
        taken longer, it would not be here. float64, shape (n,).
    count
        How many such conversions of the population it stands for, float64, shape (n,).
    """

    campaign: NDArray[np.object_]
    at: NDArray[np.datetime64]
    earliest: NDArray[np.float64]
    latest: NDArray[np.float64]
    age: NDArray[np.float64]
    count: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.at)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> ConversionDelays:
        """The given ones, in that order."""
        return ConversionDelays(
            self.campaign[rows],
            self.at[rows],
            self.earliest[rows],
            self.latest[rows],
            self.age[rows],
            self.count[rows],
        )
