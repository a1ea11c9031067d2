"""The prediction API answers the specification's request, and every answer is a recorded decision."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from bidloop.app.http.decision_queue import DecisionQueue
from bidloop.core.clock import ManualClock

SPEC_FIELDS = {
    "predictedCTR",
    "predictedConversionRate",
    "confidenceInterval",
    "recommendedBid",
    "expectedROAS",
    "modelVersion",
    "inferenceTimeMs",
    "reasoning",
}


def test_the_specs_request_gets_every_field_of_the_specs_response(api):
    answer = api.predict()
    assert answer.status_code == 200
    told = answer.json()
    assert told.keys() == SPEC_FIELDS | {
        "decisionId",
        "confidence",
        "confidenceLevel",
        "measuredCoverage",
        "credibleInterval",
        "conversionRateInterval",
        "bidStages",
        "degraded",
    }
    assert told["modelVersion"] == api.loop.predictor.version != "pooled"
    assert 0 <= told["confidenceInterval"]["lower"] <= told["predictedCTR"] <= told["confidenceInterval"]["upper"] <= 1
    assert told["confidenceLevel"] == 0.95
    assert 0 <= told["credibleInterval"]["lower"] <= told["predictedCTR"] <= told["credibleInterval"]["upper"] <= 1
    of_conversions = told["conversionRateInterval"]
    assert 0 <= of_conversions["lower"] <= told["predictedConversionRate"] <= of_conversions["upper"] <= 1
    for name in ("credibleInterval", "conversionRateInterval"):
        assert (told[name]["level"], told[name]["measuredCoverage"]) == (0.95, None)
    assert 0 < told["confidence"] < 1
    assert told["recommendedBid"] > 0
    assert told["expectedROAS"] > 0


def test_stages_lead_from_nothing_to_the_recommended_bid_in_account_currency(api):
    told = api.predict().json()
    stages = told["bidStages"]
    assert stages[0]["before"] == 0
    assert all(one["after"] == other["before"] for one, other in itertools.pairwise(stages))
    assert stages[-1]["after"] == told["recommendedBid"]
    assert stages[0]["after"] == pytest.approx(told["predictedConversionRate"] * 30, abs=1e-6)


def test_the_model_is_heard_in_the_reasons(api):
    told = api.predict().json()
    reasons = told["reasoning"]
    of_the_bid = list(api.loop.decision(told["decisionId"]).reasons)
    assert reasons[: len(of_the_bid)] == of_the_bid
    assert any(reason.startswith("device = mobile") for reason in reasons[len(of_the_bid) :])


def test_inference_time_is_measured_and_less_than_the_caller_waited(api):
    api.predict()
    started = time.perf_counter()
    told = api.predict().json()["inferenceTimeMs"]
    assert 0 < told < 1000 * (time.perf_counter() - started)


def test_an_answer_is_on_record_under_its_id_with_what_was_asked(api, cell):
    told = api.predict(device="desktop").json()
    record = api.client.get(f"/v1/decisions/{told['decisionId']}").json()
    assert record["cell"]["historicalMetrics"] == cell["historicalMetrics"]
    assert (record["cell"]["device"], record["cell"]["budget"], record["cell"]["currency"]) == ("desktop", 500.0, "USD")
    same = ("predictedCTR", "confidenceInterval", "credibleInterval", "conversionRateInterval", "confidence")
    for name in (*same, "recommendedBid", "expectedROAS", "bidStages", "modelVersion"):
        assert record[name] == told[name]
    assert 0 < record["propensity"] <= 1
    assert record["features"]["device"] == "desktop"
    assert record["drivers"][0].keys() == {"feature", "value", "logOdds"}


def test_a_recorded_answer_is_made_again_to_the_last_bit(api):
    decision = api.loop.decision(api.predict().json()["decisionId"])
    assert api.loop.recompute(decision) == decision


def test_a_batch_answers_in_the_order_of_its_cells_as_if_each_were_asked_alone(api, cell):
    devices = ["mobile", "desktop", "tablet", "mobile"]
    answers = api.client.post("/v1/predict/batch", json=[cell | {"device": device} for device in devices]).json()
    alone = [api.predict(device=device).json() for device in devices]
    for name in ("predictedCTR", "predictedConversionRate", "confidenceInterval", "degraded"):
        assert [answer[name] for answer in answers] == [answer[name] for answer in alone]
    assert len({answer["decisionId"] for answer in answers}) == len(devices)


def test_an_empty_batch_has_an_empty_answer(api):
    answer = api.client.post("/v1/predict/batch", json=[])
    assert (answer.status_code, answer.json()) == (200, [])


def test_the_present_hour_is_this_moment_and_another_hour_its_beginning_in_the_accounts_day(serve_home, cell):
    # 20:30 in London's winter is 04:30 of the next day in Shanghai.
    clock = ManualClock(datetime(2026, 1, 1, 20, 30, tzinfo=UTC))
    with serve_home(clock=clock, model=False, timezone="Asia/Shanghai") as api:
        for hour, instant in [(4, "2026-01-01T20:30:00Z"), (9, "2026-01-02T01:00:00Z"), (0, "2026-01-01T16:00:00Z")]:
            told = api.predict(timeOfDay=hour).json()
            assert api.client.get(f"/v1/decisions/{told['decisionId']}").json()["cell"]["at"] == instant


def test_a_past_hour_is_refused_by_row_where_processes_share_features_and_those_of_today_are_not_kept(
    serve_home, cell, redis_url
):
    features = {"store": "redis", "redis_url": redis_url, "resolution_seconds": 1.0}
    with serve_home(model=False, features=features) as api:  # it is 14:37
        answers = {hour: api.predict(timeOfDay=hour) for hour in (13, 14, 15)}
        assert [answer.status_code for answer in answers.values()] == [422, 200, 200]
        [wrong] = answers[13].json()["errors"]
        assert (wrong["path"], wrong["found"]) == ("timeOfDay", "13")
        assert "the present hour, 14, or a later one" in wrong["expected"]
        batch = api.client.post("/v1/predict/batch", json=[cell | {"timeOfDay": hour} for hour in (14, 3, 20)])
        assert [error["path"] for error in batch.json()["errors"]] == ["[1].timeOfDay"]


def test_no_current_bid_is_told_as_zero_and_does_not_hold_the_bid_at_zero(serve_home):
    bidding = {"objective": "target_cpa", "target_cpa": 30.0, "max_step": 0.2}
    with serve_home(bidding=bidding) as api:
        assert api.predict(currentBid=0).json()["recommendedBid"] > 0
        decision_id = api.predict(currentBid=0).json()["decisionId"]
        assert api.client.get(f"/v1/decisions/{decision_id}").json()["cell"]["currentBid"] is None
        assert api.predict(currentBid=0.1).json()["recommendedBid"] == pytest.approx(0.12)


def test_optional_facts_of_a_banner_reach_the_decision(api):
    told = api.predict(
        auction="first_price",
        charge="per_mille",
        floor=0.4,
        attributes={"domain": "a.example"},
        measures={"slot_floor": 0.4},
    ).json()
    about = api.loop.decision(told["decisionId"]).opportunity
    assert (about.auction, about.charge, about.attributes) == ("first_price", "per_mille", {"domain": "a.example"})
    assert about.floor is not None
    assert about.floor.micros == 400_000


@pytest.mark.parametrize(("consent", "known"), [(True, True), (False, False), (None, False)])
def test_a_user_who_agreed_is_decided_for_by_pseudonym(serve_home, consent, known):
    with serve_home() as api:
        answer = api.predict(userId="anna", consent=consent).json()
        user = api.loop.decision(answer["decisionId"]).opportunity.user_id
        assert (user.startswith("p."), "anna" in user) == (known, False)


def test_whole_numbers_may_be_written_with_a_point(api, cell):
    metrics = cell["historicalMetrics"] | {"impressions": 25000.0, "clicks": 1050.0}
    told = api.send(b'{"timeOfDay": 9.0,' + _rest(cell, metrics))
    assert told.status_code == 200, told.text
    assert api.loop.decision(told.json()["decisionId"]).opportunity.history.impressions == 25000


def test_without_a_model_the_answer_says_that_it_is_degraded(serve_home):
    with serve_home(model=False) as api:
        told = api.predict()
        assert told.status_code == 200
        assert (told.json()["modelVersion"], told.json()["degraded"][0]) == ("pooled", "no_model")
        ready = api.client.get("/readyz")
        assert (ready.status_code, ready.json()["degraded"]) == (200, True)


def test_sixty_four_callers_at_once_get_their_own_answers(api, cell):
    def ask(i: int) -> tuple[str, str]:
        told = api.client.post("/v1/predict", json=cell | {"campaignId": f"campaign-{i}"})
        assert told.status_code == 200
        return told.json()["decisionId"], f"campaign-{i}"

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(ask, range(192)))
    assert len({decision_id for decision_id, _ in answers}) == 192
    for decision_id, campaign in answers:
        assert api.loop.decision(decision_id).opportunity.campaign_id == campaign


class Poisoned:
    """A loop that cannot decide for one campaign, and counts its calls."""

    def __init__(self, loop):
        self._loop = loop
        self.sizes = []

    def __getattr__(self, name):
        return getattr(self._loop, name)

    def decide_many(self, opportunities):
        self.sizes.append(len(opportunities))
        time.sleep(0.05)  # long enough for others to gather
        if any(o.campaign_id == "poison" for o in opportunities):
            raise RuntimeError("cannot decide for poison")
        return self._loop.decide_many(opportunities)


def test_requests_that_wait_are_decided_together_and_one_that_fails_takes_no_other_with_it(serve_home, cell):
    with serve_home(wrap=Poisoned) as api:
        barrier = threading.Barrier(12)

        def ask(i: int) -> int:
            barrier.wait()
            return api.client.post(
                "/v1/predict", json=cell | {"campaignId": "poison" if i == 3 else "fine"}
            ).status_code

        with ThreadPoolExecutor(12) as pool:
            statuses = list(pool.map(ask, range(12)))
        assert statuses == [503 if i == 3 else 200 for i in range(12)]
        assert max(api.loop.sizes) > 1


def test_a_request_is_refused_at_once_when_too_many_wait(api, cell):
    async def ask_three_times() -> list[object]:
        queue = DecisionQueue(Poisoned(api.loop), waiting=2)
        about = [api.loop.decision(api.predict().json()["decisionId"]).opportunity]
        first = asyncio.create_task(queue.decide(about))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # the first one is being decided now
        results = await asyncio.gather(first, *(queue.decide(about) for _ in range(3)), return_exceptions=True)
        queue.close()
        return results

    *answered, refused = asyncio.run(ask_three_times())
    assert [len(decided) for decided in answered] == [1, 1, 1]
    assert (refused.kind.status, refused.headers) == (503, {"Retry-After": "1"})


def test_a_database_that_fails_is_a_503_that_says_when_to_come_back_and_then_works_again(serve_home, tmp_path):
    with serve_home() as api:
        assert api.predict().status_code == 200
        with sqlite3.connect(tmp_path / "bidloop.db") as database:
            database.execute("ALTER TABLE decisions RENAME TO lost")
        database.close()
        for told in (api.predict(), api.client.get("/readyz")):
            assert (told.status_code, told.headers["Retry-After"]) == (503, "5")
            assert told.headers["Content-Type"] == "application/problem+json"
            assert told.json()["type"] == "/docs#unavailable"
        assert api.client.get("/healthz").status_code == 200
        with sqlite3.connect(tmp_path / "bidloop.db") as database:
            database.execute("ALTER TABLE lost RENAME TO decisions")
        database.close()
        assert api.predict().status_code == 200


def _rest(cell, metrics) -> bytes:
    rest = {name: value for name, value in cell.items() if name != "timeOfDay"} | {"historicalMetrics": metrics}
    return json.dumps(rest).encode()[1:]
