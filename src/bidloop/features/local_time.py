"""Hour, weekday and part of the day, as the account's own clock shows them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

from bidloop.core.errors import InvalidInput
from bidloop.core.happening import Happening
from bidloop.core.opportunity import Opportunity

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
PartOfDay: TypeAlias = Literal["morning", "afternoon", "evening", "night"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def part_of_day(hour: int) -> PartOfDay:
    """Morning (6 to 11), afternoon (12 to 17), evening (18 to 21) or night, for an hour in 0 … 23.

    >>> [part_of_day(hour) for hour in (5, 6, 12, 18, 22)]
    ['night', 'morning', 'afternoon', 'evening', 'night']
    """
    if 6 <= hour < 12:
        return "morning"
    if 12 <= hour < 18:
        return "afternoon"
    if 18 <= hour < 22:
        return "evening"
    return "night"


@functools.lru_cache(maxsize=4096)
def _turn(position: int, positions: int) -> tuple[float, float]:
    angle = 2.0 * math.pi * position / positions
    return math.sin(angle), math.cos(angle)


def instant_of(at: datetime) -> int:
    """Microseconds since 1970-01-01 UTC.

    Raises
    ------
    InvalidInput
        When the instant carries no timezone: guessing one would shift every feature of time.

    Examples
    --------
    >>> instant_of(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    try:
        passed = at - EPOCH
    except TypeError as error:
        raise InvalidInput(
            f"{at.isoformat()} without a timezone",
            path="at",
            expected="a timezone-aware instant",
            remedy="Attach the timezone, for example datetime(2026, 1, 1, tzinfo=UTC).",
        ) from error
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def microseconds(opportunities: Sequence[Opportunity], lag_seconds: float = 0.0) -> list[int]:
    """The instants of n opportunities, by `instant_of`, or so much before them."""
    lag = round(lag_seconds * 1e6)
    instants: list[int] = []
    last: datetime | None = None
    for opportunity in opportunities:  # the candidates of one request share one instant, and it is reckoned once
        instants.append(instants[-1] if opportunity.at is last else instant_of(opportunity.at) - lag)
        last = opportunity.at
    return instants


class LocalTimes:
    """The instants of n opportunities, or events, on the account's clock.

    Examples
    --------
    >>> at = datetime(2026, 1, 4, 23, 30, tzinfo=UTC)
    >>> times = LocalTimes([Opportunity(opportunity_id="o", at=at, campaign_id="c")], "Asia/Shanghai")
    >>> times.column("hour"), times.column("weekday"), times.column("part_of_day")
    (['7'], ['monday'], ['morning'])
    """

    def __init__(self, opportunities: Sequence[Opportunity | Happening], timezone: str) -> None:
        zone = ZoneInfo(timezone)
        self.local: list[datetime] = []
        last: datetime | None = None
        for opportunity in opportunities:
            self.local.append(self.local[-1] if opportunity.at is last else opportunity.at.astimezone(zone))
            last = opportunity.at

    def column(self, part: str) -> list[str]:
        """``hour`` ('0' … '23'), ``weekday`` ('monday' …) or ``part_of_day``, as n texts."""
        if part == "hour":
            return [str(local.hour) for local in self.local]
        if part == "weekday":
            return [WEEKDAYS[local.weekday()] for local in self.local]
        return [part_of_day(local.hour) for local in self.local]

    def cyclic(self, part: str) -> tuple[list[float], list[float]]:
        """Sine and cosine of the time of day (to the minute) or of the weekday, each n numbers in [-1, 1].

        Table look-up instead of a vectorised sine: a value must not depend on how many rows are read together.
        """
        if part == "hour":
            turns = [_turn(local.hour * 60 + local.minute, 1440) for local in self.local]
        else:
            turns = [_turn(local.weekday(), 7) for local in self.local]
        return [sine for sine, _ in turns], [cosine for _, cosine in turns]
