"""A loop through a market, from the first batch to the last."""

from __future__ import annotations

from collections.abc import Callable

from bidloop.core.clock import ManualClock
from bidloop.experiments.auctions import Objective
from bidloop.experiments.tally import Tally
from bidloop.simulation.auction_market import AuctionMarket
from bidloop.simulation.ports import Decider


def run(
    loop: Decider,
    market: AuctionMarket,
    clock: ManualClock,
    *,
    minutes: float = 15.0,
    objective: Objective = Objective.CLICKS,
    on_progress: Callable[[float], None] | None = None,
) -> Tally:
    """Let a loop decide on every opportunity of a market and learn from what comes of it, as it would in production.

    For each batch: what has become known by its first opportunity is absorbed, the batch is decided, the auctions are
    held, and at the time of its last opportunity their impressions and losses are absorbed. At the end of the market
    what is known by then is absorbed; what comes later stays in ``market.underway``.

    Parameters
    ----------
    loop
        Whoever decides; its clock must be `clock`.
    market
        A simulated market or a real log, not yet gone through.
    clock
        Is set to the market's time.
    minutes
        How much time one batch covers; budgets can react from batch to batch.
    objective
        What the tally's `expected` counts.
    on_progress
        Told the share of the market's time that has passed, in [0, 1].

    Returns
    -------
    Tally
        What was bought and what it brings in truth, including conversions still underway and events that tracking lost.
    """
    whole = (market.end - market.start).total_seconds()
    for batch in market.batches(minutes):
        clock.set(batch[0].at)
        loop.absorb(market.due(batch[0].at))
        decisions = loop.decide_many(batch)
        settled = market.settle(decisions)
        clock.set(batch[-1].at)
        loop.absorb(settled)
        if on_progress is not None:
            on_progress((batch[-1].at - market.start).total_seconds() / whole)
    clock.set(market.end)
    loop.absorb(market.due(market.end))
    if on_progress is not None:
        on_progress(1.0)
    return market.tally(objective)
