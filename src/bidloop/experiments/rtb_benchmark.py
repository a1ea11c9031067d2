"""Many policies at many budgets on one log of auctions, and which of two is better."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import InvalidInput, NotFound
from bidloop.experiments.auctions import Auctions
from bidloop.experiments.periods import Periods, episodes
from bidloop.experiments.ports import Policy
from bidloop.experiments.replay import Purchases, purchases, tally

EPISODE = 1000
"""Auctions in an episode of the published protocol."""
MAX_BID = 300.0
"""Highest bid of the published protocol."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What one policy bought at one budget.

    Parameters
    ----------
    budget
        Its name, such as ``"1/32"``.
    episode_budget
        The budget of each episode, in the unit of the price.
    spend
        In the unit of the price.
    expected_clicks
        Predicted clicks of the impressions won, scaled so that the whole log's predictions add up to its clicks.
        Policies that use the same predictions are told apart by this far better than by the clicks, whose standard
        deviation is their square root.
    """

    policy: str
    budget: str
    episode_budget: float
    clicks: int
    impressions: int
    spend: float
    expected_clicks: float


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How many more clicks one policy got than another, with 95 % bootstrap intervals over episodes."""

    policy: str
    against: str
    budgets: tuple[str, ...]
    clicks: float
    clicks_interval: tuple[float, float]
    expected_clicks: float
    expected_clicks_interval: tuple[float, float]


@dataclass(frozen=True)
class Benchmark:
    """The rows, and behind them each episode's clicks and expected clicks: by policy and budget, shape (k, 2)."""

    rows: list[Row]
    by_episode: dict[tuple[str, str], NDArray[np.float64]]

    def row(self, policy: str, budget: str) -> Row:
        """The row of a policy at a budget.

        Raises
        ------
        NotFound
            When there is none.
        """
        for row in self.rows:
            if (row.policy, row.budget) == (policy, budget):
                return row
        raise NotFound(f"no row of {policy!r} at {budget!r}", expected=f"one of {sorted(self.by_episode)}")


def run(
    auctions: Auctions,
    budgets: Mapping[str, float],
    policies: Mapping[str, Callable[[float], Policy]],
    *,
    episode: int = EPISODE,
    max_bid: float = MAX_BID,
    on_progress: Callable[[str, float], None] | None = None,
) -> Benchmark:
    """Replay every policy at every budget by the protocol of the RTB benchmark.

    The log is cut into episodes of N auctions, each with the same budget. Bids are cut to the highest bid and to the
    rest of the budget, win when they reach the market price, and pay it. (Cai et al., WSDM 2017, arXiv 1701.02490,
    section 5.)

    Parameters
    ----------
    budgets
        Budget of an episode by name.
    policies
        By name: makes a policy, that has seen nothing, for an episode budget.
    on_progress
        Is told what is running and the share that is done.

    Examples
    --------
    >>> class Three:
    ...     def bids(self, worth):
    ...         return np.full(len(worth), 3.0)
    >>> log = Auctions.of(ctr=[0.5] * 10, market_price=2.0, click=[1.0, 0.0] * 5, charge=None)
    >>> result = run(log, {"small": 5.0}, {"three": lambda budget: Three()}, episode=5)
    >>> result.row("three", "small").impressions
    4
    """
    spells = episodes(auctions, episode)
    runs = [(budget, policy) for budget in budgets for policy in policies]
    predicted = float(auctions.ctr @ auctions.weight)
    scale = float(auctions.click @ auctions.weight) / predicted if predicted > 0 else 0.0
    rows, by_episode = [], {}
    for i, (budget, policy) in enumerate(runs):
        if on_progress is not None:
            on_progress(f"{policy} at {budget}", i / len(runs))
        amount = budgets[budget]
        bought = purchases(policies[policy](amount), auctions, amount, spells, max_bid=max_bid)
        total = tally(auctions, bought)
        by_episode[policy, budget] = _episodes(auctions, bought, spells, scale)
        rows.append(
            Row(
                policy=policy,
                budget=budget,
                episode_budget=amount,
                clicks=round(total.clicks),
                impressions=round(total.impressions),
                spend=total.spend,
                expected_clicks=total.expected * scale,
            )
        )
    if on_progress is not None:
        on_progress("done", 1.0)
    return Benchmark(rows, by_episode)


def _episodes(auctions: Auctions, bought: Purchases, spells: Periods, scale: float) -> NDArray[np.float64]:
    episode = np.repeat(np.arange(len(spells)), [len(rows) for rows in spells.rows])
    taken = bought.won * auctions.weight
    clicks = np.bincount(episode, taken * auctions.click, len(spells))
    expected = np.bincount(episode, taken * auctions.ctr * scale, len(spells))
    return np.stack([clicks, expected], axis=1)


def compare(
    benchmark: Benchmark, policy: str, against: str, budgets: Iterable[str], *, draws: int = 2000, seed: int = 0
) -> Difference:
    """Tell how many more clicks one policy got than another over some budgets, and how sure that is.

    Whole episodes are drawn, with the sum over the budgets of each: the same click, won at several budgets, is one
    piece of evidence and not several.

    Raises
    ------
    InvalidInput
        When no budget is named.
    NotFound
        When one of the two did not run at one of the budgets.

    Examples
    --------
    >>> figures = {("a", "1/2"): np.array([[3.0, 2.0]] * 9), ("b", "1/2"): np.array([[1.0, 1.5]] * 9)}
    >>> difference = compare(Benchmark([], figures), "a", "b", ["1/2"])
    >>> difference.clicks, difference.clicks_interval
    (18.0, (18.0, 18.0))
    """
    names = tuple(budgets)
    if not names:
        raise InvalidInput("no budgets to compare at", path="budgets", expected="at least one")
    for pair in ((name, budget) for name in (policy, against) for budget in names):
        if pair not in benchmark.by_episode:
            raise NotFound(f"no run of {pair[0]!r} at {pair[1]!r}", expected=f"one of {sorted(benchmark.by_episode)}")
    gained = np.sum([benchmark.by_episode[policy, b] - benchmark.by_episode[against, b] for b in names], axis=0)
    drawn = np.random.default_rng(seed).integers(0, len(gained), size=(draws, len(gained)))
    low, high = np.quantile(gained[drawn].sum(axis=1), [0.025, 0.975], axis=0)
    clicks, expected = gained.sum(axis=0).tolist()
    return Difference(
        policy=policy,
        against=against,
        budgets=names,
        clicks=clicks,
        clicks_interval=(float(low[0]), float(high[0])),
        expected_clicks=expected,
        expected_clicks_interval=(float(low[1]), float(high[1])),
    )
