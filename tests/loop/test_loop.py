"""The three verbs together: decide, absorb, renew; and the loop that starts again."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bidloop.adapters.sql.ledger import SqlLedger
from bidloop.app.settings import Settings
from bidloop.app.wiring import open_loop
from bidloop.bidding.ledger.leases import Leases
from bidloop.bidding.ledger.window import Window
from bidloop.bidding.settings import BiddingSettings, Objective
from bidloop.core.clock import ManualClock
from bidloop.core.decision import Decision
from bidloop.core.errors import CorruptArtifact, InvalidInput, Unavailable
from bidloop.core.event import CampaignReported, ClickReceived, ConversionReported, Event, ImpressionServed
from bidloop.core.money import Money
from bidloop.core.opportunity import Charge, History, Opportunity
from bidloop.core.prediction import POOLED
from bidloop.features.online import InProcessStore
from bidloop.loop import Loop, cost_of_winning
from bidloop.simulation.market import SimulatedMarket
from bidloop.simulation.world import World

NOW = datetime(2026, 6, 3, 14, tzinfo=UTC)
PAST = History(ctr=0.05, conversion_rate=0.1, spend=Money.of(50), impressions=1000, clicks=50)


def cell(at: datetime = NOW, **changes: Any) -> Opportunity:
    about: dict[str, Any] = {"opportunity_id": "o", "campaign_id": "shoes", "keyword": "trail", "device": "mobile"}
    return Opportunity(at=at, **about | changes)


def outcome(decision: Decision, *, seconds: float = 1.0, price: float | None = 0.01) -> list[Event]:
    """An impression of the decision, its click and its conversion, each a little later."""
    name, at = decision.decision_id, decision.opportunity.at
    per_click = decision.opportunity.charge is Charge.PER_CLICK
    cost = None if price is None else Money.of(price)
    return [
        ImpressionServed(
            event_id=f"{name}:i",
            at=at + timedelta(seconds=seconds),
            impression_id=name,
            price=None if per_click else cost,
        ),
        ClickReceived(
            event_id=f"{name}:c",
            at=at + timedelta(seconds=2 * seconds),
            impression_id=name,
            price=cost if per_click else None,
        ),
        ConversionReported(
            event_id=f"{name}:v", at=at + timedelta(seconds=3 * seconds), impression_id=name, value=Money.of(50)
        ),
    ]


def untaught(home: Path, clock: ManualClock | None = None, **bidding: Any) -> Loop:
    """A loop over a home that has seen nothing."""
    return open_loop(Settings(home=str(home), bidding=BiddingSettings(**bidding)), clock or ManualClock(NOW))


def values(loop: Loop, opportunities: Sequence[Opportunity]) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    table = loop.features.read(opportunities)
    return np.array(list(table.numeric.values())), [tuple(column) for column in table.categorical.values()]


def a_morning(loop: Loop, world: World, hours: int = 9) -> SimulatedMarket:
    """Lets a loop bid for some hours of the first day after its past."""
    market = SimulatedMarket(world, range(6, 7), budgets=world.budgets(0.25))
    clock = loop.clock
    assert isinstance(clock, ManualClock)
    for batch in market.batches(minutes=30):
        if batch[0].at >= market.start + timedelta(hours=hours):
            break
        clock.set(batch[0].at)
        loop.absorb(market.due(batch[0].at))
        settled = market.settle(loop.decide_many(batch))
        clock.set(batch[-1].at)
        loop.absorb(settled)
    return market


def test_what_came_of_a_decision_moves_the_features_the_budget_and_the_history(tmp_path: Path) -> None:
    loop = untaught(tmp_path, daily_budget=10.0)
    later = [cell(NOW + timedelta(minutes=5))]
    before = loop.features.read(later).row(0).numeric
    decision = loop.decide(cell(current_bid=Money.of(1), charge=Charge.PER_MILLE))
    assert decision.bid > Money(0)
    loop.clock.set(NOW + timedelta(minutes=5))
    receipt = loop.absorb(outcome(decision, price=0.25))
    assert (receipt.accepted, receipt.duplicates, receipt.rejected) == (3, 0, {})
    after = loop.features.read(later).row(0).numeric
    assert before["cell_impressions"] in (None, 0.0)
    assert after["cell_impressions"] == pytest.approx(1.0, rel=1e-3)
    assert after["cell_ctr"] > (before["account_ctr"] or 0.0)
    assert loop.pacer.spent("shoes", NOW) == Money.of("0.25")
    assert loop.pacer.remaining("shoes", NOW) == Money.of("9.75")
    loop.history.sync()
    told = loop.history.outcomes()
    assert (told.clicks.tolist(), told.conversions.tolist(), told.value.tolist()) == ([1.0], [1.0], [50.0])
    assert told.opportunities == [decision.opportunity]


def test_a_click_that_was_paid_for_counts_against_the_budget_and_its_impression_does_not(tmp_path: Path) -> None:
    loop = untaught(tmp_path, daily_budget=10.0)
    decision = loop.decide(cell(current_bid=Money.of(1)))
    loop.clock.set(NOW + timedelta(minutes=5))
    impression, click, conversion = outcome(decision, price=0.75)
    loop.absorb([impression])
    assert loop.pacer.spent("shoes", NOW) == Money(0)
    loop.absorb([click, conversion])
    assert loop.pacer.spent("shoes", NOW) == Money.of("0.75")


def test_the_same_events_again_change_nothing(tmp_path: Path) -> None:
    loop = untaught(tmp_path, daily_budget=10.0)
    decisions = loop.decide_many([cell(current_bid=Money.of(1), charge=Charge.PER_MILLE, device=d) for d in "abc"])
    events = [event for decision in decisions for event in outcome(decision)]
    later = [cell(NOW + timedelta(hours=1), device=device) for device in "abc"]
    loop.clock.set(NOW + timedelta(hours=1))
    assert loop.absorb(events).accepted == 9
    known, spent = values(loop, later), loop.pacer.spent("shoes", NOW)
    receipt = loop.absorb(list(reversed(events)))
    assert (receipt.accepted, receipt.duplicates) == (0, 9)
    np.testing.assert_array_equal(values(loop, later)[0], known[0])
    assert loop.pacer.spent("shoes", NOW) == spent == Money.of("0.03")
    loop.history.sync()
    assert loop.history.outcomes().clicks.sum() == 3


def test_an_amount_in_another_currency_is_kept_aside_and_the_home_opens_again(tmp_path: Path) -> None:
    loop = untaught(tmp_path)
    decision = loop.decide(cell(charge=Charge.PER_MILLE, current_bid=Money.of(1)))
    foreign = msgspec.structs.replace(outcome(decision)[0], price=Money.of(1, "EUR"))
    loop.clock.set(NOW + timedelta(minutes=1))
    receipt = loop.absorb([foreign])
    assert (receipt.accepted, receipt.rejected) == (0, {"wrong_currency": 1})
    assert untaught(tmp_path).pacer.spent("shoes", NOW) == Money(0)


def test_every_decision_has_an_id_of_its_own_whoever_asks_and_ids_sort_by_time(tmp_path: Path) -> None:
    loop = untaught(tmp_path)
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda i: loop.decide_many([cell(opportunity_id=str(i))] * 5), range(20)))
    ids = [decision.decision_id for decisions in made for decision in decisions]
    assert len(set(ids)) == 100
    loop.clock.set(NOW + timedelta(milliseconds=5))
    assert loop.decide(cell()).decision_id > max(ids)


def test_a_decision_read_back_is_the_one_that_was_made(open_copy: Callable[..., Loop], taught: Any) -> None:
    loop = open_copy()
    asked = taught.past.opportunities[-20:]
    for decision in loop.decide_many(asked):
        assert loop.decision(decision.decision_id) == decision
        assert loop.recompute(decision) == decision
        assert decision.policy == loop.bidder.policy
        assert decision.prediction.model_version == taught.renewal.version
        assert set(decision.timings_us) == {"features", "prediction", "bid"}


def test_no_opportunities_are_no_decisions(tmp_path: Path) -> None:
    assert untaught(tmp_path).decide_many([]) == []


@pytest.mark.parametrize(("charge", "budget"), [(Charge.PER_CLICK, 3.0), (Charge.PER_MILLE, 0.004)])
def test_a_batch_never_promises_more_than_the_budget_has_left(tmp_path: Path, charge: Charge, budget: float) -> None:
    loop = untaught(tmp_path)
    asked = [
        cell(opportunity_id=str(i), device=str(i), charge=charge, current_bid=Money.of("0.9"), budget=Money.of(budget))
        for i in range(12)
    ]
    asked.append(cell(campaign_id="hats", charge=charge, current_bid=Money.of("0.9"), budget=Money.of(budget)))
    decisions = loop.decide_many(asked)
    promised = [cost_of_winning(decision.opportunity, decision.bid) for decision in decisions]
    assert 0 < sum(promised[:-1]) <= Money.of(budget).micros
    assert promised[0] > 0 == promised[-2], "the budget is used up before the batch ends"
    assert decisions[-1].bid == decisions[0].bid, "another campaign has a budget of its own"


def test_a_cell_steps_from_its_last_bid_also_within_one_batch(tmp_path: Path) -> None:
    loop = untaught(tmp_path, objective=Objective.MAXIMIZE_CLICKS, click_value=8.0, max_step=0.5)
    first, second = loop.decide_many([cell(current_bid=Money.of(1), history=PAST), cell(history=PAST)])
    assert first.bid == Money.of("1.5")
    assert second.state.previous_bid == first.bid
    assert second.bid == Money.of("2.25")
    assert loop.decide(cell(device="desktop")).state.previous_bid is None


def test_a_batch_with_one_opportunity_that_makes_no_sense_leaves_no_trace(tmp_path: Path) -> None:
    loop = untaught(tmp_path, objective=Objective.MAXIMIZE_CLICKS, click_value=8.0, max_step=0.5)
    with pytest.raises(InvalidInput, match="EUR"):
        loop.decide_many([cell(current_bid=Money.of(1)), cell(currency="EUR", current_bid=Money.of(1, "EUR"))])
    assert loop.decisions.recent(10) == []
    assert loop.decide(cell()).state.previous_bid is None


def test_without_a_model_the_answer_says_so_and_holds_the_bid_that_is(tmp_path: Path) -> None:
    loop = untaught(tmp_path)
    decision = loop.decide(cell(current_bid=Money.of("0.80")))
    assert decision.prediction.model_version == POOLED
    assert {"no_model", "no_history"} <= set(decision.degraded)
    assert decision.bid == Money.of("0.80")
    assert decision.expectation.win_probability is None
    assert loop.attributions(decision) == []
    assert loop.recompute(decision) == decision


def test_a_model_leans_on_something_and_knows_the_price_of_winning(open_copy: Callable[..., Loop], taught: Any) -> None:
    loop = open_copy()
    decision = loop.decide(taught.past.opportunities[-1])
    assert decision.degraded == ("conversion_interval_not_calibrated",), "too few keys have had a click"
    assert decision.expectation.win_probability is not None
    leaned = loop.attributions(decision, top=3)
    assert 0 < len(leaned) <= 3
    assert abs(leaned[0].log_odds) == max(abs(a.log_odds) for a in leaned) > 0


def test_a_loop_that_starts_again_knows_what_it_knew(open_copy: Callable[..., Loop], taught: Any) -> None:
    loop = open_copy()
    market = a_morning(loop, taught.world)
    again = open_copy()
    now = loop.clock.now()
    again.clock.set(now)
    asked = [msgspec.structs.replace(o, at=now) for o in taught.past.opportunities[:200]]
    before, after = values(loop, asked), values(again, asked)
    np.testing.assert_allclose(after[0], before[0], rtol=1e-9)
    assert after[1] == before[1]
    assert market.spend.sum() > 0
    for campaign in taught.world.budgets(0.25):
        assert again.pacer.spent(campaign, now) == loop.pacer.spent(campaign, now)
        assert again.pacer.remaining(campaign, now) == loop.pacer.remaining(campaign, now)
        used = next(d.state.multiplier for d in loop.decisions.recent(2000) if d.opportunity.campaign_id == campaign)
        moved = abs(math.log(again.pacer.multiplier(campaign, now) / used))
        assert moved <= again.bidder.settings.pacing.max_step, "it goes on from the multiplier that was last used"
    places = {(o.campaign_id, o.ad_group_id, o.keyword, o.device, o.location): o for o in asked}
    free = [msgspec.structs.replace(opportunity, current_bid=None) for opportunity in places.values()]
    previous = [decision.state.previous_bid for decision in loop.decide_many(free)]
    assert [decision.state.previous_bid for decision in again.decide_many(free)] == previous
    assert any(previous)


@pytest.mark.parametrize("last", [0.2, 1.0])
def test_pacing_goes_on_from_the_multiplier_that_was_used_last(tmp_path: Path, last: float) -> None:
    loop = untaught(tmp_path, daily_budget=100.0)
    for multiplier in (0.5, last):
        loop.pacer.start("shoes", multiplier)
        assert loop.decide(cell(current_bid=Money.of(1))).state.multiplier == pytest.approx(multiplier)
    assert untaught(tmp_path, daily_budget=100.0).decide(cell()).state.multiplier == pytest.approx(last)


AUCTION = {"charge": Charge.PER_CLICK, "budget": Money.of(2)}
TARGETS: dict[str, Any] = {"objective": Objective.TARGET_CPA, "target_cpa": 20.0}


def test_a_budget_that_was_stated_with_an_opportunity_holds_after_a_start(tmp_path: Path) -> None:
    loop = untaught(tmp_path)
    decision = loop.decide(cell(charge=Charge.PER_MILLE, current_bid=Money.of(1), budget=Money.of(2)))
    loop.clock.set(NOW + timedelta(minutes=1))
    loop.absorb(outcome(decision, price=1.9))
    assert loop.decide(cell(current_bid=Money.of(1))).bid == Money.of("0.10")
    loop.leases.close()
    after = untaught(tmp_path, ManualClock(NOW + timedelta(minutes=1)))
    assert after.decide(cell(current_bid=Money.of(1))).bid == Money.of("0.10")


def test_bids_underway_in_one_process_are_not_bid_again_in_another(tmp_path: Path) -> None:
    both = untaught(tmp_path, **TARGETS), untaught(tmp_path, **TARGETS)
    for i in range(60):
        both[i % 2].decide(cell(**AUCTION))
    bids = [decision.bid.micros for decision in both[0].decisions.recent(100)]
    assert min(bids) == 0 < max(bids)
    assert 1_900_000 < sum(bids) <= 2_000_000


def test_standing_bids_of_many_cells_hold_nothing_while_nothing_is_spent(tmp_path: Path) -> None:
    loop = untaught(tmp_path)
    for _ in range(2):
        bids = [
            loop.decide(cell(keyword=f"k{i}", current_bid=Money.of("0.30"), budget=Money.of(2))).bid for i in range(40)
        ]
        assert set(bids) == {Money.of("0.30")}


def test_a_bid_for_which_no_money_can_be_held_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = untaught(tmp_path, **TARGETS)
    assert loop.decide(cell(**AUCTION)).bid.micros > 0
    monkeypatch.setattr(Leases, "hold", lambda self, decision_id, campaign, at, micros, seconds, repeats: micros == 0)
    decision = loop.decide(cell(**AUCTION))
    assert (decision.bid.micros, decision.state.remaining) == (0, Money(0))
    assert loop.recompute(decision) == decision


def test_what_was_charged_is_booked_once_by_whichever_process_follows_the_log_first(tmp_path: Path) -> None:
    loop, other = untaught(tmp_path), untaught(tmp_path)
    decision = loop.decide(cell(charge=Charge.PER_MILLE, current_bid=Money.of(1), budget=Money.of(2)))
    loop.absorb(outcome(decision, price=0.5))
    other.follow()
    untaught(tmp_path)
    [balance] = loop.leases.ledger.balances([Window("campaign:shoes", f"day:{NOW:%Y-%m-%d}")])
    assert (balance.limit, balance.spent) == (2_000_000, 500_000)


def test_a_ledger_that_does_not_answer_keeps_charges_waiting_and_bids_within_what_is_leased(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, auction = untaught(tmp_path, **TARGETS), AUCTION | {"budget": Money.of(100)}
    decision = loop.decide(cell(**auction))
    assert decision.bid.micros > 0
    with monkeypatch.context() as broken:
        for name in ("book", "resize", "balances", "reserve", "limit", "configure"):
            broken.setattr(SqlLedger, name, silent)
        loop.absorb(outcome(decision, price=0.1))
        assert loop.decide(cell(**auction)).bid.micros > 0
        loop.clock.set(NOW + timedelta(minutes=2))
        assert loop.decide(cell(**auction)).bid.micros == 0
    loop.clock.set(NOW + timedelta(minutes=3))
    loop.follow()
    [balance] = loop.leases.ledger.balances([Window("campaign:shoes", f"day:{NOW:%Y-%m-%d}")])
    assert balance.spent == 100_000


def silent(*_: object) -> None:
    raise Unavailable("the database does not answer")


def test_a_renewal_serves_the_new_model_and_old_decisions_are_made_again_to_the_last_bit(
    open_copy: Callable[..., Loop], taught: Any
) -> None:
    loop = open_copy()
    a_morning(loop, taught.world)
    old = loop.decisions.recent(30)
    told: list[tuple[str, float]] = []
    renewal = loop.renew(lambda doing, share: told.append((doing, share)))
    assert renewal.version == loop.predictor.version == loop.shelf.champion() != taught.renewal.version
    assert [share for _, share in told] == sorted(share for _, share in told)
    assert told[-1] == ("done", 1.0)
    assert loop.decide(old[0].opportunity).prediction.model_version == renewal.version
    assert {decision.prediction.model_version for decision in old} == {taught.renewal.version}
    assert [loop.recompute(decision) for decision in old] == old
    assert open_copy().predictor.version == renewal.version


def test_a_renewal_whose_model_cannot_be_read_promotes_nothing(
    open_copy: Callable[..., Loop], taught: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = open_copy()

    def unreadable(folder: Path) -> None:
        raise CorruptArtifact("a disk that lost it")

    monkeypatch.setattr("bidloop.loop.load_bundle", unreadable)
    with pytest.raises(CorruptArtifact, match="lost it"):
        loop.renew()
    assert loop.shelf.champion() == loop.predictor.version == taught.renewal.version


def test_a_decision_is_made_again_under_the_settings_that_made_it(open_copy: Callable[..., Loop], taught: Any) -> None:
    asked = [msgspec.structs.replace(o, at=taught.world.start(6)) for o in taught.past.opportunities[-10:]]
    decisions = open_copy().decide_many(asked)
    changed = open_copy(objective=Objective.TARGET_CPA, target_cpa=3.0, exploration_rate=0.0)
    assert changed.bidder.policy != decisions[0].policy
    assert [changed.recompute(decision) for decision in decisions] == decisions
    assert [decision.bid for decision in changed.decide_many(asked)] != [decision.bid for decision in decisions]


def test_serving_and_deciding_load_no_training_framework(taught: Any, tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings = taught.copy_to(home)
    (tmp_path / "settings.json").write_bytes(msgspec.json.encode(settings))
    (tmp_path / "cell.json").write_bytes(msgspec.json.encode(taught.past.opportunities[-1]))
    script = """
