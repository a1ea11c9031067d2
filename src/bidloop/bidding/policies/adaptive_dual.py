"""Ours: a price on the budget, solved anew at each auction from prices as they are seen."""

from __future__ import annotations

from bidloop.bidding.policies.spend_curve import PricePrior, SpendCurve
from bidloop.core.errors import InvalidInput


class AdaptiveDual:
    """Bid the worth times a multiplier that is just high enough to spend the rest of the budget in the auctions left.

    Under second price the best bid for worth v and a budget is ``v / λ``, with λ the value of the budget's last unit
    of money (its dual: Chen, Berkhin, Anderson and Devanur, KDD 2011; Balseiro and Gur, Management Science 2019),
    found where expected spend equals the budget. At each auction we solve it anew (as Agrawal, Wang and Ye do for
    online linear programs, Operations Research 2014) from

    ``remaining / auctions left = E[price · 1{price ≤ worth / λ}]``

    with the expectation estimated from the policy's own past (`SpendCurve`): prices of auctions won, the mere loss of
    those lost, and a training histogram as prior. Solving again at each auction is what corrects for luck, for a
    market that moves, and for errors of the estimate. It adapts across budgets too: a new episode starts with what
    the last one taught.

    Unlike gradient pacing it has no step size. Unlike dynamic programming over a training histogram (`ValueTable`) it
    does not take the market for what it was, nor every impression for the average one. What it never sees is the
    price of an auction it lost, or anything of an auction to come but how many there will be.

    Parameters
    ----------
    prior
        Prices of an earlier log.
    half_life
        After so many auctions what was seen counts half. Long enough to hold some hundred wins, short enough to
        follow the hours of a day; between 500 and 8000 the benchmark's outcome hardly moves (docs/replay.md).
    prior_strength
        How many auctions the training histogram is worth.
    refresh_every
        Auctions between two estimates of the curve; the multiplier follows the budget at every auction.

    Examples
    --------
    A market of prices 1 to 9. A budget of 1 per auction buys a bit less than the cheaper half:
    ``(1 + 2 + 3 + 4) / 9 = 1.1``.

    >>> import numpy as np
    >>> prior = PricePrior(np.arange(1.0, 10.0), np.ones(9), worth=0.01)
    >>> policy = AdaptiveDual(prior)
    >>> policy.begin(budget=1000.0, auctions=1000)
    >>> 3.9 < policy.bid(0.01, remaining=1000.0, left=1000) < 4.1
    True

    An impression worth twice as much gets twice the bid, and half the budget a lower one:

    >>> 7.8 < policy.bid(0.02, remaining=1000.0, left=1000) < 8.2
    True
    >>> 2.7 < policy.bid(0.01, remaining=500.0, left=1000) < 3.1
    True
    """

    def __init__(
        self,
        prior: PricePrior,
        *,
        half_life: float = 2000.0,
        prior_strength: float = 500.0,
        refresh_every: int = 50,
    ) -> None:
        if refresh_every < 1:
            raise InvalidInput(f"refresh_every {refresh_every}", expected="at least 1 auction")
        self.curve = SpendCurve(prior, half_life=half_life, prior_strength=prior_strength)
        self._refresh_every = refresh_every
        self._rows = 0
        self._seen = 0.0
        self._worth = 0.0
        self._multiplier = 0.0
        self._bid = 0.0

    def begin(self, budget: float, auctions: float) -> None:
        """A new budget starts to run. What was learned of prices stays."""

    def bid(self, worth: float, remaining: float, left: float) -> float:
        """The bid for an impression of this worth; 0 when there is nothing to spend or nothing to gain."""
        if not (worth > 0 and remaining > 0 and left > 0):
            self._worth = self._bid = 0.0
            return 0.0
        self._worth = worth
        self._multiplier = self.curve.multiplier(remaining / left)
        self._bid = self._multiplier * worth / self.curve.worth
        return self._bid

    def learn(self, bid: float, price: float | None, weight: float, charges: float) -> None:
        """What became of the bid; a cap may have made it lower than the one asked for."""
        if self._worth > 0:
            # Where the bid was not cut, the multiplier itself is exact, and the same for every worth: no rounding
            # creeps in.
            sent = self._multiplier if bid >= self._bid else bid * self.curve.worth / self._worth
            self.curve.observe(worth=self._worth, multiplier=sent, price=price, weight=weight, charges=charges)
        self._rows += 1
        self._seen += weight
        if self._rows % self._refresh_every == 0:
            self.curve.refresh(self._seen)
            self._seen = 0.0
