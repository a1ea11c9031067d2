"""A market that takes bids, tells what came of them, and keeps count."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bidloop.core.decision import Decision
from bidloop.core.errors import InvalidInput
from bidloop.core.event import BidLost, ClickReceived, ConversionReported, Event, ImpressionServed
from bidloop.core.money import MICROS, Money
from bidloop.core.opportunity import Auction, Charge, Opportunity
from bidloop.core.prediction import Prediction
from bidloop.experiments.auctions import Auctions, Objective
from bidloop.experiments.replay import Purchases, tally
from bidloop.experiments.tally import Tally
from bidloop.simulation.market_day import MarketDay
from bidloop.simulation.potential import Potential

MILLE = 1000

Span = tuple[np.datetime64, np.datetime64, Sequence[str]]
"""An outage: from, until, and which of ``impression``, ``click`` and ``conversion`` are lost."""


@dataclass(frozen=True)
class Bid:
    """A bid as it reaches the market: for which opportunity, under which id it is settled, and how much in micros."""

    opportunity_id: str
    impression_id: str
    micros: int


class AuctionMarket:
    """Auctions to bid in, whoever they come from: a simulated world or a real log.

    A bid wins when it reaches the market price. The winner pays the market price (second price) or the own bid (first
    price), per thousand impressions or per click. A campaign with a budget takes part as long as what is left of the
    day's budget covers the price; under first price the bid is cut to what is left.

    Impressions and losses are told at once, as what `settle` returns. Clicks and conversions are told by `due` when
    their time has come. What falls into an outage of tracking is never told, and still counts in `tally`.

    Parameters
    ----------
    days
        The market's days, in order of time.
    budgets
        Daily budget by campaign; a campaign without one is not limited.
    outages
        When tracking loses which events.
    tells_losing_price
        Whether those who lost are told the market price.
    underway
        Events of earlier days that are still to be told, such as late conversions.
    """

    def __init__(
        self,
        days: Iterable[MarketDay],
        *,
        start: datetime,
        end: datetime,
        budgets: Mapping[str, Money] | None = None,
        outages: Sequence[Span] = (),
        tells_losing_price: bool = True,
        underway: Iterable[Event] = (),
    ) -> None:
        self.start = start
        self.end = end
        self._days = iter(days)
        self._past: list[MarketDay] = []
        self._budgets = {name: budget.micros for name, budget in (budgets or {}).items()}
        self._outages = outages
        self._tells_losing_price = tells_losing_price
        self._order = 0
        self._underway: list[tuple[datetime, int, Event]] = []
        for event in underway:
            self._tell_later(event)

    def batches(self, minutes: float = 60.0) -> Iterator[list[Opportunity]]:
        """The opportunities of the market in order of time, those of each stretch of so many minutes together.

        Stretches are counted from the day's first opportunity and never reach over midnight. A market is gone through
        once.

        Raises
        ------
        InvalidInput
            When `minutes` is not above 0.
        """
        if not minutes > 0:
            raise InvalidInput(f"batches of {minutes} minutes", path="minutes", expected="a number above 0")
        for day in self._days:
            self._past.append(day)
            at = day.potential.at
            if len(at):
                stretch = (at - at[0]) // np.timedelta64(round(min(minutes, 2000.0) * 60e6), "us")
                edges = [0, *(np.flatnonzero(np.diff(stretch)) + 1).tolist(), len(at)]
                for first, last in pairwise(edges):
                    yield day.opportunities[first:last]

    def settle(self, decisions: Sequence[Decision]) -> list[Event]:
        """Hold the auctions of decisions; returns impressions and losses in order of time.

        A bid of zero takes no part, and a campaign out of budget neither: then nothing is told.

        Raises
        ------
        InvalidInput
            When a decision is for an opportunity that is not of the market's present day, was settled before, or bids
            in another currency or below zero; then none of the decisions takes effect.
        """
        bids = [Bid(d.opportunity.opportunity_id, d.decision_id, d.bid.micros) for d in decisions]
        rows = self._check(bids, [d.bid.currency for d in decisions])
        for row, decision in zip(rows, decisions, strict=True):
            self._past[-1].predicted[row] = _rates(decision.prediction)
        return self._hold(rows, bids, with_opportunity=False)

    def settle_bids(self, bids: Sequence[Bid]) -> list[Event]:
        """Hold the auctions of bids that no decision stands behind; each impression then carries its opportunity.

        Raises
        ------
        InvalidInput
            As `settle` does.
        """
        return self._hold(self._check(bids, None), bids, with_opportunity=True)

    def due(self, until: datetime) -> list[Event]:
        """The clicks and conversions that have become known by then and were not told yet, in order of time."""
        told = []
        while self._underway and self._underway[0][0] <= until:
            told.append(heapq.heappop(self._underway)[2])
        return told

    @property
    def underway(self) -> list[Event]:
        """What is still to be told, in order of time; hand it to the market of the following days."""
        return [event for _, _, event in sorted(self._underway, key=lambda entry: entry[:2])]

    def auctions(self, predictions: Sequence[Prediction] | None = None) -> Auctions:
        """The auctions gone through so far, with their outcomes, for replaying other policies on the same luck.

        Parameters
        ----------
        predictions
            One per auction gone through, in order of time. By default those of the decisions that were settled, and
            then only settled auctions are there.

        Raises
        ------
        InvalidInput
            When the number of predictions is not the number of auctions.
        """
        if predictions is None:
            predicted = np.concatenate([np.zeros((0, 3)), *(day.predicted[day.settled] for day in self._past)])
            return self._auctions([day.settled for day in self._past], predicted)
        count = sum(len(day.opportunities) for day in self._past)
        if len(predictions) != count:
            raise InvalidInput(
                f"{len(predictions)} predictions", path="predictions", expected=f"{count}, one per auction"
            )
        predicted = np.array([_rates(prediction) for prediction in predictions]).reshape(-1, 3)
        return self._auctions([np.ones(len(day.opportunities), dtype=bool) for day in self._past], predicted)

    def tally(self, objective: Objective = Objective.CLICKS) -> Tally:
        """What was bought so far and what it brings in truth: also what is still underway and what tracking lost."""
        return tally(self.auctions(), Purchases(self.won, self.spend), objective)

    @property
    def won(self) -> NDArray[np.bool_]:
        """Which of the settled auctions were won, in order of time, shape (n,)."""
        return np.concatenate([np.zeros(0, dtype=bool), *(day.won[day.settled] for day in self._past)])

    @property
    def spend(self) -> NDArray[np.float64]:
        """What each of the settled auctions cost, in account currency, in order of time, shape (n,)."""
        return np.concatenate([np.zeros(0), *(day.spend[day.settled] for day in self._past)])

    def _check(self, bids: Sequence[Bid], currencies: Sequence[str] | None) -> list[int]:
        rows: list[int] = []
        day = self._past[-1] if self._past else None
        for i, bid in enumerate(bids):
            row = day.row.get(bid.opportunity_id) if day else None
            if day is None or row is None:
                raise InvalidInput(
                    f"a bid on opportunity {bid.opportunity_id!r}",
                    path=f"{i}.opportunity",
                    expected="one of the day whose batches are being gone through",
                )
            if day.settled[row]:
                raise InvalidInput(f"a second bid on opportunity {bid.opportunity_id!r}", path=f"{i}.opportunity")
            currency = day.opportunities[row].currency
            if currencies is not None and currencies[i] != currency:
                raise InvalidInput(f"a bid in {currencies[i]}", path=f"{i}.bid", expected=currency)
            if bid.micros < 0:
                raise InvalidInput(f"a bid of {bid.micros} micros", path=f"{i}.bid", expected="0 or more")
            rows.append(row)
        if len(set(rows)) != len(rows):
            raise InvalidInput("two bids on one opportunity", expected="one bid for each")
        return rows

    def _hold(self, rows: Sequence[int], bids: Sequence[Bid], *, with_opportunity: bool) -> list[Event]:
        told: list[Event] = []
        if not rows:
            return told
        day = self._past[-1]
        for row, bid in sorted(zip(rows, bids, strict=True), key=lambda pair: pair[0]):
            day.settled[row] = True
            if bid.micros == 0:
                continue
            opportunity, price = day.opportunities[row], day.price[row]
            if bid.micros < price:
                told.append(self._lost(opportunity, bid, price, with_opportunity))
                continue
            paid = self._paid(day, row, opportunity, bid.micros, price)
            if paid is not None:
                told += self._serve(day, row, opportunity, bid.impression_id, paid, with_opportunity)
        return told

    def _paid(self, day: MarketDay, row: int, opportunity: Opportunity, bid: int, price: int) -> int | None:
        """What the winner pays, in micros of the unit of the bid; `None` when the budget does not cover the price."""
        pays_bid = opportunity.auction is Auction.FIRST_PRICE
        budget = self._budgets.get(opportunity.campaign_id)
        if budget is None:
            return bid if pays_bid else price
        per_price = day.weight[row] / (1 if opportunity.charge is Charge.PER_CLICK else MILLE)
        most = int((budget - day.spent.get(opportunity.campaign_id, 0.0)) / per_price)
        if most < price:
            return None
        return min(bid, most) if pays_bid else price

    def _serve(
        self, day: MarketDay, row: int, opportunity: Opportunity, impression_id: str, paid: int, with_opportunity: bool
    ) -> list[Event]:
        """Book a win; returns its impression, and keeps its click and conversion for when they are due."""
        per_click, click, weight = opportunity.charge is Charge.PER_CLICK, day.click[row], day.weight[row]
        cost = (paid if click else 0.0) * weight if per_click else paid * weight / MILLE
        day.won[row] = True
        day.spend[row] = cost / MICROS
        day.spent[opportunity.campaign_id] = day.spent.get(opportunity.campaign_id, 0.0) + cost
        if click or day.potential.conversion[row]:
            self._follow(day.potential, row, impression_id, Money(paid, opportunity.currency) if per_click else None)
        if self._outages and self._lost_by_tracking("impression", day.potential.at[row]):
            return []
        return [
            ImpressionServed(
                event_id=f"{impression_id}:impression",
                at=opportunity.at,
                impression_id=impression_id,
                opportunity=opportunity if with_opportunity else None,
                price=None if per_click else Money(round(paid / MILLE), opportunity.currency),
                weight=weight,
            )
        ]

    def _follow(self, potential: Potential, row: int, impression_id: str, price: Money | None) -> None:
        """Keep what follows an impression until it is due, less what tracking loses."""
        if potential.click[row] and not self._lost_by_tracking("click", at := potential.click_at[row]):
            self._tell_later(
                ClickReceived(
                    event_id=f"{impression_id}:click", at=_moment(at), impression_id=impression_id, price=price
                )
            )
        if potential.conversion[row] and not self._lost_by_tracking("conversion", at := potential.conversion_at[row]):
            value, currency = int(potential.value[row]), self._past[-1].opportunities[row].currency
            self._tell_later(
                ConversionReported(
                    event_id=f"{impression_id}:conversion",
                    at=_moment(at),
                    impression_id=impression_id,
                    order_id=f"{impression_id}:order",
                    value=Money(value, currency) if value else None,
                )
            )

    def _lost(self, opportunity: Opportunity, bid: Bid, price: int, with_opportunity: bool) -> BidLost:
        market_price = Money(price, opportunity.currency) if self._tells_losing_price else None
        return BidLost(
            event_id=f"{bid.impression_id}:lost",
            at=opportunity.at,
            impression_id=bid.impression_id,
            opportunity=opportunity if with_opportunity else None,
            bid=Money(bid.micros, opportunity.currency),
            market_price=market_price,
        )

    def _tell_later(self, event: Event) -> None:
        heapq.heappush(self._underway, (event.at, self._order, event))
        self._order += 1

    def _lost_by_tracking(self, kind: str, at: np.datetime64) -> bool:
        return any(start <= at < end and kind in loses for start, end, loses in self._outages)

    def _auctions(self, rows: Sequence[NDArray[np.bool_]], predicted: NDArray[np.float64]) -> Auctions:
        def column(name: str, dtype: str) -> NDArray[np.generic]:
            parts = [getattr(day.potential, name)[chosen] for day, chosen in zip(self._past, rows, strict=True)]
            return np.concatenate([np.zeros(0, dtype=dtype), *parts])

        first = next((day.opportunities[0] for day in self._past if day.opportunities), None)
        campaigns = [
            opportunity.campaign_id
            for day, chosen in zip(self._past, rows, strict=True)
            for opportunity, taken in zip(day.opportunities, chosen.tolist(), strict=True)
            if taken
        ]
        return Auctions(
            at=column("at", "datetime64[us]").astype("datetime64[us]"),
            campaign=np.array(campaigns, dtype=object),
            ctr=predicted[:, 0],
            conversion_rate=predicted[:, 1],
            order_value=predicted[:, 2],
            market_price=column("price", "int64").astype(np.float64) / MICROS,
            click=column("click", "bool").astype(np.float64),
            conversion=column("conversion", "bool").astype(np.float64),
            value=column("value", "int64").astype(np.float64) / MICROS,
            weight=column("weight", "float64").astype(np.float64),
            charge=first.charge if first else Charge.PER_MILLE,
            auction=first.auction if first else Auction.SECOND_PRICE,
        )


def _rates(prediction: Prediction) -> tuple[float, float, float]:
    value = prediction.order_value
    return prediction.ctr, prediction.conversion_rate, 0.0 if value is None else value.amount


def _moment(at: np.datetime64) -> datetime:
    moment: datetime = at.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)
