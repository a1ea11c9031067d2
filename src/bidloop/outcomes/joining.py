"""Joins clicks and conversions to what was shown, one event after another, as they become known."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from bidloop.core.event import (
    BidLost,
    BidPlaced,
    BidWon,
    CampaignReported,
    ClickReceived,
    ConversionReported,
    ConversionRestated,
    ConversionRetracted,
    Event,
    ImpressionServed,
)
from bidloop.core.money import MICROS, Money
from bidloop.core.opportunity import Auction, Charge, Opportunity
from bidloop.core.outcome import Observations
from bidloop.outcomes.epoch import days_us, epoch_us
from bidloop.outcomes.increments import Increments
from bidloop.outcomes.order import Order, OrderEvent
from bidloop.outcomes.ports import DecisionLog
from bidloop.outcomes.report_rows import Figures, ReportRows
from bidloop.outcomes.settings import OutcomeSettings

_Response: TypeAlias = ClickReceived | OrderEvent

_DEFAULT = OutcomeSettings()


class Joiner:
    """Turns events into increments of what is known of each opportunity, and what turns out otherwise into negative ones.

    * An impression adds its weight in impressions, and its price times the weight in cost. Where it tells no price, that
      of its win notice counts: with the impression when the notice came first, else at the time of the notice.
    * Its first click adds its weight in clicks, at the time of the click. Further clicks on it add nothing but cost.
    * A conversion adds its weight in conversions and its value times the weight, at the time of the report; the same
      order of one impression counts once. Restated or retracted, it adds the difference at the time of that (`order`).
      Report, restatement and retraction each count if they come within the conversion window of the impression, so that
      no label changes once it is mature.
    * A report row adds its counts, spend and value at its own `at`. Told again under the same `row_id`, it adds the
      difference when the platform told it (`report_rows`).
    * A bid that was placed adds one bid and its amount. What winning cost is told by the price of a second-price impression or
      click, or of its win notice, and by a loss notice that tells it.
    * What users do and what happens in the market add nothing here.

    A weight other than 1 belongs to a sampled log, where one row stands for many, and so do its click and conversion.

    A click, conversion or win notice that comes before its impression waits for it. The state is a function of the events
    joined so far: after a restart, join the log again from its start and the joiner is where it was.

    Only events that the log called new may be joined; a report row without a `row_id` that is joined twice counts twice.

    Parameters
    ----------
    decisions
        Tells what an impression was for that carries no opportunity, and what a click is for whose impression was
        not told of or is no longer in memory.
    settings
        The attribution windows and the bound of the memory. Time is the events' own: what is older than the windows
        before the latest event is forgotten.

    Examples
    --------
    >>> from datetime import UTC, datetime, timedelta
    >>> class NoDecisions:
    ...     def opportunities(self, ids):
    ...         return {}
    >>> at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> cell = Opportunity(opportunity_id="o", at=at, campaign_id="spring")
    >>> shown = ImpressionServed(event_id="e1", at=at, impression_id="i", opportunity=cell)
    >>> click = ClickReceived(event_id="e2", at=at + timedelta(seconds=9), impression_id="i")
    >>> known = Joiner(NoDecisions()).join([shown, click])
    >>> known.impressions.tolist(), known.clicks.tolist()
    ([1.0, 0.0], [0.0, 1.0])
    """

    def __init__(self, decisions: DecisionLog, settings: OutcomeSettings = _DEFAULT) -> None:
        self._decisions = decisions
        self._settings = settings
        self._click_window = days_us(settings.attribution_window_days)
        self._conversion_window = days_us(settings.conversion_window_days)
        self._shown: dict[str, _Shown] = {}
        self._age: deque[tuple[str, _Shown]] = deque()
        self._rows = ReportRows(settings.max_open_impressions)
        self._waiting: OrderedDict[str, list[_Response | BidWon]] = OrderedDict()
        self._latest = 0
        self._orphans = 0
        self._too_late = 0

    @property
    def orphans(self) -> int:
        """Events so far whose impression or decision is not known (yet); they are in the log, but in no increment."""
        return self._orphans

    @property
    def too_late(self) -> int:
        """Clicks, conversions, restatements and retractions so far that came after their window had closed.

        And report rows of a period so old that they may have been counted before (`report_rows`).
        """
        return self._too_late

    def join(self, events: Sequence[Event], positions: Sequence[int] | None = None) -> Observations:
        """The increments that these events bring, in their order.

        Parameters
        ----------
        positions
            Of the events in the log; each increment carries that of the event by which it became known.
        """
        known = self._look_up(events)
        sent = self._decisions.bids(names) if (names := _untold_bids(events)) else {}
        increments = Increments()
        for i, event in enumerate(events):
            if positions is not None:
                increments.position = positions[i]
            match event:
                case ImpressionServed():
                    self._impression(event, known, increments)
                case ClickReceived() | ConversionReported() | ConversionRestated() | ConversionRetracted():
                    self._response(event, known, increments)
                case CampaignReported():
                    self._report(event, increments)
                case BidWon():
                    self._notice(event, increments)
                case BidPlaced() | BidLost():
                    self._bid(event, known, sent, increments)
                case _:
                    pass
            self._latest = max(self._latest, epoch_us(event.at))
        self._forget()
        return increments.observations()

    def _look_up(self, events: Sequence[Event]) -> dict[str, Opportunity]:
        """The opportunities that these events need from the decision log, in one question."""
        told: set[str] = set()
        missing: set[str] = set()
        for event in events:
            match event:
                case ImpressionServed() if event.opportunity is not None:
                    told.add(event.impression_id)
                case (
                    ImpressionServed()
                    | ClickReceived()
                    | ConversionReported()
                    | ConversionRestated()
                    | ConversionRetracted()
                ):
                    # Of one that stands before its impression it must not matter whether both are in the same batch.
                    if event.impression_id not in told:
                        missing.add(event.impression_id)
                case BidPlaced() | BidLost() if event.opportunity is None:
                    missing.add(event.impression_id)
                case _:
                    pass
        missing = {name for name in missing if name not in self._shown}  # not the whole memory for each batch
        return self._decisions.opportunities(sorted(missing)) if missing else {}

    def forget(self, user_id: str) -> None:
        """Leave a person, by pseudonym, out of what is remembered of impressions; what comes of them is nobody's."""
        for shown in self._shown.values():
            if shown.opportunity.user_id == user_id:
                shown.opportunity = msgspec.structs.replace(shown.opportunity, user_id="")
        for waiting in self._waiting.values():
            for i, event in enumerate(waiting):
                if event.user_id == user_id:
                    waiting[i] = msgspec.structs.replace(event, user_id="")

    def _impression(self, event: ImpressionServed, known: dict[str, Opportunity], increments: Increments) -> None:
        shown = self._shown.get(event.impression_id)
        if shown is not None and shown.served:
            return
        opportunity = event.opportunity or (shown.opportunity if shown else known.get(event.impression_id))
        if opportunity is None:
            self._orphans += 1
            return
        at = epoch_us(event.at)
        if shown is None:
            shown = self._remember(event.impression_id, at, opportunity, event.weight)
        waiting = self._waiting.pop(event.impression_id, [])
        notices = (waited.price for waited in waiting if isinstance(waited, BidWon))
        price = event.price if event.price is not None else next(notices, None)
        shown.served, shown.priced, shown.at, shown.weight = True, price is not None, at, event.weight
        increments.add(
            at,
            opportunity,
            impressions=event.weight,
            cost=_amount(price) * event.weight,
            further=_price_of_winning(opportunity, Charge.PER_MILLE, price) | _budget(opportunity),
        )
        for waited in waiting:
            if not isinstance(waited, BidWon):
                self._orphans -= 1
                self._attribute(waited, shown, increments)

    def _notice(self, event: BidWon, increments: Increments) -> None:
        """The price of a won bid: the first one counts, once, for an impression that does not tell its own."""
        shown = self._shown.get(event.impression_id)
        if event.price is None:
            return
        if shown is None or not shown.served:
            self._wait(event)
        elif not shown.priced:
            shown.priced = True
            increments.add(
                epoch_us(event.at),
                shown.opportunity,
                cost=_amount(event.price) * shown.weight,
                further=_price_of_winning(shown.opportunity, Charge.PER_MILLE, event.price),
            )

    def _bid(
        self,
        event: BidPlaced | BidLost,
        known: dict[str, Opportunity],
        sent: dict[str, Money],
        increments: Increments,
    ) -> None:
        """A bid and its amount, or the price at which it lost; of an opportunity that nobody tells, nothing."""
        shown = self._shown.get(event.impression_id)
        opportunity = event.opportunity or known.get(event.impression_id) or (shown.opportunity if shown else None)
        if opportunity is None:
            return
        further: dict[str, float] = {}
        if isinstance(event, BidLost):
            if event.market_price is not None:
                further = {"market_price": event.market_price.amount}
        elif (bid := event.bid or sent.get(event.impression_id)) is not None:
            further = {"bids": 1.0, "bid_total": bid.amount}
        increments.add(epoch_us(event.at), opportunity, further=further)

    def _response(self, event: _Response, known: dict[str, Opportunity], increments: Increments) -> None:
        shown = self._shown.get(event.impression_id)
        if shown is None and (opportunity := known.get(event.impression_id)) is not None:
            shown = self._remember(event.impression_id, epoch_us(opportunity.at), opportunity, 1.0)
        if shown is None:
            self._orphans += 1
            self._wait(event)
            return
        self._attribute(event, shown, increments)

    def _attribute(self, event: _Response, shown: _Shown, increments: Increments) -> None:
        at = epoch_us(event.at)
        is_click = isinstance(event, ClickReceived)
        if at - shown.at > (self._click_window if is_click else self._conversion_window):
            self._too_late += 1
        elif isinstance(event, ClickReceived):
            clicks = 0.0 if shown.clicked else shown.weight
            shown.clicked = True
            increments.add(
                at,
                shown.opportunity,
                clicks=clicks,
                cost=_amount(event.price) * shown.weight,
                further=_price_of_winning(shown.opportunity, Charge.PER_CLICK, event.price),
            )
        else:
            conversions, micros = shown.order(event.order_id).take(event)
            increments.add(
                at, shown.opportunity, conversions=conversions * shown.weight, value=micros / MICROS * shown.weight
            )

    def _report(self, event: CampaignReported, increments: Increments) -> None:
        told = self._rows.told(event)
        if told is None:
            self._too_late += 1
            return
        at, change, first = told
        increments.add(
            at,
            event.opportunity,
            impressions=change.impressions,
            clicks=change.clicks,
            conversions=change.conversions,
            value=change.value / MICROS,
            cost=change.cost / MICROS,
            spent_at=epoch_us(event.at),
            further=_told(event, change, first),
        )

    def _wait(self, event: _Response | BidWon) -> None:
        self._waiting.setdefault(event.impression_id, []).append(event)

    def _remember(self, impression_id: str, at: int, opportunity: Opportunity, weight: float) -> _Shown:
        shown = self._shown[impression_id] = _Shown(at, opportunity, weight)
        self._age.append((impression_id, shown))
        return shown

    def _forget(self) -> None:
        """Drop what is older than the windows, and the oldest of what is too much.

        Events come nearly in order, so that looking at the front of the queue is enough: one that came late waits for
        those before it, which are dropped within a window themselves.
        """
        horizon = self._latest - max(self._click_window, self._conversion_window)
        bound = self._settings.max_open_impressions
        while self._age and (self._age[0][1].at < horizon or len(self._age) > bound):
            del self._shown[self._age.popleft()[0]]
        while self._waiting:
            oldest = next(iter(self._waiting.values()))[0]
            if epoch_us(oldest.at) >= horizon and len(self._waiting) <= bound:
                break
            self._waiting.popitem(last=False)


