"""What an allocation says, in sentences."""

from __future__ import annotations

from bidloop.bidding.allocation.allocation import Allocation, Binding
from bidloop.bidding.allocation.settings import AllocationSettings


def bindings_told(allocation: Allocation, settings: AllocationSettings, outcome: str, *, most: int = 12) -> list[str]:
    """What holds the allocation back, with what one more unit of money would bring; the weightiest first.

    Parameters
    ----------
    outcome
        What is counted, in the plural: ``conversions``.
    most
        How many sentences at most; the last one then says how many limits are left out.

    Examples
    --------
    >>> from bidloop.bidding.allocation.allocation import Range
    >>> from bidloop.bidding.allocation.constraints import Limit
    >>> from bidloop.core.money import Money
    >>> nothing, hundred = Range(0.0, 0.0, 0.0), Money.of(100)
    >>> budget = Binding(Limit("the budget (100.00 USD)", ("a", "b"), "most", hundred), 0.25)
    >>> told = Allocation(hundred, Money(0), (), nothing, None, 1.0, (budget,))
    >>> bindings_told(told, AllocationSettings(), "conversions")
    ['One more USD of budget would bring 0.25 conversions a day.']
    """
    told = [_told(allocation, binding, outcome) for binding in allocation.bindings]
    if len(told) > most:
        told = [*told[: most - 1], f"{len(told) - most + 1} more limits bind."]
    if allocation.unspent.micros > 0 and settings.min_marginal is not None:
        told.insert(
            0,
            f"{allocation.unspent} of {allocation.budget} stay unspent: one more {allocation.budget.currency} would bring less "
            f"than {settings.min_marginal:g} {outcome}.",
        )
    if told and settings.risk is not None:
        told.append(
            f"What one more {allocation.budget.currency} brings is told here as the objective counts it: the worst "
            f"{100 * settings.risk:g} % of the curves have a weight of {settings.aversion:g} of their own."
        )
    return told


def gain_told(allocation: Allocation, settings: AllocationSettings, outcome: str) -> str:
    """What the allocation is expected to bring beyond today's proportions, or beyond today, with its interval."""
    gain = allocation.gain if allocation.gain_of_split is None else allocation.gain_of_split
    against = "against today" if allocation.gain_of_split is None else "against the same money in today's proportions"
    return (
        f"{gain.mean:+,.4g} {outcome} a day {against} ({100 * settings.level:g} %: {gain.low:+,.4g} to {gain.high:+,.4g}); "
        f"more of them with probability {_probability(allocation.better)}."
    )


def _told(allocation: Allocation, binding: Binding, outcome: str) -> str:
    limit, price, currency = binding.limit, f"{binding.price:.3g} {outcome} a day", allocation.budget.currency
    if len(limit.campaigns) == 1 and limit.side == "most":
        marginal = f"{allocation.of(limit.campaigns[0]).marginal.mean:.3g} {outcome} a day"
        return (
            f"One more {currency} for {limit.campaigns[0]!r} would bring {marginal}, {price} more than where it would be taken "
            f"from; {limit.name} binds."
        )
    if limit.side == "most":
        if limit.name.startswith("the budget"):
            return f"One more {currency} of budget would bring {price}."
        return f"One more {currency} of room for {limit.name} would bring {price} more; it binds."
    if limit.name.startswith("that all"):
        return f"One {currency} less to spend would bring {price} more; {limit.name} binds."
    return f"One {currency} less demanded by {limit.name} would bring {price} more elsewhere; it binds."


def _probability(share: float) -> str:
    return "above 0.99" if share > 0.99 else "below 0.01" if share < 0.01 else f"{share:.2f}"
