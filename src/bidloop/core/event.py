"""What happened: typed events, in the past tense.

Every event has an `event_id`, by which the same event told twice is known, and `at`, when it happened (UTC).
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

import msgspec

from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity


class ImpressionServed(msgspec.Struct, frozen=True, kw_only=True, tag="impression_served", tag_field="type"):
    """A bid won and the ad was shown.

    Parameters
    ----------
    impression_id
        What later clicks and conversions refer to: the decision's id, or the platform's bid id in an imported log.
    opportunity
        What was shown where; `None` when the decision record holds it.
    price
        Cost of this one impression; `None` where the source does not tell (a click-priced campaign, a click row of iPinYou).
    weight
        How many impressions of the population this one stands for (inverse sampling probability).
    """

    event_id: str
    at: datetime
    impression_id: str
    opportunity: Opportunity | None = None
    price: Money | None = None
    weight: float = 1.0


class BidLost(msgspec.Struct, frozen=True, kw_only=True, tag="bid_lost", tag_field="type"):
    """A bid lost.

    Parameters
    ----------
    impression_id
        The decision's id, or the platform's bid id in an imported log.
    opportunity
        What the bid was for; `None` when the decision record holds it.
    bid
        The bid that lost, in the unit of the opportunity's charge; `None` when the decision record holds it.
    market_price
        The price that would have won, in the same unit, where the platform tells it.
    """

    event_id: str
    at: datetime
    impression_id: str
    opportunity: Opportunity | None = None
    bid: Money | None = None
    market_price: Money | None = None


class ClickReceived(msgspec.Struct, frozen=True, kw_only=True, tag="click_received", tag_field="type"):
    """An ad was clicked. `price` is the cost of this click in a click-priced campaign."""

    event_id: str
    at: datetime
    impression_id: str
    price: Money | None = None


class ConversionReported(msgspec.Struct, frozen=True, kw_only=True, tag="conversion_reported", tag_field="type"):
    """A conversion was reported, perhaps long after the click. `at` is the time of the report."""

    event_id: str
    at: datetime
    impression_id: str
    order_id: str = ""
    value: Money | None = None


class CampaignReported(msgspec.Struct, frozen=True, kw_only=True, tag="campaign_reported", tag_field="type"):
    """One row of a campaign report: the counts of one cell over one period that starts at `at`.

    `opportunity` names the cell; `spend` and `value` are money, the counts are whole numbers.
    """

    event_id: str
    at: datetime
    opportunity: Opportunity
    impressions: int
    clicks: int
    conversions: int
    spend: Money
    value: Money | None = None


Event: TypeAlias = ImpressionServed | BidLost | ClickReceived | ConversionReported | CampaignReported
