"""What the tests of the simulation share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import pytest

from bidloop.core.clock import ManualClock
from bidloop.core.decision import BidState, Decision, Expectation
from bidloop.core.event import Event
from bidloop.core.feature_table import FeatureVector
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.core.prediction import Interval, Prediction
from bidloop.simulation.auction_market import Bid
from bidloop.simulation.market import SimulatedMarket
from bidloop.simulation.world import World, WorldSettings


def decide(opportunity: Opportunity, bid: Money, *, ctr: float = 0.05, at: datetime | None = None) -> Decision:
    """A decision with a bid that somebody else thought of."""
    return Decision(
        decision_id=f"decision-{opportunity.opportunity_id}",
        at=at or opportunity.at,
        opportunity=opportunity,
        features=FeatureVector("none", {}, {}),
        prediction=Prediction(
            ctr=ctr,
            conversion_rate=0.1,
            ctr_interval=Interval(0.0, 1.0, 0.95),
            order_value=Money.of(50, opportunity.currency),
            model_version="test",
            support=0.0,
        ),
        policy="test",
        state=BidState(),
        stages=(),
        bid=bid,
        propensity=1.0,
        expectation=Expectation(win_probability=None, cost_per_win=0.0, roas=None),
        reasons=(),
    )


class FlatBidder:
    """Bids the account's present bid times a factor, and remembers all that it is told and when."""

    def __init__(self, clock: ManualClock, factor: float = 1.0) -> None:
        self.clock = clock
        self.factor = factor
        self.told: list[tuple[datetime, Event]] = []
        self.decided: list[Decision] = []
        self.diary: list[str] = []

    def decide_many(self, opportunities: Sequence[Opportunity]) -> list[Decision]:
        self.diary.append("decide")
        decisions = [
            decide(o, Money(round(o.current_bid.micros * self.factor), o.currency), at=self.clock.now())
            for o in opportunities
            if o.current_bid is not None
        ]
        self.decided += decisions
        return decisions

    def absorb(self, events: Sequence[Event]) -> None:
        self.diary.append("absorb")
        self.told += [(self.clock.now(), event) for event in events]


@pytest.fixture(name="decide")
def _decide() -> Callable[..., Decision]:
    return decide


@pytest.fixture
def flat_bidder() -> type[FlatBidder]:
    return FlatBidder


@pytest.fixture(scope="session")
def world() -> World:
    return World(WorldSettings())


@pytest.fixture(scope="session")
def small() -> World:
    """A world of few auctions, many of which are clicked and convert."""
    return World(WorldSettings(auctions_per_day=3000, ctr=0.3, conversion_rate=0.3))


@pytest.fixture
def bid_flat() -> Callable[..., list[Event]]:
    """Goes through a market with the account's present bids times a factor; returns what is told at once."""

    def go(market: SimulatedMarket, factor: float = 1.0) -> list[Event]:
        told: list[Event] = []
        for batch in market.batches():
            told += market.settle_bids(
                [
                    Bid(o.opportunity_id, o.opportunity_id, round(o.current_bid.micros * factor))
                    for o in batch
                    if o.current_bid
                ]
            )
        return told

    return go
