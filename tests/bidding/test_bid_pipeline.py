"""The stages after the value: what each does to the bid and says about it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from bidloop.bidding.pipeline import Bid, Bidder
from bidloop.bidding.settings import BiddingSettings, Objective, TargetScope
from bidloop.core.decision import BidState
from bidloop.core.landscape import Landscape
from bidloop.core.money import Money
from bidloop.core.opportunity import Auction, Charge, Opportunity
from bidloop.core.prediction import Interval, Prediction

GRID = np.linspace(0, 4, 401)
UNIFORM = Landscape(GRID, np.minimum(1.0, GRID / 4), 0.1, 3.0)
EXPECTED = Prediction(
    ctr=0.02,
    conversion_rate=0.05,
    ctr_interval=Interval(0.01, 0.03, 0.95),
    order_value=Money.of(80),
    model_version="v1",
    support=1000.0,
)


def bid(state: BidState | None = None, landscape: Landscape | None = None, **changes: Any) -> Bid:
    """A click worth 2.00 USD, bid for under the given settings (`max_bid=…`) and facts (`auction=…`)."""
    facts = {name: changes.pop(name) for name in ("auction", "charge", "floor", "current_bid") if name in changes}
    cell = Opportunity(opportunity_id="o", at=datetime(2026, 1, 1, tzinfo=UTC), campaign_id="brand", **facts)
    settings = BiddingSettings(objective=Objective.TARGET_CPA, target_cpa=40.0, **changes)
    return Bidder(settings).bid(cell, EXPECTED, landscape, state or BidState())


def code(made: Bid, stage: str) -> str:
    return next(one.code for one in made.stages if one.name == stage)


def test_under_second_price_the_value_is_bid() -> None:
    made = bid(landscape=UNIFORM)
    assert made.amount == Money.of(2)
    assert code(made, "shading") == "second_price"


def test_under_first_price_half_the_value_is_best_against_a_uniform_price() -> None:
    made = bid(landscape=UNIFORM, auction=Auction.FIRST_PRICE)
    assert made.amount == Money.of(1)
    assert code(made, "shading") == "shaded"


def test_shading_can_be_switched_off_and_needs_a_landscape() -> None:
    assert code(bid(landscape=UNIFORM, auction=Auction.FIRST_PRICE, shading=False), "shading") == "off"
    assert code(bid(auction=Auction.FIRST_PRICE), "shading") == "no_landscape"
    spoilt = Landscape(GRID, np.full(401, np.nan), 0.1, 3.0)
    assert code(bid(landscape=spoilt, auction=Auction.FIRST_PRICE), "shading") == "no_landscape"


def test_the_multiplier_scales_a_second_price_bid() -> None:
    assert bid(BidState(multiplier=0.25)).amount == Money.of("0.5")


def test_the_multiplier_scales_the_value_behind_a_first_price_bid() -> None:
    # Nobody asks less than 1: the best bid for a value of 2 is 1.5, for a value of 1.6 it is 1.3 and not 0.8 × 1.5.
    landscape = Landscape(np.array([1.0, 3.0]), np.array([0.0, 1.0]), 1.0, 3.0)
    made = bid(BidState(multiplier=0.8), landscape, auction=Auction.FIRST_PRICE)
    assert [stage.after for stage in made.stages[:3]] == [2_000_000, 1_500_000, 1_300_000]


@pytest.mark.parametrize("multiplier", [0.0, -1.0, math.nan, math.inf])
def test_a_multiplier_that_is_none_sends_no_bid(multiplier: float) -> None:
    made = bid(BidState(multiplier=multiplier))
    assert made.amount == Money.of(0)
    assert code(made, "pacing") == "invalid_multiplier"


@pytest.mark.parametrize("multiplier", [0.0, -1.0, math.nan, math.inf])
def test_a_target_multiplier_that_is_none_sends_no_bid(multiplier: float) -> None:
    assert code(bid(BidState(target_multiplier=multiplier)), "pacing") == "invalid_multiplier"


def test_the_lower_of_the_budgets_and_the_targets_multiplier_is_bid() -> None:
    assert bid(BidState(multiplier=1.8, target_multiplier=1.5)).amount == Money.of(3)
    assert bid(BidState(multiplier=1.2, target_multiplier=1.5)).amount == Money.of("2.4")
    assert bid(BidState(multiplier=0.5, target_multiplier=1.5)).amount == Money.of(1)
    assert code(bid(BidState(multiplier=1.8, target_multiplier=1.5)), "pacing") == "raised"


def test_no_multiplier_lifts_a_bid_above_a_target_that_each_win_must_keep() -> None:
    made = bid(BidState(multiplier=1.8, target_multiplier=1.5), target_scope=TargetScope.EACH_WIN)
    assert (made.amount, code(made, "pacing")) == (Money.of(2), "unpaced")


def test_a_multiplier_above_one_lifts_the_value_behind_a_first_price_bid() -> None:
    # The best bid for a value of 2 is 1.5, for a value of 3 it is 2.
    landscape = Landscape(np.array([1.0, 3.0]), np.array([0.0, 1.0]), 1.0, 3.0)
    made = bid(BidState(multiplier=2.0, target_multiplier=1.5), landscape, auction=Auction.FIRST_PRICE)
    assert [stage.after for stage in made.stages[:3]] == [2_000_000, 1_500_000, 2_000_000]


def test_a_raised_bid_stays_below_the_cap_and_the_budget() -> None:
    state = BidState(multiplier=3.0, target_multiplier=3.0, remaining=Money.of(5))
    assert bid(state).amount == Money.of(5)
    assert bid(state, max_bid=4.0).amount == Money.of(4)


def test_a_click_costs_no_more_than_the_cpc_cap_whatever_the_bid_is_for() -> None:
    per_click = bid(max_cpc=1.5)
    assert (per_click.amount, code(per_click, "cap_and_floor")) == (Money.of("1.5"), "cpc_capped")
    # 40 USD per mille at a click rate of 2 % are 2 USD per click.
    per_mille = bid(max_cpc=1.5, charge=Charge.PER_MILLE)
    assert (per_mille.amount, code(per_mille, "cap_and_floor")) == (Money.of(30), "cpc_capped")


def test_the_lower_of_both_caps_holds() -> None:
    assert code(bid(max_cpc=1.5, max_bid=1.2), "cap_and_floor") == "capped"
    assert bid(max_cpc=1.5, max_bid=1.2).amount == Money.of("1.2")


def test_the_cpc_cap_is_stronger_than_the_least_bid_and_than_exploration() -> None:
    made = bid(max_cpc=1.0, min_bid=1.5)
    assert (made.amount, code(made, "cap_and_floor")) == (Money.of(0), "cpc_below_floor")
    assert bid(BidState(draw=0.999), max_cpc=2.0, exploration_rate=0.5).amount == Money.of(2)


def test_the_bid_rises_and_falls_by_the_step_at_most() -> None:
    up, down = BidState(previous_bid=Money.of(1)), BidState(previous_bid=Money.of(5))
    assert bid(up, max_step=0.2).amount == Money.of("1.2")
    assert bid(down, max_step=0.2).amount == Money.of(4)
    assert bid(BidState(), max_step=0.2).amount == Money.of(2)
    assert bid(BidState(previous_bid=Money(0)), max_step=0.2).amount == Money.of(2)


def test_the_cap_is_stronger_than_the_step() -> None:
    made = bid(BidState(previous_bid=Money.of(5)), max_step=0.2, max_bid=3.0)
    assert made.amount == Money.of(3)
    assert code(made, "cap_and_floor") == "capped"


def test_a_bid_below_the_least_is_raised_and_one_below_the_auction_floor_is_not_sent() -> None:
    assert bid(min_bid=2.5).amount == Money.of("2.5")
    made = bid(floor=Money.of("2.01"))
    assert made.amount == Money.of(0)
    assert code(made, "cap_and_floor") == "below_floor"
    assert made.reasons[-2] == "No bid: it would be below the auction's floor 2.01 USD."
    assert bid(floor=Money.of(2)).amount == Money.of(2)
    assert bid(floor=Money(2_000_001)).amount == Money.of(0)


def test_the_rest_of_the_budget_pays_for_one_win() -> None:
    assert bid(BidState(remaining=Money.of("0.5"))).amount == Money.of("0.5")
    assert bid(BidState(remaining=Money.of("0.5")), floor=Money.of("0.6")).amount == Money.of(0)
    spent = bid(BidState(remaining=Money.of(0)))
    assert (spent.amount, code(spent, "ledger")) == (Money.of(0), "budget_spent")
    # 40 USD per mille is 0.04 USD for one impression.
    per_mille = bid(BidState(remaining=Money.of("0.03")), charge=Charge.PER_MILLE)
    assert per_mille.amount == Money.of(30)


def test_second_price_costs_less_than_the_bid_and_first_price_the_bid() -> None:
    second = bid(landscape=UNIFORM).expectation
    assert (second.win_probability, round(second.cost_per_win, 9)) == (0.5, 1.0)
    assert second.roas == pytest.approx(0.05 * 80 / 1.0)
    first = bid(landscape=UNIFORM, auction=Auction.FIRST_PRICE).expectation
    assert (first.win_probability, first.cost_per_win) == (0.25, 1.0)


def test_the_expected_cost_is_never_below_the_floor() -> None:
    assert bid(landscape=UNIFORM, floor=Money.of("1.5")).expectation.cost_per_win == 1.5


def test_per_mille_costs_are_told_per_impression() -> None:
    wide = Landscape(GRID * 20, GRID / 4, 0.0, 80.0)
    made = bid(landscape=wide, charge=Charge.PER_MILLE)
    assert made.expectation.cost_per_win == pytest.approx(0.02)
    assert made.expectation.roas == pytest.approx(0.02 * 0.05 * 80 / 0.02)


def test_expected_roas_falls_as_the_bid_rises() -> None:
    returns = [bid(BidState(multiplier=m), UNIFORM).expectation.roas or 0.0 for m in (0.2, 0.4, 0.6, 0.8, 1.0)]
    assert returns == sorted(returns, reverse=True)
    assert returns[0] > 2 * returns[-1]


def test_a_bid_beyond_what_was_seen_is_marked_as_extrapolated() -> None:
    assert not bid(landscape=UNIFORM).expectation.extrapolated
    assert bid(landscape=UNIFORM, min_bid=3.5).expectation.extrapolated


def test_without_a_landscape_the_bid_itself_is_the_cost() -> None:
    made = bid().expectation
    assert (made.win_probability, made.cost_per_win, made.roas) == (None, 2.0, 2.0)


def test_the_policy_changes_with_any_setting() -> None:
    plain = BiddingSettings(objective=Objective.TARGET_CPA, target_cpa=40.0)
    assert Bidder(plain).policy == Bidder(BiddingSettings(objective=Objective.TARGET_CPA, target_cpa=40.0)).policy
    others = {
        Bidder(BiddingSettings(objective=Objective.TARGET_CPA, target_cpa=40.0, **change)).policy
        for change in (
            {"max_bid": 2.0},
            {"min_bid": 2.0},
            {"budgets": {"brand": 2.0}},
            {"shading": False},
            {"max_cpc": 2.0},
        )
    }
    assert len(others | {Bidder(plain).policy}) == 6
