"""What happened to ads: bids, impressions, clicks, conversions, and the rows of campaign reports."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from bidloop.core.happening import Happening, Id, Personal
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity

ImpressionId = Annotated[Id, Meta(description="The decision's id, or the platform's bid id.")]
Share = Annotated[float, Meta(ge=0, le=1)]


class BidPlaced(Personal, frozen=True, kw_only=True, omit_defaults=True):
    """A bid was sent to the auction.

    Parameters
    ----------
    impression_id
        The decision's id, or the platform's bid id in an imported log.
    opportunity
        What the bid was for; `None` when the decision record holds it.
    bid
        The bid, in the unit of the opportunity's charge; `None` when the decision record holds it.
    """

    impression_id: ImpressionId
    opportunity: Opportunity | None = None
    bid: Annotated[Money | None, Meta(description="The bid, in the unit of the charge.")] = None


class BidWon(Personal, frozen=True, kw_only=True, omit_defaults=True):
    """A bid won, as the auction's notice says.

    Parameters
    ----------
    impression_id, opportunity, bid
        As of `BidPlaced`.
    price
        What this one impression costs, where the charge is per impression and the notice tells it.
    """

    impression_id: ImpressionId
    opportunity: Opportunity | None = None
    bid: Annotated[Money | None, Meta(description="The bid, in the unit of the charge.")] = None
    price: Annotated[Money | None, Meta(description="What this one impression costs.")] = None


class BidLost(Personal, frozen=True, kw_only=True, omit_defaults=True):
    """A bid lost.

    Parameters
    ----------
    impression_id, opportunity, bid
        As of `BidPlaced`.
    market_price
        The price that would have won, in the unit of the bid, where the platform tells it.
    """

    impression_id: ImpressionId
    opportunity: Opportunity | None = None
    bid: Annotated[Money | None, Meta(description="The bid that lost, in the unit of the charge.")] = None
    market_price: Annotated[Money | None, Meta(description="The price that would have won.")] = None


class ImpressionServed(Personal, frozen=True, kw_only=True, omit_defaults=True):
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

    impression_id: ImpressionId
    opportunity: Opportunity | None = None
    price: Annotated[Money | None, Meta(description="Cost of this one impression.")] = None
    weight: Annotated[float, Meta(description="How many impressions this one stands for in a sampled log.")] = 1.0


class ClickReceived(Personal, frozen=True, kw_only=True, omit_defaults=True):
    """An ad was clicked. `price` is the cost of this click in a click-priced campaign."""

    impression_id: ImpressionId
    price: Annotated[Money | None, Meta(description="Cost of this click.")] = None


class ConversionReported(Personal, frozen=True, kw_only=True, omit_defaults=True):
    """A conversion was reported, perhaps long after the click. `at` is the time of the report.

    Parameters
    ----------
    order_id
        Counts once per impression; empty means that every report is a conversion of its own. A conversion that may be
        restated or retracted needs one.
    value
        What it was worth; a refund is a negative value.
    """

    impression_id: ImpressionId
    order_id: Annotated[Id, Meta(description="The order; counts once per impression.")] = ""
    value: Annotated[Money | None, Meta(description="What the conversion was worth.")] = None


class ConversionRestated(Personal, frozen=True, kw_only=True, omit_defaults=True):
    """The value of a reported conversion turned out to be another. `at` is the time of the restatement.

    Of several restatements and retractions of one order, the one with the latest `at` holds, in whatever order they come.
    """

    impression_id: ImpressionId
    order_id: Annotated[Id, Meta(description="The order that was reported.")]
    value: Annotated[Money | None, Meta(description="What the conversion was worth after all.")] = None


class ConversionRetracted(Personal, frozen=True, kw_only=True, omit_defaults=True):
    """A reported conversion was none after all: cancelled, returned, fraudulent. `at` is the time of the retraction."""

    impression_id: ImpressionId
    order_id: Annotated[Id, Meta(description="The order that was reported.")]


class Competitor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What the platform's auction insight tells of one competitor; shares from 0 to 1, `None` where it does not say.

    Parameters
    ----------
    name
        The competitor's display domain.
    impression_share
        Share of the impressions that it could have had and got.
    overlap_rate
        How often it was shown when we were.
    position_above_rate
        How often it stood above us when both were shown.
    top_of_page_rate
        How often it stood at the top.
    outranking_share
        How often we stood above it, or were shown when it was not.
    """

    name: Id
    impression_share: Share | None = None
    overlap_rate: Share | None = None
    position_above_rate: Share | None = None
    top_of_page_rate: Share | None = None
    outranking_share: Share | None = None


class CampaignReported(Happening, frozen=True, kw_only=True, omit_defaults=True):
    """One row of a campaign report: the counts of one cell over one period that starts at `at`.

    Parameters
    ----------
    opportunity
        The cell.
    impressions, clicks
        Whole numbers.
    conversions
        May be a fraction: platforms share one conversion out among the clicks that led to it.
    spend, value
        Cost, and value of the conversions.
    row_id
        Names the cell and its period: of several events with the same one, the one that was told last holds, and the
        others are what was known before. Empty where each event is a row of its own.
    known_at
        When the platform told these figures; `None` takes the row as known at its own `at`. A restatement needs it.
    impression_share
        Share of the impressions that the campaign could have had and got, 0 to 1.
    quality_score, average_position
        In the platform's own unit.
    budget
        Budget of the campaign in this period.
    competitors
        The auction insight.
    """

    opportunity: Opportunity
    impressions: Annotated[int, Meta(description="Impressions of the period.")]
    clicks: Annotated[int, Meta(description="Clicks of the period.")]
    conversions: Annotated[float, Meta(description="Conversions of the period; may be a fraction.")]
    spend: Annotated[Money, Meta(description="Cost of the period.")]
    value: Annotated[Money | None, Meta(description="Value of the conversions.")] = None
    row_id: Annotated[Id, Meta(description="Names cell and period: of several with the same, the last told holds.")] = (
        ""
    )
    known_at: Annotated[datetime | None, Meta(description="When the platform told these figures.")] = None
    impression_share: Annotated[Share | None, Meta(description="Share of possible impressions, 0 to 1.")] = None
    quality_score: Annotated[float | None, Meta(description="In the platform's own unit.")] = None
    average_position: Annotated[float | None, Meta(description="In the platform's own unit.")] = None
    budget: Annotated[Money | None, Meta(description="Budget of the campaign in this period.")] = None
    competitors: Annotated[tuple[Competitor, ...], Meta(description="The auction insight.")] = ()

    def __post_init__(self) -> None:
        if type(self.conversions) is int:  # 3 and 3.0 are one content, and are written alike
            msgspec.structs.force_setattr(self, "conversions", float(self.conversions))
