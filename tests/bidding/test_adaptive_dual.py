from __future__ import annotations

import numpy as np
import pytest

from bidloop.bidding.policies.adaptive_dual import AdaptiveDual
from bidloop.bidding.policies.hindsight import PerfectPrices
from bidloop.bidding.policies.linear import Linear
from bidloop.bidding.policies.spend_curve import PricePrior
from bidloop.core.opportunity import Charge
from bidloop.experiments.auctions import Auctions
from bidloop.experiments.periods import Periods, episodes
from bidloop.experiments.replay import replay

WORTH = 0.004


def market(n: int = 12_000, *, charge: Charge | None = None, level: float = 15.0, seed: int = 0) -> Auctions:
    random = np.random.default_rng(seed)
    quality = random.normal(size=n)
    ctr = np.minimum(WORTH * np.exp(0.4 * quality), 1.0)
    price = np.ceil(level * np.exp(0.6 * quality + 0.9 * random.normal(size=n)))
    return Auctions.of(ctr=ctr, market_price=price, click=random.random(n) < ctr, charge=charge)


def policy(mean_price: float = 15.0, charges: float = 1.0, worth: float = WORTH) -> AdaptiveDual:
    prices = np.arange(1.0, 301.0)
    return AdaptiveDual(PricePrior(prices, np.exp(-prices / mean_price), worth=worth, charges=charges))


@pytest.mark.parametrize("rate", [0.3, 2.0, 8.0])
def test_it_comes_close_to_perfect_prices_and_beats_the_best_linear_bid_of_hindsight(rate: float) -> None:
    auctions = market()
    spells, budget = episodes(auctions, 1000), 1000 * rate
    ours = replay(policy(), auctions, budget, spells)
    ceiling = replay(PerfectPrices(), auctions, budget, spells)
    linear = max(
        (replay(Linear(base, WORTH), auctions, budget, spells) for base in np.geomspace(1, 200, 40).tolist()),
        key=lambda tally: tally.expected,
    )
    assert ours.expected > 0.95 * ceiling.expected
    assert ours.expected > linear.expected


@pytest.mark.parametrize("mean_price", [2.0, 150.0])
def test_a_prior_that_is_far_off_is_outgrown(mean_price: float) -> None:
    auctions = market()
    spells, budget = episodes(auctions, 1000), 2000.0
    assert (
        replay(policy(mean_price), auctions, budget, spells).expected
        > 0.93 * replay(PerfectPrices(), auctions, budget, spells).expected
    )


def test_it_follows_a_market_whose_prices_double() -> None:
    before, after = market(6000), market(6000, level=30.0, seed=1)
    auctions = Auctions.of(
        ctr=np.concatenate([before.ctr, after.ctr]),
        market_price=np.concatenate([before.market_price, after.market_price]),
        click=0.0,
        charge=None,
    )
    late = episodes(auctions, 1000)
    ceiling = replay(PerfectPrices(), after, 2000.0, episodes(after, 1000)).expected
    learner = policy()
    first = Periods(late.rows[:6], late.campaign[:6], late.expected[:6])
    second = Periods(late.rows[6:], late.campaign[6:], late.expected[6:])
    replay(learner, auctions, 2000.0, first)
    assert replay(learner, auctions, 2000.0, second).expected > 0.93 * ceiling


def test_a_budget_is_spent_but_for_a_little_when_there_is_enough_to_buy() -> None:
    auctions = market()
    tally = replay(policy(), auctions, 2000.0, episodes(auctions, 1000))
    assert 0.98 * 24_000 < tally.spend <= 24_000


def test_prices_per_mille_and_per_click_are_paced_alike() -> None:
    per_mille = market(charge=Charge.PER_MILLE)
    tally = replay(policy(charges=0.001), per_mille, 2.0, episodes(per_mille, 1000))
    assert 0.97 * 24 < tally.spend <= 24.0
    per_click = market(60_000, charge=Charge.PER_CLICK, seed=4)
    tally = replay(policy(charges=WORTH, worth=1.0), per_click, 40.0, episodes(per_click, 6000))
    # A win costs only when it is clicked: with some 7 clicks per budget the last one often no longer fits.
    assert 0.6 * 400 < tally.spend <= 400.0


def test_nothing_to_gain_or_to_spend_gets_no_bid() -> None:
    ours = policy()
    ours.begin(10.0, 100)
    for worth, remaining in [(0.0, 10.0), (np.nan, 10.0), (WORTH, 0.0), (WORTH, np.nan)]:
        assert ours.bid(worth, remaining, 100) == 0.0
        ours.learn(0.0, None, 1.0, 1.0)
    assert ours.bid(WORTH, 10.0, 100) > 0
