"""What the budget and the target together make of the value."""

from __future__ import annotations

import math

from bidloop.bidding.settings import BiddingSettings, TargetScope
from bidloop.core.decision import BidState


def scale(settings: BiddingSettings, state: BidState) -> float:
    """The one multiplier on the value: the lower of the budget's and the target's (min-pacing, arXiv 2302.08530).

    Above 1 it is only where a target is set that is kept on average: then what cheap wins saved buys dearer ones. Without such a
    target 1 is the most.

    Returns
    -------
    float
        Above zero; 0 where one of the two multipliers is not a finite number above zero, since then nothing may be bid.

    Examples
    --------
    >>> average = BiddingSettings(target_roas=4.0)
    >>> scale(average, BidState(multiplier=1.8, target_multiplier=1.3))
    1.3
    >>> scale(average, BidState(multiplier=0.6, target_multiplier=1.3))
    0.6
    >>> scale(BiddingSettings(target_roas=4.0, target_scope=TargetScope.EACH_WIN), BidState(multiplier=1.8, target_multiplier=1.3))
    1.0
    """
    budget, target = state.multiplier, state.target_multiplier
    if not (0 < budget < math.inf and 0 < target < math.inf):
        return 0.0
    averaged = settings.target_scope is TargetScope.AVERAGE and (
        settings.target_cpa is not None or settings.target_roas is not None
    )
    return min(budget, target) if averaged else min(budget, target, 1.0)
