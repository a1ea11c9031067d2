"""What a multiplier would spend, learned from the prices of wins and the mere fact of losses."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import InvalidInput

STEP = 0.015
"""Width of a bin of log multipliers: 1.5 %, well below the spread of bids that one budget leads to."""
RANGE = 8.0
"""How far the grid reaches below the cheapest and above the dearest price that is known beforehand."""


@dataclass(frozen=True)
class PricePrior:
    """What is known of prices before the first auction: the histogram of an earlier log.

    Parameters
    ----------
    prices
        Market prices above 0, float64, shape (k,).
    counts
        How often each occurred, float64, at least 0, shape (k,).
    worth
        What an impression was worth on average, in the same unit as it will be in the auctions. Above 0.
    charges
        How many prices a win costs on average: 1, or 0.001 where a price is per mille, or a click rate where it is
        per click.

    Examples
    --------
    >>> PricePrior.from_histogram(np.array([4, 0, 7]), worth=0.002).prices.tolist()
    [2.0]
    """

    prices: NDArray[np.float64]
    counts: NDArray[np.float64]
    worth: float
    charges: float = 1.0

    def __post_init__(self) -> None:
        usable = np.isfinite(self.prices).all() and np.isfinite(self.counts).all() and len(self.prices) > 0
        if not (usable and self.prices.min() > 0 and self.counts.min() >= 0 and self.counts.sum() > 0):
            raise InvalidInput(
                f"a price prior of {len(self.prices)} prices", expected="finite prices above 0, some of them counted"
            )
        if not (0 < self.worth < np.inf and 0 < self.charges < np.inf):
            raise InvalidInput(f"worth {self.worth} and charges {self.charges}", expected="finite numbers above 0")

    @classmethod
    def from_histogram(cls, counts: NDArray[np.float64], *, worth: float, charges: float = 1.0) -> PricePrior:
        """From the counts of the whole prices 0, 1, 2 …; free impressions teach nothing about bids and are left out."""
        counts = np.asarray(counts, dtype=np.float64)
        prices = np.flatnonzero(counts[1:] > 0) + 1
        return cls(prices.astype(np.float64), counts[prices], worth, charges)


class SpendCurve:
    """Expected spend per auction as a function of the multiplier, from what a bidder sees of a second-price market.

    Call ``r = price / worth``, in units where an impression of average worth has ``r = price``. A bid of m times the
    worth wins exactly if ``r ≤ m``, so a win shows r, and a loss shows that r is above the multiplier bid with. The
    multiplier depends on the past only, not on this auction's worth or price: r is right-censored independently, and
    the product-limit estimator of Kaplan and Meier (1958) is consistent for its distribution, although the price and
    the worth are dependent. (On prices themselves it would not be: dear impressions are worth more and get higher
    bids.)

    The estimate is discrete in log r, with the training histogram as prior counts in each bin (a beta process, Hjort
    1990), and forgets exponentially, because markets move. Spend is the mass of each bin times the mean cost of the
    wins in it.

    Parameters
    ----------
    prior
        Prices of an earlier log.
    half_life
        After so many auctions what was seen counts half. In auctions, above 0.
    prior_strength
        How many auctions the prior is worth, above 0. It does not fade: where nothing was won lately it is all there
        is.

    Examples
    --------
    Prices of 1 or 5 and a worth that is always average: a multiplier of 2 wins the cheap half.

    >>> prior = PricePrior(np.array([1.0, 5.0]), np.array([1.0, 1.0]), worth=0.01)
    >>> curve = SpendCurve(prior, half_life=1000, prior_strength=10)
    >>> round(curve.spend(2.0), 6)
    0.5

    The market turns out to have no cheap impressions, as losing bids of 2 show without a single price:

    >>> for _ in range(100):
    ...     curve.observe(worth=0.01, multiplier=2.0, price=None, weight=1.0, charges=1.0)
    >>> curve.refresh(100)
    >>> curve.spend(2.0) < 0.1
    True
    """

    def __init__(self, prior: PricePrior, *, half_life: float, prior_strength: float) -> None:
        if not (half_life > 0 and prior_strength > 0):
            raise InvalidInput(
                f"half_life {half_life} and prior_strength {prior_strength}", expected="numbers of auctions above 0"
            )
        self.worth = prior.worth
        self.half_life = half_life
        self._lowest = log(float(prior.prices.min()) / RANGE)
        self._bins = int((log(float(prior.prices.max()) * RANGE) - self._lowest) / STEP) + 2
        share = prior_strength * prior.counts / prior.counts.sum()
        bins = [self._bin(price) for price in prior.prices.tolist()]
        self._prior_wins = np.bincount(bins, share, self._bins)
        self._prior_spend = np.bincount(bins, share * prior.prices * prior.charges, self._bins)
        self._wins, self._losses, self._spend = np.zeros(self._bins), np.zeros(self._bins), np.zeros(self._bins)
        self._upper = np.exp(self._lowest + STEP * np.arange(self._bins))
        self._multipliers: list[float] = self._upper.tolist()
        self._curve: list[float] = []
        self._new: list[tuple[int, bool, float, float]] = []
        self.refresh(0)

    def _bin(self, r: float) -> int:
        """Bin of a ratio; bin i holds ``upper[i-1] < r ≤ upper[i]`` but for rounding, and the last one all above it."""
        if r <= 0:
            return 0
        return min(max(int((log(r) - self._lowest) / STEP) + 1, 0), self._bins - 1)

    def observe(self, *, worth: float, multiplier: float, price: float | None, weight: float, charges: float) -> None:
        """Note what became of one bid; it counts from the next `refresh` on.

        Parameters
        ----------
        worth
            What the impression was worth, above 0.
        multiplier
            What the bid was, relative to the worth: ``bid × average worth / worth``.
        price
            The market price of a win; `None` for a loss.
        weight
            How many auctions it stands for.
        charges
            How many prices a win is expected to cost, for the whole weight.
        """
        if price is None:
            # What lay in the multiplier's own bin was perhaps below it: only the bins under it have surely been
            # survived.
            survived = self._bin(multiplier) - 1
            if survived >= 0:
                self._new.append((survived, False, weight, 0.0))
        else:
            self._new.append((self._bin(price * self.worth / worth), True, weight, price * charges))

    def refresh(self, auctions: float) -> None:
        """Take in what was noted, after so many auctions, and estimate the curve anew."""
        kept = 0.5 ** (auctions / self.half_life)
        for total in (self._wins, self._losses, self._spend):
            total *= kept
        for index, won, weight, spend in self._new:
            if won:
                self._wins[index] += weight
                self._spend[index] += spend
            else:
                self._losses[index] += weight
        self._new.clear()
        wins = self._wins + self._prior_wins
        at_risk = np.cumsum((wins + self._losses)[::-1])[::-1]
        hazard = np.divide(wins, at_risk, out=np.zeros(self._bins), where=at_risk > 0)
        surviving = np.concatenate(([1.0], np.cumprod(1.0 - hazard)[:-1]))
        cost = np.divide(self._spend + self._prior_spend, wins, out=np.zeros(self._bins), where=wins > 0)
        self._curve = np.cumsum(surviving * hazard * cost).tolist()

    def spend(self, multiplier: float) -> float:
        """Expected spend per auction at a multiplier."""
        return float(np.interp(multiplier, self._upper, self._curve))

    def multiplier(self, spend: float) -> float:
        """The multiplier that is expected to spend so much per auction; the highest of the grid if none spends it."""
        i = bisect_right(self._curve, spend)
        if i == 0:
            return self._multipliers[0]
        if i == self._bins:
            return self._multipliers[-1]
        low, high = self._curve[i - 1], self._curve[i]
        return self._multipliers[i - 1] * exp(STEP * (spend - low) / (high - low))
