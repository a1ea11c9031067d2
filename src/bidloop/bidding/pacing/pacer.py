"""The budget's multiplier, moved through the day by what was spent so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from bidloop.bidding.pacing.traffic import TrafficDay, TrafficShape
from bidloop.bidding.settings import BiddingSettings
from bidloop.core.errors import ConfigurationError, InvalidInput
from bidloop.core.money import MICROS, Money

KEPT_DAYS = 8
"""Days of spend that are remembered, for reports that come late."""
HABIT = 0.25
"""Share of a day's traffic over which the multiplier that the next day starts from is averaged."""
SILENCE = 0.05
"""Share of a day's traffic without a word beyond which a campaign had nothing to bid for, rather than too low bids."""


@dataclass(slots=True)
class _Campaign:
    """What the pacer knows of one campaign; money in micros, traffic in shares of a day.

    `in_use` is the logarithm of the multiplier that was last read, under which the coming costs arise. `known` is
    whether the multiplier comes from a warm start or an earlier day. `moved_at` is when it last moved, POSIX seconds.
    """

    log_multiplier: float
    habit: float
    shape: TrafficShape
    day: TrafficDay | None = None
    budget: int | None = None
    known: bool = False
    spent: dict[date, int] = field(default_factory=dict)
    moved_at: float = 0.0
    pending: int = 0
    window_spend: float = 0.0
    window_traffic: float = 0.0
    mean_charge: float = 0.0
    multiplier: float = 1.0
    in_use: float = 0.0


