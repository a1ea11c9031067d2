"""A decision made again from its record is the same to the last bit: later, elsewhere, under another model and settings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidloop.app.settings import Settings, load_settings
from bidloop.app.wiring import open_loop
from bidloop.core.clock import ManualClock
from bidloop.core.decision import BidState, Decision
from bidloop.core.encoding import CategoryField, Encoding, NumericField, bucket
from bidloop.core.errors import NotFound
from bidloop.core.event import CampaignReported
from bidloop.core.money import Money
from bidloop.core.opportunity import Auction, Charge, History, Opportunity
from bidloop.core.trained_model import TrainedLandscape, TrainedModel
from bidloop.features.views import campaign_view
from bidloop.loop import Loop
from bidloop.models.graph import Graph
from bidloop.prediction.bundle import write_bundle
from bidloop.prediction.order_value import OrderValue
from bidloop.retraining.shelf import Shelf

NOW = datetime(2026, 6, 3, 14, tzinfo=UTC)
CAMPAIGNS = ("shoes", "hats", "never seen")


def put_model(home: Path, bias: float) -> str:
    """A model and a landscape, on the shelf and serving; returns the version."""
    view = campaign_view()
    numeric = tuple(
        NumericField(name, fill=0.02, shift=0.02, scale=0.02) for name in ("cell_ctr", "account_ctr", "hour_sin")
    )
    seen = tuple(sorted(bucket("device", device, 32) for device in ("mobile", "desktop")))
    encoding = Encoding(view.version, numeric, (CategoryField("device", ("device",), 32, seen),))
    rng = np.random.default_rng(4)
    rates, market = Graph(), Graph()
    linear = rates.add("MatMul", "numeric", rates.constant(rng.normal(size=(3, 2)).astype(np.float32) / 4))
    device = rates.add(
        "Gather", rates.constant(rng.normal(size=(33, 2)).astype(np.float32) / 4), rates.column("categories", 0)
    )
    logits = rates.add(
        "Add", rates.add("Add", linear, device), rates.constant(np.array([bias, -2.5], dtype=np.float32))
    )
    chance = market.add("Sigmoid", market.add("Mul", "log_bid", market.constant(np.float32(1.7))))
    inputs: dict[str, Any] = {"numeric": ("float", 3), "categories": ("int64", 1)}
    winning = market.finish({"log_bid": ("float", 1), **inputs}, "win_probability", chance, columns=1)
    version = write_bundle(
        home / "models",
        model=TrainedModel("network", rates.finish(inputs, "logits", logits, columns=2), encoding),
        landscape=TrainedLandscape(winning, encoding, 0.2, 5.0),
        order_value=OrderValue(pooled=60.0, by_campaign={"shoes": 75.5}, currency="USD", orders=90.0, strength=10.0),
        view=msgspec.to_builtins(view),
        view_version=view.version,
        created_at=NOW,
    )
    Shelf(home / "models").promote(version)
    return version


def settings(home: Path, **bidding: Any) -> Settings:
    common = {"max_bid": 9.0, "max_step": 0.5, "exploration_rate": 0.3, "daily_budget": 400.0}
    return load_settings(environment={}, overrides={"home": str(home), "bidding": common | bidding})


def report(name: str, campaign: str, at: datetime, clicks: int) -> CampaignReported:
    about = Opportunity(opportunity_id=name, at=at, campaign_id=campaign, device="mobile")
    spend = Money.of(clicks * 0.7)
    return CampaignReported(
        event_id=name, at=at, opportunity=about, impressions=997, clicks=clicks, conversions=3, spend=spend
    )


@pytest.fixture(scope="module")
def loops(tmp_path_factory: pytest.TempPathFactory) -> tuple[Loop, Loop, Loop]:
    """Loops over one home: before the first model, under the first model, and under a second one with other settings."""
    home = tmp_path_factory.mktemp("home")
    clock = ManualClock(NOW)
    bare = open_loop(settings(home, objective="target_cpa", target_cpa=25.0), clock)
    bare.absorb([report(f"r{i}", CAMPAIGNS[i % 2], NOW - timedelta(hours=5 * i + 1), 13 * i) for i in range(12)])
    put_model(home, -3.0)
    first = open_loop(settings(home, objective="target_roas", target_roas=3.7), clock)
    put_model(home, -4.2)
    second = open_loop(settings(home, objective="maximize_conversions", conversion_value=40.0), clock)
    return bare, first, second


def money(low: float, high: float) -> st.SearchStrategy[Money]:
    return st.integers(int(low * 1e6), int(high * 1e6)).map(Money)


rates = st.floats(0, 1)
histories = st.builds(
    lambda ctr, cvr, impressions: History(
        ctr=ctr, conversion_rate=cvr, spend=Money(0), impressions=impressions, clicks=int(ctr * impressions)
    ),
    rates,
    rates,
    st.integers(0, 10**7),
)
opportunities = st.builds(
    Opportunity,
    opportunity_id=st.just("o"),
    at=st.datetimes(datetime(2026, 6, 2), datetime(2026, 6, 4)).map(lambda at: at.replace(tzinfo=UTC)),
    campaign_id=st.sampled_from(CAMPAIGNS),
    keyword=st.text(max_size=5),
    device=st.sampled_from(["", "mobile", "desktop", "fridge"]),
    measures=st.dictionaries(
        st.text(min_size=1, max_size=4), st.floats(allow_nan=False, allow_infinity=False), max_size=2
    ),
    auction=st.sampled_from(Auction),
    charge=st.sampled_from(Charge),
    floor=st.none() | money(0, 3),
    current_bid=st.none() | money(0.01, 8),
    budget=st.none() | money(0, 900),
    history=st.none() | histories,
)


@given(asked=st.lists(opportunities, min_size=1, max_size=4), maker=st.integers(0, 2), judge=st.integers(0, 2))
def test_a_decision_read_from_the_log_is_made_again_to_the_last_bit_under_whatever_serves_now(
    loops, asked, maker, judge
):
    made = loops[maker].decide_many(asked)
    for decision in made:
        read = loops[judge].decision(decision.decision_id)
        again = loops[judge].recompute(read)
        assert again == read == decision
        assert msgspec.json.encode(again) == msgspec.json.encode(decision)


def test_a_decision_is_made_again_after_the_world_moved_on(loops):
    _, first, _ = loops
    decision = first.decide(Opportunity(opportunity_id="o", at=NOW, campaign_id="shoes", device="mobile"))
    before = first.features.read([decision.opportunity]).row(0)
    first.absorb([report("late", "shoes", NOW - timedelta(minutes=1), 400)])
    assert first.features.read([decision.opportunity]).row(0) != before, (
        "the features must have moved for this to say anything"
    )
    assert first.recompute(decision) == decision


def test_a_record_that_was_altered_does_not_come_out_equal(loops):
    _, first, _ = loops
    about = Opportunity(opportunity_id="o", at=NOW, campaign_id="shoes", device="mobile")
    decision = first.decide(about)
    replace = msgspec.structs.replace
    numeric = decision.features.numeric | {"cell_ctr": (decision.features.numeric["cell_ctr"] or 0.0) + 1e-3}
    altered = [
        replace(decision, bid=Money(decision.bid.micros + 1)),
        replace(decision, propensity=decision.propensity / 2),
        replace(decision, features=replace(decision.features, numeric=numeric)),
        replace(decision, prediction=replace(decision.prediction, ctr=np.nextafter(decision.prediction.ctr, 1))),
        replace(decision, state=replace(decision.state, multiplier=decision.state.multiplier / 2)),
        replace(decision, state=replace(decision.state, mode="preview")),
        replace(decision, binding="shading"),
        replace(decision, opportunity=replace(about, device="desktop", charge=Charge.PER_MILLE)),
    ]
    assert [first.recompute(record) == record for record in altered] == [False] * len(altered)


def test_a_decision_whose_model_or_settings_are_gone_says_so(loops):
    _, first, second = loops
    decision = first.decide(Opportunity(opportunity_id="o", at=NOW, campaign_id="hats"))
    missing = msgspec.structs.replace(decision, policy="0" * 12)
    with pytest.raises(NotFound, match="no bidding settings '000000000000'"):
        second.recompute(missing)
    prediction = msgspec.structs.replace(decision.prediction, model_version="v000000000000")
    with pytest.raises(NotFound):
        second.recompute(msgspec.structs.replace(decision, prediction=prediction))


def test_a_decision_of_before_there_was_a_ledger_or_a_binding_stage_still_reads(loops):
    _, first, _ = loops
    decision = first.decide(Opportunity(opportunity_id="o", at=NOW, campaign_id="shoes", device="mobile"))
    record = msgspec.to_builtins(decision)
    del record["binding"]
    record["state"] = {name: record["state"][name] for name in ("multiplier", "remaining", "previous_bid", "draw")}
    record["stages"] = [stage for stage in record["stages"] if stage["name"] != "control"]
    record["stages"][-1]["name"] = "budget"
    read = msgspec.json.decode(msgspec.json.encode(record), type=Decision)
    assert read.state == BidState(
        multiplier=decision.state.multiplier,
        remaining=decision.state.remaining,
        previous_bid=decision.state.previous_bid,
        draw=decision.state.draw,
    )
    assert (read.binding, read.stages[-1].name, read.bid) == ("", "budget", decision.bid)
    again = first.recompute(read)
    assert again.bid == read.bid
    assert again.stages == decision.stages


def test_a_decision_under_settings_that_this_version_no_longer_reads_says_so(loops):
    _, first, _ = loops
    decision = first.decide(Opportunity(opportunity_id="o", at=NOW, campaign_id="hats"))
    (first.policies / "0123456789ab.json").write_text('{"exploration_factors": [0.7, 1.3]}')
    with pytest.raises(NotFound, match="of an earlier version: Object contains unknown field `exploration_factors`"):
        first.recompute(msgspec.structs.replace(decision, policy="0123456789ab"))
