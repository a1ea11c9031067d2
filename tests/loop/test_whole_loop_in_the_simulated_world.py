"""From a past of flat bids to a day of bids under budgets, and the report that tells of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bidloop.app.demo import rehearse
from bidloop.app.report.content import Report
from bidloop.app.report.page import render
from bidloop.app.reporting import Played, compile_report
from bidloop.app.wiring import open_loop
from bidloop.core.decision import Decision
from bidloop.experiments.auctions import Objective
from bidloop.experiments.tally import Tally
from bidloop.loop import Loop
from bidloop.simulation.market import SimulatedMarket
from bidloop.simulation.run import run

DAY = range(6, 7)
SHARE = 0.25


@dataclass(frozen=True)
class Day:
    """A test day that was gone through."""

    loop: Loop
    market: SimulatedMarket
    tally: Tally
    decisions: list[Decision]


def bid_a_day(taught: Any, home: Path) -> Day:
    made: Iterator[int] = count()
    clock = taught.clock()
    loop = open_loop(taught.copy_to(home), clock, ids=lambda _: f"{next(made):032x}")
    market = SimulatedMarket(taught.world, DAY, budgets=taught.world.budgets(SHARE), underway=taught.past.underway)
    tally = run(loop, market, clock, minutes=60, objective=Objective.VALUE)
    return Day(loop, market, tally, loop.decisions.recent(100_000))


@pytest.fixture(scope="module")
def day(taught: Any, tmp_path_factory: pytest.TempPathFactory) -> Day:
    return bid_a_day(taught, tmp_path_factory.mktemp("day") / "home")


@pytest.fixture(scope="module")
def report(taught: Any, day: Day) -> Report:
    budgets = taught.world.budgets(SHARE)
    played = Played(
        loop=day.loop,
        renewal=taught.renewal,
        receipt=taught.receipt,
        market=day.market,
        rehearsal=rehearse(day.loop, SimulatedMarket(taught.world, range(4, 6), budgets=budgets)),
        budgets={name: budget.amount for name, budget in budgets.items()},
        goal=Objective.VALUE,
        timezone="UTC",
    )
    return compile_report(played, title="A small world", subtitle="One day", notes=("Seen once.",))


def test_all_of_the_past_is_taken_in(taught: Any) -> None:
    assert taught.receipt.accepted == len(taught.past.events)
    assert (taught.receipt.duplicates, taught.receipt.rejected) == (0, {})


def test_the_model_that_serves_beats_the_constant_rate_on_days_it_has_not_seen(taught: Any) -> None:
    clicks = {candidate.kind: candidate.clicks for candidate in taught.renewal.candidates}
    assert taught.renewal.winner == "logistic"
    assert clicks["logistic"].log_loss < 0.97 * clicks["constant"].log_loss
    assert clicks["logistic"].auc > 0.62
    assert 0.7 < clicks["logistic"].calibration_ratio < 1.4, "117 clicks, of weekdays unlike the ones before"
    assert taught.renewal.best.conversions.clicks > 10
    assert taught.renewal.best.conversions.calibration_ratio == pytest.approx(1.0, abs=0.6)


def test_the_intervals_cover_about_as_often_as_they_say(taught: Any) -> None:
    coverage = taught.renewal.coverage
    assert coverage.level == 0.95
    assert coverage.cells > 100
    assert 0.88 < coverage.covered <= 1.0
    assert coverage.width < 0.6, "an interval from 0 to 1 would cover as well"


def test_predictions_tell_the_true_rates_apart(taught: Any, day: Day) -> None:
    decided = sorted(day.decisions, key=lambda decision: decision.opportunity.opportunity_id)
    predicted = np.array([decision.prediction.ctr for decision in decided])
    true = taught.world.true_ctr([decision.opportunity for decision in decided])
    assert np.corrcoef(np.log(predicted), np.log(true))[0, 1] > 0.6
    assert predicted.mean() == pytest.approx(true.mean(), rel=0.4), "a Sunday, the first that the model meets"


def test_every_opportunity_gets_one_decision_with_a_propensity_that_learning_can_divide_by(day: Day) -> None:
    auctions = day.market.auctions()
    assert len(day.decisions) == len(auctions) == len({decision.decision_id for decision in day.decisions})
    assert all(0 < decision.propensity <= 1 for decision in day.decisions)
    assert any(decision.propensity < 0.1 for decision in day.decisions), "some bids are tried out"
    told = {reason for decision in day.decisions for reason in decision.degraded}
    assert told == {"conversion_interval_not_calibrated"}, "too few keys have had a click"


def test_no_budget_is_overspent_and_all_are_put_to_use(taught: Any, day: Day) -> None:
    campaign = day.market.auctions().campaign
    for name, budget in taught.world.budgets(SHARE).items():
        spent = day.market.spend[campaign == name].sum()
        assert 0.5 * budget.amount < spent <= budget.amount + 1e-9
        assert day.loop.pacer.spent(name, day.market.start).amount == pytest.approx(spent, rel=1e-4)


def test_the_same_seed_gives_the_same_tally_and_the_same_decisions(taught: Any, day: Day, tmp_path: Path) -> None:
    again = bid_a_day(taught, tmp_path / "home")
    assert again.tally == day.tally
    assert [d.bid for d in again.decisions] == [d.bid for d in day.decisions]


def test_the_report_compares_ours_with_the_others_on_the_same_auctions(day: Day, report: Report) -> None:
    rows = {row.policy: row for row in report.policies}
    assert list(rows) == ["constant bid", "best linear bid", "mcpc", "ours", "hindsight optimum", "all-knowing"]
    ours = rows["ours"]
    assert (ours.impressions, ours.clicks, ours.conversions) == (
        day.tally.impressions,
        day.tally.clicks,
        day.tally.conversions,
    )
    assert ours.spend == pytest.approx(day.tally.spend)
    assert all(row.budget_used is not None and 0 < row.budget_used <= 1 + 1e-9 for row in report.policies)
    assert rows["all-knowing"].value == max(row.value or 0.0 for row in report.policies)


def test_the_report_tells_how_far_to_believe_it_and_renders(taught: Any, report: Report) -> None:
    assert report.measured_coverage == taught.renewal.coverage.covered
    assert [row.model for row in report.models if row.serves] == ["logistic"]
    assert report.intake["accepted"] == taught.receipt.accepted
    assert report.leans_on
    assert report.decisions
    for curves in (report.spend, report.clicks, report.value):
        assert {curve.name for curve in curves} == {row.policy for row in report.policies} - {"all-knowing"}
        assert all(len(curve.x) == len(curve.y) and sorted(curve.y) == list(curve.y) for curve in curves)
    for curve in report.landscape:
        assert all(0 <= chance <= 1 for chance in curve.y)
        assert sorted(curve.y) == list(curve.y)
    page = render(report)
    assert "A small world" in page
    assert "Seen once." in page
