"""Events as rows: the columns of a part file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from bidloop.core.event import (
    BidLost,
    BidPlaced,
    BidWon,
    CampaignReported,
    ClickReceived,
    ConversionReported,
    ConversionRestated,
    ConversionRetracted,
    Event,
    ImpressionServed,
)
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.outcomes.epoch import epoch_us

VERSION = 2
"""Version of the columns and of what stands in them. Raise it with every change: parts of another one are made again."""

SCHEMA = pa.schema(
    [
        pa.field("position", pa.int64(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("at_utc", pa.timestamp("us"), nullable=False),
        pa.field("impression_id", pa.string()),
        pa.field("weight", pa.float64()),
        pa.field("price_micros", pa.int64()),
        pa.field("bid_micros", pa.int64()),
        pa.field("decided_bid_micros", pa.int64()),
        pa.field("value_micros", pa.int64()),
        pa.field("currency", pa.string()),
        pa.field("order_id", pa.string()),
        pa.field("impressions", pa.int64()),
        pa.field("clicks", pa.int64()),
        pa.field("conversions", pa.float64()),
        pa.field("row_id", pa.string()),
        pa.field("known_at_utc", pa.timestamp("us")),
        pa.field("impression_share", pa.float64()),
        pa.field("quality_score", pa.float64()),
        pa.field("average_position", pa.float64()),
        pa.field("budget_micros", pa.int64()),
        pa.field("competitors", pa.string()),
        pa.field("campaign_id", pa.string()),
        pa.field("ad_group_id", pa.string()),
        pa.field("keyword", pa.string()),
        pa.field("device", pa.string()),
        pa.field("location", pa.string()),
        pa.field("charge", pa.string()),
        # Whole, as JSON: attributes and measures differ from source to source, and msgspec reads it back in 3 µs.
        pa.field("opportunity", pa.string()),
        # What users do and what happens in the market has no columns of its own yet: the whole event, as JSON.
        pa.field("payload", pa.string()),
    ]
)
"""Columns of a part. `price_micros` is a price, a cost or a report's spend; `decided_bid_micros` is what the decision record
says was bid, where the event does not tell."""

_encode = msgspec.json.Encoder().encode


def left_open(events: Sequence[tuple[int, Event]]) -> list[str]:
    """The impressions whose decision record may tell what the events do not: what a bid was for, or how much it was."""
    names = {
        event.impression_id
        for _, event in events
        if (isinstance(event, ImpressionServed) and event.opportunity is None)
        or (isinstance(event, BidPlaced | BidWon | BidLost) and (event.opportunity is None or event.bid is None))
    }
    return sorted(names)


def to_table(
    events: Sequence[tuple[int, Event]], decided: Mapping[str, Opportunity], sent: Mapping[str, Money]
) -> pa.Table:
    """Events with their positions as columns.

    Parameters
    ----------
    events
        Position and event, in order.
    decided
        What the impressions and bids were for that carry no opportunity themselves, by impression.
    sent
        What was bid for them, by impression.
    """
    rows = [_row(position, event, decided, sent) for position, event in events]
    columns = {
        field.name: pa.array([row.get(field.name) for row in rows], type=pa.int64()).cast(field.type)
        if pa.types.is_timestamp(field.type)
        else pa.array([row.get(field.name) for row in rows], type=field.type)
        for field in SCHEMA
    }
    return pa.table(columns, schema=SCHEMA)


def _row(position: int, event: Event, decided: Mapping[str, Opportunity], sent: Mapping[str, Money]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "position": position,
        "type": event.__struct_config__.tag,
        "event_id": event.event_id,
        "at_utc": epoch_us(event.at),
    }
    match event:
        case ImpressionServed() | BidPlaced() | BidWon() | BidLost():
            return row | _bid(event, sent) | _cell(event.opportunity or decided.get(event.impression_id))
        case ClickReceived():
            return row | {"impression_id": event.impression_id} | _money("price_micros", event.price)
        case ConversionReported() | ConversionRestated() | ConversionRetracted():
            value = None if isinstance(event, ConversionRetracted) else event.value
            named = {"impression_id": event.impression_id, "order_id": event.order_id}
            return row | named | _money("value_micros", value)
        case CampaignReported():
            return row | _report(event) | _cell(event.opportunity)
        case _:
            return row | {"payload": _encode(event).decode()}


def _bid(event: ImpressionServed | BidPlaced | BidWon | BidLost, sent: Mapping[str, Money]) -> dict[str, Any]:
    row: dict[str, Any] = {"impression_id": event.impression_id}
    row |= _micros("decided_bid_micros", sent.get(event.impression_id))
    if isinstance(event, ImpressionServed):
        return row | {"weight": event.weight} | _money("price_micros", event.price)
    row |= _money("bid_micros", event.bid)
    if isinstance(event, BidWon):
        row |= _money("price_micros", event.price)
    elif isinstance(event, BidLost):
        row |= _money("price_micros", event.market_price)
    return row


def _report(event: CampaignReported) -> dict[str, Any]:
    counts = {"impressions": event.impressions, "clicks": event.clicks, "conversions": event.conversions}
    told = {"row_id": event.row_id, "known_at_utc": None if event.known_at is None else epoch_us(event.known_at)}
    figures = {name: getattr(event, name) for name in ("impression_share", "quality_score", "average_position")}
    row = counts | told | figures | _micros("budget_micros", event.budget)
    if event.competitors:
        row["competitors"] = _encode(event.competitors).decode()
    return row | _money("value_micros", event.value) | _money("price_micros", event.spend)


def _money(column: str, money: Money | None) -> dict[str, Any]:
    return {} if money is None else {column: money.micros, "currency": money.currency}


def _micros(column: str, money: Money | None) -> dict[str, Any]:
    return {} if money is None else {column: money.micros}


def _cell(opportunity: Opportunity | None) -> dict[str, Any]:
    if opportunity is None:
        return {}
    return {
        "campaign_id": opportunity.campaign_id,
        "ad_group_id": opportunity.ad_group_id,
        "keyword": opportunity.keyword,
        "device": opportunity.device,
        "location": opportunity.location,
        "charge": opportunity.charge.value,
        "opportunity": _encode(opportunity).decode(),
    }
