"""The multiplier that past auctions say a budget needs, and when it would spend: a warm start for pacing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidloop.core.errors import InvalidInput
from bidloop.core.landscape import Landscape

LEAST = 1e-6
"""Multipliers below this are not sought."""


def solve_multiplier(
    values: ArrayLike,
    market: ArrayLike | Landscape | Sequence[Landscape],
    budget: float,
    weight: ArrayLike = 1.0,
) -> float:
    """The largest multiplier on the value at which a sample of second-price auctions stays within a budget.

    Buying every auction whose price is at most `m` times its value is the best use of the money that it spends: the
    fractional knapsack's greedy order. So the largest affordable `m` is the dual optimum, up to one auction.

    Parameters
    ----------
    values
        What a win of each auction is worth, account currency, shape (n,).
    market
        The market price of each auction, shape (n,), in the unit of `values`; or its landscape, one for all or n of
        them.
    budget
        Account currency for the whole sample, above zero. Values and prices per click or per mille must be turned into
        what one auction is worth and costs first.
    weight
        How many auctions of the day one of the sample stands for, shape (n,) or one number.

    Returns
    -------
    float
        In (0, 1]; 1 where the budget does not bind.

    Raises
    ------
    InvalidInput
        When there is no auction, shapes differ, or a number is negative or not finite.

    Examples
    --------
    >>> solve_multiplier([1.0, 1.0, 1.0], [0.2, 0.4, 0.9], budget=0.7)
    0.4
    """
    value = np.asarray(values, dtype=np.float64)
    count = np.broadcast_to(np.asarray(weight, dtype=np.float64), value.shape)
    if value.ndim != 1 or len(value) == 0 or not (np.isfinite(value) & (value >= 0) & (count >= 0)).all():
        raise InvalidInput("the values of the sample", expected="one or more finite values, none negative")
    if not np.isfinite(budget) or budget <= 0:
        raise InvalidInput(f"a budget of {budget}", path="budget", expected="a finite amount above zero")
    if isinstance(market, Landscape):
        return _from_landscapes(value, [market], count, budget)
    if isinstance(market, Sequence) and all(isinstance(one, Landscape) for one in market):
        landscapes = [one for one in market if isinstance(one, Landscape)]
        _same_length(value, len(landscapes))
        return _from_landscapes(value, landscapes, count, budget)
    return _from_prices(value, np.asarray(market, dtype=np.float64), count, budget)


def expected_spend(bids: ArrayLike, landscapes: Sequence[Landscape]) -> NDArray[np.float64]:
    """What each second-price auction is expected to cost at a bid: the chance of winning times the price then paid.

    That is ``b F(b) - ∫₀ᵇ F(u) du``, exact for a landscape that is a line between its points.

    Parameters
    ----------
    bids
        Account currency in the unit of the charge, not negative, shape (n,).
    landscapes
        The landscape of each auction, n of them.

    Returns
    -------
    float64, shape (n,)
        In units of charge: to be multiplied by the clicks, or thousands of impressions, that a win is charged for.

    Raises
    ------
    InvalidInput
        When the numbers of bids and landscapes differ, or a bid is negative or not finite.

    Examples
    --------
    A market price that is uniform on [0, 2]: a bid of 1 wins half of the auctions, at 0.5 each.

    >>> grid = np.linspace(0, 2, 201)
    >>> expected_spend([1.0], [Landscape(grid, grid / 2, 0.0, 2.0)]).tolist()
    [0.25]
    """
    bid = np.asarray(bids, dtype=np.float64)
    if bid.ndim != 1 or not (np.isfinite(bid) & (bid >= 0)).all():
        raise InvalidInput("the bids of the sample", expected="finite bids, none negative")
    _same_length(bid, len(landscapes))
    spend = [_spend(landscape, bid[i : i + 1])[0] for i, landscape in enumerate(landscapes)]
    return np.array(spend, dtype=np.float64)


def _same_length(value: NDArray[np.float64], other: int) -> None:
    if len(value) != other:
        raise InvalidInput(f"{len(value)} values and {other} prices", expected="one price or landscape for each value")


def _from_prices(
    value: NDArray[np.float64], price: NDArray[np.float64], count: NDArray[np.float64], budget: float
) -> float:
    _same_length(value, len(price))
    if not (np.isfinite(price) & (price >= 0)).all():
        raise InvalidInput("the prices of the sample", expected="finite prices, none negative")
    worth_it = value > 0
    needed = price[worth_it] / value[worth_it]  # the multiplier from which on an auction is won
    order = np.argsort(needed, kind="stable")
    needed, spend = needed[order], np.cumsum((price * count)[worth_it][order])
    beyond = np.flatnonzero(spend > budget)
    if len(beyond) == 0 or needed[beyond[0]] > 1:
        return 1.0
    # Auctions that tie with the first one beyond the budget would all be won with it, so the multiplier stays below.
    affordable = needed[: beyond[0]]
    affordable = affordable[affordable < needed[beyond[0]]]
    return float(max(LEAST, affordable[-1] if len(affordable) else needed[beyond[0]] / 2))


def _from_landscapes(
    value: NDArray[np.float64], landscapes: list[Landscape], count: NDArray[np.float64], budget: float
) -> float:
    """Expected spend on a grid of multipliers, refined around the budget twice."""
    low, high = LEAST, 1.0
    for _ in range(3):
        grid = np.geomspace(low, high, 65)
        spend = _expected_spend(value, landscapes, count, grid)
        if spend[-1] <= budget and high == 1.0:
            return 1.0
        above = int(np.searchsorted(spend, budget, side="right"))
        if above == 0:
            return float(low)
        low, high = grid[above - 1], grid[min(above, 64)]
    return float(low)


def _expected_spend(
    value: NDArray[np.float64],
    landscapes: list[Landscape],
    count: NDArray[np.float64],
    grid: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Σ of ``b F(b) - ∫₀ᵇ F(u) du`` over the sample at ``b = m · value``, for each multiplier `m`, shape (grid,)."""
    total = np.zeros(len(grid))
    if len(landscapes) == 1:
        for i, multiplier in enumerate(grid):
            total[i] = float((_spend(landscapes[0], multiplier * value) * count).sum())
        return total
    for one, landscape, times in zip(value, landscapes, count, strict=True):
        total += times * _spend(landscape, grid * one)
    return total


def _spend(landscape: Landscape, bid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expected second-price spend of one auction at each bid, exact for a chance that is linear between the points."""
    bids, chance = landscape.bids, landscape.win_probability
    if bids[0] > 0:
        bids, chance = np.concatenate(([0.0], bids)), np.concatenate(([0.0], chance))
    area = np.concatenate(([0.0], np.cumsum(np.diff(bids) * (chance[1:] + chance[:-1]) / 2)))
    at = np.clip(np.searchsorted(bids, bid, side="right") - 1, 0, len(bids) - 1)
    won = np.interp(bid, bids, chance)
    below = area[at] + (bid - bids[at]) * (chance[at] + won) / 2
    return np.asarray(np.maximum(0.0, bid * won - below), dtype=np.float64)
