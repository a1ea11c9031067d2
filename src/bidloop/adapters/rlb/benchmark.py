"""A host: runs the published policies and ours on a log of the RTB benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np

from bidloop.adapters.rlb.reader import Log, read_log
from bidloop.bidding.policies.adaptive_dual import AdaptiveDual
from bidloop.bidding.policies.hindsight import PerfectPrices
from bidloop.bidding.policies.linear import Linear
from bidloop.bidding.policies.mcpc import MaxCostPerClick
from bidloop.bidding.policies.rlb import ValueTable
from bidloop.bidding.policies.spend_curve import PricePrior
from bidloop.core.errors import InvalidInput
from bidloop.experiments.periods import episodes
from bidloop.experiments.ports import Policy
from bidloop.experiments.rtb_benchmark import EPISODE, MAX_BID, Benchmark, run
from bidloop.experiments.tuning import best_setting

BUDGETS = ("1/2", "1/4", "1/8", "1/16", "1/32", "1/64")
PUBLISHED_BASE = 10.0
"""Base bid of ``lin`` as published: tuned by its authors on the training log of campaign 2997 for the budget 1/32."""
BASES = np.geomspace(2.0, MAX_BID, 48).tolist()
"""Base bids that ``lin (hindsight)`` chooses from."""

Progress = Callable[[str, float], None]


def run_log(
    folder: Path,
    budgets: Iterable[str] = BUDGETS,
    policies: Iterable[str] | None = None,
    on_progress: Progress | None = None,
) -> Benchmark:
    """Replay the policies on one campaign at several budgets.

    Parameters
    ----------
    folder
        See `read_log`.
    budgets
        Fractions of what all auctions would cost at the training log's mean price, such as ``"1/32"``.
    policies
        Some of the names in `contenders`; by default all of them.
    on_progress
        Is told what is running and the share that is done.

    Raises
    ------
    InvalidInput
        When a budget is no positive fraction, or a policy is not known.
    """
    log = read_log(folder)
    amounts = {name: log.training.episode_budget(parse_budget(name), EPISODE) for name in budgets}
    known = contenders(log, max(amounts.values(), default=0))
    chosen = tuple(known) if policies is None else tuple(policies)
    for name in chosen:
        if name not in known:
            raise InvalidInput(f"policy {name!r}", path="policy", expected=f"one of {', '.join(known)}")
    return run(log.auctions, amounts, {name: known[name] for name in chosen}, on_progress=on_progress)


def parse_budget(text: str) -> float:
    """Read a budget such as ``"1/32"`` or ``"0.25"``.

    Examples
    --------
    >>> parse_budget("1/32")
    0.03125
    >>> parse_budget("half")
    Traceback (most recent call last):
    ...
    bidloop.core.errors.InvalidInput: budget 'half'; expected a fraction above 0, such as 1/32
    """
    try:
        fraction = float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        fraction = 0.0
    if not fraction > 0:
        raise InvalidInput(f"budget {text!r}", path="budget", expected="a fraction above 0, such as 1/32")
    return fraction


def contenders(log: Log, largest_budget: int) -> Mapping[str, Callable[[float], Policy]]:
    """Make each policy for a budget, by name.

    ``mcpc`` and ``lin`` as published; ``lin (hindsight)`` with the base bid that gets most clicks on this very log at
    this very budget, which flatters it; ``rlb``; ``ours``; and ``perfect prices``, the ceiling that these predictions
    have.
    """
    training = log.training
    prior = PricePrior.from_histogram(training.price_counts, worth=training.ctr)
    tables: list[ValueTable] = []

    def lin_in_hindsight(budget: float) -> Policy:
        base, _ = best_setting(
            lambda base: Linear(base, training.ctr),
            BASES,
            log.auctions,
            budget,
            episodes(log.auctions, EPISODE),
            max_bid=MAX_BID,
            by_outcome=True,
        )
        return Linear(base, training.ctr)

    def rlb(budget: float) -> Policy:
        if not tables:
            tables.append(ValueTable(training.price_counts, training.ctr, auctions=EPISODE, budget=largest_budget))
        return tables[0]

    return {
        "mcpc": lambda budget: MaxCostPerClick(training.cost_per_click),
        "lin": lambda budget: Linear(PUBLISHED_BASE, training.ctr),
        "lin (hindsight)": lin_in_hindsight,
        "rlb": rlb,
        "ours": lambda budget: AdaptiveDual(prior),
        "perfect prices": lambda budget: PerfectPrices(),
    }
