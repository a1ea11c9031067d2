"""What no bid may do, whatever came before: jump, leave its bounds, or cost more than the budget still holds."""

from __future__ import annotations

from typing import NamedTuple

from bidloop.bidding.settings import BiddingSettings
from bidloop.bidding.value import LARGEST
from bidloop.core.decision import BidState
from bidloop.core.money import MICROS
from bidloop.core.opportunity import Charge, Opportunity


class Limits(NamedTuple):
    """The bounds of one bid, in whole micros in the unit of the charge. Zero always stays zero: it means no bid.

    Parameters
    ----------
    lowest_step, highest_step
        What the step limit allows around the cell's last bid.
    cap, least
        The advertiser's own bounds.
    floor
        The auction's floor.
    affordable
        The highest bid whose one win the rest of the budget pays for; `None` without a budget.
    """

    lowest_step: int
    highest_step: int
    cap: int
    least: int
    floor: int
    affordable: int | None

    def step(self, bid: int) -> tuple[int, str]:
        """The bid within the step limit, and the code of what happened."""
        if bid <= 0:
            return 0, "no_bid"
        if bid > self.highest_step:
            return self.highest_step, "rise_limited"
        if bid < self.lowest_step:
            return self.lowest_step, "fall_limited"
        return bid, "within"

    def bound(self, bid: int) -> tuple[int, str]:
        """The bid within cap and floors. A bid below the auction's floor could not win and is not sent."""
        if bid <= 0:
            return 0, "no_bid"
        code = "within"
        if bid > self.cap:
            bid, code = self.cap, "capped"
        elif bid < self.least:
            bid, code = self.least, "raised_to_minimum"
        return (bid, code) if bid >= self.floor else (0, "below_floor")

    def afford(self, bid: int) -> tuple[int, str]:
        """The bid that the rest of the budget pays for, or no bid where that is below a floor."""
        if bid <= 0:
            return 0, "no_bid"
        if self.affordable is None:
            return bid, "no_budget"
        if bid <= self.affordable:
            return bid, "affordable"
        if self.affordable <= 0:
            return 0, "budget_spent"
        if self.affordable < max(self.floor, self.least):
            return 0, "budget_below_floor"
        return self.affordable, "lowered_to_budget"

    def land(self, bid: int) -> int:
        """Where a bid ends after all three."""
        return self.afford(self.bound(self.step(bid)[0])[0])[0]


def limits(settings: BiddingSettings, opportunity: Opportunity, state: BidState) -> Limits:
    """The bounds that settings, auction and state put on one bid.

    The step limit starts from the cell's last bid; where there was none, or it was no bid, there is no step limit.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from bidloop.core.money import Money
    >>> cell = Opportunity(opportunity_id="o1", at=datetime(2026, 1, 1, tzinfo=UTC), campaign_id="brand")
    >>> bounds = limits(BiddingSettings(max_step=0.2, max_bid=1.1), cell, BidState(previous_bid=Money.of(1)))
    >>> bounds.step(2_000_000), bounds.bound(1_200_000)
    ((1200000, 'rise_limited'), (1100000, 'capped'))
    """
    lowest, highest = 0, LARGEST
    previous = state.previous_bid
    if settings.max_step is not None and previous is not None and previous.micros > 0:
        change = int(previous.micros * settings.max_step)
        lowest, highest = max(1, previous.micros - change), min(LARGEST, previous.micros + change)
    affordable = None
    if state.remaining is not None:
        left = max(0, state.remaining.micros)
        # One impression of a CPM bid costs a thousandth of it.
        affordable = left * 1000 if opportunity.charge is Charge.PER_MILLE else left
    return Limits(
        lowest,
        highest,
        LARGEST if settings.max_bid is None else int(settings.max_bid * MICROS + 0.5),
        0 if settings.min_bid is None else int(settings.min_bid * MICROS + 0.5),
        0 if opportunity.floor is None else opportunity.floor.micros,
        affordable,
    )
