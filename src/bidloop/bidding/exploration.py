"""Trying other bids on purpose, seldom and with a known probability, so that the log can tell what they bring."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import lru_cache
from itertools import accumulate

from bidloop.bidding.settings import BiddingSettings
from bidloop.bidding.value import LARGEST


@lru_cache(maxsize=8)
def grid(ratio: float) -> tuple[int, ...]:
    """The bids of a geometric grid, from one micro on: ``ratio ** i`` rounded to micros, each once, increasing.

    The grid is absolute: whatever a bid came from, and whichever policy made it, it falls on the same points. So the same bids come
    again and again in the log, and what one policy sent says something of another. Where the points are closer than a micro, at
    bids of a few micros, they are all whole micros.

    Examples
    --------
    >>> [bid for bid in grid(1.5) if bid < 30]
    [1, 2, 3, 5, 8, 11, 17, 26]
    """
    points, exact = [1], 1.0
    while points[-1] < LARGEST:
        exact *= ratio  # and not a power: a product rounds alike on every machine
        point = min(LARGEST, round(exact))
        if point > points[-1]:
            points.append(point)
    return tuple(points)


class Exploration:
    """Which bids are tried instead of a plain one, and how often.

    Parameters
    ----------
    settings
        With an exploration rate above zero.

    Examples
    --------
    >>> exploration = Exploration(BiddingSettings(exploration_rate=0.1, exploration_steps=1))
    >>> exploration.arms(2_000_000), exploration.probabilities
    ((1957439, 1779490, 2153182), (0.9, 0.05, 0.05))
    >>> [exploration.chosen(draw) for draw in (0.0, 0.92, 0.97, float("nan"))]
    [0, 1, 2, 0]
    """

    def __init__(self, settings: BiddingSettings) -> None:
        points, self._steps = grid(settings.exploration_ratio), settings.exploration_steps
        self._points = points
        # At the ends of the grid the points beyond are its end once more.
        self._padded = points[:1] * self._steps + points + points[-1:] * self._steps
        share = settings.exploration_rate / (2 * self._steps)
        self.probabilities = (1.0 - settings.exploration_rate, *(share,) * (2 * self._steps))
        self._passed = tuple(accumulate(self.probabilities))

    def arms(self, bid: int) -> tuple[int, ...]:
        """The grid's nearest point first, then the points around it from the lowest on; `probabilities` has theirs.

        Parameters
        ----------
        bid
            In micros, above zero. At the ends of the grid several arms are the same point.
        """
        points, steps = self._points, self._steps
        at = min(bisect_left(points, bid), len(points) - 1)
        # Nearest by ratio, in whole numbers: above the geometric mean of its neighbours a bid goes up.
        if at > 0 and bid * bid < points[at - 1] * points[at]:
            at -= 1
        around = self._padded[at : at + 2 * steps + 1]
        return (points[at], *around[:steps], *around[steps + 1 :])

    def chosen(self, draw: float) -> int:
        """Which arm a draw from [0, 1) falls on; the plain bid, 0, for a draw that is none."""
        if not 0 <= draw < 1:
            return 0
        return min(bisect_right(self._passed, draw), 2 * self._steps)
