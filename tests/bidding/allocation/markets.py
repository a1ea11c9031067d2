"""Campaign-days with known response curves, and curves made by hand."""

from __future__ import annotations

import numpy as np

from bidloop.bidding.allocation.days import CampaignDays
from bidloop.bidding.allocation.response import ResponseCurve
from bidloop.bidding.allocation.settings import Family
from bidloop.bidding.allocation.shapes import log_shape

START = np.datetime64("2026-01-05")


def days(
    elasticities: dict[str, float],
    *,
    n: int = 84,
    per_day: float = 40.0,
    usual: float = 100.0,
    family: Family = Family.POWER,
    seed: int = 0,
    varies: float = 0.35,
) -> CampaignDays:
    """`n` days of each campaign, whose level stands still: `per_day` Poisson outcomes at the usual spend."""
    random = np.random.default_rng(seed)
    parts = []
    for name, elasticity in elasticities.items():
        spend = usual * np.exp(varies * random.normal(size=n))
        mean = per_day * np.exp(log_shape(family, np.array(elasticity), spend / usual))
        parts.append((np.full(n, name, dtype=object), START + np.arange(n), spend, random.poisson(mean).astype(float)))
    ids, day, spend, outcome = (np.concatenate(column) for column in zip(*parts, strict=True))
    return CampaignDays(ids, day, spend, outcome)


def curve(
    name: str,
    level: float,
    elasticity: float = 0.5,
    *,
    usual: float = 100.0,
    limit: float = 1000.0,
    deviation: float = 0.0,
    draws: int = 60,
    seed: int = 0,
    family: Family = Family.POWER,
) -> ResponseCurve:
    """A curve of one shape from nothing to its limit; its level has a standard deviation in logs."""
    random = np.random.default_rng(seed)
    one = np.ones(draws)
    levels = np.log(level) + deviation * random.normal(size=draws)
    return ResponseCurve(
        name,
        ((family, draws),),
        usual,
        levels,
        elasticity * one,
        one,
        one,
        limit * 1e-6,
        limit,
        limit,
        spread=0.0,
        days=60,
    )
