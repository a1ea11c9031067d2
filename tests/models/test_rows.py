"""Down-sampling is made even while fitting, and undone exactly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as hypothesis_arrays

from bidloop.core.errors import InsufficientData
from bidloop.core.examples import Examples
from bidloop.models.constant import fit_constant
from bidloop.models.encoding import fit_encoding
from bidloop.models.logistic import fit_logistic
from bidloop.models.rows import Response, Rows
from bidloop.models.smoothed import fit_smoothed


def test_the_shift_undoes_the_sampling_of_rows_without_a_click() -> None:
    response = Response.of(np.array([1.0, 0, 0]), np.ones(3), np.array([1.0, 300, 300]))
    in_sample = np.log(response.positive.sum() / response.negative.sum())
    assert np.exp(in_sample - response.shift) == pytest.approx(1 / 600)


def test_equal_weights_shift_nothing() -> None:
    response = Response.of(np.array([2.0, 0]), np.array([5.0, 3]), np.array([7.0, 7]))
    assert response.shift == 0
    assert response.positive.tolist() == [2, 0]
    assert response.negative.tolist() == [3, 3]


def test_a_model_of_a_thinned_log_predicts_as_many_clicks_as_there_were(log: Callable[..., Examples]) -> None:
    rows = log(20_000, sampled=0.1)
    fitted = Rows.of(rows, fit_encoding(rows))
    for model in (fit_constant(fitted), fit_logistic(fitted)):
        p = 1 / (1 + np.exp(-model.logits(fitted.numeric, fitted.categories)[:, 0]))
        assert np.sum(rows.weight * p) / np.sum(rows.weight * rows.clicks) == pytest.approx(1, abs=0.02)


def test_more_conversions_than_clicks_count_as_all_of_them() -> None:
    response = Response.of(np.array([3.0]), np.array([1.0]), np.array([1.0]))
    assert (response.positive[0], response.negative[0]) == (1.0, 0.0)


def test_young_rows_count_for_so_many_trials_as_are_mature() -> None:
    conversions, clicks, maturity = np.array([1.0, 0, 3]), np.array([1.0, 4, 10]), np.array([0.25, 0.5, 1.0])
    response = Response.of(conversions, clicks, np.full(3, 7.0), maturity)
    assert response.positive.tolist() == [1, 0, 3]
    assert response.negative.tolist() == [-0.75, 2, 7]
    assert response.total.tolist() == [0.25, 2, 10]
    assert response.shift == 0


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_no_maturity_and_no_weights_leave_a_row_with_less_than_no_trials(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 20))
    column = partial(hypothesis_arrays, np.float64, n)
    clicks = np.floor(data.draw(column(elements=st.floats(0, 5))))
    conversions = np.floor(data.draw(column(elements=st.floats(0, 9))))
    maturity, weight = (data.draw(column(elements=st.floats(0.02, most))) for most in (1.0, 300.0))
    response = Response.of(conversions, clicks, weight, maturity)
    assert (response.total[clicks > 0] > 0).all()
    # Sampling is undone exactly whatever the scale of each class: odds of the population are those of the counts.
    yes, trials = np.sum(np.minimum(conversions, clicks) * weight), np.sum(clicks * maturity * weight)
    assert response.negative.sum() * np.exp(response.shift) * yes == pytest.approx(
        response.positive.sum() * (trials - yes), rel=1e-9, abs=1e-6
    )
    assert np.isfinite(response.base)


def test_rates_learned_from_young_rows_are_those_that_will_be(log: Callable[..., Examples]) -> None:
    whole = log(30_000)
    rng = np.random.default_rng(5)
    maturity = rng.uniform(0.05, 1.0, len(whole))
    reported = rng.binomial(whole.conversions.astype(int), maturity).astype(float)
    for name, rows, expected in (
        ("as they are", dataclasses.replace(whole, conversions=reported), pytest.approx(0.53, abs=0.06)),
        (
            "discounted",
            dataclasses.replace(whole, conversions=reported, maturity=maturity),
            pytest.approx(1.0, abs=0.04),
        ),
    ):
        fitted = Rows.of(rows, fit_encoding(rows))
        for model in (fit_constant(fitted), fit_logistic(fitted), fit_smoothed(fitted)):
            p = 1 / (1 + np.exp(-model.logits(fitted.numeric, fitted.categories)[:, 1]))
            assert np.sum(rows.clicks * p) / np.sum(whole.conversions) == expected, (name, model.name)


def test_maturity_goes_with_its_rows(log: Callable[..., Examples]) -> None:
    whole = log(2000)
    assert whole.take(slice(0, 5)).maturity is None
    rows = dataclasses.replace(whole, maturity=np.linspace(0.1, 1.0, len(whole)))
    rows.weight[:10] = 0.0
    fitted = Rows.of(rows, fit_encoding(rows))
    assert rows.maturity is not None
    np.testing.assert_array_equal(fitted.maturity, rows.maturity[10:])
    np.testing.assert_array_equal(Rows.of(whole, fit_encoding(whole)).maturity, 1.0)


def test_a_log_without_a_click_is_refused(log: Callable[..., Examples]) -> None:
    rows = log(200)
    rows = rows.take(rows.clicks == 0)
    with pytest.raises(InsufficientData, match="0 clicks"):
        Rows.of(rows, fit_encoding(rows))


def test_rows_without_weight_or_impressions_are_not_fitted(log: Callable[..., Examples]) -> None:
    rows = log(500)
    rows.weight[:50] = 0.0
    rows.weight[50:60] = np.nan
    rows.impressions[60:70] = 0.0
    assert len(Rows.of(rows, fit_encoding(rows))) == 430
