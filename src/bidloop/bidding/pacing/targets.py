"""How far above "each win at the target" a bid may go while the average still keeps the target."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec

from bidloop.bidding.ranges import positive, require
from bidloop.core.errors import InvalidInput
from bidloop.core.money import MICROS, Money

SPAN = 6 * 3600
"""Seconds of clicks that are counted together: their age, and so their maturity, is taken as one."""
DAY = 86_400.0


class TargetSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the multiplier of a CPA or ROAS target moves.

    Parameters
    ----------
    max_target_multiplier
        The most that a win may be bid above what it is worth at the target; above 1.
    horizon_days
        The days over which the average is to keep the target, and over which conversions correct the model.
    recovery_days
        Days over which what was paid too much, or saved, is made up for.
    most_recovery
        Largest part by which the aim may leave the target to make up for the past, in (0, 1).
    window_hours
        How far back the price of value is measured; a day or more, so that all hours of the day are in it.
    update_hours
        The multiplier moves at most once in so many hours.
    max_step
        Largest change of the multiplier's natural logarithm in one move.
    elasticity
        By how many per cent the cost per unit of value is taken to rise when bids rise by one per cent. A value above the true one
        makes the multiplier slower, one far below it makes it swing.
    prior_conversions
        The model's word on conversions weighs as much as so many seen ones: 25 believes it within 20 per cent.
    caution
        By how many standard deviations, of what so many conversions tell, the calibration ratio is taken lower than measured; 0
        aims at the target itself, and so misses it half of the time.
    settle_charges
        Charges whose evidence on the price weighs as much as the belief that it is on target.
    """

    max_target_multiplier: float = 3.0
    horizon_days: float = 30.0
    recovery_days: float = 7.0
    most_recovery: float = 0.25
    window_hours: float = 24.0
    update_hours: float = 1.0
    max_step: float = 0.1
    elasticity: float = 1.0
    prior_conversions: float = 25.0
    caution: float = 1.0
    settle_charges: float = 20.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if name != "caution":
                positive(f"targets.{name}", getattr(self, name))
        require(math.isfinite(self.caution) and self.caution >= 0, "targets.caution", self.caution, "zero or more")
        require(
            self.max_target_multiplier > 1,
            "targets.max_target_multiplier",
            self.max_target_multiplier,
            "a number above 1",
        )
        require(self.most_recovery < 1, "targets.most_recovery", self.most_recovery, "a share in (0, 1)")


@dataclass(slots=True)
class _Clicks:
    """What was charged for in one span of time, what the model expected of it, and what came. Money in micros."""

    cost: int = 0
    conversions: float = 0.0
    value: float = 0.0
    told: float = 0.0
    told_value: float = 0.0


@dataclass(slots=True)
class _Campaign:
    """What is known of one campaign; amounts in account currency.

    `in_use` is the log multiplier that was last read, under which the coming costs arise. `calibration` is what came over
    what should have, `trusted` what of it is sure enough to spend on.
    """

    log_multiplier: float = 0.0
    in_use: float = 0.0
    moved_at: float | None = None
    clicks: dict[int, _Clicks] = field(default_factory=dict)
    pending_cost: float = 0.0
    pending_value: float = 0.0
    mean_charge: float = 0.0
    window_cost: float = 0.0
    window_value: float = 0.0
    calibration: float = 1.0
    trusted: float = 1.0


