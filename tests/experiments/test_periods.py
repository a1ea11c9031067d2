from __future__ import annotations

import numpy as np
import pytest

from bidloop.core.errors import InvalidInput
from bidloop.experiments.auctions import Auctions
from bidloop.experiments.periods import campaign_days, episodes


def log(hours: list[str], campaign: list[str], weight: float = 1.0) -> Auctions:
    at = np.array(hours, dtype="datetime64[us]")
    return Auctions.of(ctr=[0.1] * len(hours), market_price=1.0, click=0.0, campaign=campaign, at=at, weight=weight)


def test_the_last_episode_may_be_short_but_is_not_known_to_be() -> None:
    periods = episodes(log(["2026-01-01"] * 5, ["a"] * 5), 3)
    assert [len(rows) for rows in periods.rows] == [3, 2]
    assert periods.expected.tolist() == [3.0, 3.0]


def test_an_episode_needs_an_auction() -> None:
    with pytest.raises(InvalidInput, match="episodes of 0"):
        episodes(log(["2026-01-01"], ["a"]), 0)


def test_each_campaign_has_days_of_its_own_in_the_order_in_which_they_begin() -> None:
    hours = ["2026-01-01T01", "2026-01-01T02", "2026-01-01T03", "2026-01-02T01", "2026-01-02T02"]
    periods = campaign_days(log(hours, ["b", "a", "b", "a", "b"]))
    assert periods.campaign == ["b", "a", "a", "b"]
    assert [rows.tolist() for rows in periods.rows] == [[0, 2], [1], [3], [4]]


def test_a_day_is_expected_to_be_like_the_campaigns_day_before_it() -> None:
    hours = ["2026-01-01T01"] * 3 + ["2026-01-02T01"] * 2 + ["2026-01-03T01"]
    periods = campaign_days(log(hours, ["a"] * 6, weight=10.0))
    assert periods.expected.tolist() == [30.0, 30.0, 20.0]


def test_days_turn_at_midnight_of_the_accounts_timezone_on_both_sides_of_a_clock_change() -> None:
    # Berlin went from +1 to +2 on 2026-03-29: local midnights are 23:00 and then 22:00 UTC.
    hours = ["2026-03-28T22:59", "2026-03-28T23:01", "2026-03-29T21:59", "2026-03-29T22:01"]
    periods = campaign_days(log(hours, ["a"] * 4), "Europe/Berlin")
    assert [rows.tolist() for rows in periods.rows] == [[0], [1, 2], [3]]


def test_no_auctions_have_no_days() -> None:
    empty = Auctions.of(ctr=np.zeros(0), market_price=np.zeros(0), click=np.zeros(0))
    # `of` makes at least one row of a scalar; an empty log comes from `take`.
    assert len(campaign_days(empty.take(np.zeros(0, dtype=np.intp)))) == 0
