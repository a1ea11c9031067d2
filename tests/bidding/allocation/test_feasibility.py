"""Constraints that contradict each other are refused by name, and no name is there without need."""

from __future__ import annotations

from itertools import product
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidloop.bidding.allocation.constraints import (
    CampaignBounds,
    Constraints,
    GroupBounds,
    Limit,
    limits_of,
)
from bidloop.bidding.allocation.feasibility import contradiction, refuse_contradiction
from bidloop.core.errors import ConfigurationError
from bidloop.core.money import Money
from tests.bidding.allocation import markets

CAMPAIGNS = ("a", "b", "c")
CURVES = [markets.curve(name, 10.0) for name in CAMPAIGNS]
TODAY = {name: Money.of(100) for name in CAMPAIGNS}


def names(constraints: Constraints, budget: int = 300) -> list[str]:
    limits = limits_of(constraints, CURVES, TODAY, Money.of(budget))
    return [limit.name for limit in contradiction(limits)]


def test_constraints_that_can_be_kept_are_accepted() -> None:
    assert names(Constraints(max_change=0.5)) == []
    refuse_contradiction(limits_of(Constraints(max_change=0.5), CURVES, TODAY, Money.of(300)))


def test_a_minimum_above_its_own_maximum_names_the_two() -> None:
    found = names(Constraints(campaigns={"b": CampaignBounds(min=200.0, max=150.0), "a": CampaignBounds(max=90.0)}))
    assert found == ["the minimum of 'b' (200.00 USD)", "the maximum of 'b' (150.00 USD)"]


def test_minimums_above_the_budget_name_the_budget_and_the_minimums_that_it_takes() -> None:
    bounds = {"a": CampaignBounds(min=250.0), "b": CampaignBounds(min=80.0), "c": CampaignBounds(max=500.0)}
    assert names(Constraints(campaigns=bounds)) == [
        "the budget (300.00 USD)",
        "the minimum of 'a' (250.00 USD)",
        "the minimum of 'b' (80.00 USD)",
    ]


def test_a_share_of_a_group_against_the_changes_of_its_campaigns() -> None:
    constraints = Constraints(
        campaigns={"a": CampaignBounds(max_change=0.1)},
        groups={
            "brands": GroupBounds(campaigns=("a",), min_share=0.5),
            "rest": GroupBounds(campaigns=("b", "c"), min=1.0),
        },
    )
    assert names(constraints) == [
        "the largest change of 'a' (10 % against 100.00 USD today: at most 110.00 USD)",
        "the minimum share of group 'brands' (50 % of the budget, 150.00 USD)",
    ]


def test_a_budget_beyond_what_the_data_reach_to_says_so() -> None:
    with pytest.raises(
        ConfigurationError, match=r"all of the budget is spent \(4,000.00 USD\).*data of 'a' reach to"
    ) as error:
        refuse_contradiction(limits_of(Constraints(), CURVES, TODAY, Money.of(4000)))
    assert "Loosen any one of them." in str(error.value)
    assert contradiction(limits_of(Constraints(), CURVES, TODAY, Money.of(4000), spend_all=False)) == []


def test_an_unknown_campaign_is_named_with_the_nearest_known_one() -> None:
    curves = [markets.curve("brand", 10.0)]
    with pytest.raises(ConfigurationError, match=r"groups.x.campaigns names 'brnad'.*Did you mean 'brand'\?"):
        limits_of(
            Constraints(groups={"x": GroupBounds(campaigns=("brnad",))}), curves, {"brand": Money(1)}, Money.of(1)
        )


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: CampaignBounds(min=-1.0),
        lambda: CampaignBounds(max=float("nan")),
        lambda: GroupBounds(campaigns=("a",), max_share=1.1),
        lambda: Constraints(max_change=float("inf")),
    ],
)
def test_bounds_that_make_no_sense_are_refused(wrong: object) -> None:
    with pytest.raises(ConfigurationError):
        wrong()  # type: ignore[operator]


SIDES: tuple[Literal["most", "least"], ...] = ("most", "least")
LIMITS = st.builds(
    lambda campaigns, side, amount: Limit(
        f"{side} {amount} for {campaigns}", tuple(sorted(campaigns)), side, Money(amount)
    ),
    st.sets(st.sampled_from(CAMPAIGNS), min_size=1),
    st.sampled_from(SIDES),
    st.integers(0, 6),
)


def can_be_kept(limits: list[Limit]) -> bool:
    """Half micros are tried as well: three pairs that must each add up to 1 need them."""
    for spends in product([half / 2 for half in range(13)], repeat=3):
        spend = dict(zip(CAMPAIGNS, spends, strict=True))
        totals = [(limit, sum(spend[name] for name in limit.campaigns)) for limit in limits]
        if all(t <= limit.amount.micros if limit.side == "most" else t >= limit.amount.micros for limit, t in totals):
            return True
    return False


@given(st.lists(LIMITS, max_size=6, unique_by=lambda limit: limit.name))
def test_what_is_named_contradicts_itself_and_no_part_of_it_does(limits: list[Limit]) -> None:
    found = contradiction(limits)
    assert bool(found) is not can_be_kept(limits)
    if found:
        assert not can_be_kept(found)
        assert all(can_be_kept([other for other in found if other is not limit]) for limit in found)
