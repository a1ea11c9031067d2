"""The spells that a budget is for: an episode of N auctions, or a campaign's day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import InvalidInput
from bidloop.core.local_day import local_days
from bidloop.experiments.auctions import Auctions


@dataclass(frozen=True)
class Periods:
    """Which auctions share a budget.

    Parameters
    ----------
    rows
        For each period the rows of its auctions, in order; the periods are in the order of their beginnings.
    campaign
        Whose budget it is, one per period.
    expected
        How many auctions (weights included) the period was expected to bring when it began, float64, one per period.
    """

    rows: list[NDArray[np.intp]]
    campaign: list[str]
    expected: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)


def episodes(auctions: Auctions, length: int) -> Periods:
    """Cut the log into episodes of so many rows; the last may be shorter, and is not known to be.

    Raises
    ------
    InvalidInput
        When the length is below 1.

    Examples
    --------
    >>> log = Auctions.of(ctr=[0.1] * 5, market_price=1.0, click=0.0)
    >>> [rows.tolist() for rows in episodes(log, 2).rows]
    [[0, 1], [2, 3], [4]]
    """
    if length < 1:
        raise InvalidInput(f"episodes of {length} auctions", expected="at least 1")
    starts = range(0, len(auctions), length)
    rows = [np.arange(start, min(start + length, len(auctions))) for start in starts]
    return Periods(rows, [str(auctions.campaign[r[0]]) for r in rows], np.full(len(rows), float(length)))


def campaign_days(auctions: Auctions, timezone: str = "UTC") -> Periods:
    """Each campaign's days, in the account's timezone.

    A day is expected to bring as many auctions as the campaign's day before it. The first day of a campaign is told its
    own number: there is nothing else to go by.

    Examples
    --------
    >>> at = np.array(["2026-01-01T22:00", "2026-01-01T23:30", "2026-01-02T01:00"], dtype="datetime64[us]")
    >>> log = Auctions.of(ctr=[0.1] * 3, market_price=1.0, click=0.0, campaign="a", at=at)
    >>> [rows.tolist() for rows in campaign_days(log).rows]
    [[0, 1], [2]]
    >>> [rows.tolist() for rows in campaign_days(log, "Europe/Berlin").rows]
    [[0], [1, 2]]
    """
    if not len(auctions):
        return Periods([], [], np.zeros(0))
    day = local_days(auctions.at, timezone).astype(np.int64)
    _, campaign = np.unique(auctions.campaign.astype(str), return_inverse=True)
    _, first, key = np.unique(np.stack([campaign, day]), axis=1, return_index=True, return_inverse=True)
    grouped = np.split(np.argsort(key, kind="stable"), np.cumsum(np.bincount(key))[:-1])
    rows = [grouped[i] for i in np.argsort(first)]
    names = [str(auctions.campaign[r[0]]) for r in rows]
    expected, before = np.empty(len(rows)), dict[str, float]()
    for i, (name, r) in enumerate(zip(names, rows, strict=True)):
        own = float(auctions.weight[r].sum())
        expected[i] = before.get(name, own)
        before[name] = own
    return Periods(rows, names, expected)
