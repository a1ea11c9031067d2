"""A large log of campaigns and users, as the history's part files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from bidloop.adapters.parquet.parts import write_part
from bidloop.adapters.parquet.rows import to_table
from bidloop.core.event import ClickReceived, ConversionReported, Event, ImpressionServed, PageViewed, SessionStarted
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity

START = datetime(2026, 1, 1, tzinfo=UTC)
PART = 100_000
"""Events in a part file, as in the history of a running account."""


def write_log(folder: Path, events: int, seed: int = 1) -> None:
    """The part files of a log: half of it impressions over 90 days, the rest clicks, conversions and what users do."""
    rng = np.random.default_rng(seed)
    pace = timedelta(days=90) / max(events, 1)
    position = 0
    while position < events:
        n = min(PART, events - position)
        page = list(_events(rng, position, n, pace))
        write_part(folder, to_table(list(enumerate(page, position + 1)), {}, {}), position + 1, position + n)
        position += n


def _events(rng: np.random.Generator, first: int, n: int, pace: timedelta) -> Iterator[Event]:
    campaign = np.minimum(rng.zipf(1.5, n), 50)
    group, keyword = np.minimum(rng.zipf(1.5, n), 20), np.minimum(rng.zipf(1.3, n), 1000)
    user, kind = np.minimum(rng.zipf(1.15, n), 2_000_000), rng.random(n)
    shown: list[str] = []
    for i in range(n):
        at, name, who = START + (first + i) * pace, f"{first + i:x}", f"p.{user[i]}"
        if kind[i] < 0.5 or not shown:
            shown.append(name)
            about = Opportunity(
                opportunity_id=name, at=at, campaign_id=f"c{campaign[i]}", ad_group_id=f"g{group[i]}",
                keyword=f"keyword {keyword[i]}", device=("mobile", "desktop", "tablet")[i % 3],
                location=f"R{i % 40}", user_id=who if i % 4 else "", budget=Money(200_000_000),
            )  # fmt: skip
            yield ImpressionServed(event_id=name, at=at, impression_id=name, opportunity=about)
        elif kind[i] < 0.57:
            of = shown[-1 - i % min(9, len(shown))]
            if kind[i] < 0.56:
                yield ClickReceived(event_id=name, at=at, impression_id=of, price=Money(400_000))
            else:
                yield ConversionReported(event_id=name, at=at, impression_id=of, value=Money(50_000_000))
        elif kind[i] < 0.65:
            yield SessionStarted(event_id=name, at=at, user_id=who)
        else:
            yield PageViewed(event_id=name, at=at, user_id=who, url="https://shop.example/products")
