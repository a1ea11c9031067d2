from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from bidloop.core.errors import ConfigurationError, CorruptArtifact
from bidloop.core.feature_table import FeatureTable
from bidloop.core.money import Money
from bidloop.core.opportunity import Charge, History
from bidloop.core.prediction import POOLED, Prediction
from bidloop.prediction.bundle import Bundle, load_bundle, write_bundle
from bidloop.prediction.calibration import Calibration, Calibrations
from bidloop.prediction.confidence import confidence
from bidloop.prediction.intervals import IntervalModel, Spread, Tier
from bidloop.prediction.order_value import OrderValue
from bidloop.prediction.predictor import Predictor
from bidloop.prediction.scoring import Scorer
from bidloop.prediction.settings import PredictionSettings

INTERVALS = IntervalModel(
    level=0.95, reference=0.02, elasticity=0, tiers=(Tier(0, 500, 0.002, 0.025, 0.025, 500),), measured_coverage=0.948
)
SPREAD = Spread(unknown=0.5, learning=0.7, floor=0.1, cells=400, measured_coverage=0.951)
BOTH = msgspec.structs.replace(INTERVALS, spread=SPREAD)
OF_CONVERSIONS = msgspec.structs.replace(BOTH, spread=msgspec.structs.replace(SPREAD, measured_coverage=0.947))
VALUES = OrderValue(pooled=20.0, by_campaign={"shoes": 60.0}, currency="USD", orders=100.0, strength=5.0)


def test_a_prediction_holds_calibrated_rates_a_measured_interval_and_the_order_value(
    small: Any, bundle_of: Callable[..., Bundle]
) -> None:
    calibration = Calibrations(
        click=Calibration(kind="shift", parameters=(0.4,)), conversion=Calibration(kind="platt", parameters=(1.1, 0.2))
    )
    bundle = bundle_of(calibration=calibration, intervals=BOTH, conversion_intervals=OF_CONVERSIONS, order_value=VALUES)
    table = small.table(12)
    predictions = Predictor(bundle).predict(small.opportunities(12), table)
    logits = Scorer(bundle.model.onnx, bundle.model.encoding).logits(table).astype(float)
    assert [p.ctr for p in predictions] == pytest.approx(expit(logits[:, 0] + 0.4))
    assert [p.conversion_rate for p in predictions] == pytest.approx(expit(1.1 * logits[:, 1] + 0.2))
    for prediction, support in zip(predictions, table.numeric["cell_impressions"], strict=True):
        assert prediction.degraded == ()
        assert prediction.model_version == bundle.version
        assert prediction.support == support
        assert prediction.order_value == Money.of(60, "USD")
        assert 0 <= prediction.ctr_interval.lower < prediction.ctr < prediction.ctr_interval.upper <= 1
        assert (prediction.ctr_interval.level, prediction.ctr_interval.measured_coverage) == (0.95, 0.948)


def test_true_rates_have_intervals_of_their_own_with_what_was_measured_of_them(
    small: Any, bundle_of: Callable[..., Bundle]
) -> None:
    predictor = Predictor(bundle_of(intervals=BOTH, conversion_intervals=OF_CONVERSIONS))
    for prediction in predictor.predict(small.opportunities(20), small.table(20)):
        true_ctr, true_rate = prediction.ctr_credible_interval, prediction.conversion_rate_interval
        assert true_ctr is not None
        assert true_rate is not None
        lower, upper = SPREAD.bounds([prediction.ctr], [prediction.support], level=0.95)
        assert (true_ctr.lower, true_ctr.upper) == (lower[0], upper[0])
        assert (true_ctr.level, true_ctr.measured_coverage, true_rate.measured_coverage) == (0.95, 0.951, 0.947)
        past_clicks = prediction.support * prediction.ctr
        lower, upper = SPREAD.bounds([prediction.conversion_rate], [past_clicks], level=0.95)
        assert (true_rate.lower, true_rate.upper) == (lower[0], upper[0])
        assert 0 < prediction.confidence < 1


