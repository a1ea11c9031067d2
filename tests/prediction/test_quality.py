import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from bidloop.core.errors import InvalidInput
from bidloop.prediction import quality, reliability


def world(n: int = 4000, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Calibrated predictions with ties, single impressions, uneven weights."""
    rng = np.random.default_rng(seed)
    p = np.round(rng.beta(1, 8, n), 2).clip(0.01, 0.99)
    clicks = (rng.random(n) < p).astype(float)
    return p, np.ones(n), clicks, rng.choice([1.0, 5.0], n)


def test_log_loss_and_auc_agree_with_scikit_learn_on_weighted_rows_with_ties() -> None:
    p, m, c, w = world()
    assert quality.log_loss(p, m, c, w) == pytest.approx(sklearn_log_loss(c, p, sample_weight=w), rel=1e-12)
    assert quality.auc(p, m, c, w) == pytest.approx(roc_auc_score(c, p, sample_weight=w), rel=1e-12)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6), st.integers(1, 9)), min_size=2, max_size=12))
def test_a_row_of_counts_is_worth_its_impressions_one_by_one(cells: list[tuple[int, int, int]]) -> None:
    m = np.array([m for m, _, _ in cells], dtype=float)
    c = np.minimum(np.array([c for _, c, _ in cells], dtype=float), m)
    p = np.array([k / 10 for _, _, k in cells])
    single = np.concatenate([[1.0] * int(c_) + [0.0] * int(m_ - c_) for m_, c_ in zip(m, c, strict=True)])
    one_by_one = (np.repeat(p, m.astype(int)), np.ones(len(single)), single, np.ones(len(single)))
    counted = (p, m, c, np.ones(len(m)))
    for metric in (
        quality.log_loss,
        quality.auc,
        quality.calibration_ratio,
        reliability.ece,
        quality.normalized_entropy,
    ):
        assert metric(*counted) == pytest.approx(metric(*one_by_one), nan_ok=True)


def test_a_weight_of_three_is_the_row_three_times() -> None:
    p, m, c, _ = world(300)
    w = np.random.default_rng(0).integers(1, 4, 300)
    thrice = [np.repeat(column, w) for column in (p, m, c)]
    for metric in (
        quality.log_loss,
        quality.auc,
        quality.calibration_ratio,
        reliability.ece,
        quality.normalized_entropy,
    ):
        assert metric(p, m, c, w) == pytest.approx(metric(*thrice, np.ones(int(w.sum()))))


def test_a_constant_prediction_ranks_at_chance_and_has_normalized_entropy_one() -> None:
    _, m, c, w = world()
    rate = np.full(len(m), np.sum(w * c) / np.sum(w * m))
    assert quality.auc(rate, m, c, w) == pytest.approx(0.5)
    assert quality.normalized_entropy(rate, m, c, w) == pytest.approx(1.0)
    assert len(reliability.reliability_curve(rate, m, c, w)) == 1


def test_the_order_of_rows_does_not_matter() -> None:
    rows = world()
    shuffled = np.random.default_rng(1).permutation(len(rows[0]))
    straight, mixed = quality.evaluate(*rows), quality.evaluate(*(column[shuffled] for column in rows))
    assert mixed.auc == pytest.approx(straight.auc, rel=1e-12)
    assert mixed.ece == pytest.approx(straight.ece, rel=1e-9)


def test_down_sampling_with_inverse_weights_tells_the_same_story() -> None:
    rng = np.random.default_rng(8)
    p = rng.uniform(0.001, 0.1, 60_000)
    c = (rng.random(60_000) < p).astype(float)
    kept = (c == 1) | (rng.random(60_000) < 0.1)
    w = np.where(c == 1, 1.0, 10.0)
    full = quality.evaluate(p, np.ones(60_000), c)
    sampled = quality.evaluate(p[kept], np.ones(kept.sum()), c[kept], w[kept])
    assert sampled.log_loss == pytest.approx(full.log_loss, rel=0.02)
    assert sampled.auc == pytest.approx(full.auc, abs=0.01)
    assert sampled.calibration_ratio == pytest.approx(full.calibration_ratio, rel=0.03)


def test_bootstrap_intervals_have_the_width_of_repeated_logs() -> None:
    def one_log(seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        p = rng.beta(1, 8, 1500)
        return p, (rng.random(1500) < p).astype(float)

    repeated = [quality.auc(p, np.ones(1500), c, np.ones(1500)) for p, c in map(one_log, range(200))]
    p, c = one_log(1000)
    bounds = quality.bootstrap(p, c, np.ones(1500), quality.auc, n=300, seed=1)
    width = np.quantile(repeated, 0.975) - np.quantile(repeated, 0.025)
    assert bounds.upper - bounds.lower == pytest.approx(width, rel=0.25)


def test_a_paired_bootstrap_tells_apart_what_two_single_ones_cannot() -> None:
    rng = np.random.default_rng(2)
    p = rng.beta(1, 8, 3000)
    c = (rng.random(3000) < p).astype(float)
    w, worse = np.ones(3000), 1 / (1 + np.exp(-np.log(p / (1 - p)) - 0.5))
    good = quality.bootstrap(p, c, w, quality.log_loss, seed=4)
    bad = quality.bootstrap(worse, c, w, quality.log_loss, seed=4)
    assert good.upper > bad.lower
    assert quality.bootstrap(p, c, w, quality.log_loss, seed=4, baseline=worse).upper < 0


def test_the_same_seed_gives_the_same_bounds() -> None:
    p, _, c, w = world(500)
    assert quality.bootstrap(p, c, w, quality.auc, 50, 7) == quality.bootstrap(p, c, w, quality.auc, 50, 7)


def test_one_class_only_gives_no_auc_rather_than_a_number() -> None:
    without_clicks = quality.evaluate([0.1, 0.2], [5, 5], [0, 0], resamples=5)
    assert (without_clicks.auc, without_clicks.normalized_entropy, without_clicks.calibration_ratio) == (None,) * 3
    assert "auc" not in without_clicks.bounds
    assert without_clicks.log_loss > 0


def test_quality_survives_json() -> None:
    original = quality.evaluate(*world(500), fields={"device": ["x"] * 500}, resamples=10)
    assert msgspec.json.decode(msgspec.json.encode(original), type=quality.Quality) == original


@pytest.mark.parametrize(
    ("p", "m", "c", "path"),
    [
        ([0.1, np.nan], [1, 1], [0, 1], "p"),
        ([0.1, 1.5], [1, 1], [0, 1], "p"),
        ([0.1, 0.2], [1, np.inf], [0, 1], "impressions"),
        ([0.1, 0.2], [1, 1], [0, 2], "clicks"),
        ([0.1, 0.2], [1, 1], [0, -1], "clicks"),
        ([0.1, 0.2], [0, 0], [0, 0], "impressions"),
        ([0.1, 0.2, 0.3], [1, 1], [0, 1], ""),
    ],
)
def test_rows_that_make_no_sense_are_named(p: list[float], m: list[float], c: list[float], path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        quality.evaluate(p, m, c, np.ones(len(m)))
    assert caught.value.path == path
