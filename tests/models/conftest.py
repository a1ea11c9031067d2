"""A small log with known truth: slots that differ, a creative that does not, and every click kept of a thinned sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bidloop.core.examples import Examples
from bidloop.core.feature_table import FeatureTable

SLOTS = 40


def make_log(
    n: int = 4000, *, seed: int = 0, sampled: float = 1.0, counts: bool = False, base: float = -2.0
) -> Examples:
    """n rows over six days; `sampled` is the share of rows without a click that is kept, with its inverse as weight."""
    rng = np.random.default_rng(seed)
    effect = np.random.default_rng(1).normal(0, 1, SLOTS)
    slot = rng.integers(0, SLOTS, n)
    hour = rng.uniform(0, 2 * np.pi, n)
    device = rng.integers(0, 2, n)
    p = 1 / (1 + np.exp(-(base + effect[slot] + 0.5 * np.sin(hour) * (2 * device - 1))))
    impressions = rng.integers(1, 30, n).astype(float) if counts else np.ones(n)
    clicks = rng.binomial(impressions.astype(int), p).astype(float)
    conversions = rng.binomial(clicks.astype(int), np.where(device == 1, 0.4, 0.1)).astype(float)
    rate = np.clip(p * np.exp(rng.normal(0, 0.3, n)), 1e-4, 0.9)
    table = FeatureTable(
        "view1",
        {
            "hour_sin": np.sin(hour),
            "hour_cos": np.cos(hour),
            "account_ctr": np.full(n, 0.15) * np.exp(rng.normal(0, 0.05, n)),
            "cell_ctr": np.where(rng.random(n) < 0.05, np.nan, rate),
            "cell_conversion_rate": np.where(device == 1, 0.35, 0.12),
            "cell_impressions": rng.uniform(0, 1e6, n),
            "cell_log_impressions": rng.uniform(0, 12, n),
            "account_impressions": np.sort(rng.uniform(0, 1e7, n)),
            "account_log_impressions": np.sort(rng.uniform(13, 16, n)),
        },
        {
            "slot": np.array([f"slot-{i}" for i in slot], dtype=object),
            "device": np.array(["desktop", "mobile"], dtype=object)[device],
            "creative": np.array([f"creative-{i}" for i in rng.integers(0, 30, n)], dtype=object),
        },
    )
    at = np.datetime64("2026-01-05", "us") + np.sort(rng.integers(0, 6 * 86_400_000_000, n)).astype("timedelta64[us]")
    keep = (clicks > 0) | (rng.random(n) < sampled)
    weight = np.where(clicks > 0, 1.0, 1.0 / sampled)
    return Examples(table, at, impressions, clicks, conversions, 10 * conversions, weight).take(keep)


@pytest.fixture(scope="session")
def log() -> Callable[..., Examples]:
    return make_log


@pytest.fixture(scope="session")
def split() -> tuple[Examples, Examples]:
    """Five days to fit on, one to validate on."""
    rows = make_log(6000)
    border = np.datetime64("2026-01-10", "us")
    return rows.between(rows.at.min(), border), rows.between(border, rows.at.max())
