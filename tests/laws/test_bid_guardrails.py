"""Whatever comes in, in any mode, NaN and infinity included, a bid stays within its limits and its stages form a chain."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bidloop.bidding.pipeline import Bid, Bidder
from bidloop.bidding.sentences import BINDING
from bidloop.bidding.settings import MOST, BiddingSettings, Objective, TargetScope
from bidloop.bidding.stages import STAGES
from bidloop.core.decision import BidState
from bidloop.core.landscape import Landscape
from bidloop.core.money import MICROS, Money
from bidloop.core.opportunity import Auction, Charge, Opportunity
from bidloop.core.prediction import Interval, Prediction

anything = st.floats()  # NaN and both infinities among them
positive = st.floats(min_value=1e-300, max_value=1e300)
bid_bounds = st.floats(min_value=1e-9, max_value=MOST)
rates = st.one_of(st.floats(min_value=0, max_value=1), anything)
money = st.integers(min_value=-(10**12), max_value=10**20).map(Money)
maybe_money = st.none() | money


@st.composite
def bidding(draw: st.DrawFn) -> BiddingSettings:
    least, cap = sorted([draw(bid_bounds), draw(bid_bounds)])
    objective = draw(st.sampled_from(Objective))
    return BiddingSettings(
        objective=objective,
        target_cpa=draw(positive if objective is Objective.TARGET_CPA else st.none() | positive),
        target_roas=draw(positive if objective is Objective.TARGET_ROAS else st.none() | positive),
        target_scope=draw(st.sampled_from(TargetScope)),
        click_value=draw(positive),
        conversion_value=draw(positive),
        max_bid=draw(st.sampled_from([None, cap])),
        min_bid=draw(st.sampled_from([None, least])),
        max_cpc=draw(st.none() | positive),
        max_step=draw(st.none() | st.floats(min_value=1e-6, max_value=3) | positive),
        exploration_rate=draw(st.sampled_from([0.0, 0.1, 0.9])),
        exploration_ratio=draw(st.sampled_from([1.01, 1.1, 2.0])),
        exploration_steps=draw(st.integers(1, 4)),
        shading=draw(st.booleans()),
        approve_above=draw(st.none() | positive),
    )


@st.composite
def opportunities(draw: st.DrawFn) -> Opportunity:
    return Opportunity(
        opportunity_id="o",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        campaign_id="c",
        auction=draw(st.sampled_from(Auction)),
        charge=draw(st.sampled_from(Charge)),
        floor=draw(maybe_money),
        current_bid=draw(maybe_money),
    )


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    return Prediction(
        ctr=draw(rates),
        conversion_rate=draw(rates),
        ctr_interval=Interval(draw(anything), draw(anything), 0.95),
        order_value=draw(maybe_money),
        model_version="v",
        support=draw(anything),
        degraded=draw(st.sampled_from([(), ("no_history",), ("stale",)])),
    )


@st.composite
def landscapes(draw: st.DrawFn) -> Landscape | None:
    if draw(st.booleans()):
        return None
    bids = sorted(draw(st.lists(st.floats(min_value=0, max_value=1e9), min_size=0, max_size=6, unique=True)))
    chance = sorted(draw(st.lists(st.floats(min_value=0, max_value=1), min_size=len(bids), max_size=len(bids))))
    spoilt = draw(st.sampled_from([None, None, math.nan, math.inf, -math.inf]))
    if spoilt is not None and chance:
        chance[draw(st.integers(0, len(chance) - 1))] = spoilt
    return Landscape(np.array(bids, dtype=float), np.array(chance, dtype=float), draw(anything), draw(anything))


states = st.builds(
    BidState,
    multiplier=st.one_of(st.floats(min_value=1e-6, max_value=4), anything),
    target_multiplier=st.one_of(st.just(1.0), st.floats(min_value=1, max_value=3), anything),
    remaining=maybe_money,
    previous_bid=maybe_money,
    draw=st.one_of(st.floats(min_value=0, max_value=1, exclude_max=True), anything),
    mode=st.sampled_from(["apply", "apply", "apply", "preview", "off", "nonsense"]),
    stopped=st.sampled_from(["", "", "", "{why} nobody knows"]),
    pinned=st.none() | st.none() | maybe_money,
    approved=maybe_money,
    daily_spend=maybe_money,
)
anything_at_all = given(bidding(), opportunities(), predictions(), landscapes(), states)


def _bid(
    setting: BiddingSettings, cell: Opportunity, expected: Prediction, market: Landscape | None, state: BidState
) -> Bid:
    return Bidder(setting).bid(cell, expected, market, state)


@anything_at_all
def test_a_bid_is_zero_or_between_floor_and_cap(setting, cell, expected, market, state) -> None:
    bid = _bid(setting, cell, expected, market, state).amount.micros
    assert bid >= 0
    if bid:
        assert setting.max_bid is None or bid <= setting.max_bid * MICROS + 0.5
        assert setting.min_bid is None or bid >= setting.min_bid * MICROS - 0.5
        assert cell.floor is None or bid >= cell.floor.micros


@anything_at_all
def test_a_click_never_costs_more_than_the_cpc_cap(setting, cell, expected, market, state) -> None:
    bid = _bid(setting, cell, expected, market, state).amount.micros
    if setting.max_cpc is not None and bid:
        clicks = expected.ctr * 1000 if cell.charge is Charge.PER_MILLE else 1.0
        assert bid <= setting.max_cpc * clicks * MICROS + 0.5


@anything_at_all
def test_a_bid_moves_by_its_step_at_most_but_for_bounds_people_and_budget(
    setting, cell, expected, market, state
) -> None:
    bid = _bid(setting, cell, expected, market, state)
    previous = state.previous_bid
    if setting.max_step is None or previous is None or previous.micros <= 0:
        return
    limited = bid.stages[STAGES.index("step_limit")].after
    allowed = setting.max_step * previous.micros
    assert limited == 0 or abs(limited - previous.micros) <= allowed
    # Only a cap, a floor, a person or the ledger may go beyond the step, and each of them says so.
    beyond = bid.amount.micros > 0 and abs(bid.amount.micros - previous.micros) > allowed
    assert not beyond or {stage.code for stage in bid.stages[-3:]} & {
        "capped",
        "cpc_capped",
        "raised_to_minimum",
        "pinned",
        "off",
        "preview",
        "approved",
        "awaiting_approval",
        "lowered_to_budget",
    }


@anything_at_all
def test_what_is_stopped_or_not_applied_leaves_no_new_bid(setting, cell, expected, market, state) -> None:
    bid = _bid(setting, cell, expected, market, state)
    code = bid.stages[STAGES.index("control")].code
    if state.stopped:
        assert (code, bid.amount.micros) == ("stopped", 0)
    elif state.pinned is not None:
        assert code == "pinned"
    elif state.mode != "apply":
        assert code == ("preview" if state.mode == "preview" else "off")
        assert cell.current_bid is not None or bid.amount.micros == 0
    else:
        assert code in {"applied", "no_bid", "awaiting_approval", "approved"}


@anything_at_all
def test_one_win_never_costs_more_than_what_remains(setting, cell, expected, market, state) -> None:
    bid = _bid(setting, cell, expected, market, state).amount.micros
    if state.remaining is not None:
        reservation = bid / 1000 if cell.charge is Charge.PER_MILLE else bid
        assert reservation <= max(0, state.remaining.micros)


@anything_at_all
def test_each_stage_begins_where_the_one_before_ended(setting, cell, expected, market, state) -> None:
    bid = _bid(setting, cell, expected, market, state)
    assert tuple(stage.name for stage in bid.stages) == STAGES
    assert bid.stages[0].before == 0
    for earlier, later in zip(bid.stages, bid.stages[1:], strict=False):
        assert later.before == earlier.after
    assert bid.stages[-1].after == bid.amount.micros
    assert all(stage.code and stage.sentence for stage in bid.stages)


@anything_at_all
def test_before_exploration_a_bid_is_above_its_value_only_by_the_targets_multiplier(
    setting, cell, expected, market, state
) -> None:
    value, shading, pacing = _bid(setting, cell, expected, market, state).stages[:3]
    assert value.after >= shading.after >= 0
    assert pacing.after >= 0
    averaged = setting.target_scope is TargetScope.AVERAGE and (setting.target_cpa or setting.target_roas)
    most = max(1.0, min(state.multiplier, state.target_multiplier)) if averaged else 1.0
    assert pacing.after <= value.after * most + 0.5
    assert pacing.after <= value.after or pacing.code in {"raised", "at_most"}


@anything_at_all
def test_the_same_arguments_give_the_same_bid(setting, cell, expected, market, state) -> None:
    # Compared as text, because NaN is not equal to itself.
    assert repr(_bid(setting, cell, expected, market, state)) == repr(_bid(setting, cell, expected, market, state))


@anything_at_all
def test_what_is_expected_is_a_number(setting, cell, expected, market, state) -> None:
    expectation = _bid(setting, cell, expected, market, state).expectation
    assert math.isfinite(expectation.cost_per_win)
    assert expectation.cost_per_win >= 0
    assert expectation.win_probability is None or 0 <= expectation.win_probability <= 1
    assert expectation.roas is None or math.isfinite(expectation.roas)


@anything_at_all
def test_the_terms_add_up_to_the_log_of_the_bid(setting, cell, expected, market, state) -> None:
    bid = _bid(setting, cell, expected, market, state)
    if bid.amount.micros:
        total = sum(term for _, term in bid.terms)
        assert math.isclose(total, math.log(bid.amount.micros / MICROS), rel_tol=0, abs_tol=1e-9)
    else:
        assert bid.terms == ()


@anything_at_all
def test_the_binding_stage_changed_the_bid_and_is_named_in_the_reasons(setting, cell, expected, market, state) -> None:
    bid = _bid(setting, cell, expected, market, state)
    told = [reason for reason in bid.reasons if "; without it " in reason]
    if not bid.binding:
        assert told == []
        return
    stage = bid.stages[STAGES.index(bid.binding)]
    assert stage.before != stage.after
    assert len(told) == 1
    assert told[0].startswith(BINDING[stage.code])


@settings(max_examples=30)
@anything_at_all
def test_propensities_of_all_bids_that_may_be_sent_add_up_to_one(setting, cell, expected, market, state) -> None:
    bidder = Bidder(setting)
    told = dict(bidder.distribution(cell, expected, market, state))
    assert math.isclose(math.fsum(told.values()), 1.0, abs_tol=1e-9)
    sent = set()
    for draw in np.linspace(0, 1, 161)[:-1]:
        tried = msgspec.structs.replace(state, draw=float(draw))
        bid = bidder.bid(cell, expected, market, tried)
        assert 0 < bid.propensity <= 1
        assert bid.propensity == told[bid.amount]
        sent.add(bid.amount)
    assert sent == set(told)
    if len(told) > 1:
        assert min(told.values()) >= setting.exploration_floor


@settings(max_examples=50)
@anything_at_all
def test_what_is_recorded_of_a_bid_reads_back_as_it_was(setting, cell, expected, market, state) -> None:
    bid = _bid(setting, cell, expected, market, state)
    assert msgspec.json.decode(msgspec.json.encode(bid), type=Bid) == bid
    assert msgspec.json.decode(msgspec.json.encode(setting), type=BiddingSettings) == setting
    numbers = (state.multiplier, state.target_multiplier, state.draw)
    if all(map(math.isfinite, numbers)):  # JSON has no others
        again = msgspec.json.decode(msgspec.json.encode(state), type=BidState)
        assert again == state
        assert repr(_bid(setting, cell, expected, market, again)) == repr(bid)
