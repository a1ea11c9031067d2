"""A real log as a market: its auctions are met again, with the prices and outcomes that they had."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import InsufficientData, InvalidInput
from bidloop.core.event import ClickReceived, ConversionReported, Event, ImpressionServed
from bidloop.core.money import Money
from bidloop.core.opportunity import Charge, Opportunity
from bidloop.simulation.auction_market import MILLE, AuctionMarket
from bidloop.simulation.calendar import Calendar, instant, moments
from bidloop.simulation.market_day import MarketDay
from bidloop.simulation.missing_prices import borrow_prices
from bidloop.simulation.potential import Potential


class LoggedMarket(AuctionMarket):
    """The won impressions of a log, as auctions that anybody may now win or lose.

    The price paid under second price is what it took to win, so any other bid can be judged: it wins if it reaches that
    price. A weighted row stands for as many auctions of the population, and costs and counts as many. Auctions that the
    logger lost are not in such a log, so nothing can be said about winning more than it did.

    Parameters
    ----------
    events
        Impressions with their opportunities, clicks and conversions, in any order. Other events are passed over. The
        first click and the first conversion of an impression count.
    timezone
        IANA name of the account's timezone, in which days begin.
    start, end
        Only impressions with ``start <= at < end`` are offered; prices are borrowed from all.
    budgets
        Daily budget by campaign.
    seed
        For the prices that the log does not tell, which are borrowed from impressions like them (`missing_prices`).
    tells_losing_price
        Whether those who lose are told the market price.

    Raises
    ------
    InvalidInput
        When an opportunity occurs twice, clicks are priced, or currencies are mixed.
    InsufficientData
        When there are no impressions between `start` and `end`, or none of them has a price.

    Examples
    --------
    >>> from bidloop.simulation.auction_market import Bid
    >>> at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> shown = Opportunity(opportunity_id="a", at=at, campaign_id="shoes", charge=Charge.PER_MILLE)
    >>> log = [ImpressionServed(event_id="e", at=at, impression_id="a", opportunity=shown, price=Money.of("0.002"))]
    >>> market = LoggedMarket(log)
    >>> [batch] = market.batches()
    >>> [served] = market.settle_bids([Bid("a", "mine", micros=2_100_000)])
    >>> str(served.price), market.tally().spend
    ('0.002 USD', 0.002)
    """

    def __init__(
        self,
        events: Iterable[Event],
        *,
        timezone: str = "UTC",
        start: datetime | None = None,
        end: datetime | None = None,
        budgets: Mapping[str, Money] | None = None,
        seed: int = 0,
        tells_losing_price: bool = False,
    ) -> None:
        log = _Log(events)
        self.borrowed = int((~log.known).sum())
        """How many impressions of the log have a borrowed price."""
        rows = log.between(start, end)
        price = borrow_prices(log.opportunities, log.price, log.known, log.weight, seed=seed)
        calendar = Calendar(_EPOCH, timezone)
        days, _, _ = calendar.local(log.at[rows])
        super().__init__(
            self._met_again(log, rows, days, price, budgets),
            start=start or calendar.start(int(days[0])),
            end=end or calendar.start(int(days[-1]) + 1),
            budgets=budgets,
            tells_losing_price=tells_losing_price,
        )

    @staticmethod
    def _met_again(
        log: _Log,
        rows: NDArray[np.intp],
        days: NDArray[np.intp],
        price: NDArray[np.int64],
        budgets: Mapping[str, Money] | None,
    ) -> Iterator[MarketDay]:
        budgets = budgets or {}
        for day in np.unique(days).tolist():
            chosen = rows[days == day]
            opportunities = [log.opportunities[row] for row in chosen.tolist()]
            yield MarketDay(
                [
                    msgspec.structs.replace(o, budget=budgets[o.campaign_id]) if o.campaign_id in budgets else o
                    for o in opportunities
                ],
                log.potential(chosen, price),
            )


_EPOCH = date(1970, 1, 1)


class _Log:
    """The events of a log, an impression to a row, in order of time."""

    def __init__(self, events: Iterable[Event]) -> None:
        shown: dict[str, ImpressionServed] = {}
        clicks: dict[str, datetime] = {}
        conversions: dict[str, ConversionReported] = {}
        for event in events:
            match event:
                case ImpressionServed(opportunity=Opportunity() as opportunity):
                    if event.impression_id in shown:
                        raise InvalidInput(f"impression {event.impression_id!r} twice", expected="each impression once")
                    _check_charge(opportunity)
                    shown[event.impression_id] = event
                case ClickReceived():
                    clicks.setdefault(event.impression_id, event.at)
                case ConversionReported():
                    conversions.setdefault(event.impression_id, event)
        if not shown:
            raise InsufficientData("no impressions with their opportunities", expected="a log with at least one")
        impressions = sorted(shown.values(), key=lambda impression: impression.at)
        self.opportunities = [i.opportunity for i in impressions if i.opportunity is not None]
        _check_alike(self.opportunities)
        self.at = _instants([o.at for o in self.opportunities])
        self.known = np.array([i.price is not None for i in impressions])
        self.price = np.array([i.price.micros * MILLE if i.price else 0 for i in impressions], dtype=np.int64)
        self.weight = np.array([i.weight for i in impressions], dtype=np.float64)
        self._set_outcomes(impressions, clicks, conversions)

    def _set_outcomes(
        self,
        impressions: list[ImpressionServed],
        clicks: Mapping[str, datetime],
        conversions: Mapping[str, ConversionReported],
    ) -> None:
        ids = [i.impression_id for i in impressions]
        self.conversion = np.array([i in conversions for i in ids])
        self.click = np.array([i in clicks for i in ids])
        click_at = _instants([clicks.get(i.impression_id, i.at) for i in impressions])
        self.click_at = np.maximum(click_at, self.at)
        reported = [conversions[i].at if i in conversions else at for i, at in zip(ids, moments(self.at), strict=True)]
        self.conversion_at = np.maximum(_instants(reported), self.at)
        values = [conversions[i].value if i in conversions else None for i in ids]
        self.value = np.array([value.micros if value else 0 for value in values], dtype=np.int64)

    def between(self, start: datetime | None, end: datetime | None) -> NDArray[np.intp]:
        chosen = np.ones(len(self.at), dtype=bool)
        if start is not None:
            chosen &= self.at >= instant(start)
        if end is not None:
            chosen &= self.at < instant(end)
        if not chosen.any():
            raise InsufficientData(f"no impressions between {start} and {end}", expected="at least one")
        return np.flatnonzero(chosen)

    def potential(self, rows: NDArray[np.intp], price: NDArray[np.int64]) -> Potential:
        return Potential(
            self.at[rows],
            price[rows],
            self.click[rows],
            self.conversion[rows],
            self.click_at[rows],
            self.conversion_at[rows],
            self.value[rows],
            self.weight[rows],
        )


def _instants(at: list[datetime]) -> NDArray[np.datetime64]:
    return np.array([moment.astimezone(UTC).replace(tzinfo=None) for moment in at], dtype="datetime64[us]")


def _check_charge(opportunity: Opportunity) -> None:
    if opportunity.charge is not Charge.PER_MILLE:
        raise InvalidInput(
            f"opportunity {opportunity.opportunity_id!r}, priced {opportunity.charge.value}",
            expected="impressions priced per mille",
            remedy="A log of priced clicks does not tell what its other impressions would have cost.",
        )


def _check_alike(opportunities: list[Opportunity]) -> None:
    if len({o.opportunity_id for o in opportunities}) < len(opportunities):
        raise InvalidInput("an opportunity that was shown twice", expected="each opportunity once")
    if len(kinds := {(o.currency, o.auction) for o in opportunities}) > 1:
        found = ", ".join(f"{currency} {auction.value}" for currency, auction in sorted(kinds))
        raise InvalidInput(f"a log with {found}", expected="one currency and one kind of auction")
