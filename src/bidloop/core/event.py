"""What happened: typed events, in the past tense.

Every event has an `event_id`, by which the same event told twice is known, `at`, when it happened (UTC), and the
`version` of its type. A field that stands at its default is left out when an event is written, so that a later version may
add one without changing what was written before.

| what it tells of | file |
|---|---|
| ads: bids, impressions, clicks, conversions, campaign reports | `advertising` |
| users: pages, sessions, forms, e-mails, devices | `behaviour` |
| the market around: economic series, seasons, competitors, platforms | `market` |
"""

from __future__ import annotations

from typing import TypeAlias

from bidloop.core.advertising import (
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
)
from bidloop.core.behaviour import (
    DeviceLinked,
    EmailClicked,
    EmailOpened,
    FormSubmitted,
    PageViewed,
    SessionEnded,
    SessionStarted,
)
from bidloop.core.happening import Happening, Personal
from bidloop.core.market import CompetitorLaunched, IndicatorPublished, PlatformChanged, SeasonMarked

AdEvent: TypeAlias = (
    BidPlaced
    | BidWon
    | BidLost
    | ImpressionServed
    | ClickReceived
    | ConversionReported
    | ConversionRestated
    | ConversionRetracted
    | CampaignReported
)
BehaviourEvent: TypeAlias = (
    PageViewed | SessionStarted | SessionEnded | FormSubmitted | EmailOpened | EmailClicked | DeviceLinked
)
MarketEvent: TypeAlias = IndicatorPublished | SeasonMarked | CompetitorLaunched | PlatformChanged
Event: TypeAlias = AdEvent | BehaviourEvent | MarketEvent

__all__ = [
    "AdEvent",
    "BehaviourEvent",
    "BidLost",
    "BidPlaced",
    "BidWon",
    "CampaignReported",
    "ClickReceived",
    "Competitor",
    "CompetitorLaunched",
    "ConversionReported",
    "ConversionRestated",
    "ConversionRetracted",
    "DeviceLinked",
    "EmailClicked",
    "EmailOpened",
    "Event",
    "FormSubmitted",
    "Happening",
    "ImpressionServed",
    "IndicatorPublished",
    "MarketEvent",
    "PageViewed",
    "Personal",
    "PlatformChanged",
    "SeasonMarked",
    "SessionEnded",
    "SessionStarted",
]
