"""The best of several settings of a policy, on auctions that it may be tuned on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from bidloop.core.errors import InvalidInput
from bidloop.experiments.auctions import Auctions, Objective
from bidloop.experiments.periods import Periods
from bidloop.experiments.ports import Policy
from bidloop.experiments.replay import replay
from bidloop.experiments.tally import Tally

Setting = TypeVar("Setting")


def best_setting(
    make: Callable[[Setting], Policy | Mapping[str, Policy]],
    settings: Sequence[Setting],
    auctions: Auctions,
    budget: float | Mapping[str, float],
    periods: Periods,
    *,
    objective: Objective = Objective.CLICKS,
    max_bid: float = float("inf"),
    by_outcome: bool = False,
) -> tuple[Setting, Tally]:
    """Tell which setting of a policy would have done best, and what it would have bought.

    Parameters
    ----------
    make
        The policy (or one per campaign) with a setting.
    auctions
        The log to tune on. Tuned and judged on the same auctions, a policy looks better than it is: say so where you
        do.
    by_outcome
        Judge by the clicks, conversions or value that came, rather than by what was expected of the impressions won.
        Outcomes are few and noisy; expectations are many, and only as good as the predictions.

    Raises
    ------
    InvalidInput
        When there is no setting to choose from.

    Examples
    --------
    >>> import numpy as np
    >>> from bidloop.experiments.periods import episodes
    >>> class Times:
    ...     def __init__(self, factor):
    ...         self.factor = factor
    ...     def bids(self, worth):
    ...         return self.factor * worth
    >>> log = Auctions.of(ctr=[0.1, 0.2, 0.3], market_price=[1.0, 3.0, 2.0], click=0.0, charge=None)
    >>> best_setting(Times, [1.0, 10.0, 100.0], log, 4.0, episodes(log, 3))[0]
    10.0
    """
    if not settings:
        raise InvalidInput("no settings", expected="at least one to choose from")
    name = objective.value if by_outcome else "expected"
    tallies = [
        replay(make(setting), auctions, budget, periods, objective=objective, max_bid=max_bid) for setting in settings
    ]
    best = max(range(len(settings)), key=lambda i: float(getattr(tallies[i], name)))
    return settings[best], tallies[best]