def test_confidence_is_less_without_a_model_and_none_where_nothing_is_known(
    small: Any, bundle_of: Callable[..., Bundle]
) -> None:
    table, asked = small.table(20), small.opportunities(20)
    served = Predictor(bundle_of(intervals=BOTH)).predict(asked, table)
    pooled = Predictor(None).predict(asked, table)
    assert all(0 < one.confidence < 0.5 for one in pooled)
    assert np.mean([one.confidence for one in served]) > np.mean([one.confidence for one in pooled])
    [nothing] = Predictor(None).predict(small.opportunities(), small.unknown())
    assert nothing.confidence == 0
    [new] = Predictor(bundle_of(intervals=BOTH)).predict(small.opportunities(), small.unknown())
    assert 0 < new.confidence < 0.3, "a new cell, of which the model knows what it has seen of others"


def test_without_a_spread_the_true_rates_have_plain_intervals_that_nobody_measured_and_the_answer_says_so(
    small: Any, bundle_of: Callable[..., Bundle]
) -> None:
    [prediction] = Predictor(bundle_of(intervals=INTERVALS)).predict(small.opportunities(), small.table())
    assert prediction.degraded == ("credible_interval_not_calibrated", "conversion_interval_not_calibrated")
    [better] = Predictor(bundle_of(intervals=BOTH)).predict(small.opportunities(), small.table())
    assert better.degraded == ("conversion_interval_not_calibrated",)
    none = confidence(
        [prediction.ctr],
        [prediction.ctr_credible_interval.lower],
        [prediction.ctr_credible_interval.upper],
        [prediction.support * prediction.ctr],
        True,
    )
    assert prediction.confidence == none[0], "half is left of it, though the interval of the rate to come was measured"
    for interval, rate in (
        (prediction.ctr_credible_interval, prediction.ctr),
        (prediction.conversion_rate_interval, prediction.conversion_rate),
    ):
        assert interval is not None
        assert interval.lower < rate < interval.upper
        assert interval.measured_coverage is None


def test_all_intervals_of_an_answer_are_of_the_models_level(small: Any, bundle_of: Callable[..., Bundle]) -> None:
    for models in ({"intervals": INTERVALS}, {"intervals": BOTH}, {"conversion_intervals": OF_CONVERSIONS}):
        at_80 = {name: msgspec.structs.replace(model, level=0.8) for name, model in models.items()}
        [narrow] = Predictor(bundle_of(**at_80)).predict(small.opportunities(), small.table())
        [wide] = Predictor(bundle_of(**models)).predict(small.opportunities(), small.table())
        assert narrow.ctr_interval.level == 0.8
        for name in ("ctr_credible_interval", "conversion_rate_interval"):
            assert getattr(narrow, name).level == 0.8
            assert getattr(narrow, name).upper < getattr(wide, name).upper


def test_a_prediction_recorded_before_there_were_such_intervals_can_be_read(
    small: Any, bundle_of: Callable[..., Bundle]
) -> None:
    [prediction] = Predictor(bundle_of(intervals=BOTH)).predict(small.opportunities(), small.table())
    plain = msgspec.to_builtins(prediction)
    for name in ("ctr_credible_interval", "conversion_rate_interval", "confidence"):
        del plain[name]
    older = msgspec.convert(plain, Prediction)
    assert (older.ctr_credible_interval, older.conversion_rate_interval, older.confidence) == (None, None, 0.0)
    assert older.ctr_interval == prediction.ctr_interval


def test_without_a_model_pooled_rates_answer_and_say_so(small: Any) -> None:
    predictor = Predictor(None)
    table = small.table(20)
    for i, prediction in enumerate(predictor.predict(small.opportunities(20), table)):
        cell = table.numeric["cell_ctr"][i]
        assert prediction.ctr == pytest.approx(0.02 if np.isnan(cell) else cell), "the cell's rate, or the account's"
        assert prediction.degraded == ("no_model", "interval_not_calibrated")
        assert prediction.model_version == POOLED == predictor.version
        assert prediction.ctr_interval.lower <= prediction.ctr <= prediction.ctr_interval.upper
        assert prediction.ctr_interval.measured_coverage is None
        assert prediction.order_value is None