import json, sys
from pathlib import Path
import msgspec
import bidloop.app.cli
from bidloop.app.http.server import create_app
from bidloop.app.settings import Settings
from bidloop.app.wiring import open_house, open_loop
from bidloop.core.opportunity import Opportunity
settings = msgspec.json.decode(Path("settings.json").read_bytes(), type=Settings)
house = open_house(settings)
loop = open_loop(settings, house=house)
create_app(loop, settings, house)
decision = loop.decide(msgspec.json.decode(Path("cell.json").read_bytes(), type=Opportunity))
loop.attributions(decision), loop.recompute(decision)
heavy = {"torch", "xgboost", "sklearn", "onnx", "onnxmltools", "onnxscript", "pandas", "great_expectations"}
print(json.dumps([decision.prediction.model_version, sorted(heavy & {name.split(".")[0] for name in sys.modules})]))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [taught.renewal.version, []]


def test_yesterdays_restated_spend_touches_yesterdays_budget_and_not_todays(tmp_path: Path) -> None:
    loop = untaught(tmp_path, daily_budget=100.0)
    yesterday = NOW - timedelta(days=1)

    def row(spend: float, known_at: datetime) -> CampaignReported:
        about = msgspec.structs.replace(cell(yesterday), charge=Charge.PER_CLICK)
        return CampaignReported(
            event_id=f"row at {known_at}", row_id="row", at=yesterday, known_at=known_at, opportunity=about,
            impressions=900, clicks=90, conversions=3, spend=Money.of(spend),
        )  # fmt: skip

    loop.absorb([row(80, yesterday + timedelta(hours=6))])
    loop.absorb([row(20, NOW - timedelta(minutes=1))])
    assert loop.pacer.spent("shoes", yesterday) == Money.of(20)
    assert loop.pacer.spent("shoes", NOW) == Money(0)
    assert untaught(tmp_path, daily_budget=100.0).pacer.spent("shoes", yesterday) == Money.of(20)


