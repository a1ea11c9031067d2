"""Clicks and conversions find what was shown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from bidloop.core.event import (
    BidLost,
    BidPlaced,
    BidWon,
    CampaignReported,
    ClickReceived,
    Competitor,
    ConversionReported,
    ConversionRestated,
    ConversionRetracted,
    ImpressionServed,
    PageViewed,
    PlatformChanged,
)
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Observations
from bidloop.outcomes.joining import Joiner
from bidloop.outcomes.settings import OutcomeSettings

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class Decided:
    """Decisions that are only asked what they were about."""

    def __init__(self, *ids: str) -> None:
        self.known = {name: cell(name) for name in ids}
        self.asked: list[list[str]] = []

    def opportunities(self, ids: Sequence[str]) -> dict[str, Opportunity]:
        self.asked.append(list(ids))
        return {name: self.known[name] for name in ids if name in self.known}


def cell(name: str) -> Opportunity:
    return Opportunity(opportunity_id=name, at=AT, campaign_id="spring")


def shown(name: str, weight: float = 1.0, at: datetime = AT, price: Money | None = None) -> ImpressionServed:
    return ImpressionServed(
        event_id=f"imp-{name}", at=at, impression_id=name, opportunity=cell(name), weight=weight, price=price
    )


def click(
    name: str, after: timedelta = timedelta(seconds=5), number: int = 1, price: Money | None = None
) -> ClickReceived:
    return ClickReceived(event_id=f"clk-{name}-{number}", at=AT + after, impression_id=name, price=price)


def order(name: str, after: timedelta = DAY, number: int = 1, order_id: str = "", value: int = 0) -> ConversionReported:
    return ConversionReported(
        event_id=f"conv-{name}-{number}", at=AT + after, impression_id=name, order_id=order_id, value=Money(value)
    )


def restated(name: str, after: timedelta, order_id: str = "1", value: int = 0) -> ConversionRestated:
    return ConversionRestated(
        event_id=f"rest-{after}", at=AT + after, impression_id=name, order_id=order_id, value=Money(value)
    )


def retracted(name: str, after: timedelta, order_id: str = "1") -> ConversionRetracted:
    return ConversionRetracted(event_id=f"retr-{after}", at=AT + after, impression_id=name, order_id=order_id)


def won(name: str, price: Money | None, after: timedelta = timedelta(seconds=-1)) -> BidWon:
    return BidWon(event_id=f"won-{after}", at=AT + after, impression_id=name, price=price)


def row(clicks: int, known: timedelta | None = None, at: datetime = AT, row_id: str = "r") -> CampaignReported:
    return CampaignReported(
        event_id=f"{row_id}-{clicks}", at=at, opportunity=cell("r"), impressions=100, clicks=clicks, conversions=1,
        spend=Money(clicks * 1_000_000), row_id=row_id, known_at=None if known is None else at + known,
    )  # fmt: skip


def joiner(*decided: str, **settings: float) -> Joiner:
    return Joiner(Decided(*decided), OutcomeSettings(**settings))


def rows(known: Observations) -> list[tuple[str, float, float, float]]:
    return [
        (about.opportunity_id, impressions, clicks, conversions)
        for about, impressions, clicks, conversions in zip(
            known.opportunities, known.impressions, known.clicks, known.conversions, strict=True
        )
    ]


def test_each_event_is_one_increment_at_its_own_time() -> None:
    events = [shown("a", price=Money(3_000_000)), click("a", price=Money(500_000)), order("a", value=9_000_000)]
    known = joiner().join(events)
    assert rows(known) == [("a", 1, 0, 0), ("a", 0, 1, 0), ("a", 0, 0, 1)]
    assert known.at.tolist() == [event.at.replace(tzinfo=None) for event in events]
    assert known.cost.tolist() == [3.0, 0.5, 0.0]
    assert known.value.tolist() == [0.0, 0.0, 9.0]
    assert known.at.dtype == np.dtype("datetime64[us]")


def test_a_report_row_adds_its_counts_and_a_lost_bid_nothing() -> None:
    report = CampaignReported(
        event_id="r",
        at=AT,
        opportunity=cell("r"),
        impressions=9,
        clicks=2,
        conversions=3,
        spend=Money(4_000_000),
        value=Money(1),
    )
    known = joiner().join([report, BidLost(event_id="l", at=AT, impression_id="x")])
    assert rows(known) == [("r", 9, 2, 3)]
    assert known.cost.tolist() == [4.0]


def test_what_users_and_markets_do_and_bids_that_were_placed_add_nothing() -> None:
    room = joiner()
    known = room.join([
        PageViewed(event_id="p", at=AT), PlatformChanged(event_id="c", at=AT, platform="x", change="y"),
        BidPlaced(event_id="b", at=AT, impression_id="a", bid=Money(1)), won("a", None),
    ])  # fmt: skip
    assert len(known) == 0
    assert (room.orphans, room.too_late, len(room._waiting)) == (0, 0, 0)


def test_a_restated_order_adds_the_difference_and_a_retracted_one_takes_all_back_when_it_became_known() -> None:
    events = [
        shown("a", weight=2.0), order("a", order_id="1", value=9_000_000), restated("a", 2 * DAY, value=4_000_000),
        retracted("a", 3 * DAY),
    ]  # fmt: skip
    known = joiner().join(events)
    assert known.at.tolist() == [event.at.replace(tzinfo=None) for event in events]
    assert known.conversions.tolist() == [0, 2, 0, -2]
    assert known.value.tolist() == [0, 18, -10, -8]


def test_an_order_that_is_retracted_before_it_is_reported_never_counts() -> None:
    room = joiner()
    assert len(room.join([retracted("a", 2 * DAY), order("a", order_id="1", value=5)])) == 0
    assert rows(room.join([shown("a")])) == [("a", 1, 0, 0)]
    assert len(room.join([order("a", 4 * DAY, 2, order_id="1", value=5), retracted("a", 3 * DAY)])) == 0
    assert room.orphans == 0


def test_a_restatement_and_a_retraction_count_within_the_conversion_window_of_the_impression() -> None:
    room = joiner(attribution_window_days=9.0, conversion_window_days=2.0)
    late = timedelta(days=2, microseconds=1)
    known = room.join([
        shown("a"), order("a", order_id="1"), order("a", order_id="2"), restated("a", 2 * DAY, value=1_000_000),
        restated("a", late, value=7), retracted("a", late, order_id="2"),
    ])  # fmt: skip
    assert (known.conversions.sum(), known.value.sum()) == (2, 1)
    assert room.too_late == 2


def test_a_win_notice_gives_the_price_that_the_impression_does_not_tell_once() -> None:
    def cost(*events: ImpressionServed | BidWon) -> list[tuple[float, float]]:
        room = joiner()
        known = [room.join([event]) for event in events]
        return [(o.impressions[i], o.cost[i]) for o in known for i in range(len(o))]

    bare, priced = shown("a", weight=2.0), shown("a", weight=2.0, price=Money(3_000_000))
    notice, later = won("a", Money(5_000_000)), won("a", Money(7_000_000), after=DAY)
    assert cost(notice, later, bare) == [(2, 10)]
    assert cost(bare, notice, later) == [(2, 0), (0, 10)]
    assert cost(notice, bare, later) == [(2, 10)]
    assert cost(won("a", None), bare, later) == [(2, 0), (0, 14)]
    assert cost(notice, priced, later) == cost(priced, notice) == [(2, 6)]
    assert cost(notice) == []


def test_a_late_win_notice_costs_when_it_came() -> None:
    known = joiner().join([shown("a"), won("a", Money(5_000_000), after=DAY)])
    assert known.at.tolist() == [AT.replace(tzinfo=None), (AT + DAY).replace(tzinfo=None)]


def test_a_win_notice_of_a_clicked_decision_waits_for_its_impression() -> None:
    room = joiner("d")
    room.join([click("d"), won("d", Money(5_000_000))])
    assert room.join([shown("d")]).cost.tolist() == [5.0]


def test_a_report_row_that_is_told_again_adds_the_difference_when_the_platform_told_it() -> None:
    room = joiner()
    known = room.join([row(7, DAY)])
    assert (known.at[0], known.clicks[0], known.cost[0]) == (np.datetime64("2026-03-01T12"), 7, 7)
    known = room.join([row(5, 2 * DAY), row(5, 3 * DAY), row(9, -DAY), row(4, row_id="")])
    assert known.at.tolist() == [(AT + after).replace(tzinfo=None) for after in (2 * DAY, 0 * DAY, 0 * DAY)]
    assert rows(known) == [("r", 0, -2, 0), ("r", 0, 4, 0), ("r", 100, 4, 1)]
    assert known.cost.tolist() == [-2, 4, 4]


def test_a_restated_row_that_is_no_longer_remembered_is_too_late_and_never_counts_twice() -> None:
    room = joiner(max_open_impressions=3)
    days = [row(1, at=AT + day * DAY, row_id=f"day {day}") for day in (4, 2, 3, 0, 1)]  # an import in any order
    assert room.join(days).impressions.sum() == 500
    assert len(room.join([row(9, 9 * DAY, AT, "day 0"), row(9, 9 * DAY, AT + DAY, "day 1")])) == 0
    assert room.too_late == 2
    assert rows(room.join([row(9, 9 * DAY, AT + 2 * DAY, "day 2")])) == [("r", 0, 8, 0)]


def test_a_row_of_a_sample_stands_for_many_with_all_that_came_of_it() -> None:
    known = joiner().join([shown("a", weight=290.0, price=Money(1_000_000)), click("a"), order("a", value=2_000_000)])
    assert rows(known) == [("a", 290, 0, 0), ("a", 0, 290, 0), ("a", 0, 0, 290)]
    assert known.cost.tolist() == [290.0, 0.0, 0.0]
    assert known.value.tolist() == [0.0, 0.0, 580.0]


def test_only_the_first_click_and_each_order_once_count_but_every_click_costs() -> None:
    known = joiner().join([
        shown("a"), click("a"), click("a", number=2), click("a", number=3, price=Money(1_000_000)),
        order("a", order_id="7"), order("a", order_id="7", number=2), order("a", order_id="8", number=3),
        order("a", number=4), order("a", number=5),
    ])  # fmt: skip
    assert known.clicks.sum() == 1
    assert known.conversions.sum() == 4
    assert known.cost.sum() == 1.0
    assert len(known) == 7


def test_an_impression_told_twice_under_two_ids_counts_once() -> None:
    again = msgspec.structs.replace(shown("a"), event_id="another")
    assert rows(joiner().join([shown("a"), again])) == [("a", 1, 0, 0)]


def test_a_click_in_a_later_batch_finds_its_impression() -> None:
    room = joiner()
    room.join([shown("a")])
    assert rows(room.join([click("a")])) == [("a", 0, 1, 0)]


def test_a_click_before_its_impression_is_an_orphan_until_the_impression_comes() -> None:
    room = joiner()
    assert len(room.join([click("a"), order("a")])) == 0
    assert room.orphans == 2
    known = room.join([shown("a", weight=2.0)])
    assert rows(known) == [("a", 2, 0, 0), ("a", 0, 2, 0), ("a", 0, 0, 2)]
    assert known.at.tolist()[1] == click("a").at.replace(tzinfo=None)
    assert room.orphans == 0


def test_an_impression_without_an_opportunity_gets_its_decisions() -> None:
    bare = msgspec.structs.replace(shown("d"), opportunity=None)
    room = joiner("d")
    assert rows(room.join([bare, click("d")])) == [("d", 1, 0, 0), ("d", 0, 1, 0)]


def test_an_impression_that_nobody_knows_is_an_orphan() -> None:
    room = joiner()
    assert len(room.join([msgspec.structs.replace(shown("d"), opportunity=None)])) == 0
    assert room.orphans == 1


def test_a_click_whose_impression_was_not_told_of_counts_for_its_decision_and_once() -> None:
    room = joiner("d")
    assert rows(room.join([click("d")])) == [("d", 0, 1, 0)]
    assert rows(room.join([click("d", number=2), shown("d")])) == [("d", 1, 0, 0)]
    assert room.orphans == 0


def test_the_decision_log_is_asked_once_a_batch_and_only_for_what_is_missing() -> None:
    decided = Decided("d", "e")
    room = Joiner(decided)
    room.join([shown("a"), click("a"), click("d"), click("e"), click("x")])
    room.join([click("d", number=2), click("a", number=2)])
    assert decided.asked == [["d", "e", "x"]]


def test_what_comes_after_its_window_is_not_counted_but_said() -> None:
    room = joiner(attribution_window_days=1.0, conversion_window_days=2.0)
    known = room.join([
        shown("a"), click("a", DAY), order("a", 2 * DAY), shown("b"), click("b", DAY + timedelta(microseconds=1)),
        order("b", 2 * DAY + timedelta(microseconds=1)),
    ])  # fmt: skip
    assert rows(known) == [("a", 1, 0, 0), ("a", 0, 1, 0), ("a", 0, 0, 1), ("b", 1, 0, 0)]
    assert room.too_late == 2


def test_memory_is_bounded_by_the_window_in_the_events_own_time() -> None:
    room = joiner(attribution_window_days=1.0, conversion_window_days=1.0)
    for day in range(50):
        room.join([shown(f"{day}-{i}", at=AT + day * DAY) for i in range(10)] + [click(f"unknown-{day}", day * DAY)])
    assert len(room._shown) <= 20
    assert len(room._waiting) <= 2
    assert room.orphans == 50


def test_memory_is_bounded_by_number_and_the_oldest_goes_first() -> None:
    room = joiner(max_open_impressions=3)
    room.join([shown(name) for name in "abcde"])
    assert sorted(room._shown) == ["c", "d", "e"]
    room.join([won(name, Money(1)) for name in "vwxyz"])
    assert sorted(room._waiting) == ["x", "y", "z"]


def test_a_joiner_rebuilt_from_the_log_goes_on_where_the_old_one_was() -> None:
    before = [shown("a"), click("b"), click("a"), order("a", order_id="1")]
    after = [click("a", number=2), shown("b"), order("a", order_id="1", number=2), order("a", order_id="2", number=3)]
    old = joiner()
    for event in before:
        old.join([event])
    rebuilt = joiner()
    rebuilt.join(before)
    assert rows(old.join(after)) == rows(rebuilt.join(after)) == [("b", 1, 0, 0), ("b", 0, 1, 0), ("a", 0, 0, 1)]


def test_nothing_joined_is_an_empty_table() -> None:
    known = joiner().join([])
    assert len(known) == 0
    assert known.clicks.shape == (0,)


def reported(name: str, day: int, known: int | None = None, **figures: object) -> CampaignReported:
    about: dict[str, object] = {"impressions": 1000, "clicks": 10, "conversions": 0, "spend": Money(0)}
    return CampaignReported(
        event_id=f"{name}-{known}", at=AT + day * DAY, opportunity=cell("c"), row_id=name,
        known_at=None if known is None else AT + known * DAY, **about | figures,  # type: ignore[arg-type]
    )  # fmt: skip


def test_an_impression_share_is_of_those_rows_that_tell_one() -> None:
    known = Joiner(Decided()).join([reported("a", 0, impression_share=0.5), reported("b", 1), shown("i")])
    assert known.impressions.sum() == 2001
    assert known.further["share_impressions"].sum() == 1000
    assert known.further["eligible_impressions"].sum() == 2000
    beyond = Joiner(Decided()).join([reported("a", 0, impression_share=5e-324, quality_score=1e308)])
    assert all(column[0] == 0.0 for name, column in beyond.further.items() if "impressions" in name or "points" in name)


def test_an_old_row_told_again_says_nothing_new_of_budget_and_competitors() -> None:
    rivals = (Competitor(name="r", impression_share=0.9, overlap_rate=0.8),)
    old = reported("jan", 0, budget=Money.of(10), competitors=rivals)
    again = reported("jan", 0, 40, budget=Money.of(10), competitors=rivals, clicks=11)
    known = Joiner(Decided()).join([old, reported("mar", 39, budget=Money.of(99)), again])
    assert known.further["daily_budget"][:2].tolist() == [10.0, 99.0]
    assert np.isnan(known.further["daily_budget"][2])
    assert np.isnan(known.further["competitor_share"][1:]).all()


def test_a_budget_that_makes_no_sense_is_none() -> None:
    huge = msgspec.structs.replace(cell("i"), budget=Money(10**400))
    foreign = msgspec.structs.replace(cell("j"), budget=Money(5, "JPY"))
    events = [msgspec.structs.replace(shown(c.opportunity_id), opportunity=c) for c in (huge, foreign)]
    assert np.isnan(Joiner(Decided()).join(events).further["daily_budget"]).all()


def test_it_makes_no_difference_where_a_page_of_the_log_ends() -> None:
    events = [click("i"), shown("i"), order("i", order_id="1"), click("j"), shown("k"), click("k")]
    whole = Joiner(Decided("i", "j")).join(events, range(1, 7))
    joiner = Joiner(Decided("i", "j"))
    pieces = [joiner.join([event], [i]) for i, event in enumerate(events, start=1)]
    for column in ("at", "impressions", "clicks", "conversions", "position"):
        np.testing.assert_array_equal(getattr(whole, column), np.concatenate([getattr(one, column) for one in pieces]))


def test_who_is_forgotten_is_in_nothing_that_comes_of_their_impressions() -> None:
    about = msgspec.structs.replace(cell("i"), user_id="p.anna")
    joiner = Joiner(Decided())
    joiner.join([msgspec.structs.replace(shown("i"), opportunity=about, user_id="p.anna")])
    joiner.forget("p.anna")
    assert [one.user_id for one in joiner.join([click("i"), order("i")]).opportunities] == ["", ""]