def test_the_callers_own_history_answers_where_nothing_else_is_known(small: Any) -> None:
    history = History(ctr=0.08, conversion_rate=0.5, spend=Money.of(9), impressions=10_000, clicks=800)
    [prediction] = Predictor(None).predict(small.opportunities(history=history), small.unknown())
    assert prediction.ctr == pytest.approx(0.08, rel=0.03)
    assert prediction.conversion_rate == pytest.approx(0.5, rel=0.15)
    assert prediction.support == 10_000
    assert prediction.degraded == ("no_model", "interval_not_calibrated")
    few = History(ctr=1.0, conversion_rate=1.0, spend=Money.of(9), impressions=2, clicks=2)
    [cautious] = Predictor(None).predict(small.opportunities(history=few), small.unknown())
    assert cautious.ctr < 0.03, "two clicks of two impressions are no click rate of 100 %"


def test_where_nothing_is_known_the_stated_prior_answers_with_no_history(small: Any) -> None:
    predictor = Predictor(None, PredictionSettings(prior_ctr=0.004, prior_conversion_rate=0.03))
    [prediction] = predictor.predict(small.opportunities(), small.unknown())
    assert (prediction.ctr, prediction.conversion_rate, prediction.support) == (0.004, 0.03, 0.0)
    assert prediction.degraded == ("no_model", "no_history", "interval_not_calibrated")
    assert prediction.ctr_interval.upper - prediction.ctr_interval.lower > 0.004, "a weak prior has a wide interval"


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -1.0, 7.0])
def test_a_history_that_makes_no_sense_is_not_believed(small: Any, rate: float) -> None:
    history = History(ctr=rate, conversion_rate=rate, spend=Money.of(9), impressions=100, clicks=10)
    [prediction] = Predictor(None).predict(small.opportunities(history=history), small.unknown())
    assert prediction.ctr == 0.01
    assert "no_history" in prediction.degraded


def test_features_of_another_view_get_pooled_rates(small: Any, bundle_of: Callable[..., Bundle]) -> None:
    predictor = Predictor(bundle_of(intervals=INTERVALS))
    table = small.table(3, view="ffffffffffff")
    for prediction in predictor.predict(small.opportunities(3), table):
        assert prediction.degraded[0] == "view_mismatch"
        assert prediction.ctr_interval.measured_coverage is None, "the measured coverage was the model's"
    assert predictor.landscapes(small.opportunities(3), table) == [None] * 3
    assert predictor.attributions(table.take(slice(0, 1))) == []


def test_a_column_that_is_missing_gets_pooled_rates_and_not_an_exception(
    small: Any, bundle_of: Callable[..., Bundle], caplog: pytest.LogCaptureFixture
) -> None:
    full = small.table(2)
    table = FeatureTable(small.view, {"account_ctr": full.numeric["account_ctr"]}, full.categorical)
    predictor = Predictor(bundle_of())
    assert [p.degraded[0] for p in predictor.predict(small.opportunities(2), table)] == ["scoring_failed"] * 2
    assert predictor.landscapes(small.opportunities(2), table) == [None, None]
    assert "failed" in caplog.text


def test_a_model_that_gives_no_number_for_a_row_gets_pooled_rates_for_that_row(
    small: Any, bundle_of: Callable[..., Bundle]
) -> None:
    bundle = bundle_of(model=small.model(bias=(float("nan"), -3.0)), intervals=INTERVALS)
    table = small.table(4)
    for prediction in Predictor(bundle).predict(small.opportunities(4), table):
        assert np.isfinite(prediction.ctr)
        assert prediction.degraded == ("scoring_failed", "interval_not_calibrated")


