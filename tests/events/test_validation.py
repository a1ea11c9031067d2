"""Events that make sense pass in silence; the others say why, under a stable code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from bidloop.core.errors import RejectedRow
from bidloop.core.event import (
    BidLost,
    BidPlaced,
    BidWon,
    CampaignReported,
    ClickReceived,
    ConversionReported,
    ConversionRestated,
    ConversionRetracted,
    DeviceLinked,
    Event,
    ImpressionServed,
    IndicatorPublished,
    SeasonMarked,
    SessionEnded,
)
from bidloop.core.money import Money
from bidloop.core.opportunity import History, Opportunity
from bidloop.events.settings import EventSettings
from bidloop.events.validation import CODES, check

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CELL = Opportunity(opportunity_id="o", at=NOW, campaign_id="spring")
SHOWN = ImpressionServed(event_id="e", at=NOW, impression_id="i", opportunity=CELL, price=Money(5))
LOST = BidLost(event_id="e", at=NOW, impression_id="i")
CLICK = ClickReceived(event_id="e", at=NOW, impression_id="i")
ORDER = ConversionReported(event_id="e", at=NOW, impression_id="i")
REPORT = CampaignReported(
    event_id="e", at=NOW, opportunity=CELL, impressions=10, clicks=2, conversions=1, spend=Money(3), value=Money(9)
)

HISTORY = History(ctr=0.1, conversion_rate=0.1, spend=Money(5), impressions=10, clicks=1)

replace = msgspec.structs.replace


def in_cell(**changes: object) -> ImpressionServed:
    return replace(SHOWN, opportunity=replace(CELL, **changes))


@pytest.mark.parametrize("event", [SHOWN, LOST, CLICK, ORDER, REPORT, replace(SHOWN, opportunity=None)])
def test_a_sensible_event_passes(event: Event) -> None:
    check(event, NOW)


def test_more_conversions_than_clicks_are_sensible_because_of_view_through() -> None:
    check(replace(REPORT, clicks=0, conversions=7), NOW)


def test_a_refund_is_sensible() -> None:
    check(replace(ORDER, value=Money(-5)), NOW)


@pytest.mark.parametrize(
    ("code", "event"),
    [
        ("empty_id", replace(CLICK, event_id=" ")),
        ("empty_id", replace(CLICK, impression_id="")),
        ("empty_id", in_cell(campaign_id="")),
        ("empty_id", in_cell(opportunity_id="")),
        ("unknown_date", replace(CLICK, at=datetime(2026, 3, 1))),
        ("unknown_date", replace(CLICK, at=datetime(1970, 1, 1, tzinfo=UTC))),
        ("unknown_date", replace(CLICK, at=datetime.min.replace(tzinfo=timezone(timedelta(hours=2))))),
        ("unknown_date", in_cell(at=datetime(2026, 3, 1))),
        ("future_date", replace(CLICK, at=NOW + timedelta(hours=25))),
        ("future_date", in_cell(at=datetime.max.replace(tzinfo=UTC))),
        ("not_finite", replace(SHOWN, weight=float("nan"))),
        ("not_finite", replace(SHOWN, weight=float("inf"))),
        ("not_finite", in_cell(measures={"quality": float("nan")})),
        ("not_finite", in_cell(history=History(ctr=float("nan"), conversion_rate=0, spend=Money(0), impressions=0, clicks=0))),
        ("unreadable_id", replace(CLICK, event_id="a\x00b")),
        ("unreadable_id", replace(CLICK, impression_id="a\nb")),
        ("empty_id", ConversionRestated(event_id="e", at=NOW, impression_id="i", order_id="")),
        ("empty_id", ConversionRetracted(event_id="e", at=NOW, impression_id="i", order_id=" ")),
        ("empty_id", DeviceLinked(event_id="e", at=NOW, user_id="u")),
        ("empty_id", IndicatorPublished(event_id="e", at=NOW, series="", period="2026", value=1.0)),
        ("not_finite", IndicatorPublished(event_id="e", at=NOW, series="cpi", period="2026", value=float("nan"))),
        ("not_finite", SessionEnded(event_id="e", at=NOW, duration_seconds=float("inf"))),
        ("not_finite", replace(REPORT, quality_score=float("nan"))),
        ("not_finite", replace(REPORT, conversions=float("nan"))),
        ("out_of_range", replace(REPORT, impressions=10**400, clicks=0)),
        ("season_ends_early", SeasonMarked(event_id="e", at=NOW, name="sale", starts=NOW, ends=NOW)),
        ("unknown_date", SeasonMarked(event_id="e", at=NOW, name="sale", starts=datetime(2026, 3, 1), ends=NOW)),
        ("future_date", replace(REPORT, known_at=NOW + timedelta(days=2))),
        ("out_of_range", replace(REPORT, impressions=10**16)),
        ("out_of_range", replace(REPORT, spend=Money(10**19))),
        ("out_of_range", replace(ORDER, value=Money(-(10**30)))),
        ("out_of_range", BidPlaced(event_id="e", at=NOW, impression_id="i", bid=Money(10**19))),
        ("out_of_range", SessionEnded(event_id="e", at=NOW, page_views=10**16)),
        ("out_of_range", replace(SHOWN, weight=1e300)),
        ("out_of_range", in_cell(measures={"quality": -1e300})),
        ("out_of_range", in_cell(budget=Money(10**400))),
        ("negative_spend", in_cell(budget=Money(-1))),
        ("wrong_currency", in_cell(budget=Money(1, "JPY"))),
        ("out_of_range", in_cell(history=replace(HISTORY, impressions=10**400))),
        ("out_of_range", in_cell(history=replace(HISTORY, spend=Money(10**30)))),
        ("out_of_range", replace(REPORT, quality_score=1e308)),
        ("out_of_range", SessionEnded(event_id="e", at=NOW, duration_seconds=1.5e308)),
        ("out_of_range", IndicatorPublished(event_id="e", at=NOW, series="s", period="p", value=-1e308)),
        ("negative_spend", BidWon(event_id="e", at=NOW, impression_id="i", price=Money(-1))),
        ("negative_spend", replace(REPORT, budget=Money(-1))),
        ("weight_not_positive", replace(SHOWN, weight=0.0)),
        ("negative_count", replace(REPORT, clicks=-1)),
        ("negative_count", replace(REPORT, impressions=-1, clicks=-2)),
        ("negative_spend", replace(REPORT, spend=Money(-1))),
        ("negative_spend", replace(SHOWN, price=Money(-1))),
        ("negative_spend", replace(CLICK, price=Money(-1))),
        ("negative_spend", replace(LOST, market_price=Money(-1))),
        ("negative_spend", replace(LOST, bid=Money(-1))),
        ("empty_id", replace(LOST, opportunity=replace(CELL, campaign_id=""))),
        ("wrong_currency", replace(LOST, opportunity=CELL, bid=Money(1, "EUR"))),
        ("clicks_exceed_impressions", replace(REPORT, clicks=11)),
        ("wrong_currency", replace(REPORT, spend=Money(1, "EUR"))),
        ("wrong_currency", replace(REPORT, value=Money(1, "EUR"))),
        ("wrong_currency", replace(SHOWN, price=Money(1, "EUR"))),
        ("wrong_currency", in_cell(floor=Money(1, "EUR"))),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_rejected_under_its_code(code: str, event: Event) -> None:
    with pytest.raises(RejectedRow) as caught:
        check(event, NOW)
    assert caught.value.code == code
    assert code in CODES
    assert caught.value.expected


@pytest.mark.parametrize(
    "event",
    [
        replace(CLICK, price=Money(1)),
        replace(ORDER, value=Money(1)),
        replace(LOST, market_price=Money(1)),
        SHOWN,
        REPORT,
    ],
)
def test_an_amount_in_another_currency_than_the_account_is_rejected(event: Event) -> None:
    with pytest.raises(RejectedRow) as caught:
        check(event, NOW, EventSettings(currency="EUR"))
    assert caught.value.code == "wrong_currency"


def test_an_event_of_tomorrow_morning_elsewhere_is_not_the_future() -> None:
    check(replace(CLICK, at=NOW + timedelta(hours=23)), NOW)


def test_without_a_present_the_future_is_left_to_a_later_check() -> None:
    check(replace(CLICK, at=NOW + timedelta(days=900)), None)
