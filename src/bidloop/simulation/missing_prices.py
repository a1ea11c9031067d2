"""Prices for logged auctions that have none, borrowed from auctions like them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import InsufficientData
from bidloop.core.opportunity import Opportunity

POOLS: tuple[tuple[str, ...], ...] = (
    ("attributes.slot",),
    ("attributes.domain", "attributes.exchange"),
    ("campaign_id", "attributes.exchange"),
    ("campaign_id",),
    (),
)
"""Where a price is borrowed from: the first of these in which donors with all of the same values are found."""


def borrow_prices(
    opportunities: Sequence[Opportunity],
    price: NDArray[np.int64],
    known: NDArray[np.bool_],
    weight: NDArray[np.float64],
    *,
    seed: int,
    pools: Sequence[tuple[str, ...]] = POOLS,
) -> NDArray[np.int64]:
    """Fill in prices that the log does not tell, by hot deck.

    Each gets the price of a priced impression drawn, in proportion to the donors' weights, from the first pool that
    has one: the same slot, or else the same domain and exchange, and so on to all of them. A drawn price keeps the
    spread that prices have, which a mean would not: with a mean, a bid just above it would win every clicked auction.
    A borrowed price is never below the auction's own floor.

    Parameters
    ----------
    opportunities
        n of them.
    price
        Micros, int64, shape (n,); without meaning where unknown.
    known
        Where the log tells the price, bool, shape (n,).
    weight
        How many impressions each stands for, shape (n,).
    seed
        Makes the draws repeatable.
    pools
        Sources whose values a donor must share, from the closest to the widest; a pool with an empty value is passed
        over.

    Returns
    -------
    NDArray[np.int64]
        A new array with all prices, shape (n,).

    Raises
    ------
    InsufficientData
        When no price at all is known, or the widest pool leaves some without a donor.

    Notes
    -----
    Hot-deck imputation: Andridge and Little, "A review of hot deck imputation for survey non-response", 2010.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> def on(slot):
    ...     at = datetime(2026, 1, 1, tzinfo=UTC)
    ...     return Opportunity(opportunity_id="", at=at, campaign_id="a", attributes={"slot": slot})
    >>> price, known = np.array([5, 9, 0]), np.array([True, True, False])
    >>> borrow_prices([on("top"), on("side"), on("side")], price, known, np.ones(3), seed=1).tolist()
    [5, 9, 9]
    """
    filled = price.copy()
    open_rows = np.flatnonzero(~known)
    rng = np.random.default_rng(seed)
    for pool in pools:
        if len(open_rows) == 0:
            break
        donor_of = _donors(opportunities, known, weight, pool)
        left = []
        for row in open_rows.tolist():
            draw = donor_of.get(_key(opportunities[row], pool))
            if draw is None:
                left.append(row)
                continue
            floor = opportunities[row].floor
            filled[row] = max(int(price[draw(rng.random())]), floor.micros if floor else 0)
        open_rows = np.array(left, dtype=np.intp)
    if len(open_rows):
        raise InsufficientData(
            f"{len(open_rows)} impressions without a price and none like them with one",
            expected="a log in which some impressions tell their price",
        )
    return filled


def _donors(
    opportunities: Sequence[Opportunity], known: NDArray[np.bool_], weight: NDArray[np.float64], pool: tuple[str, ...]
) -> dict[tuple[str, ...], Callable[[float], int]]:
    """For each combination of the pool's values, how a number in [0, 1) chooses a donor."""
    rows: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row in np.flatnonzero(known).tolist():
        rows[_key(opportunities[row], pool)].append(row)
    return {key: _draw(members, weight[members]) for key, members in rows.items() if all(key)}


def _draw(members: list[int], weight: NDArray[np.float64]) -> Callable[[float], int]:
    edges = np.cumsum(weight)

    def draw(number: float) -> int:
        return members[min(int(np.searchsorted(edges, number * edges[-1], side="right")), len(members) - 1)]

    return draw


def _key(opportunity: Opportunity, pool: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        opportunity.attributes.get(source.removeprefix("attributes."), "")
        if source.startswith("attributes.")
        else str(getattr(opportunity, source))
        for source in pool
    )
