"""The part files of the history: named by the positions of the log that they hold, and never half written.

A part ``events-000000000001-000000060047.parquet`` holds every event of the log from the first position to the second.
It is written beside its place and then renamed, so that a file with such a name is whole. A small last part is written
anew together with what follows it; until the old one is deleted both are there, and the one inside the other is not
read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from bidloop.core.event import BidLost, CampaignReported, ClickReceived, ConversionReported, Event, ImpressionServed
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.outcomes.epoch import epoch_us

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
        pa.field("value_micros", pa.int64()),
        pa.field("currency", pa.string()),
        pa.field("order_id", pa.string()),
        pa.field("impressions", pa.int64()),
        pa.field("clicks", pa.int64()),
        pa.field("conversions", pa.int64()),
        pa.field("campaign_id", pa.string()),
        pa.field("ad_group_id", pa.string()),
        pa.field("keyword", pa.string()),
        pa.field("device", pa.string()),
        pa.field("location", pa.string()),
        pa.field("charge", pa.string()),
        # Whole, as JSON: attributes and measures differ from source to source, and msgspec reads it back in 3 µs.
        pa.field("opportunity", pa.string()),
    ]
)
"""Columns of a part. `price_micros` is a price, a cost or a report's spend."""

_NAME = re.compile(r"events-(\d{12})-(\d{12})\.parquet")
_encode = msgspec.json.Encoder().encode


class Part(NamedTuple):
    """One part file and the log positions, both included, that it holds."""

    first: int
    last: int
    path: Path


def find_parts(folder: Path) -> tuple[list[Part], list[Part]]:
    """The parts to read, in order, and those that lie inside another one and can be deleted."""
    found = [
        Part(int(match[1]), int(match[2]), path)
        for path in folder.glob("events-*.parquet")
        if (match := _NAME.fullmatch(path.name))
    ]
    live: list[Part] = []
    dead: list[Part] = []
    for part in sorted(found, key=lambda part: (part.first, -part.last)):
        (dead if live and part.last <= live[-1].last else live).append(part)
    return live, dead


def write_part(folder: Path, table: pa.Table) -> Part:
    """Write the rows of one part under the name of their positions; whole, or not at all."""
    positions = table.column("position")
    first, last = positions[0].as_py(), positions[-1].as_py()
    path = folder / f"events-{first:012d}-{last:012d}.parquet"
    half = path.with_suffix(".half")
    pq.write_table(table, half, compression="zstd")
    with half.open("rb") as file:
        os.fsync(file.fileno())
    half.replace(path)
    return Part(first, last, path)


def to_table(
    events: Sequence[tuple[int, Event]], decided: Mapping[str, Opportunity], sent: Mapping[str, Money]
) -> pa.Table:
    """Events with their positions as columns.

    Parameters
    ----------
    events
        Position and event, in order.
    decided
        What the impressions and lost bids were for that carry no opportunity themselves, by impression.
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
    if not isinstance(event, CampaignReported):
        row["impression_id"] = event.impression_id
    match event:
        case ImpressionServed():
            row["weight"] = event.weight
            row |= _money("price_micros", event.price)
            row |= _bid(sent.get(event.impression_id))
            row |= _cell(event.opportunity or decided.get(event.impression_id))
        case BidLost():
            row |= _money("price_micros", event.market_price) | _bid(event.bid or sent.get(event.impression_id))
            row |= _cell(event.opportunity or decided.get(event.impression_id))
        case ClickReceived():
            row |= _money("price_micros", event.price)
        case ConversionReported():
            row["order_id"] = event.order_id
            row |= _money("value_micros", event.value)
        case CampaignReported():
            row |= {"impressions": event.impressions, "clicks": event.clicks, "conversions": event.conversions}
            row |= _money("value_micros", event.value) | _money("price_micros", event.spend) | _cell(event.opportunity)
    return row


def _money(column: str, money: Money | None) -> dict[str, Any]:
    return {} if money is None else {column: money.micros, "currency": money.currency}


def _bid(bid: Money | None) -> dict[str, Any]:
    return {} if bid is None else {"bid_micros": bid.micros}


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
