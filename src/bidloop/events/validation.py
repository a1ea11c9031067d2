"""The checks that every event passes before it is believed."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

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
from bidloop.core.money import MICROS, Money
from bidloop.core.opportunity import Opportunity
from bidloop.events.rejected import Rejected, rejected_event
from bidloop.events.settings import EventSettings

CODES = {
    "empty_id": "an id that should name something is empty",
    "unreadable_id": "an id holds a control character",
    "unknown_date": "the date cannot be read, has no time zone, or lies before any plausible one",
    "future_date": "the event lies in the future",
    "not_finite": "a number is NaN or infinite",
    "negative_count": "a count is below zero",
    "negative_spend": "a cost or price is below zero",
    "out_of_range": "a count, an amount, a weight or a measure that no campaign reaches, and no table or model holds",
    "clicks_exceed_impressions": "more clicks than impressions",
    "weight_not_positive": "a sampling weight that is zero or less",
    "season_ends_early": "a season that ends before it starts",
    "wrong_currency": "an amount in another currency than the rest",
    "changed_event": "an id that is in the log already, with another content",
}
"""Every code that the intake can give, with its meaning. Readers add codes for what they cannot read."""

MOST_COUNTED, MOST_AMOUNT, MOST_MEASURED = 10**15, 10**12, 10**30
"""Keeps every count, and every amount in micros, well inside 64 bits, and every sum and square of measures finite: one event
more would stop every table, start and training behind the log."""

_DEFAULT = EventSettings()


def check(event: Event, now: datetime | None, settings: EventSettings = _DEFAULT) -> None:
    """Accept an event in silence, or say why it makes no sense.

    More conversions than clicks are sensible: a view-through conversion has no click.

    Parameters
    ----------
    event
        What is claimed to have happened.
    now
        The present, UTC, that the event may not be ahead of; `None` leaves that check to a later caller.

    Raises
    ------
    RejectedRow
        With one of `CODES`.

    Examples
    --------
    >>> from bidloop.core.event import ClickReceived
    >>> click = ClickReceived(event_id="c1", at=datetime(2026, 1, 1), impression_id="i1")
    >>> check(click, now=None)
    Traceback (most recent call last):
    bidloop.core.errors.RejectedRow: date 2026-01-01T00:00:00 without a time zone; expected a time with ...
    """
    _id(event.event_id, "event_id")
    _date(event.at, "at", now, settings)
    if check_more := _MORE.get(type(event)):
        check_more(event, now, settings)


def checked(item: Event | Rejected, now: datetime, settings: EventSettings = _DEFAULT) -> Event | Rejected:
    """The item, or in place of an event that makes no sense the record of why; what is rejected says when."""
    if isinstance(item, Rejected):
        return item if item.at else msgspec.structs.replace(item, at=now)
    try:
        check(item, now, settings)
    except RejectedRow as error:
        return rejected_event(error, item, at=now)
    return item


def _bid(event: BidPlaced | BidWon | BidLost, now: datetime | None, settings: EventSettings) -> None:
    _id(event.impression_id, "impression_id")
    currency = _currency_of(event.opportunity, now, settings)
    _price(event.bid, "bid", currency)
    if isinstance(event, BidWon):
        _price(event.price, "price", currency)
    elif isinstance(event, BidLost):
        _price(event.market_price, "market_price", currency)


def _impression(event: ImpressionServed, now: datetime | None, settings: EventSettings) -> None:
    _id(event.impression_id, "impression_id")
    if event.weight != 1.0:
        _weight(event.weight)
    _price(event.price, "price", _currency_of(event.opportunity, now, settings))


def _click(event: ClickReceived, now: datetime | None, settings: EventSettings) -> None:
    _id(event.impression_id, "impression_id")
    _price(event.price, "price", settings.currency)


def _conversion(
    event: ConversionReported | ConversionRestated | ConversionRetracted, now: datetime | None, settings: EventSettings
) -> None:
    _id(event.impression_id, "impression_id")
    if not isinstance(event, ConversionReported):
        _id(event.order_id, "order_id")
    if not isinstance(event, ConversionRetracted):
        # A refund is a negative value, and sensible.
        _currency(event.value, "value", settings.currency)


def _link(event: DeviceLinked, now: datetime | None, settings: EventSettings) -> None:
    _id(event.user_id, "user_id")
    _id(event.device_id, "device_id")


def _session(event: SessionEnded, now: datetime | None, settings: EventSettings) -> None:
    if event.duration_seconds is not None:
        _measured(event.duration_seconds, "duration_seconds")
    _in_range(event.page_views or 0, MOST_COUNTED, "page_views")


def _indicator(event: IndicatorPublished, now: datetime | None, settings: EventSettings) -> None:
    _id(event.series, "series")
    _measured(event.value, "value")


def _season(event: SeasonMarked, now: datetime | None, settings: EventSettings) -> None:
    _id(event.name, "name")
    _date(event.starts, "starts", None, settings)
    _date(event.ends, "ends", None, settings)
    if event.ends <= event.starts:
        raise RejectedRow(
            "season_ends_early",
            f"a season from {event.starts.isoformat()} to {event.ends.isoformat()}",
            path="ends",
            expected="an end after the start",
        )


def _report(event: CampaignReported, now: datetime | None, settings: EventSettings) -> None:
    _opportunity(event.opportunity, now, settings)
    if event.known_at is not None:
        _date(event.known_at, "known_at", now, settings)
    _finite(event.conversions, "conversions")
    for name in ("impressions", "clicks", "conversions"):
        count = getattr(event, name)
        if count < 0:
            raise RejectedRow("negative_count", f"{name} of {count}", path=name, expected="0 or more")
        _in_range(count, MOST_COUNTED, name)
    if event.clicks > event.impressions:
        raise RejectedRow(
            "clicks_exceed_impressions",
            f"{event.clicks} clicks of {event.impressions} impressions",
            path="clicks",
            expected="at most as many clicks as impressions",
            remedy="Compare the row with the platform's own report.",
        )
    _price(event.spend, "spend", event.opportunity.currency)
    _price(event.budget, "budget", event.opportunity.currency)
    _currency(event.value, "value", event.opportunity.currency)
    for name in ("quality_score", "average_position"):
        if (figure := getattr(event, name)) is not None:
            _measured(figure, name)


def _id(value: str, path: str) -> None:
    # Every id of a well-behaved sender ends here: two looks in C, no loop.
    if value.isprintable() and value and not value.isspace():
        return
    if not value.strip():
        raise RejectedRow("empty_id", f"an empty {path}", path=path, expected="an id")
    if any(character < " " or character == "\x7f" for character in value):
        raise RejectedRow(
            "unreadable_id", f"a control character in {path}", path=path, expected="an id of printable characters"
        )


def _date(at: datetime, path: str, now: datetime | None, settings: EventSettings) -> None:
    if at.tzinfo is not UTC and (at.tzinfo is None or at.utcoffset() is None):
        raise RejectedRow(
            "unknown_date",
            f"date {at.isoformat()} without a time zone",
            path=path,
            expected=f"a time with a zone, such as {at.isoformat()}Z",
        )
    try:
        utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    except OverflowError as error:
        raise RejectedRow("unknown_date", f"date {at.isoformat()}", path=path, expected="a date of our time") from error
    if utc.year < settings.earliest_year:
        raise RejectedRow(
            "unknown_date", f"date {at.isoformat()}", path=path, expected=f"a date from {settings.earliest_year} on"
        )
    if now is not None and utc > now and utc - now > timedelta(hours=settings.future_tolerance_hours):
        raise RejectedRow(
            "future_date",
            f"date {at.isoformat()}, while it is {now.isoformat(timespec='seconds')}",
            path=path,
            expected="a date that has come",
        )


def _opportunity(opportunity: Opportunity, now: datetime | None, settings: EventSettings) -> None:
    _id(opportunity.opportunity_id, "opportunity.opportunity_id")
    _id(opportunity.campaign_id, "opportunity.campaign_id")
    _date(opportunity.at, "opportunity.at", now, settings)
    for name, value in opportunity.measures.items():
        _measured(value, f"opportunity.measures.{name}")
    if (history := opportunity.history) is not None:
        _finite(history.ctr, "opportunity.history.ctr")
        _finite(history.conversion_rate, "opportunity.history.conversion_rate")
        _in_range(abs(history.impressions), MOST_COUNTED, "opportunity.history.impressions")
        _in_range(abs(history.clicks), MOST_COUNTED, "opportunity.history.clicks")
        _currency(history.spend, "opportunity.history.spend", opportunity.currency)
    if settings.currency and opportunity.currency != settings.currency:
        _wrong_currency(opportunity.currency, settings.currency, "opportunity.currency")
    _price(opportunity.floor, "opportunity.floor", opportunity.currency)
    _price(opportunity.current_bid, "opportunity.current_bid", opportunity.currency)
    _price(opportunity.budget, "opportunity.budget", opportunity.currency)


def _currency_of(opportunity: Opportunity | None, now: datetime | None, settings: EventSettings) -> str:
    """The currency of an event's amounts: its opportunity's, where it carries one that makes sense."""
    if opportunity is None:
        return settings.currency
    _opportunity(opportunity, now, settings)
    return opportunity.currency


def _finite(value: float, path: str) -> None:
    if not math.isfinite(value):
        raise RejectedRow(
            "not_finite",
            f"{path} of {value}",
            path=path,
            expected="a finite number",
            remedy="Leave out what is missing.",
        )


def _measured(value: float, path: str) -> None:
    _finite(value, path)
    _in_range(abs(value), MOST_MEASURED, path)


def _weight(weight: float) -> None:
    _finite(weight, "weight")
    if weight <= 0:
        raise RejectedRow("weight_not_positive", f"weight of {weight}", path="weight", expected="more than 0")
    _in_range(weight, MOST_COUNTED, "weight")


def _price(price: Money | None, path: str, currency: str) -> None:
    if price is None:
        return
    _currency(price, path, currency)
    if price.micros < 0:
        raise RejectedRow("negative_spend", f"{path} of {price}", path=path, expected="0 or more")


def _currency(money: Money | None, path: str, currency: str) -> None:
    if money is None:
        return
    if currency and money.currency != currency:
        _wrong_currency(money.currency, currency, path)
    _in_range(abs(money.micros) // MICROS, MOST_AMOUNT, path)


def _in_range(number: float, most: int, path: str) -> None:
    if number > most:
        raise RejectedRow("out_of_range", f"{path} of more than {most:,}", path=path, expected=f"at most {most:,}")


def _wrong_currency(found: str, expected: str, path: str) -> None:
    raise RejectedRow(
        "wrong_currency",
        f"{path} in {found or 'no currency'}",
        path=path,
        expected=expected,
        remedy="Convert at the border.",
    )


_MORE: dict[type, Callable[[Any, datetime | None, EventSettings], None]] = {
    BidPlaced: _bid,
    BidWon: _bid,
    BidLost: _bid,
    ImpressionServed: _impression,
    ClickReceived: _click,
    ConversionReported: _conversion,
    ConversionRestated: _conversion,
    ConversionRetracted: _conversion,
    CampaignReported: _report,
    DeviceLinked: _link,
    SessionEnded: _session,
    IndicatorPublished: _indicator,
    SeasonMarked: _season,
}
"""What is checked of each type beside its id and its time."""
