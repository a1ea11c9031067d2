"""What holds for every policy on every log: budgets are kept, and nobody looks ahead or behind a lost auction."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bidloop.bidding.policies.adaptive_dual import AdaptiveDual
from bidloop.bidding.policies.hindsight import PerfectForesight, PerfectPrices
from bidloop.bidding.policies.linear import Linear
from bidloop.bidding.policies.rlb import ValueTable
from bidloop.bidding.policies.spend_curve import PricePrior
from bidloop.core.opportunity import Auction, Charge
from bidloop.experiments.auctions import Auctions
from bidloop.experiments.periods import episodes
from bidloop.experiments.ports import Policy
from bidloop.experiments.replay import purchases

COUNTS = np.ones(31)
ANY = st.floats(allow_nan=True, allow_infinity=True)


class Wild:
    """Bids anything at all."""

    def __init__(self, bids: list[float]) -> None:
        self._bids = bids

    def bids(self, worth: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.resize(np.array(self._bids), len(worth))


class WildOneByOne:
    def __init__(self, bids: list[float]) -> None:
        self._bids = bids
        self._next = 0

    def begin(self, budget: float, auctions: float) -> None:
        pass

    def bid(self, worth: float, remaining: float, left: float) -> float:
        self._next += 1
        return self._bids[self._next % len(self._bids)]

    def learn(self, bid: float, price: float | None, weight: float, charges: float) -> None:
        pass


def market(seed: int, n: int = 120, **how: object) -> Auctions:
    random = np.random.default_rng(seed)
    ctr = random.uniform(0.0, 0.3, n)
    prices = random.integers(0, 30, n).astype(float)
    return Auctions.of(ctr=ctr, market_price=prices, click=(random.random(n) < ctr).astype(float), **how)


def policies() -> list[Policy]:
    prior = PricePrior.from_histogram(COUNTS, worth=0.15)
    return [
        Linear(12.0, 0.15),
        AdaptiveDual(prior, prior_strength=2.0, refresh_every=7),
        ValueTable(COUNTS, 0.15, auctions=60, budget=400),
    ]


@given(
    seed=st.integers(0, 10_000),
    bids=st.lists(ANY, min_size=1, max_size=20),
    budget=st.floats(0, 500),
    charge=st.sampled_from([None, Charge.PER_MILLE, Charge.PER_CLICK]),
    auction=st.sampled_from(Auction),
    weight=st.floats(0.1, 50),
)
def test_no_policy_spends_more_than_the_budget_of_a_period(
    seed: int, bids: list[float], budget: float, charge: Charge | None, auction: Auction, weight: float
) -> None:
    auctions = market(seed, charge=charge, auction=auction, weight=weight)
    spells = episodes(auctions, 50)
    for policy in (Wild(bids), WildOneByOne(bids), PerfectPrices(), PerfectForesight(), *policies()[:2]):
        bought = purchases(policy, auctions, budget, spells)
        assert all(bought.spend[rows].sum() <= budget * (1 + 1e-12) for rows in spells.rows)
        assert np.isfinite(bought.spend).all()
        assert not bought.spend[~bought.won].any()


@given(seed=st.integers(0, 10_000), cut=st.integers(1, 119))
def test_what_comes_later_changes_nothing_that_was_bought_before(seed: int, cut: int) -> None:
    auctions, other = market(seed), market(seed + 1)

    def spliced(name: str) -> NDArray[np.float64]:
        return np.concatenate([getattr(auctions, name)[:cut], getattr(other, name)[cut:]])

    changed = Auctions.of(**{name: spliced(name) for name in ("ctr", "market_price", "click")}, charge=None)
    original = Auctions.of(ctr=auctions.ctr, market_price=auctions.market_price, click=auctions.click, charge=None)
    for one, two in zip(policies(), policies(), strict=True):
        first = purchases(one, original, 200.0, episodes(original, 60))
        second = purchases(two, changed, 200.0, episodes(changed, 60))
        assert np.array_equal(first.won[:cut], second.won[:cut])


@given(seed=st.integers(0, 10_000))
def test_the_price_of_a_lost_auction_changes_nothing_even_once_there_is_more_to_spend(seed: int) -> None:
    auctions, later = market(seed, charge=None), market(seed + 1, charge=None)
    for one, two in zip(policies(), policies(), strict=True):
        first = purchases(one, auctions, 100.0, episodes(auctions, 60))
        dearer = np.where(first.won, auctions.market_price, auctions.market_price + 1000.0)
        changed = Auctions.of(ctr=auctions.ctr, market_price=dearer, click=1 - auctions.click, charge=None)
        assert np.array_equal(purchases(two, changed, 100.0, episodes(changed, 60)).won, first.won)
        bought = [purchases(policy, later, 400.0, episodes(later, 60)).won for policy in (one, two)]
        assert np.array_equal(*bought)
