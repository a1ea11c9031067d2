"""The multiplier that past auctions say a budget needs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidloop.bidding.pacing.dual import expected_spend, solve_multiplier
from bidloop.core.errors import InvalidInput
from bidloop.core.landscape import Landscape

amounts = st.lists(st.tuples(st.floats(0.01, 10), st.floats(0.01, 10)), min_size=1, max_size=30)


@given(amounts, st.floats(min_value=0.01, max_value=100))
def test_the_multiplier_stays_within_the_budget_and_no_higher_one_does(
    auctions: list[tuple[float, float]], budget: float
) -> None:
    value, price = np.array(auctions).T
    multiplier = solve_multiplier(value, price, budget)
    needed = price / value
    assert 0 < multiplier <= 1
    assert price[needed <= multiplier].sum() <= budget + 1e-9
    higher = needed[(needed > multiplier) & (needed <= 1)]
    if multiplier < 1 and len(higher):
        assert price[needed <= higher.min()].sum() > budget


def test_no_other_choice_of_auctions_brings_more_for_the_budget() -> None:
    rng = np.random.default_rng(3)
    value, price = rng.lognormal(0, 1, 12), rng.lognormal(-0.5, 1, 12)
    multiplier = solve_multiplier(value, price, 2.0)
    bought = price <= multiplier * value
    every = (np.arange(2**12)[:, None] >> np.arange(12) & 1).astype(bool)
    affordable = every[(every * price).sum(axis=1) <= price[bought].sum() + 1e-12]
    assert value[bought].sum() == pytest.approx((affordable * value).sum(axis=1).max())


def test_a_budget_that_does_not_bind_leaves_the_value_as_it_is() -> None:
    assert solve_multiplier([1.0, 2.0], [0.5, 0.5], budget=1.0) == 1.0
    assert solve_multiplier([1.0], [3.0], budget=1.0) == 1.0


def test_weights_count_auctions() -> None:
    value, price, weight = [1.0, 1.0, 1.0], [0.1, 0.2, 0.4], [10.0, 5.0, 1.0]
    assert solve_multiplier(value, price, 2.0, weight) == 0.2
    assert solve_multiplier(np.repeat(1.0, 16), np.repeat(price, [10, 5, 1]), 2.0) == 0.2


def test_landscapes_and_the_prices_behind_them_agree() -> None:
    rng = np.random.default_rng(4)
    value, price = rng.lognormal(0, 0.6, 20_000), rng.uniform(0, 2, 20_000)
    grid = np.linspace(0, 2, 81)
    uniform = Landscape(grid, grid / 2, 0.0, 2.0)
    from_prices = solve_multiplier(value, price, 2000.0)
    assert solve_multiplier(value, uniform, 2000.0) == pytest.approx(from_prices, rel=0.01)
    few = solve_multiplier(value[:500], [uniform] * 500, 2000.0, weight=40.0)
    assert few == pytest.approx(from_prices, rel=0.1)


def test_a_landscape_spends_up_to_the_budget() -> None:
    grid = np.linspace(0, 2, 81)
    uniform = Landscape(grid, grid / 2, 0.0, 2.0)
    # A bid of m spends m²/4 under a uniform price: 100 auctions spend 4 at 0.4.
    assert solve_multiplier(np.ones(100), uniform, 4.0) == pytest.approx(0.4, rel=1e-3)
    assert solve_multiplier(np.ones(100), uniform, 25.1) == 1.0


def test_expected_spend_is_the_chance_of_winning_times_the_price_then_paid() -> None:
    rng = np.random.default_rng(5)
    grid = np.linspace(0.2, 3, 40)
    landscapes = [Landscape(grid, np.sort(rng.random(40)), 0.2, 3.0) for _ in range(20)]
    bids = rng.uniform(0, 3, 20)
    wins = np.array(
        [landscape.wins(bid) if bid >= 0.2 else np.nan for landscape, bid in zip(landscapes, bids, strict=True)]
    )
    paid = np.array([landscape.second_price(bid) for landscape, bid in zip(landscapes, bids, strict=True)])
    inside = bids >= 0.2
    assert expected_spend(bids, landscapes)[inside] == pytest.approx((wins * paid)[inside])
    with pytest.raises(InvalidInput, match="2 values"):
        expected_spend([1.0, 1.0], landscapes[:1])
    with pytest.raises(InvalidInput, match="finite bids"):
        expected_spend([np.nan], landscapes[:1])


@pytest.mark.parametrize(
    ("values", "prices", "budget"),
    [([], [], 1.0), ([1.0], [np.nan], 1.0), ([-1.0], [1.0], 1.0), ([1.0], [1.0], 0.0), ([1.0, 2.0], [1.0], 1.0)],
)
def test_samples_that_make_no_sense_are_refused(values: list[float], prices: list[float], budget: float) -> None:
    with pytest.raises(InvalidInput):
        solve_multiplier(values, prices, budget)
