"""The derived figures of one report row: cost per click, rates, and when it was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec

from bidloop.core.errors import InsufficientData
from bidloop.core.event import CampaignReported
from bidloop.features.local_time import PartOfDay, part_of_day


class EngineeredFeatures(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Figures of one report row, or the same figures scaled to [0, 1]; `None` where one is not known.

    Parameters
    ----------
    hour_of_day
        0 … 23 in the account's timezone.
    day_of_week
        0 for Sunday … 6 for Saturday.
    cpc
        Spend per click in account currency; `None` without clicks.
    ctr
        Clicks per impression; `None` without impressions.
    conversion_rate
        Conversions per click, above 1 where conversions without a click are reported; `None` without clicks.
    cost_per_conversion
        Spend per conversion in account currency; `None` without conversions.
    impression_share, quality_score
        As the report's row tells them, else as the measures of its opportunity; `None` where neither does.
    day_of_month
        1 … 31.
    is_weekend
        Saturday or Sunday.
    time_category
        Morning from 6, afternoon from 12, evening from 18, night from 22.
    """

    hour_of_day: float
    day_of_week: float
    cpc: float | None
    ctr: float | None
    conversion_rate: float | None
    cost_per_conversion: float | None
    impression_share: float | None
    quality_score: float | None
    day_of_month: float
    is_weekend: bool
    time_category: PartOfDay


def engineer(report: CampaignReported, timezone: str = "UTC") -> EngineeredFeatures:
    """Derive the figures of one report row.

    Nothing is made up: a ratio with nothing to divide by is missing, and so are impression share and quality score
    unless the row tells them, or its opportunity carries them as the measures ``impression_share`` and ``quality_score``.

    Parameters
    ----------
    report
        One row; its `at` is the start of the period.
    timezone
        IANA name of the account's timezone.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from bidloop.core.money import Money
    >>> from bidloop.core.opportunity import Opportunity
    >>> at = datetime(2026, 1, 4, 19, tzinfo=UTC)
    >>> row = CampaignReported(
    ...     event_id="r", at=at, opportunity=Opportunity(opportunity_id="r", at=at, campaign_id="shoes"),
    ...     impressions=1000, clicks=50, conversions=0, spend=Money.of(25),
    ... )
    >>> figures = engineer(row)
    >>> figures.ctr, figures.cpc, figures.cost_per_conversion, figures.time_category, figures.is_weekend
    (0.05, 0.5, None, 'evening', True)
    """
    local = report.at.astimezone(ZoneInfo(timezone))
    measures, spend = report.opportunity.measures, report.spend.amount
    weekday = local.isoweekday() % 7
    return EngineeredFeatures(
        hour_of_day=local.hour,
        day_of_week=weekday,
        cpc=_ratio(spend, report.clicks),
        ctr=_ratio(report.clicks, report.impressions),
        conversion_rate=_ratio(report.conversions, report.clicks),
        cost_per_conversion=_ratio(spend, report.conversions),
        impression_share=_first_known(report.impression_share, measures.get("impression_share")),
        quality_score=_first_known(report.quality_score, measures.get("quality_score")),
        day_of_month=local.day,
        is_weekend=weekday in (0, 6),
        time_category=part_of_day(local.hour),
    )


class Ranges(msgspec.Struct, frozen=True):
    """Smallest and largest value of each figure, by name, as seen in the rows that they were fitted on.

    The calendar has fixed ranges: hours 0 to 23, weekdays 0 to 6, days 1 to 31.
    """

    bounds: dict[str, tuple[float, float]]


_CALENDAR = {"hour_of_day": (0.0, 23.0), "day_of_week": (0.0, 6.0), "day_of_month": (1.0, 31.0)}
_FIGURES = ("cpc", "ctr", "conversion_rate", "cost_per_conversion", "impression_share", "quality_score")


def fit_ranges(rows: Sequence[EngineeredFeatures]) -> Ranges:
    """Learn the ranges of the figures, from training rows alone so that nothing of later rows leaks into them.

    Raises
    ------
    InsufficientData
        When there are no rows.
    """
    if not rows:
        raise InsufficientData("no rows to learn ranges from", expected="at least one row")
    bounds = dict(_CALENDAR)
    for name in _FIGURES:
        known = [value for row in rows if (value := getattr(row, name)) is not None]
        if known:
            bounds[name] = (min(known), max(known))
    return Ranges(bounds)


def normalise(row: EngineeredFeatures, ranges: Ranges) -> EngineeredFeatures:
    """The same figures min-max scaled to [0, 1]; a new row, the given one stays as it is.

    A missing figure stays missing, a value beyond the range is held at its end, and a figure that never varied is 0.

    Examples
    --------
    >>> ranges = Ranges({"hour_of_day": (0, 23), "day_of_week": (0, 6), "day_of_month": (1, 31), "ctr": (0.0, 0.1)})
    >>> noon = EngineeredFeatures(
    ...     hour_of_day=11.5, day_of_week=3, cpc=None, ctr=0.05, conversion_rate=None, cost_per_conversion=None,
    ...     impression_share=None, quality_score=None, day_of_month=16, is_weekend=False, time_category="morning",
    ... )
    >>> scaled = normalise(noon, ranges)
    >>> scaled.hour_of_day, scaled.day_of_week, scaled.ctr, scaled.cpc, noon.hour_of_day
    (0.5, 0.5, 0.5, None, 11.5)
    """
    scaled = {name: _scaled(getattr(row, name), *bounds) for name, bounds in ranges.bounds.items()}
    # A figure that no training row knew has no range: there is nothing to scale it by.
    unknown = dict.fromkeys(name for name in _FIGURES if name not in scaled)
    return msgspec.structs.replace(row, **scaled, **unknown)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _first_known(*values: float | None) -> float | None:
    return next((value for value in values if value is not None and math.isfinite(value)), None)


def _scaled(value: float | None, lowest: float, highest: float) -> float | None:
    if value is None:
        return None
    if highest <= lowest:
        return 0.0
    return min(1.0, max(0.0, (value - lowest) / (highest - lowest)))
