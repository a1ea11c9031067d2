"""The published rows of campaign 2997, to the last impression, and ours beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bidloop.adapters.rlb.benchmark import BUDGETS, parse_budget, run_log
from bidloop.core.errors import InvalidInput
from bidloop.experiments.rtb_benchmark import Benchmark, compare

FOUR = ("1/32", "1/16", "1/8", "1/4")


@pytest.fixture(scope="module")
def campaign(data: Callable[[str], Path]) -> Path:
    return data("ipinyou_rlb_dp") / "2997"


@pytest.fixture(scope="module")
def four(campaign: Path) -> Benchmark:
    return run_log(campaign, FOUR, ["mcpc", "lin", "rlb", "ours", "perfect prices"])


@pytest.mark.data
def test_mcpc_and_lin_are_the_published_rows(four: Benchmark) -> None:
    mcpc, lin = four.row("mcpc", "1/32"), four.row("lin", "1/32")
    assert (mcpc.clicks, mcpc.impressions, mcpc.spend) == (48, 14_752, 307_751.0)
    assert (lin.clicks, lin.impressions, lin.spend) == (71, 32_208, 203_610.0)


@pytest.mark.data
def test_the_value_table_gets_the_clicks_of_the_strongest_published_policy(four: Benchmark) -> None:
    assert [four.row("rlb", budget).clicks for budget in FOUR] == [78, 119, 176, 259]


@pytest.mark.data
def test_ours_gets_more_than_the_strongest_published_policy(four: Benchmark) -> None:
    assert sum(four.row("ours", budget).clicks for budget in FOUR) > 632
    # Clicks are few; what was expected of the impressions won is the sharper test, at each budget by itself.
    for budget in FOUR:
        ours, rlb, ceiling = (four.row(policy, budget) for policy in ("ours", "rlb", "perfect prices"))
        assert rlb.expected_clicks < ours.expected_clicks < ceiling.expected_clicks
    assert compare(four, "ours", "rlb", FOUR).expected_clicks_interval[0] > 0


@pytest.mark.data
def test_ours_gets_more_than_a_linear_bid_at_each_budget(campaign: Path, four: Benchmark) -> None:
    rest = run_log(campaign, [budget for budget in BUDGETS if budget not in FOUR], ["lin", "ours"])
    for budget in BUDGETS:
        result = four if budget in FOUR else rest
        assert result.row("ours", budget).clicks > result.row("lin", budget).clicks


@pytest.mark.data
def test_an_unknown_policy_is_refused_with_the_known_ones(campaign: Path) -> None:
    with pytest.raises(InvalidInput, match="one of mcpc, lin"):
        run_log(campaign, ["1/32"], ["drlb"])


@pytest.mark.parametrize("text", ["", "0", "-1/2", "1/0", "x", "1/2/3"])
def test_a_budget_that_is_no_positive_fraction_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="budget"):
        parse_budget(text)
