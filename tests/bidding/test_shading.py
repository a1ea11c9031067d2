"""The best first-price bid, against a search of every bid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidloop.bidding.shading import best_first_price_bid, usable
from bidloop.core.landscape import Landscape


def gain(landscape: Landscape, value: float, bid: np.ndarray) -> np.ndarray:
    """Expected gain with the chance taken as a line from (0, 0) to the first point."""
    bids = np.concatenate(([0.0], landscape.bids))
    return (value - bid) * np.interp(bid, bids, np.concatenate(([0.0], landscape.win_probability)))


@st.composite
def landscapes(draw: st.DrawFn) -> Landscape:
    n = draw(st.integers(1, 8))
    steps = st.lists(st.floats(min_value=0.01, max_value=5), min_size=n, max_size=n)
    chance = st.lists(st.floats(min_value=0, max_value=1), min_size=n, max_size=n)
    return Landscape(np.cumsum(draw(steps)), np.sort(np.array(draw(chance))), 0.0, 40.0)


@given(landscapes(), st.floats(min_value=0.001, max_value=60), st.floats(min_value=0, max_value=20))
def test_no_other_bid_gains_more(landscape: Landscape, value: float, floor: float) -> None:
    best = best_first_price_bid(landscape, value, floor)
    assert 0 <= best <= value
    if floor < value:
        assert best >= floor
        every = np.linspace(floor, value, 4001)
        assert gain(landscape, value, np.array([best]))[0] >= gain(landscape, value, every).max() - 1e-9


def test_the_floor_lifts_the_best_bid() -> None:
    grid = np.linspace(0, 2, 21)
    uniform = Landscape(grid, grid / 2, 0.0, 2.0)
    assert best_first_price_bid(uniform, 1.0) == pytest.approx(0.5)
    assert best_first_price_bid(uniform, 1.0, floor=0.8) == pytest.approx(0.8)
    assert best_first_price_bid(uniform, 1.0, floor=1.2) == 1.0


def test_a_sure_win_costs_the_least_bid_that_is_sure() -> None:
    steps = Landscape(np.array([0.99, 1.0, 5.0]), np.array([0.0, 1.0, 1.0]), 0.0, 5.0)
    assert best_first_price_bid(steps, 4.0) == pytest.approx(1.0)


def test_where_nothing_can_be_won_the_value_is_bid() -> None:
    nothing = Landscape(np.array([1.0, 2.0]), np.zeros(2), 0.0, 2.0)
    assert best_first_price_bid(nothing, 3.0) == 3.0


@pytest.mark.parametrize(
    ("bids", "chance"),
    [
        ([], []),
        ([1.0], [np.nan]),
        ([1.0, np.inf], [0.1, 0.2]),
        ([1.0, np.inf, -np.inf, 2.0], [0.1, 0.2, 0.3, 0.4]),
        ([1.0, np.nan, 2.0], [0.1, 0.2, 0.3]),
        ([2.0, 1.0], [0.1, 0.2]),
        ([1e9, 1e9], [0.1, 0.2]),
        ([1.0, 2.0], [0.1]),
        ([1.0, 2.0, 3.0], [0.1, np.inf, -np.inf]),
        ([1.0, 2.0], [0.1, -0.2]),
    ],
)
def test_a_spoilt_landscape_is_not_usable(bids: list[float], chance: list[float]) -> None:
    assert not usable(Landscape(np.array(bids), np.array(chance), 0.0, 1.0))
