"""Response curves stay concave where nothing was seen, and are less sure there."""

from __future__ import annotations

import numpy as np
import pytest

from bidloop.bidding.allocation.response import ResponseCurve
from bidloop.bidding.allocation.settings import Family


def learned(family: Family = Family.POWER, draws: int = 300) -> ResponseCurve:
    random = np.random.default_rng(3)
    return ResponseCurve(
        "brand",
        ((family, draws),),
        100.0,
        np.log(40) + 0.05 * random.normal(size=draws),
        random.uniform(0.4, 0.6, draws),
        random.random(draws),
        random.random(draws),
        60.0,
        180.0,
        270.0,
        spread=0.1,
        days=60,
    )


@pytest.mark.parametrize("family", Family)
def test_each_draw_is_zero_at_zero_increasing_and_concave_over_the_ends_of_what_was_seen(family: Family) -> None:
    outcome = learned(family).outcome(np.linspace(0, 270, 541))
    assert (outcome[0] == 0).all()
    slopes = np.diff(outcome, axis=0)
    assert (slopes > 0).all()
    assert (np.diff(slopes, axis=0) <= 1e-9).all()


@pytest.mark.parametrize("spend", [20.0, 100.0, 220.0])
def test_the_marginal_return_is_the_slope(spend: float) -> None:
    curve = learned(Family.LOGARITHM)
    slope = (curve.outcome(spend + 1e-4) - curve.outcome(spend - 1e-4)) / 2e-4
    assert np.allclose(curve.marginal(spend), slope, rtol=1e-3)


def test_beyond_what_was_seen_the_curves_spread_and_money_is_trusted_about_half_as_much() -> None:
    curve = learned()
    assert (curve.is_extrapolated(180.0), curve.is_extrapolated(181.0), curve.is_extrapolated(0.0)) == (
        False,
        True,
        False,
    )
    inside, outside = curve.marginal(179.9).mean(), curve.marginal(180.1).mean()
    assert outside / inside == pytest.approx(0.5, abs=0.06)
    low, high = np.quantile(np.log(curve.outcome(270.0)), [0.05, 0.95])
    seen_low, seen_high = np.quantile(np.log(curve.outcome(180.0)), [0.05, 0.95])
    assert high - low > 1.2 * (seen_high - seen_low)
