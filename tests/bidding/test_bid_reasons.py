"""Why a bid is what it is: the sum over rates, values and stages, and the stage that binds."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from bidloop.bidding.pipeline import Bid, Bidder
from bidloop.bidding.sentences import BINDING, SENTENCES
from bidloop.bidding.settings import BiddingSettings, Objective
from bidloop.bidding.stages import STAGES
from bidloop.core.decision import BidState
from bidloop.core.landscape import Landscape
from bidloop.core.money import Money
from bidloop.core.opportunity import Auction, Charge, Opportunity
from bidloop.core.prediction import Interval, Prediction

GRID = np.linspace(0, 4, 401)
UNIFORM = Landscape(GRID, GRID / 4, 0.1, 4.0)
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
    facts = {name: changes.pop(name) for name in ("auction", "charge", "floor") if name in changes}
    cell = Opportunity(opportunity_id="o", at=datetime(2026, 1, 1, tzinfo=UTC), campaign_id="brand", **facts)
    settings = BiddingSettings(**{"objective": Objective.TARGET_CPA, "target_cpa": 40.0, **changes})
    return Bidder(settings).bid(cell, EXPECTED, landscape, state or BidState())


def test_the_reasons_name_every_stage_that_changed_the_bid_and_the_one_that_binds() -> None:
    made = bid(BidState(multiplier=0.5, previous_bid=Money.of(2)), max_step=0.25, max_bid=1.2)
    assert made.reasons == (
        "A click is worth 2.00 USD: conversion rate 5% × target CPA 40.00 USD.",
        "×0.5 of the value makes the budget last. (pacing: ×0.5)",
        "The step limit lets the last bid fall to 1.50 USD at most. (step_limit: ×1.5)",
        "Lowered to the cap 1.20 USD. (cap_and_floor: ×0.8)",
        "The cap binds; without it 1.50 USD would have been bid.",
        "The bid is 1.20 USD per click: log 0.182 = conversion_rate -2.996, target_cpa +3.689, pacing -0.693, "
        "step_limit +0.405, cap_and_floor -0.223.",
    )


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ["conversion_rate", "target_cpa"]),
        ({"charge": Charge.PER_MILLE}, ["ctr", "mille", "conversion_rate", "target_cpa"]),
        ({"objective": Objective.TARGET_ROAS, "target_roas": 5.0}, ["conversion_rate", "order_value", "target_roas"]),
        ({"objective": Objective.MAXIMIZE_CLICKS, "click_value": 0.5}, ["click_value"]),
    ],
)
def test_the_value_is_told_by_rate_and_value(changes: dict[str, Any], names: list[str]) -> None:
    made = bid(**changes)
    assert [name for name, _ in made.terms] == [*names, "rounding", *STAGES[1:]]
    assert math.fsum(term for _, term in made.terms) == pytest.approx(math.log(made.amount.amount), abs=1e-12)


BINDINGS = [
    ({}, BidState(), "", ""),
    ({}, BidState(multiplier=0.5), "pacing", "The budget's pace binds; without it 2.00 USD would have been bid."),
    (
        {},
        BidState(multiplier=2.0, target_multiplier=1.5),
        "pacing",
        "The target's average decides; without it 2.00 USD",
    ),
    ({"max_bid": 1.5}, BidState(), "cap_and_floor", "The cap binds; without it 2.00 USD would have been bid."),
    ({"max_cpc": 1.5}, BidState(), "cap_and_floor", "The CPC cap binds; without it 2.00 USD would have been bid."),
    # The pace lowers more than the cap, but without it the cap would be bid all the same.
    ({"max_bid": 0.9}, BidState(multiplier=0.5), "cap_and_floor", "The cap binds; without it 1.00 USD"),
    ({"max_bid": 1.9}, BidState(multiplier=0.5), "pacing", "The budget's pace binds; without it 1.90 USD"),
    ({"max_step": 0.2}, BidState(previous_bid=Money.of(1)), "step_limit", "The step limit binds; without it 2.00 USD"),
    ({}, BidState(remaining=Money.of("0.4")), "ledger", "The budget binds; without it 2.00 USD would have been bid."),
    ({}, BidState(remaining=Money(0)), "ledger", "The budget binds; without it 2.00 USD would have been bid."),
    ({}, BidState(stopped="stopped by hand"), "control", "The stop binds; without it 2.00 USD would have been bid."),
    ({"floor": Money.of(3)}, BidState(), "cap_and_floor", "The auction's floor binds; without it 2.00 USD"),
    ({"exploration_rate": 0.5}, BidState(draw=0.51), "exploration", "Exploration decides; without it 2.00 USD"),
    # Either alone would keep the bid at zero: neither binds.
    ({}, BidState(stopped="stopped by hand", remaining=Money(0)), "", ""),
]


@pytest.mark.parametrize(("changes", "state", "stage", "sentence"), BINDINGS)
def test_the_stage_without_which_the_bid_would_differ_most_is_named(
    changes: dict[str, Any], state: BidState, stage: str, sentence: str
) -> None:
    made = bid(state, **changes)
    assert made.binding == stage
    told = [one for one in made.reasons if "; without it" in one]
    assert [one.startswith(sentence) for one in told] == ([True] if stage else [])


def test_shading_is_left_out_of_the_paced_optimum_too() -> None:
    made = bid(BidState(multiplier=0.8), UNIFORM, auction=Auction.FIRST_PRICE)
    assert made.amount == Money.of("0.8")
    assert "Shading decides; without it 1.60 USD would have been bid." in made.reasons


def test_a_stage_that_bids_where_there_was_no_bid_starts_the_sum_anew() -> None:
    made = bid(BidState(multiplier=0.0, pinned=Money.of("0.7")))
    assert made.terms == (("control", math.log(0.7)), ("ledger", 0.0))


def test_every_code_has_a_sentence_and_every_one_that_can_bind_a_name() -> None:
    passing = {
        "no_bid",
        "held",
        "off",
        "second_price",
        "no_landscape",
        "unpaced",
        "within",
        "applied",
        "no_budget",
        "affordable",
    }
    codes = {code for stage in SENTENCES.values() for code in stage}
    assert codes - passing <= set(BINDING)
    assert list(SENTENCES) == list(STAGES[1:])
