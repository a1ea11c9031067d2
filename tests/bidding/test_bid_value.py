"""What one win is worth under each objective."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from bidloop.bidding.pipeline import Bidder
from bidloop.bidding.settings import BiddingSettings, Objective
from bidloop.core.decision import BidState
from bidloop.core.errors import InvalidInput
from bidloop.core.money import Money
from bidloop.core.opportunity import Charge, Opportunity
from bidloop.core.prediction import Interval, Prediction


def cell(**changes: Any) -> Opportunity:
    return Opportunity(
        **{"opportunity_id": "o", "at": datetime(2026, 1, 1, tzinfo=UTC), "campaign_id": "brand", **changes}
    )


def predicted(**changes: Any) -> Prediction:
    facts: dict[str, Any] = {
        "ctr": 0.02,
        "conversion_rate": 0.05,
        "ctr_interval": Interval(0.01, 0.03, 0.95),
        "order_value": Money.of(80),
        "model_version": "v1",
        "support": 1000.0,
    }
    return Prediction(**{**facts, **changes})


OBJECTIVES = [
    (BiddingSettings(objective=Objective.TARGET_CPA, target_cpa=40.0), 2.0),
    (BiddingSettings(objective=Objective.TARGET_ROAS, target_roas=4.0), 1.0),
    (BiddingSettings(objective=Objective.MAXIMIZE_CLICKS, click_value=1.5), 1.5),
    (BiddingSettings(objective=Objective.MAXIMIZE_CONVERSIONS, conversion_value=30.0), 1.5),
    (BiddingSettings(objective=Objective.MAXIMIZE_VALUE), 4.0),
]


@pytest.mark.parametrize(("settings", "click"), OBJECTIVES, ids=[s.objective for s, _ in OBJECTIVES])
def test_a_click_is_worth_what_the_objective_says(settings: BiddingSettings, click: float) -> None:
    bid = Bidder(settings).bid(cell(), predicted(), None, BidState())
    assert bid.amount == Money.of(click)
    assert bid.stages[0].code == settings.objective


@pytest.mark.parametrize(("settings", "click"), OBJECTIVES, ids=[s.objective for s, _ in OBJECTIVES])
def test_a_thousand_impressions_are_worth_a_thousand_clicks_by_the_click_rate(
    settings: BiddingSettings, click: float
) -> None:
    bid = Bidder(settings).bid(cell(charge=Charge.PER_MILLE), predicted(), None, BidState())
    assert bid.amount == Money.of(click * 0.02 * 1000)


def test_a_stated_conversion_value_stands_in_for_an_unknown_order_value() -> None:
    bidder = Bidder(BiddingSettings(conversion_value=20.0))
    assert bidder.bid(cell(), predicted(order_value=None), None, BidState()).amount == Money.of(1)
    assert bidder.bid(cell(), predicted(), None, BidState()).amount == Money.of(4)


COMBINED = [
    ({"objective": Objective.MAXIMIZE_CONVERSIONS, "conversion_value": 30.0, "target_roas": 4.0}, 1.0, "target_roas"),
    (
        {"objective": Objective.MAXIMIZE_CONVERSIONS, "conversion_value": 12.0, "target_roas": 4.0},
        0.6,
        "maximize_conversions",
    ),
    ({"objective": Objective.MAXIMIZE_CLICKS, "click_value": 3.0, "target_cpa": 40.0}, 2.0, "target_cpa"),
    ({"objective": Objective.TARGET_CPA, "target_cpa": 40.0, "target_roas": 8.0}, 0.5, "target_roas"),
    ({"objective": Objective.MAXIMIZE_VALUE, "target_cpa": 10.0, "target_roas": 4.0}, 0.5, "target_cpa"),
]


@pytest.mark.parametrize(
    ("setting", "click", "lowest"), COMBINED, ids=lambda case: str(case) if isinstance(case, str) else ""
)
def test_of_objective_and_targets_the_lowest_is_what_a_click_is_worth(
    setting: dict[str, Any], click: float, lowest: str
) -> None:
    bid = Bidder(BiddingSettings(**setting)).bid(cell(), predicted(), None, BidState())
    assert (bid.amount, bid.stages[0].code) == (Money.of(click), lowest)


def test_what_is_saved_under_a_target_never_buys_above_what_the_objective_lets_a_click_be_worth() -> None:
    bidder = Bidder(BiddingSettings(objective=Objective.MAXIMIZE_CLICKS, click_value=2.2, target_cpa=40.0))
    state = BidState(multiplier=3.0, target_multiplier=1.05)
    assert bidder.bid(cell(), predicted(), None, state).amount == Money.of("2.1")
    bid = bidder.bid(cell(), predicted(), None, BidState(multiplier=3.0, target_multiplier=1.5))
    assert (bid.amount, bid.stages[2].code) == (Money.of("2.2"), "at_most")
    assert "no win be worth more than 2.20 USD" in bid.stages[2].sentence


def test_a_target_that_needs_an_order_value_nobody_knows_keeps_the_current_bid() -> None:
    bidder = Bidder(BiddingSettings(objective=Objective.MAXIMIZE_CLICKS, click_value=2.2, target_roas=4.0))
    kept = bidder.bid(cell(current_bid=Money.of("0.90")), predicted(order_value=None), None, BidState())
    assert (kept.amount, kept.stages[0].code) == (Money.of("0.90"), "hold")


@pytest.mark.parametrize(
    "prediction",
    [
        predicted(degraded=("no_history",)),
        predicted(ctr=float("nan")),
        predicted(conversion_rate=1.5),
        predicted(order_value=None),
        predicted(order_value=Money.of(-3)),
    ],
    ids=["no_history", "nan", "no_probability", "no_order_value", "negative_order_value"],
)
def test_the_current_bid_is_kept_where_nothing_better_is_known(prediction: Prediction) -> None:
    bidder = Bidder(BiddingSettings(exploration_rate=0.5))
    state = BidState(multiplier=0.3, previous_bid=Money.of("0.70"), draw=0.9)
    kept = bidder.bid(cell(current_bid=Money.of("0.90")), prediction, None, state)
    assert (kept.amount, kept.stages[0].code, kept.propensity) == (Money.of("0.90"), "hold", 1.0)
    assert bidder.bid(cell(), prediction, None, state).amount == Money.of("0.70")


def test_a_kept_bid_still_obeys_cap_and_budget() -> None:
    bidder = Bidder(BiddingSettings(max_bid=0.5))
    unknown = predicted(degraded=("no_history",))
    assert bidder.bid(cell(current_bid=Money.of(3)), unknown, None, BidState()).amount == Money.of("0.5")
    poor = BidState(remaining=Money.of("0.2"))
    assert bidder.bid(cell(current_bid=Money.of(3)), unknown, None, poor).amount == Money.of("0.2")


def test_a_new_campaign_without_any_bid_starts_from_the_prior() -> None:
    bid = Bidder(BiddingSettings()).bid(cell(), predicted(degraded=("no_history",)), None, BidState())
    assert bid.amount == Money.of(4)


def test_no_bid_is_made_up_where_neither_value_nor_bid_is_known() -> None:
    bid = Bidder(BiddingSettings()).bid(cell(), predicted(order_value=None), None, BidState())
    assert bid.amount == Money.of(0)
    assert bid.reasons == ("No bid: there is no order value and no current bid to keep.",)


@pytest.mark.parametrize(
    ("opportunity", "prediction", "state", "path"),
    [
        (cell(currency="CNY"), predicted(), BidState(), "currency"),
        (cell(floor=Money.of(1, "EUR")), predicted(), BidState(), "floor"),
        (cell(), predicted(order_value=Money.of(1, "EUR")), BidState(), "order_value"),
        (cell(), predicted(), BidState(remaining=Money.of(1, "EUR")), "remaining"),
        (cell(), predicted(), BidState(pinned=Money.of(1, "EUR")), "pinned"),
        (cell(), predicted(), BidState(approved=Money.of(1, "EUR")), "approved"),
        (cell(), predicted(), BidState(daily_spend=Money.of(1, "EUR")), "daily_spend"),
    ],
)
def test_amounts_in_another_currency_are_refused(
    opportunity: Opportunity, prediction: Prediction, state: BidState, path: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        Bidder(BiddingSettings()).bid(opportunity, prediction, None, state)
    assert refused.value.path == path
