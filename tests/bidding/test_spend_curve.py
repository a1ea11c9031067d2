from __future__ import annotations

import numpy as np
import pytest

from bidloop.bidding.policies.spend_curve import PricePrior, SpendCurve
from bidloop.core.errors import InvalidInput

WORTH = 0.004


def prior(mean: float = 60.0) -> PricePrior:
    prices = np.arange(1.0, 301.0)
    return PricePrior(prices, np.exp(-prices / mean), worth=WORTH)


def market(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Worth and price, dependent on one another as in life: what is worth more is dearer. Whole prices."""
    random = np.random.default_rng(seed)
    quality = random.normal(size=n)
    worth = WORTH * np.exp(0.4 * quality)
    price = np.ceil(15.0 * np.exp(0.6 * quality + 0.9 * random.normal(size=n)))
    return worth, price


@pytest.mark.parametrize("prior_mean", [10.0, 200.0])
def test_the_curve_is_learned_from_wins_and_losses_alone_though_worth_and_price_are_dependent(
    prior_mean: float,
) -> None:
    worth, price = market(40_000, 0)
    curve = SpendCurve(prior(prior_mean), half_life=1e9, prior_strength=100)
    multipliers = np.random.default_rng(1).choice([4.0, 10.0, 40.0], len(worth))
    for v, p, m in zip(worth.tolist(), price.tolist(), multipliers.tolist(), strict=True):
        # Bids are rounded down to whole prices, as exchanges do: that must not bend the curve.
        won = int(m * v / WORTH) >= p
        curve.observe(worth=v, multiplier=m, price=p if won else None, weight=1.0, charges=1.0)
    curve.refresh(len(worth))
    for m in (3.0, 8.0, 20.0, 35.0):
        truth = float(np.where(price <= m * worth / WORTH, price, 0.0).mean())
        assert curve.spend(m) == pytest.approx(truth, rel=0.06, abs=0.02)


def test_a_multiplier_and_its_spend_are_each_others_inverse() -> None:
    curve = SpendCurve(prior(), half_life=1000, prior_strength=100)
    for spend in (0.05, 1.0, 10.0, 30.0):
        # Linear in between on one side and geometric on the other: equal to a part of the 1.5 % step.
        assert curve.spend(curve.multiplier(spend)) == pytest.approx(spend, rel=0.02)


def test_spend_never_falls_with_the_multiplier() -> None:
    curve = SpendCurve(prior(), half_life=1000, prior_strength=100)
    worth, price = market(500, 3)
    for v, p in zip(worth.tolist(), price.tolist(), strict=True):
        curve.observe(worth=v, multiplier=9.0, price=p if p <= 9.0 * v / WORTH else None, weight=1.0, charges=1.0)
    curve.refresh(500)
    assert np.all(np.diff([curve.spend(m) for m in np.geomspace(0.01, 1e4, 500)]) >= 0)


def test_what_was_seen_long_ago_gives_way_to_what_is_seen_now() -> None:
    curve = SpendCurve(prior(), half_life=100, prior_strength=1)
    for price in (10.0, 20.0):
        for _ in range(1000):
            curve.observe(worth=WORTH, multiplier=50.0, price=price, weight=1.0, charges=1.0)
        curve.refresh(1000)
    assert curve.spend(15.0) < 0.1
    assert curve.spend(25.0) == pytest.approx(20.0, rel=0.05)


def test_a_budget_that_buys_everything_asks_for_the_highest_multiplier_and_none_for_the_lowest() -> None:
    curve = SpendCurve(prior(), half_life=1000, prior_strength=100)
    assert curve.multiplier(np.inf) > 300.0
    assert curve.multiplier(0.0) <= 1.0


@pytest.mark.parametrize(
    "columns",
    [
        {"prices": np.array([]), "counts": np.array([])},
        {"prices": np.array([0.0, 1.0]), "counts": np.array([1.0, 1.0])},
        {"prices": np.array([1.0]), "counts": np.array([0.0])},
        {"prices": np.array([1.0]), "counts": np.array([np.nan])},
        {"worth": 0.0},
        {"charges": np.nan},
    ],
)
def test_a_prior_that_makes_no_sense_is_refused(columns: dict[str, object]) -> None:
    usual = {"prices": np.array([1.0]), "counts": np.array([1.0]), "worth": 0.1, "charges": 1.0}
    with pytest.raises(InvalidInput):
        PricePrior(**(usual | columns))
    with pytest.raises(InvalidInput):
        SpendCurve(prior(), half_life=0.0, prior_strength=1.0)
