"""What a month's or a flight's budget gives to one day."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import NamedTuple

import msgspec

from bidloop.bidding.pacing.traffic import TrafficShape
from bidloop.bidding.ranges import positive, require
from bidloop.core.errors import InvalidInput
from bidloop.core.money import Money

DAY = timedelta(days=1)


class FlightSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A flight: so much money from one day to another.

    Parameters
    ----------
    start, end
        First and last day in the account's timezone, both included.
    total
        Budget of the whole flight, account currency. Before and after the flight the campaign has none.
    """

    start: date
    end: date
    total: float

    def __post_init__(self) -> None:
        require(self.start <= self.end, "horizon.flights.end", str(self.end), f"a day from {self.start} on")
        positive("horizon.flights.total", self.total)


class HorizonSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Flights, and how far a day may catch up.

    Parameters
    ----------
    flights
        The flight by campaign id.
    catch_up
        A day gets at most so many times what an even run of the month or flight would give it; at least 1. What days
        left over beyond that stays unspent, rather than being pressed into the last days at any price.
    """

    flights: dict[str, FlightSettings] = {}
    catch_up: float = 2.0

    def __post_init__(self) -> None:
        require(
            math.isfinite(self.catch_up) and self.catch_up >= 1, "horizon.catch_up", self.catch_up, "a number from 1 on"
        )


class Spent(NamedTuple):
    """What a campaign spent before a day: since its month began, and since its flight began."""

    month: Money
    flight: Money


class DayBudgets:
    """Gives each day its part of a month's and a flight's budget, by the traffic that is still to come.

    A day's part is what is left, times the day's traffic over the traffic of the days left with it. So what one day left over,
    or spent too much, is spread over all that follow, and strong weekdays get more. It is never above the daily budget, and
    never above `catch_up` times the day's even part; of several budgets the lowest holds. The months are those of the account's
    calendar, and a day of a clock change weighs what its hours weigh.

    Parameters
    ----------
    settings
        Flights and catch-up.
    traffic
        The week's shape, with the account's timezone.
    currency
        ISO 4217 code of all budgets.
    daily
        Daily budget of a campaign in account currency, or `None` without one.
    monthly
        Budget of a calendar month by campaign, account currency.

    Examples
    --------
    Nothing was spent for ten days of a month, so the eleventh gets a twenty-first of all:

    >>> budgets = DayBudgets(HorizonSettings(), TrafficShape(), monthly={"brand": 3100.0})
    >>> nothing = Spent(Money(0), Money(0))
    >>> str(budgets.day_budget("brand", date(2026, 3, 1), nothing)), str(budgets.day_budget("brand", date(2026, 3, 11), nothing))
    ('100.00 USD', '147.619047 USD')

    On the last day the catch-up ends at twice the even part:

    >>> str(budgets.day_budget("brand", date(2026, 3, 31), nothing))
    '200.00 USD'
    """

    def __init__(
        self,
        settings: HorizonSettings,
        traffic: TrafficShape,
        *,
        currency: str = "USD",
        daily: Callable[[str], float | None] = lambda campaign_id: None,
        monthly: Mapping[str, float] | None = None,
    ) -> None:
        self.settings = settings
        self._traffic = traffic
        self._currency = currency
        self._daily = daily
        self._monthly = monthly or {}
        self._volumes: dict[date, float] = {}

    def day_budget(self, campaign_id: str, day: date, spent: Spent) -> Money | None:
        """What the campaign may spend on a day; `None` where no budget limits it.

        Parameters
        ----------
        day
            In the account's timezone.
        spent
            What was spent before that day. What the day itself has spent does not belong in it: then the answer holds all day.

        Raises
        ------
        InvalidInput
            When `spent` is in another currency than the budgets.
        """
        for amount in spent:
            if amount.currency != self._currency:
                raise InvalidInput(
                    f"an amount in {amount.currency}", expected=f"the account's currency, {self._currency}"
                )
        parts = []
        if (daily := self._daily(campaign_id)) is not None:
            parts.append(Money.of(daily, self._currency).micros)
        if (monthly := self._monthly.get(campaign_id)) is not None:
            first = day.replace(day=1)
            last = (first + timedelta(days=31)).replace(day=1) - DAY
            parts.append(self._part(monthly, first, last, day, spent.month))
        if (flight := self.settings.flights.get(campaign_id)) is not None:
            parts.append(self._part(flight.total, flight.start, flight.end, day, spent.flight))
        return Money(min(parts), self._currency) if parts else None

    def _part(self, total: float, first: date, last: date, day: date, spent: Money) -> int:
        """The day's part of one budget in micros, rounded down, so that the parts never add up to more than the budget."""
        if not first <= day <= last:
            return 0
        budget = Money.of(total, self._currency).micros
        # Refunds beyond what was spent do not enlarge the budget.
        left = min(budget, max(0, budget - spent.micros))
        own = self._volume(day)
        to_come = self._sum(day, last)
        share = own / to_come if to_come > 0 else 1 / ((last - day).days + 1)
        whole = self._sum(first, last)
        even = budget * (own / whole if whole > 0 else 1 / ((last - first).days + 1))
        return min(left, math.floor(left * share + 1e-6), math.ceil(self.settings.catch_up * even))

    def _sum(self, first: date, last: date) -> float:
        return math.fsum(self._volume(first + i * DAY) for i in range((last - first).days + 1))

    def _volume(self, day: date) -> float:
        found = self._volumes.get(day)
        if found is None:
            found = self._volumes[day] = self._traffic.volume(day)
        return found