class Pacer:
    """Spends each campaign's budget over the day as its traffic comes, on the auctions that bring most for the money.

    Under second price the best bid for a budget is the value times one multiplier for the whole day, ``1 / (1 + mu)``
    with the budget's dual price ``mu`` (Balseiro and Gur, "Learning in repeated auctions with budgets", 2019). That
    price is not known in the morning, so it is learned from the spending: where spend runs above its target the dual
    rises, below it falls. What is changed here against the paper's step ``mu - eps (B/T - spend)``:

    - the step is taken on the logarithm, by the ratio of target rate to measured rate, so that one setting serves every
      currency, budget and price level;
    - the target is what is left of the budget over what is left of the day's *traffic*, so that past errors are
      made up for over the rest of the day and the clock does not matter. Where a campaign's shape tells how its
      spend at one multiplier is spread over the day, following it keeps the multiplier where it is;
    - steps are bounded, and the multiplier stays within [`min_multiplier`, 1]. The logarithm itself is what is bounded:
      nothing piles up behind the bound (anti-windup). It also rests while the budget is used up, for then no spend
      tells nothing about prices.

    With a target (CPA or ROAS) in the value, a multiplier of at most 1 makes the bid the lower of the target's bid
    and the budget's: min-pacing (Balseiro et al., arXiv 2302.08530), which keeps both constraints.

    The pacer reads no wall clock: each call says when it is. It is not safe to call from several threads at once.

    Parameters
    ----------
    settings
        Budgets, currency, timezone and the pacing knobs.
    traffic
        The shape of the day of campaigns that were not given their own by `start`; `None` takes traffic as even.

    Raises
    ------
    ConfigurationError
        When the shape is of another timezone than the settings.

    Examples
    --------
    A campaign that has spent three quarters of its budget by noon must become choosier:

    >>> from datetime import UTC
    >>> pacer = Pacer(BiddingSettings(daily_budget=100.0))
    >>> for hour in range(12):
    ...     pacer.record_spend("brand", datetime(2026, 1, 1, hour, 59, tzinfo=UTC), Money.of("6.25"))
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> str(pacer.remaining("brand", noon)), pacer.multiplier("brand", noon) < 0.7
    ('25.00 USD', True)
    """

    def __init__(self, settings: BiddingSettings, traffic: TrafficShape | None = None) -> None:
        self.settings = settings
        if traffic is not None:
            self._same_timezone(traffic)
        self._traffic = traffic or TrafficShape(timezone=settings.timezone)
        self._today: TrafficDay | None = None
        self._campaigns: dict[str, _Campaign] = {}

    def multiplier(self, campaign_id: str, at: datetime) -> float:
        """What the budget makes of one unit of value now, in (0, 1]; 1 without a budget."""
        campaign = self._campaign(campaign_id)
        if campaign.budget is None:
            return 1.0
        self._advance(campaign, at)
        campaign.in_use = campaign.log_multiplier
        return campaign.multiplier

    def spent(self, campaign_id: str, at: datetime) -> Money:
        """What was spent on the account's day of `at`."""
        return Money(self._campaign(campaign_id).spent.get(self._day(at).date, 0), self.settings.currency)

    def remaining(self, campaign_id: str, at: datetime) -> Money | None:
        """What is left of the budget on the account's day of `at`, not below zero; `None` without a budget."""
        campaign = self._campaign(campaign_id)
        if campaign.budget is None:
            return None
        left = campaign.budget - campaign.spent.get(self._day(at).date, 0)
        # A refund may exceed what was spent today; it does not enlarge the day's budget.
        return Money(min(max(0, left), campaign.budget), self.settings.currency)

    def record_spend(self, campaign_id: str, at: datetime, cost: Money, events: int = 1) -> None:
        """Book a cost on the account's day of `at`.

        Costs may come late and out of order. One of an earlier day is booked there and moves nothing today.

        Parameters
        ----------
        cost
            A negative one is a refund.
        events
            How many charged impressions or clicks the cost is for.

        Raises
        ------
        InvalidInput
            When the cost is in another currency than the account's.
        """
        self._same_currency(cost)
        campaign, booked = self._campaign(campaign_id), self._day(at).date
        today = self._current(campaign, at)
        campaign.spent[booked] = campaign.spent.get(booked, 0) + cost.micros
        if campaign.budget is None or booked != today.date:
            return
        campaign.pending += cost.micros
        if cost.micros > 0 and events > 0:
            charge = cost.micros / events
            campaign.mean_charge += (charge - campaign.mean_charge) * (0.05 if campaign.mean_charge else 1.0)
        self._advance(campaign, at)

    def set_budget(self, campaign_id: str, budget: Money) -> None:
        """Give a campaign another daily budget, from now on. The rest of the day is planned anew.

        Raises
        ------
        InvalidInput
            When the budget is negative or in another currency than the account's.
        """
        self._same_currency(budget)
        if budget.micros < 0:
            raise InvalidInput(f"a budget of {budget}", path="budget", expected="zero or more")
        campaign = self._campaign(campaign_id)
        if campaign.budget is None:
            campaign.day = None  # what came before was not paced, and says nothing about the pace
        campaign.budget = budget.micros

    def start(self, campaign_id: str, multiplier: float, traffic: TrafficShape | None = None) -> None:
        """Set the multiplier at which a day is expected to spend the budget, and forget what was measured before.

        It may come from `dual.solve_multiplier` on past auctions, or be the last one before a restart. It is believed
        as much as `start_weight` of a day's traffic that spends on target.

        Parameters
        ----------
        traffic
            The shape of this campaign's day from now on; `None` leaves the one it has. Best is not the shape of its
            opportunities but of what they would cost at one multiplier: then spend that follows the shape *is* bid
            with one multiplier, which is the best use of the budget.

        Raises
        ------
        InvalidInput
            When the multiplier is not in (0, 1].
        ConfigurationError
            When the shape is of another timezone than the settings.
        """
        if not 0 < multiplier <= 1:
            raise InvalidInput(f"a pacing multiplier of {multiplier}", expected="a number in (0, 1]")
        campaign = self._campaign(campaign_id)
        if traffic is not None:
            self._same_timezone(traffic)
            campaign.shape = traffic
            if campaign.day is not None:
                campaign.day = traffic.day(datetime.fromtimestamp(campaign.day.start, UTC))
        campaign.log_multiplier = campaign.habit = math.log(max(multiplier, self.settings.pacing.min_multiplier))
        campaign.multiplier = math.exp(campaign.log_multiplier)
        campaign.in_use = campaign.log_multiplier
        campaign.known = True
        self._measure_afresh(campaign)

    def _measure_afresh(self, campaign: _Campaign) -> None:
        """An empty window, or with a multiplier that is known a little traffic in which it spent on target."""
        campaign.window_traffic = self.settings.pacing.start_weight if campaign.known and campaign.budget else 0.0
        campaign.window_spend = campaign.window_traffic * (campaign.budget or 0)
        campaign.pending = 0

    def _same_timezone(self, traffic: TrafficShape) -> None:
        if traffic.timezone != self.settings.timezone:
            raise ConfigurationError(
                f"a traffic shape in {traffic.timezone}",
                expected=f"one in the account's timezone, {self.settings.timezone}",
                remedy="Learn the shape with the account's timezone.",
            )

    def _same_currency(self, amount: Money) -> None:
        if amount.currency != self.settings.currency:
            raise InvalidInput(
                f"an amount in {amount.currency}",
                expected=f"the account's currency, {self.settings.currency}",
                remedy="Set bidding.currency to the currency of the log, or convert at the border.",
            )

    def _campaign(self, campaign_id: str) -> _Campaign:
        campaign = self._campaigns.get(campaign_id)
        if campaign is None:
            start = math.log(self.settings.pacing.initial_multiplier)
            budget = self.settings.budget_of(campaign_id)
            campaign = self._campaigns[campaign_id] = _Campaign(
                log_multiplier=start,
                habit=start,
                shape=self._traffic,
                multiplier=math.exp(start),
                in_use=start,
                budget=None if budget is None else round(budget * MICROS),
            )
        return campaign

    def _day(self, at: datetime) -> TrafficDay:
        seconds = at.timestamp()
        if self._today is None or not self._today.start <= seconds < self._today.end:
            self._today = self._traffic.day(at)
        return self._today

    def _current(self, campaign: _Campaign, at: datetime) -> TrafficDay:
        """The campaign's running day. A later one begins with yesterday's habit; what was measured is put aside."""
        seconds = at.timestamp()
        if campaign.day is not None:
            if seconds < campaign.day.end:
                return campaign.day
            self._move_to(campaign, campaign.habit)
            campaign.known = True
        day = campaign.shape.day(at)
        # A campaign that is first seen at noon has not missed the morning: nothing was offered to it.
        campaign.moved_at = seconds if campaign.day is None else day.start
        campaign.day = day
        self._measure_afresh(campaign)
        for old in sorted(campaign.spent)[:-KEPT_DAYS]:
            del campaign.spent[old]
        return day

    def _advance(self, campaign: _Campaign, at: datetime) -> None:
        """Move the multiplier when enough traffic has passed or enough was spent since the last move."""
        today, budget, seconds = self._current(campaign, at), campaign.budget, at.timestamp()
        if not budget or seconds < today.start:
            return
        now = max(campaign.moved_at, seconds)
        traffic = today.elapsed(now)
        passed, every = traffic - today.elapsed(campaign.moved_at), self.settings.pacing.update_every
        if passed < every and campaign.pending < every * budget:
            return
        # Without opportunities nothing can be spent at any price: a long silence tells nothing about the multiplier.
        passed = min(passed, SILENCE)
        campaign.moved_at = now
        self._measure(campaign, passed)
        self._steer(campaign, min(budget, budget - campaign.spent.get(today.date, 0)), 1.0 - traffic)
        if traffic < 0.95:  # the day's last minutes chase small change, and are no guide for tomorrow
            campaign.habit += (campaign.log_multiplier - campaign.habit) * -math.expm1(-passed / HABIT)

    def _measure(self, campaign: _Campaign, passed: float) -> None:
        """Take what was spent since the last move into the window that forgets exponentially in traffic."""
        window, elasticity = self.settings.pacing.window, self.settings.pacing.elasticity
        kept = math.exp(-passed / window)
        # Costs that are told in batches arose under a multiplier that has moved since: they count as what they would
        # have been under the present one, or the same error would be corrected once per move.
        carried = campaign.pending * math.exp((campaign.log_multiplier - campaign.in_use) * elasticity)
        campaign.window_spend = max(0.0, campaign.window_spend * kept + carried)
        campaign.window_traffic = campaign.window_traffic * kept + window * (1.0 - kept)
        campaign.pending = 0

    def _steer(self, campaign: _Campaign, left: int, traffic_left: float) -> None:
        """One dual step: by the logarithm of target rate over measured rate, over the elasticity of spend."""
        pacing = self.settings.pacing
        if campaign.budget is None or left <= min(campaign.mean_charge, pacing.update_every * campaign.budget):
            return
        target = left / max(traffic_left - pacing.finish_early, pacing.update_every)
        # The belief that spend is on target, worth as much traffic as brings `settle_events` charges.
        belief = max(pacing.settle_events * campaign.mean_charge / target, pacing.update_every)
        rate = (campaign.window_spend + target * belief) / (campaign.window_traffic + belief)
        step = math.log(target / rate) / pacing.elasticity
        step = max(-pacing.max_step, min(pacing.max_step, step))
        before = campaign.log_multiplier
        self._move_to(campaign, before + step)
        # What the window holds was spent under the old multiplier; carried over to the new one it stays comparable, and
        # the loop does not correct the same error twice.
        campaign.window_spend *= math.exp((campaign.log_multiplier - before) * pacing.elasticity)

    def _move_to(self, campaign: _Campaign, log_multiplier: float) -> None:
        campaign.log_multiplier = min(0.0, max(math.log(self.settings.pacing.min_multiplier), log_multiplier))
        campaign.multiplier = math.exp(campaign.log_multiplier)
