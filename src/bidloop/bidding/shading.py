"""The best bid below the value, where the winner pays what he bids."""

from __future__ import annotations

import math

import numpy as np

from bidloop.core.landscape import Landscape

LEAST_STEP = 1e-9
"""Least distance of two bids of a landscape, in account currency."""


def usable(landscape: Landscape) -> bool:
    """Whether a landscape holds at least one point, and only finite numbers in order.

    Bids closer than a thousandth of a micro are no order: the slope between them would overflow.

    >>> usable(Landscape(np.array([1.0, 2.0]), np.array([0.1, np.nan]), 1.0, 2.0))
    False
    """
    bids, chance = landscape.bids, landscape.win_probability
    n = len(bids)
    if n == 0 or n != len(chance):
        return False
    first, last = float(bids[0]), float(bids[-1])
    if not (first == 0 or first >= LEAST_STEP) or not math.isfinite(last):
        return False
    # Compared, not subtracted from each other: a comparison with NaN is false and does not warn. As the last bid is finite and
    # each one above the one before it, all are.
    apart = n == 1 or (bids[1:] - LEAST_STEP > bids[:-1]).all()
    return bool(apart and chance.min() >= 0 and chance.max() < math.inf)


def best_first_price_bid(landscape: Landscape, value: float, floor: float = 0.0) -> float:
    """The bid that makes most of one first-price auction: argmax over b of ``(value - b) · P(win | b)``.

    Between two points of the landscape the chance is a straight line, so the gain is a parabola whose peak is known;
    the best of all peaks and points is the exact optimum, whatever the shape. Below the first point the line comes from
    zero. That a losing bid says only that the price was higher (censoring) is dealt with where the landscape is
    learned.

    Parameters
    ----------
    landscape
        Usable (see `usable`); bids in account currency in the unit of the charge.
    value
        What a win is worth, same unit, finite.
    floor
        The auction's floor: lower bids do not win.

    Returns
    -------
    float
        In [min(floor, value), value]; `value` where no bid gains anything, and the least of equally good bids.

    Examples
    --------
    Against a price that is uniform on [0, 2], half of the value is best:

    >>> bids = np.linspace(0, 2, 5)
    >>> round(best_first_price_bid(Landscape(bids, bids / 2, 0.0, 2.0), 1.3), 6)
    0.65
    """
    if value <= floor or value <= 0:
        return max(0.0, value)
    bids, chance = landscape.bids, landscape.win_probability
    if bids[0] > 0:
        bids, chance = np.concatenate(([0.0], bids)), np.concatenate(([0.0], chance))
    last = int(bids.searchsorted(value))  # points from here on cost the value or more
    start, p = bids[:last], chance[:last]
    beyond = last == len(bids)
    after, won = np.empty(last), np.empty(last)
    after[:-1], won[:-1] = start[1:], p[1:]
    after[-1], won[-1] = (np.inf, p[-1]) if beyond else (bids[last], chance[last])
    slope = (won - p) / (after - start)
    low, high = np.maximum(start, floor), after
    high[-1] = value
    # (value - b)(p + slope (b - start)) peaks where its derivative is zero; a flat piece is best at its low end.
    with np.errstate(divide="ignore", invalid="ignore"):
        peak = np.where(slope > 0, (value + start) / 2 - p / (2 * slope), low)
    bid = np.minimum(np.maximum(peak, low), np.maximum(high, low))
    gain = (value - bid) * (p + slope * (bid - start))
    best = int(np.argmax(np.where(high >= low, gain, -1.0)))
    return float(bid[best]) if gain[best] > 0 else value
