"""What every decision log must do, on every adapter."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.decision_log import SqlDecisionLog
from bidloop.core.decision import BidStage, BidState, Decision, Expectation
from bidloop.core.errors import InvalidInput, NotFound
from bidloop.core.feature_table import FeatureVector
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.core.prediction import Interval, Prediction
from bidloop.outcomes.ports import DecisionLog

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
replace = msgspec.structs.replace


def decision(number: int) -> Decision:
    at = AT + timedelta(microseconds=number)
    return Decision(
        decision_id=f"d-{number}",
        at=at,
        opportunity=Opportunity(opportunity_id=f"o-{number}", at=at, campaign_id="spring", measures={"q": 1 / 3}),
        features=FeatureVector("view", {"ctr": math.nextafter(0.1, 1), "unknown": None}, {"device": "mobile"}),
        prediction=Prediction(
            ctr=5e-324, conversion_rate=0.1 + 0.2, ctr_interval=Interval(0.0, 1.0, 0.95), order_value=Money(5),
            model_version="v1", support=1e300,
        ),
        policy="p",
        state=BidState(draw=0.7, remaining=Money(2**60), previous_bid=None),
        stages=(BidStage(name="value", before=0, after=3, code="target_cpa", sentence="…"),),
        bid=Money(3),
        propensity=1.0,
        expectation=Expectation(win_probability=None, cost_per_win=0.5, roas=None),
        reasons=("because", "of"),
        timings_us={"score": 12.5},
    )  # fmt: skip


@pytest.fixture(params=["sqlite", "postgresql"])
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], DecisionLog]]:
    place = tmp_path / "bidloop.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with ExitStack() as stack:

        def open_it() -> DecisionLog:
            engine = open_database(place)
            stack.callback(engine.dispose)
            return SqlDecisionLog(engine)

        yield open_it


def test_a_decision_reads_back_to_the_last_bit(open_log) -> None:
    open_log().record([decision(1)])
    assert open_log().get("d-1") == decision(1)


def test_a_decision_that_is_not_there_is_not_found(open_log) -> None:
    with pytest.raises(NotFound, match="d-9"):
        open_log().get("d-9")


def test_recent_gives_the_latest_first_whatever_the_order_of_recording(open_log) -> None:
    log = open_log()
    log.record([decision(3), decision(1)])
    log.record([decision(2)])
    assert [made.decision_id for made in log.recent(2)] == ["d-3", "d-2"]


def test_opportunities_of_unknown_ids_are_left_out(open_log) -> None:
    log = open_log()
    log.record([decision(i) for i in range(1_500)])
    found = log.opportunities([f"d-{i}" for i in range(-500, 1_500)])
    assert len(found) == 1_500
    assert found["d-7"] == decision(7).opportunity
    assert log.opportunities([]) == {}


def test_the_same_decision_twice_is_kept_once(open_log) -> None:
    log = open_log()
    log.record([decision(1), decision(1)])
    log.record([decision(1), decision(2)])
    assert len(log.recent(10)) == 2


def test_a_recorded_decision_cannot_be_changed_and_nothing_of_the_batch_is_written(open_log) -> None:
    log = open_log()
    log.record([decision(1)])
    with pytest.raises(InvalidInput, match="recorded already"):
        log.record([decision(2), replace(decision(1), bid=Money(99))])
    with pytest.raises(InvalidInput, match="recorded already"):
        log.record([decision(3), replace(decision(3), bid=Money(99))])
    assert log.recent(10) == [decision(1)]


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_decision_that_could_not_be_read_back_is_refused(open_log, wrong: float) -> None:
    log = open_log()
    expectation = Expectation(win_probability=wrong, cost_per_win=0.5, roas=None)
    for bad in (replace(decision(2), propensity=wrong), replace(decision(2), expectation=expectation)):
        with pytest.raises(InvalidInput, match="cannot be recorded"):
            log.record([decision(1), bad])
    assert log.recent(10) == []


def test_a_person_is_found_in_decisions_by_pseudonym_and_left_out_of_them(open_log) -> None:
    log = open_log()
    mine = replace(decision(1), opportunity=replace(decision(1).opportunity, user_id="p.anna"))
    named = replace(decision(2), opportunity=replace(decision(2).opportunity, keyword="p.anna"))
    log.record([mine, named, decision(3)])
    assert log.of_user("p.anna") == [mine]
    assert log.erase("p.anna") == 1
    assert log.of_user("p.anna") == []
    assert log.get("d-1") == decision(1)
    assert log.get("d-2") == named
