"""What no bid may do, whatever came before: jump, leave its bounds, or cost more than the ledger still grants."""

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
    click_cap
        The highest bid whose clicks cost no more than the CPC cap; 0 where that cannot be told.
    floor
        The auction's floor.
    affordable
        The highest bid whose one win is granted; `None` without a budget.
    """

    lowest_step: int
    highest_step: int
    cap: int
    click_cap: int
    least: int
    floor: int
    affordable: int | None

    @property
    def free(self) -> tuple[int, int]:
        """The lowest and the highest bid that all three let pass as it is; none where the first is above the second."""
        highest = min(self.highest_step, self.cap, self.click_cap)
        if self.affordable is not None:
            highest = min(highest, self.affordable)
        return max(1, self.lowest_step, self.least, self.floor), highest

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
        """The bid within caps and floors. One below the auction's floor could not win and is not sent.

        The CPC cap stands here, behind exploration and step limit, and not in the value: there both could go above it again. It
        is stronger than the least bid, since it is about money.
        """
        if bid <= 0:
            return 0, "no_bid"
        code = "within"
        if bid > self.cap:
            bid, code = self.cap, "capped"
        elif bid < self.least:
            bid, code = self.least, "raised_to_minimum"
        if bid > self.click_cap:
            if self.click_cap < max(1, self.least, self.floor):
                return 0, "cpc_below_floor"
            return self.click_cap, "cpc_capped"
        return (bid, code) if bid >= self.floor else (0, "below_floor")

    def afford(self, bid: int) -> tuple[int, str]:
        """The bid that the ledger still grants, or no bid where that is below a floor."""
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


def limits(settings: BiddingSettings, opportunity: Opportunity, ctr: float, state: BidState) -> Limits:
    """The bounds that settings, auction and state put on one bid.

    The step limit starts from the cell's last bid; where there was none, or it was no bid, there is no step limit.

    Parameters
    ----------
    ctr
        The predicted click rate, by which the CPC cap bounds a bid per mille. Where it is no probability, the cap allows nothing.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from bidloop.core.money import Money
    >>> cell = Opportunity(opportunity_id="o1", at=datetime(2026, 1, 1, tzinfo=UTC), campaign_id="brand")
    >>> bounds = limits(BiddingSettings(max_step=0.2, max_bid=1.1), cell, 0.02, BidState(previous_bid=Money.of(1)))
    >>> bounds.step(2_000_000), bounds.bound(1_200_000)
    ((1200000, 'rise_limited'), (1100000, 'capped'))
    >>> impression = Opportunity(opportunity_id="o2", at=cell.at, campaign_id="brand", charge=Charge.PER_MILLE)
    >>> limits(BiddingSettings(max_cpc=0.5), impression, 0.02, BidState()).bound(12_000_000)
    (10000000, 'cpc_capped')
    """
    lowest, highest = 0, LARGEST
    previous = state.previous_bid
    if settings.max_step is not None and previous is not None and previous.micros > 0:
        change = int(min(LARGEST, previous.micros * settings.max_step))
        lowest, highest = max(1, previous.micros - change), min(LARGEST, previous.micros + change)
    per_mille = opportunity.charge is Charge.PER_MILLE
    affordable = None
    if state.remaining is not None:
        left = max(0, state.remaining.micros)
        # One impression of a CPM bid costs a thousandth of it.
        affordable = left * 1000 if per_mille else left
    click_cap = LARGEST
    if settings.max_cpc is not None:
        if not per_mille:
            click_cap = _micros(settings.max_cpc)
        else:
            click_cap = int(min(LARGEST, settings.max_cpc * ctr * 1000 * MICROS)) if 0 <= ctr <= 1 else 0
    return Limits(
        lowest,
        highest,
        LARGEST if settings.max_bid is None else _micros(settings.max_bid),
        click_cap,
        0 if settings.min_bid is None else _micros(settings.min_bid),
        0 if opportunity.floor is None else opportunity.floor.micros,
        affordable,
    )


def _micros(amount: float) -> int:
    return int(min(LARGEST, amount * MICROS + 0.5))
