"""The chance of winning rises with the bid and is about right."""

from __future__ import annotations

import numpy as np
import pytest

from bidloop.core.errors import InsufficientData, InvalidInput
from bidloop.core.feature_table import FeatureTable
from bidloop.core.trained_model import TrainedLandscape
from bidloop.models.landscape import fit_landscape, fit_landscape_from_bids
from bidloop.prediction.scoring import LandscapeScorer

SLOTS = 60


def auctions(n: int, seed: int = 0) -> tuple[FeatureTable, np.ndarray]:
    """Log-normal prices whose level belongs to the slot."""
    rng = np.random.default_rng(seed)
    slot = rng.integers(0, SLOTS, n)
    level = np.random.default_rng(5).normal(0, 0.8, SLOTS)
    table = FeatureTable(
        "view1", {"hour_sin": rng.normal(size=n)}, {"slot": np.array([f"s{i}" for i in slot], dtype=object)}
    )
    return table, np.exp(level[slot] + rng.normal(0, 0.3, n))


def chances(trained: TrainedLandscape, table: FeatureTable, bids: np.ndarray) -> np.ndarray:
    return LandscapeScorer(trained.onnx, trained.encoding).win_probability(table, bids)


@pytest.fixture(scope="module")
def known() -> TrainedLandscape:
    table, price = auctions(3000)
    return fit_landscape(table, price, np.ones(3000), seed=42)


def test_a_higher_bid_never_wins_less_often(known: TrainedLandscape) -> None:
    table, _ = auctions(50, seed=3)
    chance = chances(known, table, np.geomspace(0.01, 100, 200))
    assert np.all(np.diff(chance, axis=1) >= 0)


def test_the_chance_agrees_with_how_often_new_auctions_are_won(known: TrainedLandscape) -> None:
    table, price = auctions(2000, seed=9)
    for bid in (0.5, 1.0, 2.0):
        chance = chances(known, table, np.array([bid]))[:, 0]
        won = bid >= price
        assert abs(chance.mean() - won.mean()) < 0.03
        # It knows slots apart: far better than the share of all auctions.
        assert np.mean((chance - won) ** 2) < 0.7 * won.var()


def test_won_and_lost_bids_alone_teach_the_landscape() -> None:
    table, price = auctions(8000)
    bid = np.exp(np.random.default_rng(2).normal(0, 1, 8000))
    trained = fit_landscape_from_bids(table, bid, bid >= price, np.ones(8000), seed=42)
    new, new_price = auctions(2000, seed=9)
    chance = chances(trained, new, np.array([1.0]))[:, 0]
    assert abs(chance.mean() - (new_price <= 1.0).mean()) < 0.04
    assert np.mean((chance - (new_price <= 1.0)) ** 2) < 0.7 * (new_price <= 1.0).var()


def test_it_has_the_settings_of_the_specification(known: TrainedLandscape) -> None:
    assert known.parameters == {"max_depth": 6, "learning_rate": 0.1, "subsample": 0.8, "rounds": 100, "seed": 42}


def test_it_says_which_bids_it_has_seen(known: TrainedLandscape) -> None:
    _, price = auctions(3000)
    assert (known.lowest, known.highest) == (price.min(), price.max())


def test_prices_that_are_not_finite_are_refused() -> None:
    table, price = auctions(100)
    price[3] = np.nan
    with pytest.raises(InvalidInput, match="row 3"):
        fit_landscape(table, price, np.ones(100))


def test_bids_that_all_won_teach_nothing() -> None:
    table, price = auctions(100)
    with pytest.raises(InsufficientData):
        fit_landscape_from_bids(table, price, np.ones(100, dtype=bool), np.ones(100))
