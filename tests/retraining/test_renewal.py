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
from bidloop.core.errors import Diverged, InsufficientData
from bidloop.core.event import ClickReceived, ConversionReported, Event, ImpressionServed
from bidloop.core.money import Money
from bidloop.core.opportunity import Charge, Opportunity
from bidloop.core.outcome import Outcomes
from bidloop.features.views import campaign_view
from bidloop.outcomes.delay import DelayModel
from bidloop.outcomes.settings import OutcomeSettings
from bidloop.prediction.bundle import load_bundle
from bidloop.prediction.reliability import TIER
from bidloop.retraining.evidence import Renewal
from bidloop.retraining.renewal import _order_value, renew
from bidloop.retraining.settings import RenewalSettings
from bidloop.retraining.training_set import read_training_set

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
    chosen = RenewalSettings(**given)
    window = house.settings.outcomes.conversion_window_days
    data = read_training_set(house.history, campaign_view(), chosen, now=now, window_days=window)
    return renew(data, house.history, campaign_view(), house.shelf, chosen, now=now)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return a_house(tmp_path_factory.mktemp("house"), a_log())


@pytest.fixture(scope="module")
def renewal(house: House) -> Renewal:
    return train(house)


def test_the_best_on_held_out_days_is_written_and_the_evidence_told(house: House, renewal: Renewal) -> None:
    assert renewal.winner == "logistic"
    assert [candidate.kind for candidate in renewal.candidates] == ["logistic", "constant"]
    assert renewal.best.clicks.log_loss < renewal.candidates[1].clicks.log_loss
    assert renewal.data.rows == {"fit": 3 * PER_DAY, "validation": PER_DAY, "held_out": 2 * PER_DAY}
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
    assert again.data == renewal.data
    assert [candidate.clicks for candidate in again.candidates] == [one.clicks for one in renewal.candidates]


def test_held_out_outcomes_judge_and_never_teach(house: House, renewal: Renewal, tmp_path: Path) -> None:
    other = a_house(tmp_path, a_log(late_clicks=0.6))
    judged = train(other)
    assert judged.best.clicks.clicks < 0.75 * renewal.best.clicks.clicks
    assert judged.winner == renewal.winner
    first, second = (
        load_bundle(of.shelf.path(version)) for of, version in ((house, renewal.version), (other, judged.version))
    )
    assert second.model.onnx == first.model.onnx
    assert second.model.encoding == first.model.encoding
    assert second.calibration == first.calibration


def test_how_far_a_candidate_is_behind_is_told_on_the_same_resamples(renewal: Renewal) -> None:
    best, constant = renewal.candidates
    assert best.behind is None
    assert constant.behind is not None
    gap = constant.clicks.log_loss - best.clicks.log_loss
    assert 0 < constant.behind.lower < gap < constant.behind.upper
    assert constant.seconds >= 0


def test_reliability_is_told_by_traffic_tier_and_by_field(renewal: Renewal) -> None:
    by_field = renewal.best.clicks.by_field
    assert set(by_field["device"]) == {"mobile", "desktop"}
    assert set(by_field[TIER]) == {"head"}
    assert sum(group.clicks for group in by_field["device"].values()) == renewal.best.clicks.clicks
    assert renewal.best.conversions is not None
    assert set(renewal.best.conversions.by_field["device"]) == {"mobile", "desktop"}


def late(hours: float) -> list[Event]:
    """The same log, each conversion reported after an exponential delay of so many hours on average."""
    rng = np.random.default_rng(11)
    moved = [
        msgspec.structs.replace(event, at=event.at + timedelta(hours=float(rng.exponential(hours))))
        if isinstance(event, ConversionReported)
        else event
        for event in a_log()
    ]
    return [event for event in moved if event.at < NOW]


def test_conversions_that_are_still_to_come_are_counted_in(tmp_path: Path) -> None:
    """The model says what share of the clicks will convert in the end, though of the last days most is not reported yet."""
    clicked = [event for event in a_log() if isinstance(event, ClickReceived) and event.at < HELD_OUT]
    converts = {event.impression_id for event in a_log() if isinstance(event, ConversionReported)}
    truth = sum(event.impression_id in converts for event in clicked) / len(clicked)
    house = a_house(tmp_path, late(24.0), conversion_window_days=30.0)
    told = train(house, kinds=("constant",))
    assert told.delays is not None
    assert told.delays.mean_delay() == pytest.approx(24 * 3600, rel=0.25)
    bundle = load_bundle(house.shelf.path(told.version))
    assert 1 / (1 + np.exp(-bundle.model.parameters["conversion"])) == pytest.approx(truth, rel=0.1)
    outcomes = house.history.outcomes(as_of=HELD_OUT)
    assert outcomes.conversions.sum() / outcomes.clicks.sum() < 0.8 * truth
    assert msgspec.convert(bundle.delays, DelayModel, strict=False) == told.delays


