"""What intervals are learned from and measured on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from bidloop.app.settings import Settings
from bidloop.app.wiring import open_house
from bidloop.core.clock import ManualClock
from bidloop.core.event import ClickReceived, ConversionReported, Event, ImpressionServed
from bidloop.core.opportunity import Opportunity
from bidloop.features.views import campaign_view
from bidloop.outcomes.settings import OutcomeSettings
from bidloop.prediction.bundle import load_bundle
from bidloop.retraining.renewal import renew
from bidloop.retraining.settings import RenewalSettings
from bidloop.retraining.training_set import read_training_set

START = datetime(2026, 3, 2, tzinfo=UTC)
DAYS, VALIDATED, JUDGED = 10, 6, 2
KEYWORDS, PER_DAY = 11, 500


def a_log() -> list[Event]:
    """Single impressions of some keywords, half of which are clicked, and a third of the clicks convert."""
    rng, events = np.random.default_rng(3), list[Event]()
    for n in range(DAYS * PER_DAY):
        at = START + timedelta(days=n / PER_DAY)
        about = Opportunity(opportunity_id=f"i{n}", at=at, campaign_id="shoes", keyword=f"kw{rng.integers(KEYWORDS)}")
        events.append(ImpressionServed(event_id=f"i{n}", at=at, impression_id=f"i{n}", opportunity=about))
        if rng.random() < 0.5:
            events.append(ClickReceived(event_id=f"c{n}", at=at + timedelta(seconds=5), impression_id=f"i{n}"))
            if rng.random() < 0.33:
                reported = at + timedelta(minutes=2)
                events.append(ConversionReported(event_id=f"v{n}", at=reported, impression_id=f"i{n}"))
    return events


def test_intervals_are_learned_by_key_and_day_and_those_of_conversions_measured_by_key(tmp_path: Path) -> None:
    outcomes = OutcomeSettings(attribution_window_days=1.0, conversion_window_days=1.0)
    now = START + timedelta(days=DAYS)
    house = open_house(Settings(home=str(tmp_path), outcomes=outcomes), ManualClock(now))
    assert house.intake.accept(a_log()).rejected == {}
    house.history.sync()
    settings = RenewalSettings(kinds=("constant",), held_out_days=JUDGED, validation_days=VALIDATED, minimum_rows=100)
    view = campaign_view()
    data = read_training_set(house.history, view, settings, now=now, window_days=1.0)
    renewal = renew(data, house.history, view, house.shelf, settings, now=now)
    bundle = load_bundle(house.shelf.path(renewal.version))
    assert bundle.conversion_intervals is not None
    assert renewal.conversion_coverage is not None
    assert bundle.intervals is not None
    assert renewal.coverage is not None
    for model in (bundle.intervals, bundle.conversion_intervals):
        assert sum(tier.cells for tier in model.tiers) == KEYWORDS * VALIDATED
    assert renewal.coverage.cells == KEYWORDS * JUDGED
    assert renewal.conversion_coverage.cells == KEYWORDS, "one day of a key has too few clicks to tell anything"
