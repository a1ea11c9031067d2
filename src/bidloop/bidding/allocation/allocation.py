"""One budget over campaigns: how much each gets, what that brings, and what holds it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidloop.bidding.allocation.constraints import Constraints, Limit, limits_of
from bidloop.bidding.allocation.feasibility import refuse_contradiction
from bidloop.bidding.allocation.program import solve
from bidloop.bidding.allocation.response import ResponseCurve
from bidloop.bidding.allocation.rounding import room, to_micros
from bidloop.bidding.allocation.settings import AllocationSettings
from bidloop.core.errors import InvalidInput
from bidloop.core.money import MICROS, Money

Floats = NDArray[np.float64]

BINDS = 0.001
"""A limit whose price is below this share of what the budget's next unit brings is not told as one that binds."""


@dataclass(frozen=True)
class Range:
    """A mean, and the range that holds the truth with the stated probability."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, draws: Floats, level: float) -> Range:
        """The mean and the quantiles of draws."""
        low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
        return cls(float(draws.mean()), float(low), float(high))


@dataclass(frozen=True)
class Share:
    """What one campaign gets.

    Parameters
    ----------
    campaign
        Its id.
    today, allocated
        Spend per day.
    outcome_today, outcome
        Expected outcome per day at each.
    marginal
        What one more unit of money would bring.
    extrapolated
        Whether the allocated spend lies beyond the spends that were seen.
    binds
        What holds this campaign back or up that concerns it alone, such as ``its maximum``.
    """

    campaign: str
    today: Money
    allocated: Money
    outcome_today: Range
    outcome: Range
    marginal: Range
    extrapolated: bool
    binds: tuple[str, ...]


@dataclass(frozen=True)
class Binding:
    """A limit that binds: with one more unit of money of room the outcome per day would be `price` higher."""

    limit: Limit
    price: float


@dataclass(frozen=True)
class Allocation:
    """An allocation of a budget per day.

    Parameters
    ----------
    budget, unspent
        Σ allocated + unspent = budget, to the micro.
    shares
        One per campaign.
    gain
        Expected outcome per day against today's spends.
    gain_of_split
        The same against the same money in today's proportions: what moving it does, apart from there being more or
        less of it. `None` where nothing is spent today, or today's proportions lead beyond what the data reach to.
    better
        Probability that the outcome is higher than in today's proportions (than today's, where those are `None`).
    bindings
        The limits that bind; those first of which one percent more room would bring most.
    """

    budget: Money
    unspent: Money
    shares: tuple[Share, ...]
    gain: Range
    gain_of_split: Range | None
    better: float
    bindings: tuple[Binding, ...]

    def of(self, campaign: str) -> Share:
        """What one campaign gets."""
        return next(share for share in self.shares if share.campaign == campaign)


def allocate(
    curves: Sequence[ResponseCurve],
    budget: Money,
    today: Mapping[str, Money],
    constraints: Constraints = Constraints(),  # noqa: B008  immutable
    settings: AllocationSettings = AllocationSettings(),  # noqa: B008  immutable
) -> Allocation:
    """Give each campaign the spend per day at which all together bring most.

    Parameters
    ----------
    curves
        What each campaign brings at which spend.
    budget
        For all of them, per day.
    today
        What each spends per day now.
    constraints
        What the user demands.
    settings
        Risk, and the marginal return that money must bring.

    Raises
    ------
    ConfigurationError
        When the constraints contradict each other: it names those that do.
    InvalidInput
        When the budget is not above 0, or there is no campaign.

    Examples
    --------
    Two campaigns with square-root curves, one four times as good: it gets sixteen times the money.

    >>> from bidloop.bidding.allocation.settings import Family
    >>> def curve(name: str, level: float) -> ResponseCurve:
    ...     one = np.ones(50)
    ...     return ResponseCurve(
    ...         name, ((Family.POWER, 50),), 100.0, np.log(level) * one, 0.5 * one, one, one, 1.0, 4000.0, 4000.0, 0.0, 60
    ...     )
    >>> now = {"brand": Money.of(850), "generic": Money.of(850)}
    >>> told = allocate([curve("brand", 40.0), curve("generic", 10.0)], Money.of(1700), now)
    >>> [round(share.allocated.amount) for share in told.shares], told.unspent
    ([1600, 100], Money(micros=0, currency='USD'))
    """
    if budget.micros <= 0 or not curves:
        raise InvalidInput(f"a budget of {budget} over {len(curves)} campaigns", expected="money, and a campaign")
    limits = limits_of(constraints, curves, today, budget, spend_all=settings.min_marginal is None)
    refuse_contradiction(limits)
    solved = solve(curves, limits, settings)
    campaigns = [curve.campaign for curve in curves]
    whole = limits[0]
    if settings.min_marginal is not None and solved.prices[0] > 0 and budget.amount - solved.spend.sum() < 0.01:
        whole = Limit(whole.name, whole.campaigns, "least", budget)  # what the solver leaves over is its tolerance
    micros = to_micros(campaigns, solved.spend * MICROS, [*limits, whole])
    allocated = {name: Money(amount, budget.currency) for name, amount in micros.items()}
    unspent = Money(budget.micros - sum(micros.values()), budget.currency)
    assert unspent.micros >= 0
    assert settings.min_marginal is not None or unspent.micros == 0
    prices = solved.prices.copy()
    if settings.min_marginal is not None and unspent.micros == 0:
        prices[0] += settings.min_marginal  # the program counts what money brings beyond that
    bindings = _bindings(limits, prices, micros)
    before = np.sum([curve.outcome(today[curve.campaign].amount) for curve in curves], axis=0)
    after = np.sum([curve.outcome(allocated[curve.campaign].amount) for curve in curves], axis=0)
    spent = sum(today[name].micros for name in campaigns)
    split = {name: today[name].micros / max(spent, 1) * budget.amount for name in campaigns}
    known = spent > 0 and all(split[curve.campaign] <= curve.limit for curve in curves)
    same = np.sum([curve.outcome(split[curve.campaign]) for curve in curves], axis=0) if known else None
    return Allocation(
        budget,
        unspent,
        tuple(_share(curve, today, allocated, bindings, settings.level) for curve in curves),
        Range.of(after - before, settings.level),
        None if same is None else Range.of(after - same, settings.level),
        float(np.mean(after > (before if same is None else same))),
        bindings,
    )


def _bindings(limits: Sequence[Limit], prices: Floats, micros: Mapping[str, int]) -> tuple[Binding, ...]:
    """The limits that are reached and have a price; those first of which one percent more room would bring most."""
    prices = _net(limits, prices)
    dearest = float(prices.max(initial=0.0))
    found = [
        Binding(limit, float(price))
        for limit, price in zip(limits, prices, strict=True)
        if price > BINDS * dearest and room(micros, limit) <= max(100, limit.amount.micros // 100_000)
    ]
    return tuple(sorted(found, key=lambda binding: -binding.price * max(1, binding.limit.amount.micros)))


def _net(limits: Sequence[Limit], prices: Floats) -> Floats:
    """Prices of which an upper and a lower limit at the same amount, as of a budget that must be spent, do not cancel out."""
    net = prices.copy()
    for i, most in enumerate(limits):
        for j, least in enumerate(limits):
            if (most.side, least.side) == ("most", "least") and most.campaigns == least.campaigns:
                both = min(net[i], net[j]) if most.amount == least.amount else 0.0
                net[i], net[j] = net[i] - both, net[j] - both
    return net


def _share(
    curve: ResponseCurve,
    today: Mapping[str, Money],
    allocated: Mapping[str, Money],
    bindings: Sequence[Binding],
    level: float,
) -> Share:
    now, then = today[curve.campaign], allocated[curve.campaign]
    return Share(
        curve.campaign,
        now,
        then,
        Range.of(curve.outcome(now.amount), level),
        Range.of(curve.outcome(then.amount), level),
        Range.of(curve.marginal(then.amount), level),
        curve.is_extrapolated(then.amount),
        tuple(binding.limit.word for binding in bindings if binding.limit.campaigns == (curve.campaign,)),
    )