def test_conversions_are_judged_by_what_is_reported_by_now(tmp_path: Path) -> None:
    """The younger half of the held-out clicks has had a day: less is expected of it than will come in the end."""
    house = a_house(tmp_path, late(24.0), conversion_window_days=30.0)
    quality = train(house, kinds=("constant",)).best.conversions
    assert quality is not None
    rate = 1 / (1 + np.exp(-load_bundle(house.shelf.path(house.shelf.versions()[0])).model.parameters["conversion"]))
    expected = sum(point.predicted * point.impressions for point in quality.curve)
    assert 0.4 < expected / (rate * quality.impressions) < 0.8


def test_without_a_conversion_nothing_is_said_of_them(tmp_path: Path) -> None:
    silent = train(
        a_house(tmp_path, [e for e in a_log() if not isinstance(e, ConversionReported)]), kinds=("constant",)
    )
    assert silent.best.conversions is None
    assert silent.delays is None
    assert silent.conversion_coverage is None


def test_what_happened_later_than_now_is_not_known_yet(house: House) -> None:
    early = train(house, kinds=("constant",), now=HELD_OUT + timedelta(hours=1), held_out_days=1)
    assert early.data.rows["held_out"] < PER_DAY / 20
    assert sum(early.data.rows.values()) < 4.1 * PER_DAY


def test_progress_is_told_from_nothing_to_done(house: House) -> None:
    told: list[tuple[str, float]] = []
    settings = RenewalSettings(kinds=("constant",), minimum_rows=100)
    data = read_training_set(house.history, campaign_view(), settings, now=NOW, window_days=1.0)
    renew(
        data,
        house.history,
        campaign_view(),
        house.shelf,
        settings,
        now=NOW,
        on_progress=lambda *step: told.append(step),
    )
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


def test_a_log_that_has_ended_gives_the_same_training_set_whenever_it_is_read(tmp_path: Path) -> None:
    """Time that passed after its last event is not time that conversions have had: nobody has told of it yet."""
    house = a_house(tmp_path, late(24.0), conversion_window_days=30.0)
    sets = [
        read_training_set(
            house.history,
            campaign_view(),
            RenewalSettings(minimum_rows=100),
            now=NOW + timedelta(days=days),
            window_days=30,
        )
        for days in (0, 4)
    ]
    assert sets[0].described == sets[1].described
    assert sets[0].described.as_of <= NOW
    maturity = [data.examples.maturity for data in sets]
    np.testing.assert_array_equal(maturity[0], maturity[1])


def sold(value: list[float], valued: list[float] | None) -> Outcomes:
    n = len(value)
    at, one = np.full(n, np.datetime64(START.replace(tzinfo=None), "us")), np.ones(n)
    shown = [Opportunity(opportunity_id=str(i), at=START, campaign_id="shoes") for i in range(n)]
    names = np.array([str(i) for i in range(n)], dtype=object)
    told = None if valued is None else np.array(valued)
    return Outcomes(names, shown, at, one, one, one, np.array(value), one, one, one > 0, told)


def test_conversions_told_to_be_worth_nothing_count_and_those_of_untold_value_do_not() -> None:
    value, told = [50.0, 0.0, 0.0, 0.0, 0.0] * 200, [1.0] * 1000
    worth = _order_value(sold(value, told))
    assert worth is not None
    assert worth.of("shoes").amount == pytest.approx(10, rel=0.02)
    assert worth.orders == 1000
    half = _order_value(sold(value, [1.0, 1.0, 0.0, 0.0, 0.0] * 200))
    assert half is not None
    assert half.of("shoes").amount == pytest.approx(25, rel=0.02)


def test_where_no_conversion_is_worth_anything_values_are_not_kept_track_of() -> None:
    assert _order_value(sold([0.0] * 50, [1.0] * 50)) is None
    assert _order_value(sold([0.0] * 50, None)) is None
    assert _order_value(sold([0.0] * 50, [0.0] * 50)) is None


def test_a_kind_that_cannot_be_trained_costs_the_others_nothing_and_is_told_of(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverges(*_: Any, **__: Any) -> Any:
        raise Diverged("log odds that are no numbers")

    monkeypatch.setattr("bidloop.models.kinds.fit_trees", diverges)
    told = train(house, kinds=("constant", "trees"))
    assert told.winner == "constant"
    assert list(told.failed) == ["trees"]
    assert "no numbers" in told.failed["trees"]