class Unreachable:
    """A store of features in front of another one, whose server may be away."""

    def __init__(self, store: InProcessStore) -> None:
        self._store = store
        self.away = False

    def __getattr__(self, name: str) -> Any:
        if self.away and name in ("read", "observe"):
            raise Unavailable("the store of features is away")
        return getattr(self._store, name)


def test_while_the_store_of_features_is_away_answers_say_so_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = untaught(tmp_path / "b")
    monkeypatch.setattr("bidloop.app.wiring.open_store", lambda house, view: Unreachable(InProcessStore(view)))
    loop = untaught(tmp_path / "a")
    store: Any = loop.features
    [first, _] = loop.decide_many([cell(), cell(campaign_id="hats")])
    other = undisturbed.decide(cell())
    store.away = True
    decision = loop.decide(cell(history=PAST))
    assert decision.degraded[0] == "features_unavailable"
    assert decision.prediction.ctr == pytest.approx(0.05, rel=0.2)  # what the caller knows
    assert loop.recompute(decision) == decision
    assert loop.absorb(outcome(first)).accepted == 3
    with pytest.raises(Unavailable):
        loop.follow()
    assert loop.absorb(outcome(first)).duplicates == 3
    store.away = False
    assert loop.follow() == 3
    undisturbed.absorb(outcome(other))
    later = cell(NOW + timedelta(minutes=5))
    np.testing.assert_array_equal(values(loop, [later])[0], values(undisturbed, [later])[0])
