"""What a policy would have won on logged auctions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import InvalidInput, NotFound
from bidloop.core.opportunity import Auction, Charge
from bidloop.experiments.auctions import Auctions, Objective
from bidloop.experiments.periods import Periods
from bidloop.experiments.ports import AdaptiveBids, FixedBids, Foresight, Policy
from bidloop.experiments.tally import Tally

Progress = Callable[[float], None]
"""Is told the share that is done, from 0 to 1."""


@dataclass(frozen=True)
class Purchases:
    """What a policy won.

    Parameters
    ----------
    won
        Which auctions, bool, shape (n,).
    spend
        What each cost, 0 where it was not won, float64, shape (n,).
    """

    won: NDArray[np.bool_]
    spend: NDArray[np.float64]


def replay(
    policy: Policy | Mapping[str, Policy],
    auctions: Auctions,
    budget: float | Mapping[str, float],
    periods: Periods,
    *,
    objective: Objective = Objective.CLICKS,
    max_bid: float = np.inf,
    on_progress: Progress | None = None,
) -> Tally:
    """Tell what a policy would have bought under a budget that it could not exceed.

    Parameters
    ----------
    policy
        One for all, or one per campaign.
    budget
        Of each period: one figure for all, or one per campaign; in the unit of the cost. `numpy.inf` lifts it.
    objective
        What the budget is spent for; it decides what an auction is worth to the policy.
    max_bid
        The cap on every bid, in the unit of the price.

    Notes
    -----
    A bid wins when it reaches the market price, and is first cut to the cap and to what the rest of the
    budget can still pay. A policy that adapts learns the price of an auction only by winning it.

    Examples
    --------
    Ten auctions at a price of 2, a budget of 7 for each five of them:

    >>> from bidloop.experiments.periods import episodes
    >>> class Three:
    ...     def bids(self, worth):
    ...         return np.full(len(worth), 3.0)
    >>> log = Auctions.of(ctr=[0.5] * 10, market_price=2.0, click=[1.0, 0.0] * 5, charge=None)
    >>> tally = replay(Three(), log, 7.0, episodes(log, 5))
    >>> tally.impressions, tally.spend, tally.clicks
    (6.0, 12.0, 3.0)
    """
    bought = purchases(policy, auctions, budget, periods, objective=objective, max_bid=max_bid, on_progress=on_progress)
    return tally(auctions, bought, objective)


def tally(auctions: Auctions, bought: Purchases, objective: Objective = Objective.CLICKS) -> Tally:
    """Add up what was bought."""
    won, weight = bought.won, auctions.weight[bought.won]
    units = auctions.charges[won] if auctions.charge is Charge.PER_CLICK else weight
    return Tally(
        auctions=float(auctions.weight.sum()),
        impressions=float(weight.sum()),
        clicks=float(auctions.click[won] @ weight),
        conversions=float(auctions.conversion[won] @ weight),
        value=float(auctions.value[won] @ weight),
        spend=float(bought.spend.sum()),
        expected=float(auctions.worth(objective)[won] @ units),
    )


def purchases(
    policy: Policy | Mapping[str, Policy],
    auctions: Auctions,
    budget: float | Mapping[str, float],
    periods: Periods,
    *,
    objective: Objective = Objective.CLICKS,
    max_bid: float = np.inf,
    on_progress: Progress | None = None,
) -> Purchases:
    """Tell which auctions a policy would have won, and what for; see `replay`.

    Raises
    ------
    InvalidInput
        When a budget is negative or NaN, or `max_bid` is.
    NotFound
        When a campaign has no policy or no budget.
    """
    if not max_bid >= 0:
        raise InvalidInput(f"max_bid {max_bid}", path="max_bid", expected="a number of at least 0")
    table = _Table(auctions, objective, max_bid)
    bought = Purchases(np.zeros(len(auctions), dtype=bool), np.zeros(len(auctions)))
    for i, rows in enumerate(periods.rows):
        name = periods.campaign[i]
        amount = _of_campaign(budget, name, "budget") if isinstance(budget, Mapping) else budget
        if not amount >= 0:
            raise InvalidInput(f"a budget of {amount}", path="budget", expected="a number of at least 0")
        player = _of_campaign(policy, name, "policy") if isinstance(policy, Mapping) else policy
        won, spend = table.play(player, rows, float(amount), float(periods.expected[i]))
        bought.won[won], bought.spend[won] = True, spend
        if on_progress is not None:
            on_progress((i + 1) / len(periods))
    return bought


T = TypeVar("T")


def _of_campaign(by_campaign: Mapping[str, T], campaign: str, what: str) -> T:
    if campaign not in by_campaign:
        raise NotFound(f"no {what} for campaign {campaign!r}", expected=f"one of {sorted(by_campaign)}")
    return by_campaign[campaign]


Won = tuple[NDArray[np.intp], NDArray[np.float64]]


class _Table:
    """The auctions as a policy meets them, period by period."""

    def __init__(self, auctions: Auctions, objective: Objective, max_bid: float) -> None:
        self.worth = auctions.worth(objective)
        self.price = auctions.market_price
        self.liability = auctions.liability
        self.realised = auctions.realised_charges
        self.charges = auctions.charges
        self.weight = auctions.weight
        self.outcome = auctions.outcome(objective)
        self.expected = self.worth * (self.charges if auctions.charge is Charge.PER_CLICK else self.weight)
        self.max_bid = max_bid
        self.pays_bid = auctions.auction is Auction.FIRST_PRICE

    def play(self, policy: Policy, rows: NDArray[np.intp], budget: float, expected: float) -> Won:
        if isinstance(policy, Foresight):
            return self._choose(policy, rows, budget)
        if isinstance(policy, FixedBids):
            return self._fixed(policy, rows, budget)
        return self._adaptive(policy, rows, budget, expected)

    def _choose(self, policy: Foresight, rows: NDArray[np.intp], budget: float) -> Won:
        cost = self.price[rows] * self.realised[rows]
        won = rows[policy.choose(self.expected[rows], self.outcome[rows], cost, budget)]
        return won, self.price[won] * self.realised[won]

    def _fixed(self, policy: FixedBids, rows: NDArray[np.intp], budget: float) -> Won:
        bids = np.minimum(policy.bids(self.worth[rows]), self.max_bid)
        # Only a bid that reaches the price can win; what the budget still allows is then a short walk over these.
        eligible = bids >= self.price[rows]
        rows, bids = rows[eligible], bids[eligible]
        won, spend = [], []
        remaining = budget
        for row, bid, price, liability, realised in zip(
            rows.tolist(),
            bids.tolist(),
            self.price[rows].tolist(),
            self.liability[rows].tolist(),
            self.realised[rows].tolist(),
            strict=True,
        ):
            if price * liability <= remaining:
                paid = min(bid, remaining / liability) if self.pays_bid else price
                remaining = max(remaining - paid * realised, 0.0)
                won.append(row)
                spend.append(paid * realised)
        return np.array(won, dtype=np.intp), np.array(spend)

    def _adaptive(self, policy: AdaptiveBids, rows: NDArray[np.intp], budget: float, expected: float) -> Won:
        won, spend = [], []
        remaining, left = budget, expected
        policy.begin(budget, expected)
        for row, worth, price, liability, realised, charges, weight in zip(
            rows.tolist(),
            self.worth[rows].tolist(),
            self.price[rows].tolist(),
            self.liability[rows].tolist(),
            self.realised[rows].tolist(),
            self.charges[rows].tolist(),
            self.weight[rows].tolist(),
            strict=True,
        ):
            bid = min(policy.bid(worth, remaining, max(left, weight)), self.max_bid, remaining / liability)
            left -= weight
            if bid >= price:
                cost = (bid if self.pays_bid else price) * realised
                # Rounding must not leave a debt of one part in 10^16.
                remaining = max(remaining - cost, 0.0)
                won.append(row)
                spend.append(cost)
                policy.learn(bid, price, weight, charges)
            else:
                policy.learn(bid, None, weight, charges)
        return np.array(won, dtype=np.intp), np.array(spend)
