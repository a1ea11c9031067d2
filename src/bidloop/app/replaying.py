"""A replay of many policies at many budgets, as tables."""

from __future__ import annotations

from typing import Any

from bidloop.adapters.rlb.benchmark import BUDGETS
from bidloop.experiments.rtb_benchmark import Benchmark, Difference, compare

RIVALS = ("rlb", "lin")


def detail(result: Benchmark, budget: str) -> list[dict[str, Any]]:
    """What each policy bought at one budget; cost in the unit of the log's prices."""
    return [
        {
            "policy": row.policy,
            "clicks": row.clicks,
            "impressions": row.impressions,
            "cost": round(row.spend),
            "expected clicks": row.expected_clicks,
            "episode budget": round(row.episode_budget),
        }
        for row in result.rows
        if row.budget == budget
    ]


def clicks_by_budget(result: Benchmark) -> list[dict[str, Any]]:
    """Clicks, a line per policy and a column per budget."""
    policies = dict.fromkeys(row.policy for row in result.rows)
    return [
        {"policy": policy, **{budget: result.row(policy, budget).clicks for budget in BUDGETS}} for policy in policies
    ]


def differences(result: Benchmark) -> list[Difference]:
    """Ours against the strongest published policies, over the budgets from 1/4 to 1/32."""
    return [compare(result, "ours", rival, list(BUDGETS[1:5])) for rival in RIVALS]
