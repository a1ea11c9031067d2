"""Joins clicks and conversions to what was shown, one event after another, as they become known."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from bidloop.core.event import BidLost, CampaignReported, ClickReceived, ConversionReported, Event, ImpressionServed
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Observations
from bidloop.outcomes.epoch import days_us, epoch_us
from bidloop.outcomes.ports import DecisionLog
from bidloop.outcomes.settings import OutcomeSettings

_DEFAULT = OutcomeSettings()


class Joiner:
    """Turns events into increments of what is known of each opportunity.

    * An impression adds its weight in impressions, and its price times the weight in cost.
    * Its first click adds its weight in clicks, at the time of the click. Further clicks on it add nothing but cost.
    * A conversion adds its weight in conversions and its value times the weight, at the time of the report; the same
      order of one impression counts once.
    * A report row adds its counts, spend and value.

    A weight other than 1 belongs to a sampled log, where one row stands for many, and so do its click and conversion.

    A click or conversion that comes before its impression waits for it. The state is a function of the events joined so
    far: after a restart, join the log again from its start and the joiner is where it was.

    Only events that the log called new may be joined; a report row that is joined twice counts twice.

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
        self._waiting: dict[str, list[ClickReceived | ConversionReported]] = {}
        self._waiting_age: deque[tuple[int, str]] = deque()
        self._latest = 0
        self._orphans = 0
        self._too_late = 0

    @property
    def orphans(self) -> int:
        """Events so far whose impression or decision is not known (yet); they are in the log, but in no increment."""
        return self._orphans

    @property
    def too_late(self) -> int:
        """Clicks and conversions so far that came after their window had closed."""
        return self._too_late

    def join(self, events: Sequence[Event]) -> Observations:
        """The increments that these events bring, in their order."""
        known = self._look_up(events)
        increments = _Increments()
        for event in events:
            match event:
                case ImpressionServed():
                    self._impression(event, known, increments)
                case ClickReceived() | ConversionReported():
                    self._response(event, known, increments)
                case CampaignReported():
                    increments.report(event)
                case BidLost():
                    pass
            self._latest = max(self._latest, epoch_us(event.at))
        self._forget()
        return increments.observations()

    def _look_up(self, events: Sequence[Event]) -> dict[str, Opportunity]:
        """The opportunities that these events need from the decision log, in one question."""
        told = {
            event.impression_id
            for event in events
            if isinstance(event, ImpressionServed) and event.opportunity is not None
        }
        missing = {
            event.impression_id
            for event in events
            if not isinstance(event, CampaignReported | BidLost) and event.impression_id not in told
        }
        missing = {name for name in missing if name not in self._shown}  # not the whole memory for each batch
        return self._decisions.opportunities(sorted(missing)) if missing else {}

    def _impression(self, event: ImpressionServed, known: dict[str, Opportunity], increments: _Increments) -> None:
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
        shown.served, shown.at, shown.weight = True, at, event.weight
        increments.add(at, opportunity, impressions=event.weight, cost=_amount(event.price) * event.weight)
        for response in self._waiting.pop(event.impression_id, ()):
            self._orphans -= 1
            self._attribute(response, shown, increments)

    def _response(
        self, event: ClickReceived | ConversionReported, known: dict[str, Opportunity], increments: _Increments
    ) -> None:
        shown = self._shown.get(event.impression_id)
        if shown is None and (opportunity := known.get(event.impression_id)) is not None:
            shown = self._remember(event.impression_id, epoch_us(opportunity.at), opportunity, 1.0)
        if shown is None:
            self._orphans += 1
            self._waiting.setdefault(event.impression_id, []).append(event)
            self._waiting_age.append((epoch_us(event.at), event.impression_id))
            return
        self._attribute(event, shown, increments)

    def _attribute(self, event: ClickReceived | ConversionReported, shown: _Shown, increments: _Increments) -> None:
        at = epoch_us(event.at)
        is_click = isinstance(event, ClickReceived)
        if at - shown.at > (self._click_window if is_click else self._conversion_window):
            self._too_late += 1
        elif isinstance(event, ClickReceived):
            clicks = 0.0 if shown.clicked else shown.weight
            shown.clicked = True
            cost = _amount(event.price) * shown.weight
            if clicks or cost:
                increments.add(at, shown.opportunity, clicks=clicks, cost=cost)
        elif not event.order_id or event.order_id not in shown.orders:
            if event.order_id:
                shown.orders = (*shown.orders, event.order_id)
            value = _amount(event.value) * shown.weight
            increments.add(at, shown.opportunity, conversions=shown.weight, value=value)

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
        while self._waiting_age and (self._waiting_age[0][0] < horizon or len(self._waiting_age) > bound):
            self._waiting.pop(self._waiting_age.popleft()[1], None)


class _Shown:
    """One open impression."""

    __slots__ = ("at", "clicked", "opportunity", "orders", "served", "weight")

    def __init__(self, at: int, opportunity: Opportunity, weight: float) -> None:
        self.at = at
        self.opportunity = opportunity
        self.weight = weight
        self.served = False
        self.clicked = False
        self.orders: tuple[str, ...] = ()


class _Increments:
    """Rows of `Observations` in the making."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, float, float, float, float, float]] = []
        self._opportunities: list[Opportunity] = []

    def add(
        self,
        at: int,
        opportunity: Opportunity,
        *,
        impressions: float = 0.0,
        clicks: float = 0.0,
        conversions: float = 0.0,
        value: float = 0.0,
        cost: float = 0.0,
    ) -> None:
        self._rows.append((at, impressions, clicks, conversions, value, cost))
        self._opportunities.append(opportunity)

    def report(self, event: CampaignReported) -> None:
        self.add(
            epoch_us(event.at),
            event.opportunity,
            impressions=event.impressions,
            clicks=event.clicks,
            conversions=event.conversions,
            value=_amount(event.value),
            cost=_amount(event.spend),
        )

    def observations(self) -> Observations:
        at = np.array([row[0] for row in self._rows], dtype=np.int64)
        counts = np.array([row[1:] for row in self._rows], dtype=np.float64).reshape(-1, 5)
        impressions, clicks, conversions, value, cost = np.ascontiguousarray(counts.T)
        return Observations(
            at=at.view("datetime64[us]"),
            opportunities=self._opportunities,
            impressions=impressions,
            clicks=clicks,
            conversions=conversions,
            value=value,
            cost=cost,
        )


def _amount(money: Money | None) -> float:
    return 0.0 if money is None else money.amount
