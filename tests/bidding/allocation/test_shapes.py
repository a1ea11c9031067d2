"""The shapes of response curves are concave, increasing, and have the elasticity that they are told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidloop.bidding.allocation.settings import Family
from bidloop.bidding.allocation.shapes import local_elasticity, log_shape


@pytest.mark.parametrize("family", Family)
@given(elasticity=st.floats(0.02, 0.98))
def test_a_shape_is_one_at_the_usual_spend_increasing_and_concave(family: Family, elasticity: float) -> None:
    ratio = np.linspace(0.01, 10, 400)
    outcome = np.exp(log_shape(family, np.array(elasticity), ratio))
    assert np.exp(log_shape(family, np.array(elasticity), np.array(1.0))) == pytest.approx(1.0)
    slopes = np.diff(outcome)
    assert (slopes > 0).all()
    assert (np.diff(slopes) <= 1e-9).all()


@pytest.mark.parametrize("family", Family)
@given(elasticity=st.floats(0.05, 0.95), ratio=st.floats(0.05, 20))
def test_the_local_elasticity_is_the_slope_on_log_scales(family: Family, elasticity: float, ratio: float) -> None:
    e, h = np.array(elasticity), 1e-5
    up, down = (log_shape(family, e, np.array(ratio * np.exp(step))) for step in (h, -h))
    assert local_elasticity(family, e, np.array(ratio)) == pytest.approx((up - down) / (2 * h), abs=2e-4)
    assert local_elasticity(family, e, np.array(1.0)) == pytest.approx(elasticity, abs=2e-3)
