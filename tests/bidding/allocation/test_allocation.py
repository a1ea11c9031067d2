"""Allocations are the best there are, add up to the micro, and tell the true price of what holds them back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidloop.bidding.allocation.allocation import Allocation, allocate
from bidloop.bidding.allocation.constraints import CampaignBounds, Constraints, GroupBounds
from bidloop.bidding.allocation.response import ResponseCurve
from bidloop.bidding.allocation.sentences import bindings_told, gain_told
from bidloop.bidding.allocation.settings import AllocationSettings, Family
from bidloop.core.errors import InvalidInput
from bidloop.core.money import Money
from tests.bidding.allocation.markets import curve

FREE, NEUTRAL = Constraints(), AllocationSettings()


def divide(
    curves: Sequence[ResponseCurve],
    budget: float,
    constraints: Constraints = FREE,
    asked: AllocationSettings = NEUTRAL,
) -> Allocation:
    return allocate(curves, Money.of(budget), {one.campaign: Money.of(100) for one in curves}, constraints, asked)


def amounts(allocation: Allocation) -> list[float]:
    return [share.allocated.amount for share in allocation.shares]


def expected(allocation: Allocation) -> float:
    return sum(share.outcome.mean for share in allocation.shares)


@pytest.mark.parametrize("family", Family)
def test_the_marginal_returns_are_equal_where_nothing_but_the_budget_binds(family: Family) -> None:
    curves = [curve(name, 10.0 * (i + 1), 0.3 + 0.1 * i, family=family) for i, name in enumerate("abcd")]
    told = divide(curves, 900.0)
    marginals = [share.marginal.mean for share in told.shares]
    assert max(marginals) / min(marginals) < 1.02
    [budget] = told.bindings
    assert budget.price == pytest.approx(marginals[0], rel=0.02)


def test_no_division_on_a_grid_brings_more() -> None:
    curves = [curve("a", 30.0, 0.4, deviation=0.3, seed=1), curve("b", 20.0, 0.7, deviation=0.5, seed=2)]
    for asked in (AllocationSettings(), AllocationSettings(risk=0.2), AllocationSettings(risk=0.1, aversion=1.0)):
        told = divide(curves, 400.0, asked=asked)
        grid = np.linspace(0.5, 399.5, 799)
        totals = curves[0].outcome(grid) + curves[1].outcome(400 - grid)
        best = max(objective(total, asked) for total in totals)
        reached = objective(sum(c.outcome(s) for c, s in zip(curves, amounts(told), strict=True)), asked)  # type: ignore[arg-type]
        assert reached >= best * (1 - 1e-5)


def objective(totals: np.ndarray, asked: AllocationSettings) -> float:
    if asked.risk is None:
        return float(totals.mean())
    count = asked.risk * len(totals)
    worst = np.sort(totals)[: round(count)].mean()
    return float((1 - asked.aversion) * totals.mean() + asked.aversion * worst)


def test_aversion_to_risk_moves_money_to_what_is_known_better() -> None:
    sure, unsure = curve("sure", 20.0), curve("unsure", 21.0, deviation=0.6, seed=3)
    neutral, averse = (divide([sure, unsure], 300.0, asked=AllocationSettings(risk=risk)) for risk in (None, 0.1))
    assert averse.of("sure").allocated.micros > 1.1 * neutral.of("sure").allocated.micros


def test_the_price_of_a_limit_is_what_one_more_unit_of_it_brings() -> None:
    curves = [curve("a", 40.0), curve("b", 15.0), curve("c", 12.0)]

    def bounded(most: float, least: float, budget: float = 500.0) -> Allocation:
        return divide(
            curves,
            budget,
            Constraints(
                campaigns={"a": CampaignBounds(max=most)}, groups={"rest": GroupBounds(campaigns=("b",), min=least)}
            ),
        )

    told = bounded(200.0, 200.0)
    price = {binding.limit.name: binding.price for binding in told.bindings}
    more = {
        "the maximum of 'a' (200.00 USD)": bounded(201.0, 200.0),
        "the minimum of group 'rest' (200.00 USD)": bounded(200.0, 199.0),
        "the budget (500.00 USD)": bounded(200.0, 200.0, 501.0),
    }
    assert price.keys() == more.keys()
    for name, loosened in more.items():
        assert price[name] == pytest.approx(expected(loosened) - expected(told), rel=0.05)
    assert told.of("a").binds == ("its maximum",)


def test_money_that_would_bring_too_little_stays_unspent() -> None:
    curves = [curve("a", 20.0), curve("b", 10.0)]
    asked = AllocationSettings(min_marginal=0.05)
    told = divide(curves, 1500.0, asked=asked)
    # The slope of 20 sqrt(s / 100) is 0.05 at 400, of 10 sqrt(s / 100) at 100.
    assert amounts(told) == pytest.approx([400.0, 100.0], rel=0.01)
    assert told.unspent.micros == 1_500_000_000 - sum(share.allocated.micros for share in told.shares)
    assert bindings_told(told, asked, "clicks")[0].startswith(f"{told.unspent} of 1500.00 USD stay unspent")
    small = divide(curves, 100.0, asked=asked)
    assert small.unspent.micros == 0
    assert small.bindings[0].price == pytest.approx(small.shares[0].marginal.mean, rel=0.02)


def test_a_budget_that_is_too_large_for_the_minimum_returns_is_told_to_have_a_cost() -> None:
    told = divide([curve("a", 20.0), curve("b", 10.0)], 150.0, Constraints(campaigns={"b": CampaignBounds(min=100.0)}))
    assert amounts(told) == pytest.approx([50.0, 100.0], abs=1e-3)
    assert bindings_told(told, AllocationSettings(), "clicks") == [
        "One more USD of budget would bring 0.141 clicks a day.",
        "One USD less demanded by the minimum of 'b' (100.00 USD) would bring 0.0914 clicks a day more elsewhere; it binds.",
    ]


def test_the_sentences_name_what_binds_and_what_one_more_unit_brings() -> None:
    curves = [curve("brand", 40.0), curve("generic", 15.0)]
    told = divide(curves, 500.0, Constraints(campaigns={"brand": CampaignBounds(max=200.0)}))
    asked = AllocationSettings()
    assert bindings_told(told, asked, "conversions")[1] == (
        "One more USD for 'brand' would bring 0.141 conversions a day, 0.0981 conversions a day more than where it would be taken "
        "from; the maximum of 'brand' (200.00 USD) binds."
    )
    assert gain_told(told, asked, "conversions").startswith("-4.413 conversions a day")
    assert "against the same money in today's proportions" in gain_told(told, asked, "conversions")
    assert len(bindings_told(told, asked, "conversions", most=1)) == 1


def test_the_gain_is_told_against_today_and_against_todays_proportions() -> None:
    curves = [curve("a", 40.0, deviation=0.1), curve("b", 10.0, deviation=0.1, seed=1)]
    told = divide(curves, 400.0)
    assert told.gain_of_split is not None
    assert told.gain.mean > told.gain_of_split.mean > 0
    assert told.gain_of_split.low <= told.gain_of_split.mean <= told.gain_of_split.high
    assert told.better == 1.0
    assert divide(curves, 2000.0).gain_of_split is not None
    idle = allocate(curves, Money.of(100), {"a": Money(0), "b": Money(0)})
    assert idle.gain_of_split is None
    assert idle.gain.mean == pytest.approx(expected(idle))


@settings(max_examples=25)
@given(
    levels=st.lists(st.floats(0.1, 1000.0), min_size=1, max_size=8),
    budget=st.integers(1_000, 10**9),
    change=st.sampled_from([None, 0.2, 0.8]),
)
def test_what_is_allocated_adds_up_to_the_budget_to_the_micro_within_all_bounds(
    levels: list[float], budget: int, change: float | None
) -> None:
    n = len(levels)
    curves = [
        curve(f"c{i}", level, 0.3 + 0.05 * i, usual=budget / 1e6 / n, limit=2 * budget / 1e6 / n + 1e-6)
        for i, level in enumerate(levels)
    ]
    today = {one.campaign: Money(budget // n) for one in curves}
    whole = Money(sum(money.micros for money in today.values()))
    told = allocate(curves, whole, today, Constraints(max_change=change))
    assert sum(share.allocated.micros for share in told.shares) == whole.micros
    assert told.unspent.micros == 0
    for share, one in zip(told.shares, curves, strict=True):
        assert 0 <= share.allocated.micros <= one.limit * 1e6
        if change is not None:
            assert abs(share.allocated.micros - share.today.micros) <= change * share.today.micros


def test_a_hundred_campaigns_and_a_thousand_draws_are_solved() -> None:
    curves = [curve(f"c{i:03d}", 5.0 + i, 0.3 + i / 250, deviation=0.4, draws=1000, seed=i) for i in range(100)]
    told = divide(curves, 10_000.0, Constraints(max_change=0.5), AllocationSettings(risk=0.1, aversion=1.0))
    assert sum(share.allocated.micros for share in told.shares) == 10_000_000_000


def test_no_money_or_no_campaign_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"a budget of 0\.00 USD"):
        divide([curve("a", 1.0)], 0.0)
    with pytest.raises(InvalidInput, match="over 0 campaigns"):
        divide([], 10.0)
