from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from bidloop.core.errors import InvalidInput
from bidloop.prediction.calibration import KINDS, Calibration, fit_calibration
from bidloop.prediction.quality import calibration_ratio, log_loss
from bidloop.prediction.reliability import ece


def clicks_of(z: np.ndarray, impressions: np.ndarray, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).binomial(impressions.astype(int), expit(z)).astype(float)


def world(n: int = 6000, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True log odds, impressions, clicks."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-3.5, 1.0, n)
    m = rng.integers(1, 40, n).astype(float)
    return z, m, clicks_of(z, m, seed)


DISTORTIONS = {
    "none": lambda z: z,
    "shift": lambda z: z + 0.5,
    "platt": lambda z: 1.7 * z + 2.0,
    "bent": lambda z: np.where(z < -3.5, z, -3.5 + 3 * (z + 3.5)),
}


@pytest.mark.parametrize("name", DISTORTIONS)
def test_distorted_log_odds_are_set_right_on_rows_that_the_fit_did_not_see(name: str) -> None:
    z, m, c = world(seed=1)
    later, shown, clicked = world(seed=2)
    calibration = fit_calibration(DISTORTIONS[name](z), c, m, np.ones(len(z)))
    p, before = expit(calibration.apply(DISTORTIONS[name](later))), expit(DISTORTIONS[name](later))
    w = np.ones(len(p))
    assert calibration_ratio(p, shown, clicked, w) == pytest.approx(1, abs=0.06)
    assert log_loss(p, shown, clicked, w) <= log_loss(expit(later), shown, clicked, w) * 1.003
    assert ece(p, shown, clicked, w) < 0.006
    if name != "none":
        assert log_loss(p, shown, clicked, w) < log_loss(before, shown, clicked, w)


@pytest.mark.parametrize(("name", "chosen"), [("none", "none"), ("shift", "shift"), ("platt", "platt")])
def test_the_simplest_kind_that_is_good_enough_is_chosen(name: str, chosen: str) -> None:
    z, m, c = world()
    calibration = fit_calibration(DISTORTIONS[name](z), c, m, np.ones(len(z)))
    assert calibration.kind == chosen
    assert set(calibration.log_loss) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_every_kind_brings_a_shifted_model_nearer_to_the_truth(kind: str) -> None:
    z, m, c = world()
    calibration = fit_calibration(z + 0.7, c, m, np.ones(len(z)), kinds=(kind,))
    assert calibration.kind == kind
    w = np.ones(len(z))
    assert log_loss(expit(calibration.apply(z + 0.7)), m, c, w) < log_loss(expit(z + 0.7), m, c, w)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 50), order=st.lists(st.floats(-40, 40), min_size=2, max_size=20))
def test_calibration_never_changes_the_ranking(kind: str, seed: int, order: list[float]) -> None:
    rng = np.random.default_rng(seed)
    z = rng.normal(-2, 2, 300)
    m = np.full(300, 5.0)
    c = clicks_of(rng.normal(-2, 2, 300), m, seed)
    calibration = fit_calibration(z, c, m, np.ones(300), kinds=(kind,))
    after = calibration.apply(np.sort(order))
    assert np.isfinite(after).all()
    assert (np.diff(after) >= 0).all()


def test_weights_undo_down_sampling() -> None:
    z, m, c = world(20_000)
    m = np.ones_like(m)
    c = clicks_of(z, m)
    kept = (c == 1) | (np.random.default_rng(0).random(len(z)) < 0.1)
    w = np.where(c == 1, 1.0, 10.0)[kept]
    calibration = fit_calibration(z[kept] + 0.5, c[kept], m[kept], w, kinds=("shift",))
    assert calibration.parameters[0] == pytest.approx(-0.5, abs=0.1)
    naive = fit_calibration(z[kept] + 0.5, c[kept], m[kept], np.ones(kept.sum()), kinds=("shift",))
    assert naive.parameters[0] > 1


def test_an_overconfident_model_is_not_turned_round_when_it_ranks_the_wrong_way() -> None:
    z, m, c = world()
    for kind in ("temperature", "platt", "beta"):
        calibration = fit_calibration(-z - 7, c, m, np.ones(len(z)), kinds=(kind,))
        assert min(calibration.parameters[: 2 if kind == "beta" else 1]) >= 0
        assert np.diff(calibration.apply([-5.0, 0.0, 5.0])).min() >= 0


def test_a_handful_of_clicks_leaves_the_model_alone() -> None:
    m = np.ones(1000)
    c = np.zeros(1000)
    c[:19] = 1
    assert fit_calibration(np.full(1000, -1.0), c, m, m) == Calibration()


def test_isotonic_gives_no_rate_of_zero_where_no_click_was_seen() -> None:
    z, m, c = world()
    c[z < -4] = 0
    calibration = fit_calibration(z, c, m, np.ones(len(z)), kinds=("isotonic",))
    assert expit(calibration.apply([-4.5]))[0] > 1e-6


def test_calibration_survives_json_to_the_last_bit() -> None:
    z, m, c = world()
    for kind in KINDS:
        calibration = fit_calibration(z, c, m, np.ones(len(z)), kinds=(kind,))
        again = msgspec.json.decode(msgspec.json.encode(calibration), type=Calibration)
        assert np.array_equal(again.apply(z), calibration.apply(z))


@pytest.mark.parametrize(
    ("z", "c", "m", "path"),
    [
        ([np.nan, 0], [0, 1], [1, 1], "logit"),
        ([0, 0], [2, 0], [1, 1], "clicks"),
        ([0, 0], [0, 0], [1, np.inf], "impressions"),
    ],
)
def test_rows_that_make_no_sense_are_named(z: list[float], c: list[float], m: list[float], path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        fit_calibration(z, c, m, [1, 1])
    assert caught.value.path == path


def test_late_conversions_do_not_bend_the_curve() -> None:
    """A tenth to all of what will be reported has been; the rates of a model that is right must stay as they are."""
    rng = np.random.default_rng(4)
    z = rng.normal(-2.0, 0.8, 40_000)
    maturity = rng.uniform(0.1, 1.0, 40_000)
    converted = (rng.random(40_000) < maturity / (1 + np.exp(-z))).astype(float)
    one = np.ones(40_000)
    naive = fit_calibration(z, converted, one, one)
    honest = fit_calibration(z, converted, maturity, one, late=True)
    rate = 1 / (1 + np.exp(-z))
    assert np.mean(1 / (1 + np.exp(-naive.apply(z)))) < 0.75 * rate.mean()
    assert np.mean(1 / (1 + np.exp(-honest.apply(z)))) == pytest.approx(rate.mean(), rel=0.04)


def test_more_clicks_than_impressions_are_refused_unless_they_are_late() -> None:
    with pytest.raises(InvalidInput, match="row 0"):
        fit_calibration([0.0], [1], [0.5], [1])
    assert fit_calibration([0.0], [1], [0.5], [1], late=True).kind == "none"


def test_more_late_conversions_than_trials_make_nothing_certain() -> None:
    z = np.linspace(-4, 0, 400)
    converted = np.r_[np.zeros(300), np.ones(100)]
    trials = np.r_[np.ones(300), np.full(100, 0.05)]
    calibration = fit_calibration(z, converted, trials, np.ones(400), late=True)
    assert expit(calibration.apply(z)).max() < 0.995