def test_order_values_of_another_currency_are_not_passed_on(small: Any, bundle_of: Callable[..., Bundle]) -> None:
    predictor = Predictor(bundle_of(intervals=BOTH, conversion_intervals=OF_CONVERSIONS, order_value=VALUES))
    [prediction] = predictor.predict(small.opportunities(currency="CNY"), small.table())
    assert prediction.order_value is None
    assert prediction.degraded == ("order_value_in_other_currency",)


def test_a_landscape_rises_over_a_grid_around_the_bids_of_training(
    small: Any, bundle_of: Callable[..., Bundle]
) -> None:
    drawn = Predictor(bundle_of()).landscapes(small.opportunities(5), small.table(5))
    for landscape in drawn:
        assert landscape is not None
        assert len(landscape.bids) == 48
        assert landscape.bids[0] == pytest.approx(0.1)
        assert landscape.bids[-1] == pytest.approx(6.0)
        assert (np.diff(landscape.bids) > 0).all()
        assert (np.diff(landscape.win_probability) >= 0).all()
        assert landscape.win_probability[0] >= 0
        assert landscape.win_probability[-1] <= 1
        assert landscape.extrapolates(0.3)
        assert not landscape.extrapolates(1.0)


def test_a_landscape_that_would_fall_is_held_level(small: Any, bundle_of: Callable[..., Bundle]) -> None:
    [landscape] = Predictor(bundle_of(landscape=small.landscape(slope=-2.0))).landscapes(
        small.opportunities(), small.table()
    )
    assert landscape is not None
    assert np.ptp(landscape.win_probability) == 0


def test_a_landscape_of_prices_per_click_says_nothing_about_bids_per_mille(
    small: Any, bundle_of: Callable[..., Bundle]
) -> None:
    clicks = small.opportunities(2)
    mixed = [clicks[0], msgspec.structs.replace(clicks[1], charge=Charge.PER_MILLE)]
    landscapes = Predictor(bundle_of()).landscapes(mixed, small.table(2))
    assert [landscape is None for landscape in landscapes] == [False, True]


def test_without_a_landscape_there_is_none(small: Any, bundle_of: Callable[..., Bundle]) -> None:
    assert Predictor(bundle_of(landscape=None)).landscapes(small.opportunities(2), small.table(2)) == [None, None]
    assert Predictor(None).landscapes(small.opportunities(2), small.table(2)) == [None, None]


def test_attributions_are_what_each_feature_moves_in_the_log_odds(small: Any, bundle_of: Callable[..., Bundle]) -> None:
    bundle = bundle_of(calibration=Calibrations(click=Calibration(kind="temperature", parameters=(2.0,))))
    numeric = {"cell_ctr": 0.05, "cell_impressions": 3000.0, "hour_sin": 0.6, "hour_cos": 0.8}
    table = FeatureTable(
        small.view,
        {name: np.array([value]) for name, value in numeric.items()},
        {"campaign_id": np.array(["shoes"], dtype=object), "hour": np.array(["9"], dtype=object)},
    )
    found = {a.feature: a for a in Predictor(bundle).attributions(table, top=10)}
    assert set(found) == {"cell_ctr", "cell_impressions", "campaign_id", "hour"}, (
        "sine, cosine and category are one hour"
    )
    # Weights 1.0 and 0.1 times 0.3, calibrated by 2; cell_ctr stands 3 scales above what fills a missing one.
    assert found["cell_ctr"].log_odds == pytest.approx(2 * 0.3 * 3, abs=1e-5)
    assert found["cell_impressions"].log_odds == pytest.approx(2 * 0.03 * 3, abs=1e-5)
    assert found["cell_ctr"].value == "0.05"
    assert found["hour"].value == "9"
    strongest = Predictor(bundle).attributions(table, top=2)
    assert len(strongest) == 2
    assert (
        abs(strongest[0].log_odds)
        >= abs(strongest[1].log_odds)
        >= max(abs(a.log_odds) for a in found.values() if a not in strongest)
    )


