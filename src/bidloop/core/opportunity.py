"""The unit a bid is for."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from bidloop.core.money import Money


class Auction(StrEnum):
    """How the winner pays."""

    FIRST_PRICE = "first_price"
    SECOND_PRICE = "second_price"


class Charge(StrEnum):
    """What a bid is the price of."""

    PER_CLICK = "per_click"
    """A bid is the price of one click (CPC)."""
    PER_MILLE = "per_mille"
    """A bid is the price of a thousand impressions (CPM)."""


class History(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the caller knows of this cell's past; used where Bidloop itself has seen nothing of it."""

    ctr: float
    conversion_rate: float
    spend: Money
    impressions: int
    clicks: int


class Opportunity(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing to bid for: a search or social cell at an hour, or one bid request.

    Parameters
    ----------
    opportunity_id
        Unique; for a bid request its bid id.
    at
        When, timezone-aware, in UTC.
    campaign_id, ad_group_id, keyword, device, location
        The cell. An empty string means that the platform has no such thing.
    attributes
        Further categorical facts by name (slot, domain, creative, exchange …).
    measures
        Further numeric facts by name (slot width, quality score, impression share …). A missing one is absent, not zero.
    user_id
        Pseudonym of the user, or empty.
    auction, charge
        How the winner pays, and what a bid is the price of.
    floor, current_bid
        Prices in the unit of `charge`.
    budget
        Budget of the campaign for the running day, as the caller states it; `None` leaves it to the settings.
    history
        The caller's knowledge of the past of this cell.
    """

    opportunity_id: str
    at: datetime
    campaign_id: str
    ad_group_id: str = ""
    keyword: str = ""
    device: str = ""
    location: str = ""
    attributes: dict[str, str] = {}
    measures: dict[str, float] = {}
    user_id: str = ""
    auction: Auction = Auction.SECOND_PRICE
    charge: Charge = Charge.PER_CLICK
    currency: str = "USD"
    floor: Money | None = None
    current_bid: Money | None = None
    budget: Money | None = None
    history: History | None = None
