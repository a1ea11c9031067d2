"""A campaign's morning: the multiplier and the shape of spend that its last days ask for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from bidloop.bidding.pacing.pacer import Pacer
from bidloop.bidding.pacing.traffic import TrafficShape
from bidloop.bidding.settings import BiddingSettings, Objective
from bidloop.core.clock import ManualClock
from bidloop.core.feature_table import FeatureTable
from bidloop.core.landscape import Landscape
from bidloop.core.opportunity import Charge, Opportunity
from bidloop.core.outcome import BidOutcomes, Observations
from bidloop.core.prediction import Interval, Prediction
from bidloop.features.views import campaign_view
from bidloop.outcomes.increments import Increments
from bidloop.prediction.predictor import Predictor
from bidloop.retraining.warm_start import ENOUGH, warm_start

NOW = datetime(2026, 1, 12, tzinfo=UTC)
GRID = np.linspace(0, 4, 81)


class Market(Predictor):
    """Knows that every impression has a CTR of 0.1 % and that prices are twice as high from noon on."""

    def predict(self, opportunities: Sequence[Opportunity], table: FeatureTable) -> list[Prediction]:
        rates = Prediction(
            ctr=0.001,
            conversion_rate=0.1,
            ctr_interval=Interval(0.0, 1.0, 0.95),
            order_value=None,
            model_version="m",
            support=1.0,
        )
        return [rates] * len(opportunities)

    def landscapes(self, opportunities: Sequence[Opportunity], table: FeatureTable) -> list[Landscape | None]:
        cheap, dear = (Landscape(GRID, np.minimum(1.0, GRID / top), 0.0, 4.0) for top in (1.0, 2.0))
        return [dear if opportunity.at.hour >= 12 else cheap for opportunity in opportunities]


class Week:
    """One bid a minute for a week, as a history tells them."""

    def __init__(self, every: int = 1) -> None:
        at = [NOW - timedelta(days=7) + timedelta(minutes=m) for m in range(0, 7 * 24 * 60, every)]
        n = len(at)
        self.all = BidOutcomes(
            np.array([moment.replace(tzinfo=None) for moment in at], dtype="datetime64[us]"),
            [
                Opportunity(opportunity_id=str(i), at=a, campaign_id="brand", charge=Charge.PER_MILLE)
                for i, a in enumerate(at)
            ],
            np.full(n, np.nan),
            np.ones(n, dtype=bool),
            np.full(n, 0.5),
            np.full(n, 1000.0),
        )

    def observations(self) -> Observations:
        return Increments().observations()

    def bids(self, start: datetime, end: datetime) -> BidOutcomes:
        low, high = (np.datetime64(at.replace(tzinfo=None), "us") for at in (start, end))
        return self.all.take(np.flatnonzero((self.all.at >= low) & (self.all.at < high)))


class Remembering(Pacer):
    """A pacer that tells what it was started with."""

    def __init__(self, settings: BiddingSettings) -> None:
        super().__init__(settings)
        self.started: dict[str, tuple[float, TrafficShape | None]] = {}

    def start(self, campaign_id: str, multiplier: float, traffic: TrafficShape | None = None) -> None:
        self.started[campaign_id] = multiplier, traffic
        super().start(campaign_id, multiplier, traffic)


def started(week: Week, budget: float | None = 100.0) -> dict[str, tuple[float, TrafficShape | None]]:
    settings = BiddingSettings(objective=Objective.MAXIMIZE_CLICKS, click_value=1.0, daily_budget=budget)
    pacer = Remembering(settings)
    told = warm_start(pacer, settings, Market(), campaign_view(), week, ManualClock(NOW))  # type: ignore[arg-type]
    assert told == {campaign: multiplier for campaign, (multiplier, _) in pacer.started.items()}
    return pacer.started


def test_the_multiplier_is_the_one_that_would_have_spent_a_days_budget() -> None:
    # A bid of m costs m²/2 in the morning and m²/4 later: 720 m²/2 + 720 m²/4 = 540 m² for the 1440 thousands of a day.
    multiplier, _ = started(Week())["brand"]
    assert multiplier == pytest.approx((100 / 540) ** 0.5, rel=0.02)


def test_the_shape_is_that_of_spend_and_not_of_traffic() -> None:
    _, shape = started(Week())["brand"]
    assert shape is not None
    assert shape.elapsed(NOW + timedelta(hours=12)) == pytest.approx(2 / 3, abs=0.02)


def test_a_campaign_of_few_bids_keeps_the_accounts_shape() -> None:
    multiplier, shape = started(Week(every=7 * 24 * 60 // ENOUGH + 1), budget=3.0)["brand"]
    assert 0 < multiplier < 1
    assert shape is None


def test_without_a_budget_nothing_is_started() -> None:
    assert started(Week(), budget=None) == {}
