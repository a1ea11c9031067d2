"""Stops, pins, modes and approvals: what may take the place of the bid in force."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from bidloop.bidding.pipeline import Bid, Bidder
from bidloop.bidding.settings import BiddingSettings, Objective
from bidloop.core.decision import BidState
from bidloop.core.landscape import Landscape
from bidloop.core.money import Money
from bidloop.core.opportunity import Auction, Opportunity
from bidloop.core.prediction import Interval, Prediction

EXPECTED = Prediction(
    ctr=0.02,
    conversion_rate=0.05,
    ctr_interval=Interval(0.01, 0.03, 0.95),
    order_value=None,
    model_version="v1",
    support=1000.0,
)
GRID = np.linspace(0, 4, 401)
UNIFORM = Landscape(GRID, GRID / 4, 0.1, 4.0)


def bid(current: str | None = "1", landscape: Landscape | None = None, **changes: Any) -> Bid:
    """A click worth 2.00 USD where 1.00 USD is in force, under the given settings (`max_bid=…`) and state (`mode=…`)."""
    state = {name: changes.pop(name) for name in list(changes) if name in BidState.__struct_fields__}
    facts = {name: changes.pop(name) for name in ("auction", "floor") if name in changes}
    cell = Opportunity(
        opportunity_id="o",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        campaign_id="brand",
        current_bid=None if current is None else Money.of(current),
        **facts,
    )
    settings = BiddingSettings(objective=Objective.MAXIMIZE_CLICKS, click_value=2.0, **changes)
    return Bidder(settings).bid(cell, EXPECTED, landscape, BidState(**state))


def control(made: Bid) -> tuple[str, Money, str]:
    stage = made.stages[-2]
    assert stage.name == "control"
    return stage.code, made.amount, stage.sentence


def test_a_bid_that_nobody_holds_back_is_applied() -> None:
    assert control(bid())[:2] == ("applied", Money.of(2))


@pytest.mark.parametrize("mode", ["off", "preview", "Apply", ""])
def test_in_any_mode_but_apply_the_bid_in_force_stays(mode: str) -> None:
    assert control(bid(mode=mode))[:2] == ("preview" if mode == "preview" else "off", Money.of(1))


def test_a_preview_says_what_would_have_been_bid() -> None:
    made = bid(mode="preview", remaining=Money.of("1.5"))
    assert control(made)[2] == "Only a preview: 1.00 USD stays; 1.50 USD would have been bid."
    assert made.amount == Money.of(1)


def test_where_no_bid_is_in_force_none_is_made_in_preview_even_if_we_bid_before() -> None:
    made = bid(current=None, mode="preview", previous_bid=Money.of(1))
    assert control(made) == (
        "preview",
        Money.of(0),
        "Only a preview: no bid is in force, and none is made; 2.00 USD would have been bid.",
    )


def test_a_stop_is_stronger_than_a_pin_and_a_pin_stronger_than_a_mode() -> None:
    stopped = bid(stopped="the breaker has tripped", pinned=Money.of("0.7"), mode="off")
    assert control(stopped) == ("stopped", Money.of(0), "No bid: the breaker has tripped.")
    assert control(bid(pinned=Money.of("0.7"), mode="off"))[:2] == ("pinned", Money.of("0.7"))


def test_no_pin_and_no_bid_in_force_leaves_the_caps_the_floor_and_the_ledger() -> None:
    assert bid(pinned=Money.of(9), max_bid=1.2).amount == Money.of("1.2")
    assert bid(pinned=Money.of(9), remaining=Money.of("0.4")).amount == Money.of("0.4")
    assert bid(mode="off", max_bid=0.8).amount == Money.of("0.8")
    assert bid(mode="off", remaining=Money.of("0.4")).amount == Money.of("0.4")
    assert bid(pinned=Money.of("0.5"), floor=Money.of("0.6")).amount == Money.of(0)


def test_a_pin_bids_where_the_pipeline_would_not() -> None:
    made = bid(pinned=Money.of("0.7"), multiplier=float("nan"))
    assert (made.amount, made.binding) == (Money.of("0.7"), "control")
    assert made.reasons[-2] == "The person's bid decides; without it nothing would have been bid."


def test_a_change_of_spend_above_the_limit_waits_for_a_person() -> None:
    made = bid(approve_above=5.0, daily_spend=Money.of(10))
    assert control(made) == (
        "awaiting_approval",
        Money.of(1),
        "2.00 USD waits for a person: it would change the cell's daily spend by +10.00 USD. Until then 1.00 USD stays.",
    )
    assert control(bid(approve_above=10.0, daily_spend=Money.of(10)))[0] == "applied"


def test_a_cut_of_spend_above_the_limit_waits_too_but_not_to_take_part_never_does() -> None:
    assert control(bid(current="4", approve_above=4.0, daily_spend=Money.of(10)))[:2] == (
        "awaiting_approval",
        Money.of(4),
    )
    assert control(bid(current="4", approve_above=4.0, daily_spend=Money.of(10), multiplier=0.0))[0] == "no_bid"


@pytest.mark.parametrize("spend", [None, Money(0), Money.of(-3)])
def test_a_change_of_spend_that_cannot_be_told_waits(spend: Money | None) -> None:
    code, amount, sentence = control(bid(approve_above=1e6, daily_spend=spend))
    assert (code, amount) == ("awaiting_approval", Money.of(1))
    assert "not known" in sentence


def test_a_bid_that_stays_as_it_is_waits_for_nobody() -> None:
    assert control(bid(current="2", approve_above=1.0))[0] == "applied"


def test_an_approval_lets_the_bid_go_as_far_as_it_says_and_in_its_direction() -> None:
    waiting = {"approve_above": 5.0, "daily_spend": Money.of(10)}
    assert control(bid(approved=Money.of(2), **waiting))[:2] == ("approved", Money.of(2))
    assert control(bid(approved=Money.of(3), **waiting))[:2] == ("approved", Money.of(2))
    assert control(bid(approved=Money.of("1.5"), **waiting))[:2] == ("approved", Money.of("1.5"))
    assert control(bid(approved=Money.of("0.5"), **waiting))[:2] == ("awaiting_approval", Money.of(1))
    assert control(bid(current="9", approved=Money.of(1), **waiting))[:2] == ("approved", Money.of(2))


def test_the_landscape_tells_how_much_spend_a_higher_bid_brings() -> None:
    # Twice the bid wins twice as often, at twice the price: 10 USD a day become 40 under either auction.
    for auction in Auction:
        waiting = bid(landscape=UNIFORM, approve_above=29.0, daily_spend=Money.of(10), auction=auction, shading=False)
        assert "by +30.00 USD" in control(waiting)[2]
        assert (
            control(
                bid(landscape=UNIFORM, approve_above=31.0, daily_spend=Money.of(10), auction=auction, shading=False)
            )[0]
            == "applied"
        )


def test_a_bid_in_force_that_wins_nothing_tells_no_ratio() -> None:
    dear = Landscape(np.array([1.5, 4.0]), np.array([0.0, 1.0]), 1.5, 4.0)
    assert control(bid(landscape=dear, approve_above=1e6, daily_spend=Money.of(1)))[0] == "awaiting_approval"
