from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bidloop.core.errors import InvalidInput, NotFound
from bidloop.core.opportunity import Auction, Charge
from bidloop.experiments.auctions import Auctions, Objective
from bidloop.experiments.periods import campaign_days, episodes
from bidloop.experiments.replay import purchases, replay


class Flat:
    def __init__(self, amount: float) -> None:
        self.amount = amount

    def bids(self, worth: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.full(len(worth), self.amount)


class FlatOneByOne:
    """The same, as a policy that is asked each time, and that notes what it is told."""

    def __init__(self, amount: float) -> None:
        self.amount = amount
        self.begun: list[tuple[float, float]] = []
        self.left: list[float] = []
        self.learned: list[tuple[float, float | None]] = []

    def begin(self, budget: float, auctions: float) -> None:
        self.begun.append((budget, auctions))

    def bid(self, worth: float, remaining: float, left: float) -> float:
        self.left.append(left)
        return self.amount

    def learn(self, bid: float, price: float | None, weight: float, charges: float) -> None:
        self.learned.append((bid, price))


def simple(prices: list[float], **columns: object) -> Auctions:
    return Auctions.of(ctr=[0.5] * len(prices), market_price=prices, click=1.0, charge=None, **columns)


def test_a_bid_equal_to_the_price_wins_and_a_lower_one_loses() -> None:
    auctions = simple([2.0, 3.0, 3.5])
    assert purchases(Flat(3.0), auctions, np.inf, episodes(auctions, 3)).won.tolist() == [True, True, False]


def test_the_winner_pays_the_price_or_under_first_price_the_bid() -> None:
    second, first = simple([2.0]), simple([2.0], auction=Auction.FIRST_PRICE)
    assert replay(Flat(3.0), second, 10.0, episodes(second, 1)).spend == 2.0
    assert replay(Flat(3.0), first, 10.0, episodes(first, 1)).spend == 3.0
    assert replay(FlatOneByOne(3.0), first, 10.0, episodes(first, 1)).spend == 3.0
    assert replay(Flat(3.0), first, 2.5, episodes(first, 1)).spend == 2.5


def test_a_bid_is_cut_to_the_rest_of_the_budget_so_that_a_cheaper_auction_is_still_won() -> None:
    auctions = simple([4.0, 4.0, 1.0])
    for policy in (Flat(9.0), FlatOneByOne(9.0)):
        assert purchases(policy, auctions, 5.0, episodes(auctions, 3)).won.tolist() == [True, False, True]


def test_each_period_has_the_whole_budget_again() -> None:
    auctions = simple([4.0] * 4)
    for policy in (Flat(9.0), FlatOneByOne(9.0)):
        assert purchases(policy, auctions, 4.0, episodes(auctions, 2)).won.tolist() == [True, False, True, False]


def test_a_cap_lowers_every_bid() -> None:
    auctions = simple([2.0, 4.0])
    for policy in (Flat(9.0), FlatOneByOne(9.0)):
        assert replay(policy, auctions, 99.0, episodes(auctions, 2), max_bid=3.0).impressions == 1.0


def test_a_policy_that_adapts_learns_the_price_of_a_win_and_nothing_of_a_loss() -> None:
    policy, auctions = FlatOneByOne(3.0), simple([2.0, 5.0, 2.0])
    replay(policy, auctions, 4.5, episodes(auctions, 3))
    assert policy.begun == [(4.5, 3.0)]
    assert policy.left == [3.0, 2.0, 1.0]
    assert policy.learned == [(3.0, 2.0), (2.5, None), (2.5, 2.0)]


def test_a_row_of_weight_w_costs_and_brings_w_times_as_much() -> None:
    auctions = simple([2.0, 2.0], weight=[3.0, 1.0], conversion=1.0, value=5.0)
    tally = replay(Flat(2.0), auctions, 7.0, episodes(auctions, 2))
    assert (tally.impressions, tally.clicks, tally.spend, tally.value) == (3.0, 3.0, 6.0, 15.0)


def test_a_click_priced_impression_costs_only_when_it_is_clicked_but_must_be_affordable() -> None:
    auctions = Auctions.of(ctr=[0.1] * 3, market_price=2.0, click=[0.0, 1.0, 0.0], charge=Charge.PER_CLICK)
    for policy in (Flat(2.0), FlatOneByOne(2.0)):
        tally = replay(policy, auctions, 3.0, episodes(auctions, 3))
        assert (tally.impressions, tally.spend) == (2.0, 2.0)
        assert tally.expected == pytest.approx(0.2)


def test_what_is_expected_follows_the_objective() -> None:
    auctions = simple([1.0], conversion_rate=0.2, order_value=10.0)
    expected = {o: replay(Flat(1.0), auctions, 9.0, episodes(auctions, 1), objective=o).expected for o in Objective}
    assert expected == pytest.approx({Objective.CLICKS: 0.5, Objective.CONVERSIONS: 0.1, Objective.VALUE: 1.0})


def test_budgets_and_policies_may_be_given_by_campaign() -> None:
    auctions = simple([2.0] * 4, campaign=["a", "b", "a", "b"])
    days = campaign_days(auctions)
    assert replay(Flat(2.0), auctions, {"a": 4.0, "b": 2.0}, days).impressions == 3.0
    assert replay({"a": Flat(2.0), "b": Flat(1.0)}, auctions, 9.0, days).impressions == 2.0
    with pytest.raises(NotFound, match="no budget for campaign 'b'"):
        replay(Flat(2.0), auctions, {"a": 4.0}, days)


def test_a_bid_that_is_no_number_wins_nothing() -> None:
    auctions = simple([0.0, 2.0])
    for policy in (Flat(np.nan), FlatOneByOne(np.nan)):
        assert not purchases(policy, auctions, 9.0, episodes(auctions, 2)).won.any()


@pytest.mark.parametrize("wrong", [-1.0, np.nan])
def test_a_budget_or_cap_that_makes_no_sense_is_refused(wrong: float) -> None:
    auctions = simple([2.0])
    with pytest.raises(InvalidInput, match="budget"):
        replay(Flat(1.0), auctions, wrong, episodes(auctions, 1))
    with pytest.raises(InvalidInput, match="max_bid"):
        replay(Flat(1.0), auctions, 1.0, episodes(auctions, 1), max_bid=wrong)


def test_progress_ends_at_the_whole() -> None:
    auctions, shares = simple([1.0] * 4), list[float]()
    replay(Flat(1.0), auctions, 9.0, episodes(auctions, 2), on_progress=shares.append)
    assert shares == [0.5, 1.0]
