"""What happened in the market around: economic series, seasons, competitors, platforms."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from bidloop.core.happening import Happening, Id, Text


class IndicatorPublished(Happening, frozen=True, kw_only=True, omit_defaults=True):
    """A figure of an economic series was published. `at` is the time of publication, not the period it speaks of."""

    series: Annotated[Id, Meta(description="Name of the series, such as 'consumer_confidence'.")]
    period: Annotated[Id, Meta(description="What the figure speaks of, such as '2026-03'.")]
    value: Annotated[float, Meta(description="The figure.")]
    unit: Annotated[Id, Meta(description="Its unit, such as 'index' or 'percent'.")] = ""
    location: Annotated[Id, Meta(description="Where it holds; empty means everywhere.")] = ""


class SeasonMarked(Happening, frozen=True, kw_only=True, omit_defaults=True):
    """A season was marked in the calendar: a sale, a holiday, a school break. `at` is when it was announced or known."""

    name: Annotated[Id, Meta(description="The season, such as 'black_friday'.")]
    starts: Annotated[datetime, Meta(description="Its first instant.")]
    ends: Annotated[datetime, Meta(description="The instant after its last.")]
    location: Annotated[Id, Meta(description="Where it holds; empty means everywhere.")] = ""


class CompetitorLaunched(Happening, frozen=True, kw_only=True, omit_defaults=True):
    """A competitor launched a product or a campaign."""

    competitor: Annotated[Id, Meta(description="Who.")]
    product: Annotated[Text, Meta(description="What.")] = ""
    location: Annotated[Id, Meta(description="Where; empty means everywhere.")] = ""


class PlatformChanged(Happening, frozen=True, kw_only=True, omit_defaults=True):
    """An advertising platform changed its algorithm, its auction or its reports."""

    platform: Annotated[Id, Meta(description="Which platform, such as 'google_ads'.")]
    change: Annotated[Text, Meta(description="What changed.")]
