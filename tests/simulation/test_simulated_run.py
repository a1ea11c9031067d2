"""A loop is led through a market as it would meet it in production."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bidloop.core.clock import ManualClock
from bidloop.core.event import BidLost, ClickReceived, ConversionReported, ImpressionServed
from bidloop.simulation.market import SimulatedMarket
from bidloop.simulation.run import run
from bidloop.simulation.world import World


@pytest.fixture
def clock(small: World) -> ManualClock:
    return ManualClock(small.start(0))


def test_nothing_is_told_before_it_happened_and_all_that_is_known_is_told(
    small: World, clock: ManualClock, flat_bidder: type
) -> None:
    market, loop = SimulatedMarket(small, range(2)), flat_bidder(clock)
    tally = run(loop, market, clock, minutes=30)
    assert all(event.at <= told_at for told_at, event in loop.told)
    assert clock.now() == market.end
    events = [event for _, event in loop.told]
    assert sum(isinstance(e, ImpressionServed) for e in events) == tally.impressions
    assert sum(isinstance(e, BidLost | ImpressionServed) for e in events) == tally.auctions
    known = [e for e in (*events, *market.underway) if isinstance(e, ConversionReported)]
    assert len(known) == tally.conversions
    assert all(event.at > market.end for event in market.underway)


def test_a_decision_is_made_before_the_clock_passes_its_opportunity(
    small: World, clock: ManualClock, flat_bidder: type
) -> None:
    loop = flat_bidder(clock)
    run(loop, SimulatedMarket(small, range(1)), clock, minutes=30)
    assert all(d.at <= d.opportunity.at < d.at + timedelta(minutes=30) for d in loop.decided)
    assert [d.opportunity.at for d in loop.decided] == sorted(d.opportunity.at for d in loop.decided)


def test_clicks_of_one_batch_are_known_before_the_next_is_decided(
    small: World, clock: ManualClock, flat_bidder: type
) -> None:
    loop = flat_bidder(clock)
    run(loop, SimulatedMarket(small, range(1)), clock, minutes=60)
    clicks = [(told_at, e.at) for told_at, e in loop.told if isinstance(e, ClickReceived)]
    assert max(told_at - at for told_at, at in clicks) < timedelta(minutes=65)
    assert loop.diary[:6] == ["absorb", "decide", "absorb"] * 2


def test_the_same_loop_in_the_same_market_buys_the_same(small: World, flat_bidder: type) -> None:
    tallies = []
    for _ in range(2):
        clock = ManualClock(small.start(0))
        market = SimulatedMarket(small, range(1), budgets=small.budgets())
        tallies.append(run(flat_bidder(clock, 1.3), market, clock))
    assert tallies[0] == tallies[1]


def test_progress_rises_to_one(small: World, clock: ManualClock, flat_bidder: type) -> None:
    seen: list[float] = []
    run(flat_bidder(clock), SimulatedMarket(small, range(1)), clock, on_progress=seen.append)
    assert seen == sorted(seen)
    assert seen[0] >= 0
    assert seen[-1] == 1.0
