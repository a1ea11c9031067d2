"""Training on a small history: what is learned, what is held out, what is put on the shelf."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bidloop.app.settings import Settings
from bidloop.app.wiring import House, open_house
from bidloop.core.clock import ManualClock
from bidloop.core.errors import InsufficientData
from bidloop.core.event import ClickReceived, ConversionReported, Event, ImpressionServed
from bidloop.core.examples import Examples
from bidloop.core.feature_table import FeatureTable
from bidloop.core.money import Money
from bidloop.core.opportunity import Charge, Opportunity
from bidloop.features.views import campaign_view
from bidloop.outcomes.settings import OutcomeSettings
from bidloop.prediction.bundle import load_bundle
from bidloop.retraining.renewal import Renewal, _counted_well, renew
from bidloop.retraining.settings import RenewalSettings

START = datetime(2026, 3, 2, tzinfo=UTC)
DAYS, PER_DAY = 6, 400
NOW = START + timedelta(days=DAYS)
HELD_OUT = START + timedelta(days=4)


def a_log(*, priced: bool = False, late_clicks: float = 1.0) -> list[Event]:
    """Impressions of mobile, which is clicked, and desktop, which is not; a third of the clicks convert.

    `late_clicks` is the share of clicks that are kept in the days that are held out.
    """
    rng, events = np.random.default_rng(3), list[Event]()
    for n in range(DAYS * PER_DAY):
        at = START + timedelta(days=n / PER_DAY)
        device, keyword = ("mobile", "desktop")[rng.integers(2)], f"kw{rng.integers(6)}"
        clicked, converted, kept = rng.random(3)
        about = Opportunity(opportunity_id=f"i{n}", at=at, campaign_id="shoes", keyword=keyword, device=device)
        events.append(
            ImpressionServed(
                event_id=f"i{n}",
                at=at,
                impression_id=f"i{n}",
                opportunity=about,
                price=Money(int(rng.integers(500, 5000))) if priced else None,
            )
        )
        if clicked < (0.3 if device == "mobile" else 0.05) and (at < HELD_OUT or kept < late_clicks):
            events.append(ClickReceived(event_id=f"c{n}", at=at + timedelta(seconds=5), impression_id=f"i{n}"))
            if converted < 0.33:
                reported = at + timedelta(hours=2)
                events.append(
                    ConversionReported(event_id=f"v{n}", at=reported, impression_id=f"i{n}", value=Money.of(40))
                )
    return events


def a_house(home: Path, events: Sequence[Event], conversion_window_days: float = 1.0) -> House:
    settings = Settings(
        home=str(home),
        outcomes=OutcomeSettings(attribution_window_days=1.0, conversion_window_days=conversion_window_days),
    )
    house = open_house(settings, ManualClock(NOW))
    assert house.intake.accept(events).rejected == {}
    house.history.sync()
    return house


def train(house: House, *, now: datetime = NOW, **settings: Any) -> Renewal:
    given = {"kinds": ("constant", "logistic"), "minimum_rows": 100} | settings
    return renew(house.history, campaign_view(), house.shelf, RenewalSettings(**given), now=now)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return a_house(tmp_path_factory.mktemp("house"), a_log())


@pytest.fixture(scope="module")
def renewal(house: House) -> Renewal:
    return train(house)


def test_the_best_on_held_out_days_is_written_and_the_evidence_told(house: House, renewal: Renewal) -> None:
    assert renewal.winner == "logistic"
    assert set(renewal.clicks) == {"constant", "logistic"}
    assert renewal.clicks["logistic"].log_loss == min(quality.log_loss for quality in renewal.clicks.values())
    assert renewal.rows == {"fit": 3 * PER_DAY, "validation": PER_DAY, "held_out": 2 * PER_DAY}
    bundle = load_bundle(house.shelf.path(renewal.version))
    assert bundle.model.name == "logistic"
    assert bundle.view_version == campaign_view().version
    assert bundle.order_value is not None
    assert bundle.order_value.of("shoes") == Money.of(40)


def test_training_alone_changes_nothing_of_what_serves(house: House, renewal: Renewal) -> None:
    assert renewal.version
    assert house.shelf.champion() is None


def test_a_log_without_prices_gives_no_landscape(renewal: Renewal) -> None:
    assert not renewal.landscape


def test_prices_in_the_log_give_a_landscape(tmp_path: Path) -> None:
    per_mille = [
        msgspec.structs.replace(event, opportunity=msgspec.structs.replace(event.opportunity, charge=Charge.PER_MILLE))
        if isinstance(event, ImpressionServed) and event.opportunity is not None
        else event
        for event in a_log(priced=True)
    ]
    house = a_house(tmp_path, per_mille)
    renewal = train(house, kinds=("constant",))
    assert renewal.landscape
    landscape = load_bundle(house.shelf.path(renewal.version)).landscape
    assert landscape is not None
    assert 0.4 < landscape.lowest < landscape.highest < 6.0


def test_the_same_history_and_seed_give_the_same_model(house: House, renewal: Renewal) -> None:
    again = train(house)
    assert again.version == renewal.version
    assert again.clicks == renewal.clicks


def test_held_out_outcomes_judge_and_never_teach(house: House, renewal: Renewal, tmp_path: Path) -> None:
    other = a_house(tmp_path, a_log(late_clicks=0.6))
    judged = train(other)
    assert judged.clicks["logistic"].clicks < 0.75 * renewal.clicks["logistic"].clicks
    assert judged.winner == renewal.winner
    first, second = (
        load_bundle(of.shelf.path(version)) for of, version in ((house, renewal.version), (other, judged.version))
    )
    assert second.model.onnx == first.model.onnx
    assert second.model.encoding == first.model.encoding
    assert second.calibration == first.calibration


def test_conversions_are_judged_where_nothing_more_can_arrive(house: House, renewal: Renewal, tmp_path: Path) -> None:
    """Of the two held-out days, one is older than the conversion window."""
    outcomes = house.history.outcomes(as_of=NOW)
    held_out = outcomes.at >= np.datetime64(HELD_OUT.replace(tzinfo=None), "us")
    mature = held_out & outcomes.mature
    assert 0 < mature.sum() < held_out.sum()
    assert renewal.conversions["logistic"].impressions == outcomes.clicks[mature].sum()
    assert renewal.clicks["logistic"].impressions == outcomes.impressions[held_out].sum()
    nothing_mature = a_house(tmp_path, a_log(), conversion_window_days=30.0)
    assert train(nothing_mature, kinds=("constant",)).conversions == {}


def test_what_happened_later_than_now_is_not_known_yet(house: House) -> None:
    early = train(house, kinds=("constant",), now=HELD_OUT + timedelta(hours=1), held_out_days=1)
    assert early.rows["held_out"] < PER_DAY / 20
    assert sum(early.rows.values()) < 4.1 * PER_DAY


def test_progress_is_told_from_nothing_to_done(house: House) -> None:
    told: list[tuple[str, float]] = []
    settings = RenewalSettings(kinds=("constant",), minimum_rows=100)
    renew(house.history, campaign_view(), house.shelf, settings, now=NOW, on_progress=lambda *step: told.append(step))
    shares = [share for _, share in told]
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert shares == sorted(shares)
    assert "training constant" in [doing for doing, _ in told]


@pytest.mark.parametrize(
    ("settings", "found", "remedy"),
    [
        ({"minimum_rows": 100_000}, "2,400 rows of history", "renewal.minimum_rows"),
        ({"held_out_days": 9}, "no fit rows", "held_out_days"),
    ],
)
def test_too_little_history_is_refused_with_what_to_do_and_leaves_no_model(
    house: House, settings: dict[str, Any], found: str, remedy: str, tmp_path: Path
) -> None:
    shutil.copytree(house.home, tmp_path / "copy")
    copy = a_house(tmp_path / "copy", [])
    shutil.rmtree(copy.shelf.folder, ignore_errors=True)
    with pytest.raises(InsufficientData, match=found) as refused:
        train(copy, **settings)
    assert remedy in refused.value.remedy
    assert not copy.shelf.folder.exists()


def counted(weights: list[float], impressions: list[float] | None = None) -> Examples:
    n = len(weights)
    ones, zeros = np.ones(n), np.zeros(n)
    table = FeatureTable("view", {"cell_impressions": zeros}, {})
    shown = ones if impressions is None else np.array(impressions)
    return Examples(table, np.zeros(n, dtype="datetime64[us]"), shown, zeros, zeros, zeros, np.array(weights))


@pytest.mark.parametrize(
    ("weights", "known"),
    [
        ([1.0], True),
        ([292.0], False),
        ([292.0] * 4, False),
        ([292.0] * 5, True),
        ([1.0] * 3 + [292.0], False),
        ([1.0] * 600 + [292.0], True),
    ],
    ids=["unsampled", "one of 292", "four", "five", "a few clicks beside one", "hardly sampled"],
)
def test_a_cell_s_size_is_known_from_five_sampled_rows_on(weights: list[float], known: bool) -> None:
    where = np.zeros(len(weights), dtype=np.intp)
    assert _counted_well(where, counted(weights)).tolist() == [known] * len(weights)


def test_each_cell_is_counted_by_itself_and_clicks_alone_tell_no_size() -> None:
    where = np.array([0, 1, 1, 2] + [3] * 12)
    known = _counted_well(where, counted([1.0, 50.0, 50.0, 1.0] + [50.0] * 12))
    assert known.tolist() == [False, False, False, False] + [True] * 12


def test_intervals_are_measured_on_cells_whose_size_is_known(tmp_path: Path) -> None:
    """The same log, each row of it said to stand for 300: no cell and day has five of them, and nothing is measured."""
    sampled = [
        msgspec.structs.replace(event, weight=300.0) if isinstance(event, ImpressionServed) else event
        for event in a_log()
        if not isinstance(event, ImpressionServed) or int(event.impression_id[1:]) % 8 == 0
    ]
    kept = {event.impression_id for event in sampled if isinstance(event, ImpressionServed)}
    told = train(a_house(tmp_path, [event for event in sampled if event.impression_id in kept]), kinds=("constant",))
    assert told.coverage is None
