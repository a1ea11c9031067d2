"""Other bids are tried on an absolute grid, as often as is said."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidloop.bidding.exploration import Exploration, grid
from bidloop.bidding.pipeline import Bid, Bidder
from bidloop.bidding.settings import BiddingSettings, Objective
from bidloop.core.decision import BidState
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.core.prediction import Interval, Prediction

CELL = Opportunity(opportunity_id="o", at=datetime(2026, 1, 1, tzinfo=UTC), campaign_id="brand")
EXPECTED = Prediction(
    ctr=0.02,
    conversion_rate=0.05,
    ctr_interval=Interval(0.01, 0.03, 0.95),
    order_value=None,
    model_version="v1",
    support=1000.0,
)


def bidder(click_value: float = 2.0, **changes: Any) -> Bidder:
    return Bidder(BiddingSettings(objective=Objective.MAXIMIZE_CLICKS, click_value=click_value, **changes))


def bids(made: Bidder, **state: Any) -> list[Bid]:
    draws = np.random.default_rng(7).random(3000)
    return [made.bid(CELL, EXPECTED, None, BidState(draw=float(draw), **state)) for draw in draws]


@pytest.mark.parametrize("ratio", [1.01, 1.1, 1.5, 2.0])
def test_the_grid_is_the_powers_of_its_ratio_in_whole_micros(ratio: float) -> None:
    points = grid(ratio)
    assert list(points) == sorted(set(points))
    powers = np.unique(np.round(ratio ** np.arange(math.ceil(math.log(2**53) / math.log(ratio)) + 1)))
    exact = powers[powers < 2**40].astype(int)
    assert np.abs(np.array(points[: len(exact)]) - exact).max() <= 1


@given(st.integers(1, 2**53), st.sampled_from([1.01, 1.1, 2.0]))
def test_a_bid_goes_to_the_point_that_is_nearest_by_ratio(bid: int, ratio: float) -> None:
    nearest, *around = Exploration(BiddingSettings(exploration_rate=0.1, exploration_ratio=ratio)).arms(bid)
    distance = [abs(math.log(point / bid)) for point in grid(ratio)]
    assert abs(math.log(nearest / bid)) <= min(distance) + 1e-12
    assert len(around) == 4
    assert set(around) <= set(grid(ratio))


def test_bids_are_tried_as_often_as_is_said() -> None:
    made = bids(bidder(exploration_rate=0.2))
    told = bidder(exploration_rate=0.2).distribution(CELL, EXPECTED, None, BidState())
    assert len(told) == 5
    for amount, probability in told:
        those = [one for one in made if one.amount == amount]
        assert {one.propensity for one in those} == {probability}
        assert abs(len(those) / len(made) - probability) < 0.025


def test_every_arm_that_may_be_tried_has_at_least_the_floors_probability() -> None:
    settings = BiddingSettings(exploration_rate=0.1, exploration_steps=5, exploration_floor=0.01)
    assert min(Exploration(settings).probabilities) >= settings.exploration_floor


def test_policies_of_different_values_bid_on_the_same_points() -> None:
    one, other = (
        {bid for bid, _ in bidder(value, exploration_rate=0.1).distribution(CELL, EXPECTED, None, BidState())}
        for value in (2.0, 2.17)
    )
    assert len(one & other) == 4


def test_bids_that_end_at_the_same_cap_share_its_propensity() -> None:
    made = bidder(exploration_rate=0.2, max_bid=2.1).bid(CELL, EXPECTED, None, BidState(draw=0.99))
    assert made.amount == Money.of("2.1")
    assert made.propensity == pytest.approx(0.1)  # two of the four arms are above the cap


def test_a_bid_that_waits_for_approval_is_as_likely_as_all_arms_that_wait() -> None:
    asked = bidder(exploration_rate=0.2, approve_above=1.0)
    state = BidState(previous_bid=Money.of("1.9"), daily_spend=Money.of(10))
    # 1.957 changes 10 USD a day by 0.30, an arm on either side of it by more than 1.
    waiting = dict(asked.distribution(CELL, EXPECTED, None, state))
    assert waiting[Money.of("1.9")] == pytest.approx(0.15)
    assert sum(waiting.values()) == pytest.approx(1.0)


def test_without_exploration_bids_stay_off_the_grid_and_are_certain() -> None:
    made = bidder().bid(CELL, EXPECTED, None, BidState(draw=0.99))
    assert (made.amount, made.propensity) == (Money.of(2), 1.0)
    assert bidder().distribution(CELL, EXPECTED, None, BidState()) == [(Money.of(2), 1.0)]


def test_where_no_bid_is_made_none_is_tried() -> None:
    exploring = bidder(exploration_rate=0.5)
    stopped = BidState(stopped="the breaker has tripped", draw=0.99)
    assert exploring.distribution(CELL, EXPECTED, None, stopped) == [(Money(0), 1.0)]
    assert exploring.distribution(CELL, EXPECTED, None, BidState(multiplier=math.nan)) == [(Money(0), 1.0)]
