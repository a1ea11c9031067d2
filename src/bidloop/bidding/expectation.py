"""What one auction is expected to bring at the final bid."""

from __future__ import annotations

import math

from bidloop.core.decision import Expectation
from bidloop.core.landscape import Landscape
from bidloop.core.money import MICROS, Money
from bidloop.core.opportunity import Auction, Charge, Opportunity
from bidloop.core.prediction import Prediction


def expect(opportunity: Opportunity, prediction: Prediction, landscape: Landscape | None, bid: Money) -> Expectation:
    """Chance of winning, cost of a win and ROAS at a bid.

    The cost of a win is the expected market price below the bid under second price, never less than the auction's
    floor, and the bid itself under first price or without a landscape. It is per click where bids are per click, and
    per single impression where they are per mille. ROAS is pCVR × E[order value] over the cost of a click, or pCTR ×
    pCVR × E[order value] over the cost of an impression: a higher bid wins dearer auctions, so it falls as the bid
    rises.

    Parameters
    ----------
    landscape
        Usable, or `None`.
    bid
        In the unit of the charge; zero expects no win, no cost and no ROAS.

    Examples
    --------
    >>> import numpy as np
    >>> from datetime import UTC, datetime
    >>> from bidloop.core.prediction import Interval
    >>> cell = Opportunity(opportunity_id="o1", at=datetime(2026, 1, 1, tzinfo=UTC), campaign_id="brand")
    >>> prediction = Prediction(ctr=0.03, conversion_rate=0.05, ctr_interval=Interval(0.02, 0.04, 0.95),
    ...     order_value=Money.of(40), model_version="v1", support=1e4)
    >>> bids = np.linspace(0, 2, 201)
    >>> expected = expect(cell, prediction, Landscape(bids, bids / 2, 0.0, 2.0), Money.of(1))
    >>> expected.win_probability, round(expected.cost_per_win, 3), round(expected.roas, 2)
    (0.5, 0.5, 4.0)
    """
    amount = bid.micros / MICROS
    if bid.micros <= 0:
        return Expectation(win_probability=None if landscape is None else 0.0, cost_per_win=0.0, roas=None)
    cost, chance, extrapolated = amount, None, False
    if landscape is not None:
        chance, cost = _win(opportunity, landscape, amount)
        extrapolated = landscape.extrapolates(amount)
    value = None
    if prediction.order_value is not None:
        value = prediction.conversion_rate * prediction.order_value.amount
    if opportunity.charge is Charge.PER_MILLE:
        cost /= 1000
        value = None if value is None else value * prediction.ctr
    roas = value / cost if value is not None and cost > 0 else None
    if roas is not None and not math.isfinite(roas):
        roas = None
    return Expectation(win_probability=chance, cost_per_win=cost, roas=roas, extrapolated=extrapolated)


def spend_ratio(opportunity: Opportunity, landscape: Landscape | None, old: int, new: int) -> float | None:
    """By how many times spend is expected to change when the bid does, or `None` where that cannot be told.

    Spend on an auction is ``b F(b) - ∫₀ᵇ F(u) du`` under second price and ``b F(b)`` under first price. Without a landscape the
    ratio of the bids stands in for it, which is too small for a rise: more bids win.

    Parameters
    ----------
    landscape
        Usable, or `None`.
    old, new
        Bids in micros in the unit of the charge. From no bid, or one that wins nothing, no ratio can be told.

    Examples
    --------
    Against a price that is uniform on [0, 2], twice the bid wins twice as many auctions at twice the price:

    >>> import numpy as np
    >>> from datetime import UTC, datetime
    >>> cell = Opportunity(opportunity_id="o1", at=datetime(2026, 1, 1, tzinfo=UTC), campaign_id="brand")
    >>> bids = np.linspace(0, 2, 201)
    >>> round(spend_ratio(cell, Landscape(bids, bids / 2, 0.0, 2.0), 500_000, 1_000_000), 6)
    4.0
    """
    if old <= 0:
        return None
    if landscape is None or new <= 0:
        return max(0, new) / old
    before, after = (math.prod(_win(opportunity, landscape, bid / MICROS)) for bid in (old, new))
    ratio = after / before if before > 0 else math.inf
    return ratio if math.isfinite(ratio) else None


def _win(opportunity: Opportunity, landscape: Landscape, bid: float) -> tuple[float, float]:
    """The chance of winning at a bid above zero, and what a win costs in the unit of the charge."""
    chance = min(1.0, landscape.wins(bid))
    if opportunity.auction is Auction.FIRST_PRICE:
        return chance, bid
    floor = 0.0 if opportunity.floor is None else opportunity.floor.micros / MICROS
    return chance, min(bid, max(floor, landscape.second_price(bid)))
