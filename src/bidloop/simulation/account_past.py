"""What the account did before: flat bids, now and then changed by hand, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import InvalidInput
from bidloop.core.event import Event
from bidloop.core.money import MICROS, Money
from bidloop.core.opportunity import Opportunity
from bidloop.simulation.auction_market import Bid
from bidloop.simulation.market import SimulatedMarket
from bidloop.simulation.randomness import stream
from bidloop.simulation.world import World


@dataclass(frozen=True)
class AccountPast:
    """What an account that has been running for a while knows, and what it will still be told.

    Parameters
    ----------
    events
        What is known at the end, in order of time: impressions (with their opportunities), losses, clicks, conversions.
    underway
        Clicks and conversions that will be told later, in order of time: for the market of the following days.
    opportunities
        What was bid for, n of them, in order of time.
    bid, market_price
        In account currency, in the unit of the charge, float64, shape (n,).
    won
        Whether the ad was shown, bool, shape (n,).
    """

    events: list[Event]
    underway: list[Event]
    opportunities: list[Opportunity]
    bid: NDArray[np.float64]
    market_price: NDArray[np.float64]
    won: NDArray[np.bool_]


def account_past(
    world: World,
    days: range,
    *,
    seed: int = 0,
    jitter: float = 0.6,
    budgets: Mapping[str, Money] | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> AccountPast:
    """Bid the account's present bid over some days, jittered so that there is something to learn about prices.

    Parameters
    ----------
    days
        Numbers of the days, without gaps.
    jitter
        Standard deviation of the log-normal factor on each bid; 0 bids flat.
    budgets
        Daily budget by campaign; `None` for none.
    on_progress
        Told the share of the days that is done, in (0, 1].

    Raises
    ------
    InvalidInput
        When there are no days, or `jitter` is negative or not finite.

    Examples
    --------
    >>> from bidloop.simulation.world import WorldSettings
    >>> past = account_past(World(WorldSettings(auctions_per_day=500)), range(2))
    >>> len(past.opportunities) == len(past.bid), bool(0.3 < past.won.mean() < 0.7)
    (True, True)
    """
    if not 0 <= jitter < np.inf:
        raise InvalidInput(f"jitter {jitter}", path="jitter", expected="a finite number of at least 0")
    market = SimulatedMarket(world, days, budgets=budgets)
    rng = stream(seed, "account's bids")
    flat = {name: bid.micros for name, bid in world.current_bids().items()}
    events: list[Event] = []
    opportunities: list[Opportunity] = []
    bids: list[NDArray[np.int64]] = []
    for done, day in enumerate(market.batches(minutes=24 * 60 + 60), start=1):
        factor = np.exp(rng.normal(0.0, jitter, len(day)))
        amounts = np.rint(np.array([flat[o.campaign_id] for o in day]) * factor).astype(np.int64)
        events += market.settle_bids(
            [Bid(o.opportunity_id, o.opportunity_id, amount) for o, amount in zip(day, amounts.tolist(), strict=True)]
        )
        opportunities += day
        bids.append(amounts)
        if on_progress is not None:
            on_progress(min(1.0, done / len(days)))
    events = sorted([*events, *market.due(market.end)], key=lambda event: event.at)
    return AccountPast(
        events,
        market.underway,
        opportunities,
        np.concatenate([np.zeros(0), *bids]) / MICROS,
        market.auctions().market_price,
        market.won,
    )