def test_what_is_unknown_moves_nothing(small: Any, bundle_of: Callable[..., Bundle]) -> None:
    assert Predictor(bundle_of()).attributions(small.unknown()) == []
    assert Predictor(None).attributions(small.table()) == []


def test_a_swap_changes_the_version_and_a_broken_bundle_does_not_take_over(
    small: Any, bundle_of: Callable[..., Bundle]
) -> None:
    first, second = bundle_of(), bundle_of(model=small.model(bias=(-2.0, -3.0)))
    predictor = Predictor(first)
    before = predictor.predict(small.opportunities(), small.table())
    predictor.swap(second)
    assert predictor.version == second.version
    assert predictor.predict(small.opportunities(), small.table())[0].ctr > before[0].ctr
    with pytest.raises(CorruptArtifact):
        predictor.swap(replace(second, model=replace(second.model, onnx=b"broken")))
    assert predictor.version == second.version
    predictor.swap(first)
    assert predictor.predict(small.opportunities(), small.table()) == before
    predictor.swap(None)
    assert predictor.version == POOLED


def test_threads_that_predict_during_swaps_never_see_half_of_one_model(
    small: Any, bundle_of: Callable[..., Bundle]
) -> None:
    bundles = [bundle_of(), bundle_of(model=small.model(bias=(-2.0, -3.0)))]
    table, opportunities = small.table(4), small.opportunities(4)
    expected = {bundle.version: Predictor(bundle).predict(opportunities, table) for bundle in bundles}
    predictor = Predictor(bundles[0])
    wrong: list[object] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            answer = predictor.predict(opportunities, table)
            if answer != expected[answer[0].model_version]:
                wrong.append(answer)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for i in range(40):
        predictor.swap(bundles[i % 2])
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []


anything = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.floats(0, 1))


@pytest.fixture(scope="module")
def served(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("models")
    parts = {
        "model": small.model(),
        "intervals": BOTH,
        "conversion_intervals": OF_CONVERSIONS,
        "view": {},
        "view_version": small.view,
    }
    return Predictor(load_bundle(folder / write_bundle(folder, created_at=datetime(2026, 1, 1, tzinfo=UTC), **parts)))


@given(values=st.lists(anything, min_size=8, max_size=8), loaded=st.booleans())
def test_every_answer_is_a_rate_inside_its_interval_whatever_the_features(
    small: Any, served: Predictor, values: list[float], loaded: bool
) -> None:
    known = small.table()
    table = FeatureTable(
        small.view, {name: np.array([v]) for name, v in zip(known.numeric, values, strict=True)}, known.categorical
    )
    [prediction] = (served if loaded else Predictor(None)).predict(small.opportunities(), table)
    assert 0 < prediction.ctr < 1
    assert 0 < prediction.conversion_rate < 1
    assert 0 <= prediction.ctr_interval.lower <= prediction.ctr <= prediction.ctr_interval.upper <= 1
    assert 0 <= prediction.support < float("inf")
    assert 0 <= prediction.confidence <= 1
    for interval, rate in (
        (prediction.ctr_credible_interval, prediction.ctr),
        (prediction.conversion_rate_interval, prediction.conversion_rate),
    ):
        assert interval is not None
        assert 0 <= interval.lower <= rate <= interval.upper <= 1


def test_nothing_asked_gives_nothing(small: Any, bundle_of: Callable[..., Bundle]) -> None:
    predictor = Predictor(bundle_of())
    assert predictor.predict([], small.table(0)) == []
    assert predictor.landscapes([], small.table(0)) == []


@pytest.mark.parametrize(
    "wrong",
    [{"prior_ctr": 0.0}, {"level": 1.0}, {"prior_clicks": -1.0}, {"landscape_points": 1}, {"prior_ctr": float("nan")}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        PredictionSettings(**wrong)
