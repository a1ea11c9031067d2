from __future__ import annotations

import msgspec
import numpy as np
import pytest

from bidloop.core.errors import InvalidInput
from bidloop.core.money import Money
from bidloop.prediction.order_value import OrderValue, fit_order_value


def orders(sizes: dict[str, tuple[int, float]], seed: int = 0, sigma: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Log-normal order values: (number, mean) by campaign."""
    rng = np.random.default_rng(seed)
    names = np.repeat(list(sizes), [n for n, _ in sizes.values()])
    values = np.concatenate([mean * np.exp(rng.normal(0, sigma, n) - sigma**2 / 2) for n, mean in sizes.values()])
    return names, values


def test_a_campaign_with_many_orders_keeps_its_own_average_and_one_with_few_is_drawn_to_the_pool() -> None:
    many = {f"c{i}": (400, float(mean)) for i, mean in enumerate(np.random.default_rng(1).uniform(40, 120, 20))}
    names, values = orders(many | {"tiny": (1, 500.0)})
    worth = fit_order_value(names, np.ones(len(names)), values, currency="USD")
    assert worth is not None
    for name, (_, mean) in many.items():
        assert worth.by_campaign[name] == pytest.approx(mean, rel=0.12)
    own = values[names == "tiny"][0]
    assert worth.pooled < worth.by_campaign["tiny"] < own


def test_pooling_beats_raw_averages_where_orders_are_few() -> None:
    rng = np.random.default_rng(2)
    truth = {f"c{i}": float(mean) for i, mean in enumerate(rng.normal(60, 8, 200))}
    names, values = orders({name: (3, mean) for name, mean in truth.items()}, seed=3)
    worth = fit_order_value(names, np.ones(len(names)), values, currency="USD")
    assert worth is not None
    pooled_error = np.mean([(worth.by_campaign[name] - mean) ** 2 for name, mean in truth.items()])
    raw_error = np.mean([(values[names == name].mean() - mean) ** 2 for name, mean in truth.items()])
    constant_error = np.var(list(truth.values()))
    assert pooled_error < raw_error / 3
    assert pooled_error < constant_error * 1.1


def test_one_giant_order_does_not_make_a_campaign_look_rich() -> None:
    names, values = orders({"a": (200, 50.0), "b": (200, 50.0), "c": (200, 50.0)})
    plain = fit_order_value(names, np.ones(600), values, currency="USD")
    values[0] = 50_000
    giant = fit_order_value(names, np.ones(600), values, currency="USD")
    assert plain is not None
    assert giant is not None
    assert values[names == "a"].mean() > 250
    assert giant.by_campaign["a"] / giant.by_campaign["b"] < 1.3


def test_the_total_of_all_orders_is_kept() -> None:
    names, values = orders({"a": (500, 20.0), "b": (100, 80.0)}, sigma=1.5)
    worth = fit_order_value(names, np.ones(600), values, currency="USD")
    assert worth is not None
    assert worth.pooled * 600 == pytest.approx(values.sum())


def test_campaigns_that_do_not_differ_are_pooled_completely() -> None:
    names, values = orders({f"c{i}": (4, 30.0) for i in range(50)}, sigma=0.05)
    rotated = np.tile(values[:4], 50)
    worth = fit_order_value(names, np.ones(200), rotated, currency="EUR")
    assert worth is not None
    assert list(worth.by_campaign.values()) == pytest.approx([worth.pooled] * 50)
    assert worth.of("c1").currency == "EUR"


def test_rows_with_several_conversions_count_by_order_and_weights_undo_sampling() -> None:
    worth = fit_order_value(["a", "a", "a"], [2, 0, 1], [40.0, 0.0, 50.0], [1, 1, 2], currency="USD")
    assert worth is not None
    assert worth.of("a") == Money.of(35, "USD")
    assert worth.orders == 3


def test_without_a_value_there_is_no_order_value_rather_than_a_made_up_one() -> None:
    assert fit_order_value(["a"], [3], [0.0], currency="USD") is None
    assert fit_order_value([], [], [], currency="USD") is None


def test_a_value_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        fit_order_value(["a", "b"], [1, 1], [5.0, float("nan")], currency="USD")
    assert caught.value.path == "value"


def test_order_values_survive_json() -> None:
    names, values = orders({"a": (30, 50.0), "b": (30, 50.0)})
    worth = fit_order_value(names, np.ones(60), values, currency="USD")
    assert msgspec.json.decode(msgspec.json.encode(worth), type=OrderValue) == worth
