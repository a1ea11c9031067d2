"""What the simulated world is like."""

from __future__ import annotations

import math
from datetime import date
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from bidloop.core.errors import ConfigurationError
from bidloop.core.opportunity import Auction, Charge

Tracked: TypeAlias = Literal["impression", "click", "conversion"]
"""Kinds of events that tracking can lose."""


class Drift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of the truth from one day on. Several add up.

    Parameters
    ----------
    day
        First day with the change; the world's first day is 0.
    ctr_shift, conversion_rate_shift
        Added to all log odds: the level moves, the order of the cells stays.
    ctr_spread, conversion_rate_spread
        Standard deviation, in log odds, of new random effects on top of the old ones: the order of the cells changes.
    price_factor
        What the competitors' bids are multiplied by.
    """

    day: int = 0
    ctr_shift: float = 0.0
    ctr_spread: float = 0.0
    conversion_rate_shift: float = 0.0
    conversion_rate_spread: float = 0.0
    price_factor: float = 1.0


class Outage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stretch of time in which tracking loses events for good; what was bought must still be paid.

    Parameters
    ----------
    day, hour
        When it starts: the day's number, and hours after that day's midnight in the account's timezone.
    hours
        How long it lasts.
    loses
        Which events are lost if they happen within it.
    """

    day: int = 0
    hour: float = 0.0
    hours: float = 1.0
    loses: tuple[Tracked, ...] = ("click", "conversion")


class WorldSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The simulated world, fixed by its seed.

    Parameters
    ----------
    seed
        The same settings and seed are the same world, to the last bit.
    first_day, timezone
        Date of day 0, and the account's timezone (IANA name), in which hours and weekdays are counted.
    currency
        Account currency (ISO 4217).
    auction, charge
        How the winner pays, and what a bid is the price of.
    campaigns, devices, locations
        Their names.
    device_shares, location_shares
        Shares of the users, one per name; any positive numbers.
    ad_groups, keywords
        Per campaign; keywords are spread evenly over the ad groups, and their traffic falls as one over their rank.
    users
        How many people there are; their activity is skewed.
    auctions_per_day
        Mean number over a week; the number of a day is Poisson around its weekday's mean.
    hour_shape, weekday_shape
        Relative traffic by local hour (24 numbers) and by weekday from Monday (7 numbers).
    ctr, conversion_rate
        Mean P(click | impression) and P(conversion | click) over the traffic, before any drift.
    ctr_spread, conversion_rate_spread
        Standard deviation of the log odds between cells.
    user_spread
        Standard deviation of the log odds between users of the same cell, which no cell feature can tell.
    order_value, order_value_spread, order_value_noise
        Mean order in account currency, the spread of log order value between campaigns, and within one.
    price_level
        Median market price of an average cell, as a share of what an impression of it is worth.
    competitor_knowledge
        Exponent with which market prices follow the true value of a cell: 0 means competitors bid blindly, 1 that they
        know the value as well as the truth does.
    price_spread, price_noise
        Standard deviation of log prices by campaign × hour and by location, and from auction to auction.
    floor_level
        Floor price as a share of the price level; 0 means no floors.
    tells_losing_price
        Whether the platform tells the market price to those who lost.
    click_delay_seconds, conversion_delay_hours
        Means of the exponential delays from impression to click, and from click to the report of a conversion.
    budget_share
        A campaign's daily budget as a share of what winning all its auctions costs on a mean day.
    current_bid_level
        The account's flat bids before any optimisation, relative to each campaign's median market price.
    drifts, outages
        What changes, and when tracking fails.

    Raises
    ------
    ConfigurationError
        When a value is out of its range.
    """

    seed: int = 42
    first_day: date = date(2026, 1, 5)
    timezone: str = "UTC"
    currency: str = "USD"
    auction: Auction = Auction.SECOND_PRICE
    charge: Charge = Charge.PER_MILLE
    campaigns: tuple[str, ...] = ("running-shoes", "city-bikes", "garden-tools", "coffee-machines", "travel-bags")
    devices: tuple[str, ...] = ("desktop", "mobile", "tablet")
    device_shares: tuple[float, ...] = (0.35, 0.55, 0.1)
    locations: tuple[str, ...] = ("US-CA", "US-TX", "US-NY", "US-FL", "US-IL", "US-WA")
    location_shares: tuple[float, ...] = (0.28, 0.22, 0.18, 0.14, 0.1, 0.08)
    ad_groups: int = 3
    keywords: int = 12
    users: int = 20_000
    auctions_per_day: int = 20_000
    hour_shape: tuple[float, ...] = (
        0.35, 0.22, 0.15, 0.12, 0.14, 0.25, 0.5, 0.8, 1.0, 1.15, 1.2, 1.2,
        1.25, 1.2, 1.15, 1.1, 1.1, 1.15, 1.25, 1.4, 1.5, 1.45, 1.1, 0.65,
    )  # fmt: skip
    weekday_shape: tuple[float, ...] = (1.05, 1.05, 1.0, 1.0, 0.95, 0.9, 1.05)
    ctr: float = 0.045
    conversion_rate: float = 0.09
    ctr_spread: float = 0.9
    conversion_rate_spread: float = 0.8
    user_spread: float = 0.2
    order_value: float = 60.0
    order_value_spread: float = 0.4
    order_value_noise: float = 0.4
    price_level: float = 0.6
    competitor_knowledge: float = 0.4
    price_spread: float = 0.2
    price_noise: float = 0.5
    floor_level: float = 0.15
    tells_losing_price: bool = True
    click_delay_seconds: float = 20.0
    conversion_delay_hours: float = 36.0
    budget_share: float = 0.2
    current_bid_level: float = 1.0
    drifts: tuple[Drift, ...] = ()
    outages: tuple[Outage, ...] = ()

    def __post_init__(self) -> None:
        self._check_shapes()
        for name in ("ctr", "conversion_rate"):
            self._demand(name, 0.0 < getattr(self, name) < 1.0, "a rate between 0 and 1")
        for name in (
            "ad_groups",
            "keywords",
            "users",
            "auctions_per_day",
            "order_value",
            "price_level",
            "budget_share",
        ):
            self._demand(name, 0 < getattr(self, name) < math.inf, "a finite number above 0")
        for name in _NOT_NEGATIVE:
            self._demand(name, 0 <= getattr(self, name) < math.inf, "a finite number of at least 0")
        for drift in self.drifts:
            self._demand("drifts", 0 < drift.price_factor < math.inf, "a price_factor above 0")
        for outage in self.outages:
            self._demand("outages", outage.hours >= 0, "hours of at least 0")
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ConfigurationError(
                f"timezone {self.timezone!r}", expected="an IANA name, such as Europe/Berlin"
            ) from error

    def _check_shapes(self) -> None:
        for name, length in (
            ("device_shares", len(self.devices)),
            ("location_shares", len(self.locations)),
            ("hour_shape", 24),
            ("weekday_shape", 7),
        ):
            shares = getattr(self, name)
            right = len(shares) == length and all(0 < share < math.inf for share in shares)
            self._demand(name, right, f"{length} positive numbers")
        for name in ("campaigns", "devices", "locations"):
            names = getattr(self, name)
            self._demand(name, 0 < len(names) == len(set(names)), "at least one name, and none of them twice")

    def _demand(self, name: str, right: bool, expected: str) -> None:
        if not right:
            raise ConfigurationError(f"{name} = {getattr(self, name)!r}", expected=expected)


_NOT_NEGATIVE = (
    "ctr_spread", "conversion_rate_spread", "user_spread", "order_value_spread", "order_value_noise",
    "competitor_knowledge", "price_spread", "price_noise", "floor_level", "click_delay_seconds",
    "conversion_delay_hours", "current_bid_level",
)  # fmt: skip