class TargetPacer:
    """Keeps each campaign's *average* CPA or ROAS at its target, so that what cheap wins save buys further ones.

    A bid of the value at the target pays less than that wherever the price is lower, so the average ends on the safe side and
    conversions are left unbought. The most that an average allows is one multiplier above 1 on all values: ``(1 + lambda) /
    lambda`` with the target's dual price ``lambda`` (Balseiro et al., "A field guide for pacing budget and ROS constraints", arXiv
    2302.08530). With a budget beside it the lower of the two multipliers is bid: min-pacing. The dual is not known, so it is
    learned from the slack, target value of the wins minus their cost. What is changed against the paper's exponentiated step:

    - the step is on the logarithm of the multiplier, by the ratio of aim to measured cost per unit of value, so that one setting
      serves every currency and volume;
    - the aim is the target, moved by what the horizon has saved or paid too much so far over `recovery_days`, so that not the
      present but the average keeps the target;
    - the value of a win is not its conversion, which comes days later and by luck, but what the model expected, times a
      calibration ratio: ``(told + prior) / (expected x maturity + prior)`` over the horizon, less `caution` standard deviations of
      what so many conversions tell. A conversion that is not yet due is not missed, and a model that promises too much is found
      out as soon as conversions should have come;
    - steps are bounded, and the multiplier's logarithm itself stays within [0, log `max_target_multiplier`]: nothing piles up
      behind the bounds (anti-windup). What was saved while another limit held lifts the aim by `most_recovery` at most.

    At a multiplier of 1 each win keeps the target by the model's word. If the average does not, because the model promises too
    much and prices are close to the bids, that cannot be mended here: see `slack`, and recalibrate the model.

    It reads no wall clock: each call says when it is. It is not safe to call from several threads at once.

    Parameters
    ----------
    settings
        How it moves.
    target_cpa
        What one conversion may cost on average, account currency.
    target_roas
        Conversion value per unit of cost on average. One of the two.
    maturity
        ``(campaign, click_at, now) -> share``: how much of the conversions of a click is told by now, in (0, 1].
    currency
        ISO 4217 code of every amount.

    Raises
    ------
    InvalidInput
        When not exactly one target is given, or it is not above zero.

    Examples
    --------
    Clicks that cost half of what they are worth leave room for dearer ones:

    >>> pacer = TargetPacer(TargetSettings(), target_cpa=40.0)
    >>> for hour in range(24):
    ...     at = datetime(2026, 1, 1, hour, tzinfo=UTC)
    ...     pacer.record_charge("brand", at, Money.of(20), expected_conversions=1.0, events=20)
    ...     pacer.record_conversions("brand", at, 1)
    >>> 1.3 < pacer.multiplier("brand", at) <= 3.0
    True
    """

    def __init__(
        self,
        settings: TargetSettings,
        *,
        target_cpa: float | None = None,
        target_roas: float | None = None,
        maturity: Callable[[str, datetime, datetime], float] = lambda campaign_id, click_at, now: 1.0,
        currency: str = "USD",
    ) -> None:
        if (target_cpa is None) == (target_roas is None):
            raise InvalidInput(
                f"a target CPA of {target_cpa} and a target ROAS of {target_roas}", expected="exactly one of the two"
            )
        target = target_cpa or target_roas or 0.0
        if not (math.isfinite(target) and target > 0):
            raise InvalidInput(f"a target of {target}", expected="a finite number above zero")
        self.settings = settings
        self.currency = currency
        self._by_value = target_roas is not None
        self._worth = 1 / target if target_roas is not None else target
        self._maturity = maturity
        self._campaigns: dict[str, _Campaign] = {}
        self._highest = math.log(settings.max_target_multiplier)

    def multiplier(self, campaign_id: str, at: datetime) -> float:
        """What the target's average allows on one unit of value now, from 1 to `max_target_multiplier`.

        `at` is not read: without charges nothing is learned, and the multiplier rests.
        """
        campaign = self._campaign(campaign_id)
        campaign.in_use = campaign.log_multiplier
        return math.exp(campaign.log_multiplier)

    def start(self, campaign_id: str, multiplier: float) -> None:
        """Go on from a multiplier, such as the last one before a restart.

        Raises
        ------
        InvalidInput
            When it is below 1 or not finite.
        """
        if not (math.isfinite(multiplier) and multiplier >= 1):
            raise InvalidInput(f"a target multiplier of {multiplier}", expected="a finite number from 1 on")
        campaign = self._campaign(campaign_id)
        campaign.log_multiplier = campaign.in_use = min(self._highest, math.log(multiplier))
        campaign.window_cost = campaign.window_value = campaign.pending_cost = campaign.pending_value = 0.0

    def record_charge(
        self,
        campaign_id: str,
        at: datetime,
        cost: Money,
        expected_conversions: float,
        expected_value: float = 0.0,
        events: int = 1,
    ) -> None:
        """Book what a win cost, with what the model expected of it when it was bid for.

        Parameters
        ----------
        at
            When the click, or the impression, was charged.
        cost
            A negative one is a refund.
        expected_conversions
            Conversions that the model expected: pCVR for a click, pCTR x pCVR for an impression.
        expected_value
            Their value in account currency; needed with a target ROAS.
        events
            How many charged impressions or clicks the cost is for.

        Raises
        ------
        InvalidInput
            When the cost is in another currency, or what was expected is negative or not finite.
        """
        if cost.currency != self.currency:
            raise InvalidInput(f"an amount in {cost.currency}", expected=f"the account's currency, {self.currency}")
        for name, expected in (("conversions", expected_conversions), ("value", expected_value)):
            if not (math.isfinite(expected) and expected >= 0):
                raise InvalidInput(f"expected {name} of {expected}", expected="a finite number, not negative")
        campaign = self._campaign(campaign_id)
        clicks = campaign.clicks.setdefault(_span(at), _Clicks())
        clicks.cost += cost.micros
        clicks.conversions += expected_conversions
        clicks.value += expected_value
        campaign.pending_cost += cost.amount
        campaign.pending_value += (expected_value if self._by_value else expected_conversions) * self._worth
        if cost.micros > 0 and events > 0:
            charge = cost.amount / events
            campaign.mean_charge += (charge - campaign.mean_charge) * (0.05 if campaign.mean_charge else 1.0)
        self._advance(campaign_id, campaign, at)

    def record_conversions(self, campaign_id: str, click_at: datetime, conversions: float, value: float = 0.0) -> None:
        """Book conversions that were told, at the time of their click; a negative number takes some back.

        They move the multiplier with the next charge.
        """
        clicks = self._campaign(campaign_id).clicks.get(_span(click_at))
        if clicks is not None:  # the click of another is older than the horizon, or was not won by us
            clicks.told += conversions
            clicks.told_value += value

    def calibration(self, campaign_id: str) -> float:
        """Conversions, or value, that came for each one that the model expected, as of the last move; 1 where nothing is known."""
        return self._campaign(campaign_id).calibration

    def slack(self, campaign_id: str) -> Money:
        """What the horizon's wins are worth at the target, as far as is known, minus what they cost; negative is too dear."""
        campaign = self._campaign(campaign_id)
        slack = self._expected(campaign) * campaign.calibration * self._worth - _cost(campaign)
        return Money(round(slack * MICROS), self.currency)

    def _campaign(self, campaign_id: str) -> _Campaign:
        return self._campaigns.setdefault(campaign_id, _Campaign())

    def _expected(self, campaign: _Campaign) -> float:
        return math.fsum(clicks.value if self._by_value else clicks.conversions for clicks in campaign.clicks.values())

    def _advance(self, campaign_id: str, campaign: _Campaign, at: datetime) -> None:
        """Move the multiplier when enough time has passed since the last move."""
        seconds = at.timestamp()
        if campaign.moved_at is None:
            campaign.moved_at = seconds
        passed = seconds - campaign.moved_at
        if passed < self.settings.update_hours * 3600:
            return
        campaign.moved_at = seconds
        oldest = _span(at - timedelta(days=self.settings.horizon_days))
        for old in [span for span in campaign.clicks if span < oldest]:
            del campaign.clicks[old]
        self._calibrate(campaign_id, campaign, at)
        self._measure(campaign, passed)
        self._steer(campaign, seconds)

    def _calibrate(self, campaign_id: str, campaign: _Campaign, now: datetime) -> None:
        """What came over what should have come by now, drawn to 1 by the prior; and what of it is sure enough to spend on."""
        told = seen = due = orders = values = 0.0
        for span, clicks in campaign.clicks.items():
            middle = min(now, datetime.fromtimestamp((span + 0.5) * SPAN, UTC))
            matured = min(1.0, max(0.0, self._maturity(campaign_id, middle, now)))
            due += matured * (clicks.value if self._by_value else clicks.conversions)
            told += clicks.told_value if self._by_value else clicks.told
            seen += clicks.told
            orders += clicks.conversions
            values += clicks.value
        prior = self.settings.prior_conversions
        if self._by_value:
            prior *= values / orders if orders > 0 else 0.0
        campaign.calibration = max(0.0, told + prior) / (due + prior) if due + prior > 0 else 1.0
        evidence = max(0.0, seen) + self.settings.prior_conversions
        campaign.trusted = campaign.calibration * max(0.0, 1.0 - self.settings.caution / math.sqrt(evidence))

    def _measure(self, campaign: _Campaign, passed: float) -> None:
        """Take what was charged since the last move into the window that forgets exponentially in time."""
        kept = math.exp(-passed / (self.settings.window_hours * 3600))
        # Costs that are told late arose under a multiplier that has moved since: they count as what they would have been
        # under the present one, or the same error would be corrected once per move.
        carried = math.exp((campaign.log_multiplier - campaign.in_use) * self.settings.elasticity)
        campaign.window_cost = max(0.0, campaign.window_cost * kept + campaign.pending_cost * carried)
        campaign.window_value = campaign.window_value * kept + campaign.pending_value
        campaign.pending_cost = campaign.pending_value = 0.0

    def _steer(self, campaign: _Campaign, now: float) -> None:
        """One dual step: by the logarithm of aimed over measured cost per unit of target value, over its elasticity."""
        settings = self.settings
        value = campaign.window_value * campaign.trusted
        cost = _cost(campaign)
        if cost <= 0:
            return
        days = max(1.0, (now - min(campaign.clicks) * SPAN) / DAY)
        slack = self._expected(campaign) * campaign.trusted * self._worth - cost
        recovery = slack * days / cost / settings.recovery_days
        aim = 1.0 + max(-settings.most_recovery, min(settings.most_recovery, recovery))
        belief = settings.settle_charges * campaign.mean_charge
        rate = (campaign.window_cost + belief * aim) / (value + belief)
        step = math.log(aim / rate) / settings.elasticity
        before = campaign.log_multiplier
        campaign.log_multiplier = min(
            self._highest, max(0.0, before + max(-settings.max_step, min(settings.max_step, step)))
        )
        # What the window holds was paid under the old multiplier; carried over to the new one it stays comparable.
        campaign.window_cost *= math.exp((campaign.log_multiplier - before) * settings.elasticity)


def _span(at: datetime) -> int:
    return int(at.timestamp() // SPAN)


def _cost(campaign: _Campaign) -> float:
    return sum(clicks.cost for clicks in campaign.clicks.values()) / MICROS