class _Shown:
    """One open impression."""

    __slots__ = ("at", "clicked", "opportunity", "orders", "priced", "served", "weight")

    def __init__(self, at: int, opportunity: Opportunity, weight: float) -> None:
        self.at = at
        self.opportunity = opportunity
        self.weight = weight
        self.served = False
        self.priced = False
        self.clicked = False
        self.orders: dict[str, Order] | None = None  # few have one, and an empty dict is large

    def order(self, order_id: str) -> Order:
        """The order of this name; without a name, each report is an order of its own."""
        if not order_id:
            return Order()
        if self.orders is None:
            self.orders = {}
        return self.orders.setdefault(order_id, Order())


def _untold_bids(events: Sequence[Event]) -> list[str]:
    return sorted({event.impression_id for event in events if isinstance(event, BidPlaced) and event.bid is None})


def _price_of_winning(opportunity: Opportunity, charge: Charge, price: Money | None) -> dict[str, float]:
    """What the market asked, in the unit of bids; the winner of a first-price auction paid its own bid, which does not tell."""
    if price is None or opportunity.auction is not Auction.SECOND_PRICE or opportunity.charge is not charge:
        return {}
    return {"market_price": price.amount * (1000.0 if charge is Charge.PER_MILLE else 1.0)}


def _budget(opportunity: Opportunity) -> dict[str, float]:
    return _limit(opportunity.budget, opportunity.currency)


def _limit(budget: Money | None, currency: str) -> dict[str, float]:
    """A budget in the account's currency; what an older version let into the log may be none."""
    if budget is None or budget.currency != currency or abs(budget.micros) >= 1 << 63:
        return {}
    return {"daily_budget": budget.amount}


def _told(event: CampaignReported, change: Figures, first: bool) -> dict[str, float]:
    """What a report row tells beside its counts. Told again, an old row says nothing new of budget and competitors."""
    told = {
        "share_impressions": float(change.share_impressions),
        "eligible_impressions": change.eligible,
        "quality_points": change.quality_points,
        "quality_impressions": float(change.quality_impressions),
    }
    told = {name: value for name, value in told.items() if value}
    if not first:
        return told
    told |= _limit(event.budget, event.opportunity.currency)
    for name, figures in (
        ("competitor_share", [one.impression_share for one in event.competitors]),
        ("competitor_overlap", [one.overlap_rate for one in event.competitors]),
    ):
        known = [figure for figure in figures if figure is not None]
        if known:
            told[name] = max(known)
    return told


def _amount(money: Money | None) -> float:
    return 0.0 if money is None else money.amount
