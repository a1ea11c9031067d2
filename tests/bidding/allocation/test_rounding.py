"""Whole micros keep every constraint, and add up to the budget."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidloop.bidding.allocation.constraints import Limit
from bidloop.bidding.allocation.rounding import room, to_micros
from bidloop.core.errors import ConfigurationError
from bidloop.core.money import Money


def whole(campaigns: list[str], budget: int) -> list[Limit]:
    names = tuple(campaigns)
    return [Limit("budget", names, "most", Money(budget)), Limit("all of it", names, "least", Money(budget))]


@given(st.lists(st.floats(0.001, 1.0), min_size=1, max_size=12), st.integers(1, 10**12), st.floats(-40, 40))
def test_the_sum_is_the_budget_to_the_micro_though_the_solver_is_off_by_some(
    parts: list[float], budget: int, error: float
) -> None:
    campaigns = [f"c{i}" for i in range(len(parts))]
    spend = np.maximum(np.array(parts) / sum(parts) * budget + error, 0.0)
    micros = to_micros(campaigns, spend, whole(campaigns, budget))
    assert sum(micros.values()) == budget
    assert min(micros.values()) >= 0
    assert max(abs(micros[name] - amount) for name, amount in zip(campaigns, spend, strict=True)) <= 41 * len(parts) + 2


def test_bounds_and_groups_that_overlap_are_kept_to_the_micro() -> None:
    campaigns = ["a", "b", "c", "d"]
    limits = [
        *whole(campaigns, 1_000_000_001),
        Limit("a's maximum", ("a",), "most", Money(250_000_000)),
        Limit("ab", ("a", "b"), "least", Money(500_000_000)),
        Limit("bc", ("b", "c"), "most", Money(500_000_001)),
    ]
    micros = to_micros(campaigns, np.array([250_000_000.4, 249_999_999.7, 250_000_000.9, 250_000_000.2]), limits)
    assert sum(micros.values()) == 1_000_000_001
    assert all(room(micros, limit) >= 0 for limit in limits)


def test_the_largest_remainder_is_rounded_up() -> None:
    assert to_micros(["a", "b", "c"], np.array([1.2, 1.7, 1.1]), whole(["a", "b", "c"], 4)) == {"a": 1, "b": 2, "c": 1}


def test_limits_that_only_half_micros_keep_are_refused() -> None:
    pairs = [("a", "b"), ("b", "c"), ("a", "c")]
    limits = [Limit(f"{p} {side}", p, side, Money(1)) for p in pairs for side in ("most", "least")]  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="no whole micros"):
        to_micros(["a", "b", "c"], np.array([0.5, 0.5, 0.5]), limits)
