"""FTRL-Proximal: the paper's algorithm to the digit, what it predicts, and its crosses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest

from bidloop.core.errors import ConfigurationError
from bidloop.core.examples import Examples
from bidloop.core.feature_table import FeatureTable
from bidloop.models.candidate import export
from bidloop.models.encoding import fit_encoding
from bidloop.models.ftrl import Ftrl, FtrlSettings, fit_ftrl
from bidloop.models.ftrl.proximal import Proximal
from bidloop.models.rows import Response, Rows
from bidloop.prediction.scoring import Scorer


def chance(log_odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-log_odds))


def rows_of(examples: Examples) -> Rows:
    return Rows.of(examples, fit_encoding(examples))


def test_single_rows_are_learned_from_as_the_paper_s_algorithm_does() -> None:
    settings = FtrlSettings(alpha=0.3, beta=0.7, l1=0.4, l2=1.5)
    rng = np.random.default_rng(0)
    values, fields = 9, 3
    learner = Proximal(settings, values, numbers=2, intercept=-0.5)
    z, n, w = np.zeros((3, 1 + values + 2))
    bias, bias_n = -0.5, 0.0
    for _ in range(200):
        places, numbers, y = (
            rng.choice(1 + values, fields, replace=False),
            rng.normal(size=2),
            float(rng.random() < 0.4),
        )
        x = np.zeros(len(z))
        x[places], x[-2:] = 1.0, numbers
        x[0] = 0.0  # the unseen
        for i in np.flatnonzero(x):
            if abs(z[i]) <= settings.l1:
                w[i] = 0.0
            else:
                rate = (settings.beta + math.sqrt(n[i])) / settings.alpha + settings.l2
                w[i] = -(z[i] - math.copysign(settings.l1, z[i])) / rate
        error = chance(bias + w @ x) - y
        for i in np.flatnonzero(x):
            g = error * x[i]
            pace = (math.sqrt(n[i] + g**2) - math.sqrt(n[i])) / settings.alpha
            z[i] += g - pace * w[i]
            n[i] += g**2
        bias_n += error**2
        bias -= settings.alpha / (settings.beta + math.sqrt(bias_n)) * error
        learner.learn(numbers[None], places[None], np.array([y]), np.array([1 - y]))
    np.testing.assert_allclose(learner.z, z, atol=1e-12)
    np.testing.assert_allclose(learner.n, n, atol=1e-12)
    assert learner.intercept == pytest.approx(bias)
    assert (learner.weights(slice(None)) == 0).any()


def test_counts_are_learned_from_as_their_single_impressions_in_one_batch() -> None:
    whole, apart = (Proximal(FtrlSettings(l1=0.0), values=3, numbers=1, intercept=0.0) for _ in range(2))
    places, numbers = np.array([[1, 2], [3, 2]]), np.array([[0.5], [-1.0]])
    for _ in range(3):
        whole.learn(numbers, places, np.array([2.0, 1.0]), np.array([3.0, 0.0]))
        at, yes = np.array([0, 0, 0, 0, 0, 1]), np.array([1.0, 1, 0, 0, 0, 1])
        apart.learn(numbers[at], places[at], yes, 1 - yes)
    np.testing.assert_allclose(whole.weights(slice(None)), apart.weights(slice(None)))
    assert whole.intercept == pytest.approx(apart.intercept)


@pytest.mark.parametrize(
    ("impressions", "rates"),
    [
        (1e6, np.geomspace(1e-4, 0.3, 20)),
        (1e8, np.geomspace(1e-4, 0.3, 20)),
        (1e10, np.append(np.geomspace(1e-6, 1e-4, 18), (0.3, 0.9))),  # two cells far from where they start
    ],
)
def test_large_counts_do_not_throw_the_weights_beyond_all_bounds(impressions: float, rates: np.ndarray) -> None:
    """Cells of very different rates and sizes, as in campaign reports."""
    rng = np.random.default_rng(0)
    n = 600
    cell = rng.integers(0, 20, n)
    shown = np.ceil(impressions * np.exp(rng.normal(0, 2.5, n)) * np.where(rates >= 0.3, 1e-3, 1)[cell])
    clicks = rng.binomial(shown.astype(np.int64), rates[cell]).astype(float)
    names = np.array([f"c{i}" for i in cell], dtype=object)
    table = FeatureTable("v", {"noise": rng.normal(size=n)}, {"cell": names})
    at = np.datetime64("2026-01-01", "us") + np.arange(n).astype("timedelta64[m]")
    rows = rows_of(Examples(table, at, shown, clicks, np.zeros(n), np.zeros(n), np.ones(n)))
    said = rows.click.loss(fit_ftrl(rows, seed=1, epochs=8).logits(rows.numeric, rows.categories)[:, 0])
    best = rows.click.loss(np.log(rates / (1 - rates))[cell])
    assert said - best < 0.05 * (rows.click.loss(np.full(n, rows.click.base)) - best)


def test_predictions_sum_to_the_clicks_of_a_thinned_log_and_to_the_conversions(log: Callable[..., Examples]) -> None:
    examples = log(6000, sampled=0.2)
    rows = rows_of(examples)
    p = chance(fit_ftrl(rows, seed=1).logits(rows.numeric, rows.categories))
    assert np.sum(p[:, 0] * examples.weight) == pytest.approx(examples.clicks.sum(), rel=0.05)
    assert np.sum(p[:, 1] * examples.clicks) == pytest.approx(examples.conversions.sum(), rel=1e-6)
    mobile = examples.features.categorical["device"] == "mobile"
    assert p[mobile, 1].mean() > 1.5 * p[~mobile, 1].mean()  # of 0.4 and 0.1


def test_slots_that_differ_are_told_apart_and_more_so_the_more_is_known(log: Callable[..., Examples]) -> None:
    encoding = fit_encoding(log(4000))
    later = Rows.of(log(4000, seed=2), encoding)
    losses = []
    for n in (300, 4000):
        rows = Rows.of(log(4000).take(slice(0, n)), encoding)
        losses.append(later.click.loss(fit_ftrl(rows, seed=1).logits(later.numeric, later.categories)[:, 0]))
    assert losses[1] < losses[0] < later.click.loss(np.full(len(later), later.click.base))


def test_the_graph_answers_as_the_framework_does_for_unseen_values_too() -> None:
    known, new = crossed(4000, 0), crossed(1000, 1, new=True)
    model = fit_ftrl(rows_of(known), seed=1, settings=FtrlSettings(l1=0.1))
    assert model.crosses
    trained = export(model, model.encoding)
    served = Scorer(trained.onnx, trained.encoding).logits(new.features)
    said = model.logits(*model.encoding.apply(new.features))
    np.testing.assert_allclose(served, said, atol=1e-5, rtol=1e-5)
    unseen = new.features.categorical["page"] == "new"
    assert unseen.any()
    assert np.unique(said[unseen, 0].round(9)).size < np.unique(said[~unseen, 0].round(9)).size


def crossed(n: int, seed: int, *, new: bool = False) -> Examples:
    """Pages and creatives that say nothing alone, and each pair of them a lot."""
    rng = np.random.default_rng(seed)
    page, creative, hour = rng.integers(0, 8, n), rng.integers(0, 6, n), rng.integers(0, 24, n)
    clicks = (rng.random(n) < np.where((page + creative) % 2, 0.4, 0.1)).astype(float)
    names = np.array([f"p{i}" for i in page], dtype=object)
    if new:
        names[::7] = "new"
    table = FeatureTable(
        "v",
        {"noise": rng.normal(size=n)},
        {"page": names, "creative": creative.astype(str).astype(object), "hour": hour.astype(str).astype(object)},
    )
    at = np.datetime64("2026-01-01", "us") + np.arange(n).astype("timedelta64[m]")
    return Examples(table, at, np.ones(n), clicks, np.zeros(n), np.zeros(n), np.ones(n))


def test_the_cross_that_the_log_asks_for_is_taken_and_gains_on_later_rows() -> None:
    rows = rows_of(crossed(4000, 0))
    later = Rows.of(crossed(2000, 1), rows.encoding)
    losses = {}
    for most in (0, 8):
        model = fit_ftrl(rows, later, seed=1, settings=FtrlSettings(crosses=most, alpha=0.1, l2=1.0))
        losses[most] = later.click.loss(model.logits(later.numeric, later.categories)[:, 0])
    assert model.parameters["crosses"] == "page × creative"
    assert losses[8] < losses[0] - 0.03


def test_training_stops_where_later_rows_no_longer_gain(log: Callable[..., Examples]) -> None:
    rows = rows_of(log(1500))
    later = Rows.of(log(1500, seed=3), rows.encoding)
    told: list[tuple[int, float]] = []
    settings = FtrlSettings(alpha=1.0, l1=0.0, l2=0.0, most_epochs=30, patience=1)
    model = fit_ftrl(rows, later, seed=1, settings=settings, on_epoch=lambda *of: told.append(of))
    epochs, losses = zip(*told, strict=True)
    assert epochs == tuple(range(1, len(told) + 1))
    assert losses[model.epochs - 1] == min(losses)
    assert len(told) == model.epochs + 2 < 30


def test_training_can_be_ended_from_outside(log: Callable[..., Examples]) -> None:
    rows = rows_of(log(500))

    def enough(epoch: int, loss: float) -> None:
        raise StopIteration(epoch)

    with pytest.raises(StopIteration, match="1"):
        fit_ftrl(rows, rows, seed=1, on_epoch=enough)


def test_the_same_seed_gives_the_same_model(log: Callable[..., Examples]) -> None:
    rows = rows_of(log(1000))
    first, again, other = (fit_ftrl(rows, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.effects, again.effects)
    assert not np.array_equal(first.effects, other.effects)


def test_with_too_few_conversions_all_rows_have_the_average_rate(log: Callable[..., Examples]) -> None:
    examples = log(2000)
    few = np.zeros(len(examples))
    few[np.flatnonzero(examples.clicks)[:5]] = 1.0
    rows = rows_of(dataclasses.replace(examples, conversions=few))
    said = fit_ftrl(rows, seed=1).logits(rows.numeric, rows.categories)[:, 1]
    assert np.ptp(said) == 0
    assert chance(said[0]) == pytest.approx(5.5 / (examples.clicks.sum() + 1))


def test_conversions_that_are_still_to_come_do_not_lower_the_rate(log: Callable[..., Examples]) -> None:
    examples = log(3000, counts=True)
    rng = np.random.default_rng(0)
    maturity = np.where(examples.features.categorical["creative"] < "creative-2", 0.25, 1.0)
    reported = rng.binomial(examples.conversions.astype(int), maturity).astype(float)
    late = Response.of(reported, examples.clicks, np.ones(len(examples)), maturity)
    assert (late.negative < 0).any()
    rows = dataclasses.replace(rows_of(examples), conversion=late, maturity=maturity)
    said = chance(fit_ftrl(rows, seed=1).logits(rows.numeric, rows.categories)[:, 1])
    for device, rate in (("mobile", 0.4), ("desktop", 0.1)):
        of = examples.features.categorical["device"] == device
        assert np.average(said[of], weights=examples.clicks[of]) == pytest.approx(rate, abs=0.02)


def test_values_met_too_seldom_to_beat_the_penalty_weigh_exactly_nothing(log: Callable[..., Examples]) -> None:
    rows = rows_of(log(1000))
    models: list[Ftrl] = [fit_ftrl(rows, seed=1, settings=FtrlSettings(crosses=0, l1=l1)) for l1 in (0.0, 4.0, 1e6)]
    counts = [model.parameters["weights"] for model in models]
    assert counts[0] > counts[1] > counts[2] == 0
    assert all((model.effects[0] == 0).all() for model in models)


@pytest.mark.parametrize(
    "wrong", [{"alpha": 0.0}, {"l1": -1.0}, {"l2": math.nan}, {"batch": 0}, {"bits": 30}, {"crosses": -1}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        FtrlSettings(**wrong)
