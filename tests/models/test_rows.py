"""Down-sampling is made even while fitting, and undone exactly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bidloop.core.errors import InsufficientData
from bidloop.core.examples import Examples
from bidloop.models.constant import fit_constant
from bidloop.models.encoding import fit_encoding
from bidloop.models.logistic import fit_logistic
from bidloop.models.rows import Response, Rows


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
