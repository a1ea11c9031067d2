"""A log is met again as it was, and what it does not tell is borrowed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from bidloop.adapters.ipinyou.reader import read_events
from bidloop.core.decision import Decision
from bidloop.core.errors import InsufficientData, InvalidInput
from bidloop.core.event import BidLost, ClickReceived, ConversionReported, Event, ImpressionServed
from bidloop.core.money import Money
from bidloop.core.opportunity import Charge, Opportunity
from bidloop.simulation.auction_market import Bid
from bidloop.simulation.logged_market import LoggedMarket
from bidloop.simulation.missing_prices import borrow_prices

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def shown(
    name: str,
    *,
    minute: float = 0.0,
    price: float | None = 1.0,
    weight: float = 1.0,
    slot: str = "top",
    charge: Charge = Charge.PER_MILLE,
    currency: str = "USD",
    floor: float | None = None,
) -> ImpressionServed:
    at = NOON + timedelta(minutes=minute)
    opportunity = Opportunity(
        opportunity_id=name,
        at=at,
        campaign_id="shoes",
        attributes={"slot": slot, "exchange": "1"},
        charge=charge,
        currency=currency,
        floor=None if floor is None else Money.of(floor, currency),
    )
    return ImpressionServed(
        event_id=f"imp:{name}",
        at=at,
        impression_id=name,
        opportunity=opportunity,
        price=None if price is None else Money.of(price / 1000, currency),
        weight=weight,
    )


def clicked(name: str, *, minute: float = 1.0) -> ClickReceived:
    return ClickReceived(event_id=f"clk:{name}", at=NOON + timedelta(minutes=minute), impression_id=name)


def settle(market: LoggedMarket, bid: float) -> list[Event]:
    told: list[Event] = []
    for batch in market.batches():
        told += market.settle_bids(
            [Bid(o.opportunity_id, f"mine-{o.opportunity_id}", Money.of(bid).micros) for o in batch]
        )
    return told


def test_a_logged_impression_is_won_at_its_price_and_lost_below() -> None:
    log = [shown("a", price=1.0), shown("b", price=2.0, minute=1)]
    told = settle(LoggedMarket(log), 1.5)
    assert [type(event) for event in told] == [ImpressionServed, BidLost]
    assert told[0].price == Money.of("0.001")
    assert told[1].market_price is None
    assert settle(LoggedMarket(log, tells_losing_price=True), 1.5)[1].market_price == Money.of(2)


def test_clicks_and_conversions_come_back_at_their_own_times() -> None:
    converted = ConversionReported(
        event_id="c", at=NOON + timedelta(hours=30), impression_id="a", order_id="o", value=Money.of(40)
    )
    market = LoggedMarket(
        [converted, clicked("a", minute=3), shown("a"), shown("b", minute=2), clicked("b", minute=-5)]
    )
    settle(market, 5.0)
    click_b, click_a = market.due(NOON + timedelta(hours=1))
    assert (click_a.impression_id, click_a.at) == ("mine-a", NOON + timedelta(minutes=3))
    # No click can come before its impression, whatever the log says.
    assert (click_b.impression_id, click_b.at) == ("mine-b", NOON + timedelta(minutes=2))
    [conversion] = market.underway
    assert (conversion.at, conversion.value) == (converted.at, Money.of(40))
    assert market.tally().value == 40.0


def test_a_row_that_stands_for_many_costs_and_counts_as_many() -> None:
    market = LoggedMarket([shown("a", weight=300.0, price=2.0), shown("b", minute=1), clicked("b")])
    told = settle(market, 5.0)
    assert [event.weight for event in told] == [300.0, 1.0]
    tally = market.tally()
    assert (tally.auctions, tally.impressions, tally.clicks) == (301.0, 301.0, 1.0)
    assert tally.spend == pytest.approx((300 * 2.0 + 1.0) / 1000)


def test_a_weighted_row_is_not_bought_when_the_budget_does_not_cover_all_of_it() -> None:
    log = [shown("a", weight=300.0), shown("b", weight=300.0, minute=1), shown("c", minute=2)]
    market = LoggedMarket(log, budgets={"shoes": Money.of("0.5")})
    told = settle(market, 5.0)
    assert [event.impression_id for event in told] == ["mine-a", "mine-c"]
    assert market.tally().spend == pytest.approx(0.301)


def test_each_local_day_has_a_budget_of_its_own() -> None:
    log = [shown(str(hour), minute=60.0 * hour) for hour in range(24)]
    market = LoggedMarket(log, budgets={"shoes": Money.of("0.003")}, timezone="Asia/Shanghai")
    told = settle(market, 5.0)
    # Noon in UTC is 20:00 in Shanghai, so four rows fall on the first day.
    assert [event.impression_id for event in told] == [f"mine-{hour}" for hour in (0, 1, 2, 4, 5, 6)]


def test_only_the_asked_stretch_is_offered() -> None:
    log = [shown(str(hour), minute=60.0 * hour) for hour in range(10)]
    start, end = NOON + timedelta(hours=2), NOON + timedelta(hours=5)
    market = LoggedMarket(log, start=start, end=end)
    assert [o.opportunity_id for batch in market.batches() for o in batch] == ["2", "3", "4"]
    assert (market.start, market.end) == (start, end)
    with pytest.raises(InsufficientData, match="no impressions between"):
        LoggedMarket(log, start=end, end=start)


def test_a_missing_price_is_borrowed_from_the_same_slot_in_proportion_to_weight() -> None:
    donors = [
        shown("a", price=1.0, weight=30.0),
        shown("b", price=3.0, weight=10.0),
        shown("c", price=9.0, slot="side"),
    ]
    without = [shown(f"n{i}", price=None, minute=1) for i in range(2000)]
    market = LoggedMarket([*donors, *without], seed=4)
    settle(market, 0.0)
    prices = market.auctions().market_price[3:]
    assert market.borrowed == 2000
    assert set(prices.tolist()) == {1.0, 3.0}
    assert np.mean(prices == 3.0) == pytest.approx(0.25, abs=0.04)
    again = LoggedMarket([*donors, *without], seed=4)
    settle(again, 0.0)
    assert np.array_equal(again.auctions().market_price[3:], prices)


def test_a_slot_without_prices_borrows_from_the_campaign_on_the_exchange_and_never_goes_below_the_floor() -> None:
    market = LoggedMarket([shown("a", price=1.0), shown("b", price=None, slot="new", floor=1.5, minute=1)])
    settle(market, 0.0)
    assert market.auctions().market_price.tolist() == [1.0, 1.5]


def test_without_any_price_there_is_no_market() -> None:
    with pytest.raises(InsufficientData, match="1 impressions without a price"):
        LoggedMarket([shown("a", price=None)])
    with pytest.raises(InsufficientData, match="without a price"):
        borrow_prices([shown("a").opportunity], np.array([0]), np.array([False]), np.ones(1), seed=0)


def test_logs_that_cannot_be_met_again_are_refused() -> None:
    with pytest.raises(InvalidInput, match="'a' twice"):
        LoggedMarket([shown("a"), shown("a")])
    with pytest.raises(InvalidInput, match="priced per_click"):
        LoggedMarket([shown("a", charge=Charge.PER_CLICK)])
    with pytest.raises(InvalidInput, match="EUR second_price, USD second_price"):
        LoggedMarket([shown("a"), shown("b", currency="EUR")])
    with pytest.raises(InsufficientData, match="no impressions"):
        LoggedMarket([clicked("a")])


@pytest.mark.data
def test_the_ipinyou_log_is_met_again_with_its_own_totals(
    data: Callable[[str], Path], decide: Callable[..., Decision], tmp_path: Path
) -> None:
    for file in data("ipinyou_season2").glob("*.2013061[12].txt*"):
        (tmp_path / file.name).symlink_to(file)
    kinds = (ImpressionServed, ClickReceived, ConversionReported)
    # Without weights by advertiser each sampled row stands for the log's overall 1 / 0.343 %.
    events = [event for event in read_events(tmp_path, weights={}) if isinstance(event, kinds)]
    start = datetime(2013, 6, 11, 16, tzinfo=UTC)
    market = LoggedMarket(events, timezone="Asia/Shanghai", start=start)
    assert market.end == datetime(2013, 6, 12, 16, tzinfo=UTC)
    told = 0
    for batch in market.batches():
        told += len(market.settle([decide(o, Money.of(1000, "CNY")) for o in batch]))
    tally = market.tally()
    assert told == sum(e.at >= start for e in events if isinstance(e, ImpressionServed))
    assert tally.win_rate == 1.0
    # The published season-2 CTR is 0.072 %, and its mean market price about 79 fen per mille.
    assert tally.clicks / tally.impressions == pytest.approx(0.00072, rel=0.15)
    assert 0.6 < tally.spend / tally.impressions * 1000 < 1.0
    price = market.auctions().market_price
    assert price[market.auctions().click > 0].mean() == pytest.approx(price.mean(), rel=0.3)
