"""Trees learn from conversions that are still to come, and say how they go on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import xgboost

from bidloop.core.examples import Examples
from bidloop.models.boosting import boost, margins
from bidloop.models.encoding import fit_encoding
from bidloop.models.rows import Response, Rows
from bidloop.models.trees import TreeInput, TreeSettings, discounted_objective, fit_trees


def test_the_discounted_objective_is_xgboosts_own_where_nothing_is_late(log: Callable[..., Examples]) -> None:
    examples = log(3000, counts=True)
    rows = Rows.of(examples, fit_encoding(examples))
    response = rows.click
    matrix = xgboost.DMatrix(
        TreeInput(rows.encoding).of(rows.numeric, rows.categories),
        label=response.positive / response.total,
        weight=response.total,
    )
    matrix.set_base_margin(np.full(len(rows), response.base, dtype=np.float32))
    settings = {"max_depth": 4, "learning_rate": 0.1, "min_child_weight": 20}
    own = boost(settings, matrix, seed=1, rounds=40)
    ours = boost(settings, matrix, seed=1, rounds=40, objective=discounted_objective(response))
    np.testing.assert_allclose(margins(ours, matrix), margins(own, matrix), atol=1e-4)
    assert np.ptp(margins(own, matrix)) > 1


def test_the_slopes_of_the_discounted_objective_are_those_of_the_loss() -> None:
    response = Response(np.array([2.0, 0.0, 1.0]), np.array([-1.2, 3.0, 0.0]), 0.0)
    margin, step = np.array([-0.3, 0.5, 1.0], dtype=np.float32), 1e-3
    slope, curvature = discounted_objective(response)(margin, None)

    def loss(z: np.ndarray) -> np.ndarray:
        return response.total * np.logaddexp(0, z) - response.positive * z

    z = margin.astype(np.float64)
    np.testing.assert_allclose(slope, (loss(z + step) - loss(z - step)) / (2 * step), atol=1e-6)
    np.testing.assert_allclose(curvature, (loss(z + step) - 2 * loss(z) + loss(z - step)) / step**2, atol=1e-6)


def test_conversions_that_are_still_to_come_are_counted_in(log: Callable[..., Examples]) -> None:
    rows, later = log(20_000, base=1.0), log(6000, seed=7, base=1.0)

    def thinned(examples: Examples, seed: int) -> Examples:
        """The younger, the fewer conversions are known."""
        rng = np.random.default_rng(seed)
        maturity = np.linspace(1.0, 0.2, len(examples))
        known = rng.binomial(examples.conversions.astype(int), maturity).astype(float)
        return dataclasses.replace(examples, conversions=known, maturity=maturity)

    encoding = fit_encoding(rows)
    told, held = Rows.of(thinned(rows, 1), encoding), Rows.of(thinned(later, 2), encoding)
    assert told.conversion.negative.min() < 0
    naive = Rows.of(dataclasses.replace(thinned(rows, 1), maturity=None), encoding)
    clicked = later.clicks > 0
    truth = later.conversions[clicked].sum()

    def predicted(data: Rows, watched: Rows | None) -> float:
        model = fit_trees(data, watched, seed=1, rounds=(0, 60))
        log_odds = model.logits(held.numeric, held.categories)[clicked, 1]
        return float(np.sum(1 / (1 + np.exp(-log_odds))))

    assert abs(predicted(told, held) / truth - 1) < 0.07
    assert abs(predicted(told, None) / truth - 1) < 0.07
    assert predicted(naive, None) / truth < 0.75


def test_each_tree_is_told_and_a_listener_may_end_the_training(log: Callable[..., Examples]) -> None:
    examples, new = log(3000), log(1500, seed=7)
    rows = Rows.of(examples, fit_encoding(examples))
    later = Rows.of(new, rows.encoding)
    curve: list[tuple[int, float]] = []
    model = fit_trees(rows, later, seed=1, on_epoch=lambda number, loss: curve.append((number, loss)))
    assert [number for number, _ in curve] == list(range(1, len(curve) + 1))
    best = min(curve, key=lambda point: point[1])
    assert model.rounds[0] == best[0]
    assert best[1] < curve[0][1]

    def stop(number: int, loss: float) -> None:
        if number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_trees(rows, later, seed=1, on_epoch=stop)


def test_settings_are_used_and_recorded(log: Callable[..., Examples]) -> None:
    examples = log(3000)
    rows = Rows.of(examples, fit_encoding(examples))
    usual = fit_trees(rows, seed=1, rounds=(30, 0))
    stumps = fit_trees(rows, seed=1, rounds=(30, 0), settings=TreeSettings(max_depth=1))
    assert stumps.parameters["max_depth"] == 1
    assert stumps.rounds == (30, 0)
    assert np.ptp(stumps.logits(rows.numeric, rows.categories)[:, 0]) < np.ptp(
        usual.logits(rows.numeric, rows.categories)[:, 0]
    )
