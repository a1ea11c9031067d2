"""Days, hours and weekdays in the account's timezone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

QUARTER = np.timedelta64(15 * 60 * 1_000_000, "us")
"""Clocks around the world differ by whole quarters of an hour, so one look at the timezone serves a quarter."""


class Calendar:
    """Counts days from a first one, whose number is 0, at local midnights.

    Parameters
    ----------
    first_day
        Date of day 0.
    timezone
        IANA name.

    Examples
    --------
    >>> calendar = Calendar(date(2026, 1, 5), "America/New_York")
    >>> str(calendar.start(0))
    '2026-01-05 05:00:00+00:00'
    >>> [part.tolist() for part in calendar.local(np.array(["2026-01-06T04:30"], dtype="datetime64[us]"))]
    [[0], [0], [23]]
    """

    def __init__(self, first_day: date, timezone: str) -> None:
        self.first_day = first_day
        self.zone = ZoneInfo(timezone)

    def start(self, day: int) -> datetime:
        """Midnight at which the day begins, in UTC."""
        return self._moment(day, 0)

    def hour_starts(self, day: int) -> NDArray[np.datetime64]:
        """When each of the day's 24 hours begins, datetime64[us] in UTC, shape (24,).

        An hour that the clocks leave out in spring begins with the one after it.
        """
        return np.array([instant(self._moment(day, hour)) for hour in range(24)])

    def local(self, at: NDArray[np.datetime64]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Number of the day, weekday (0 is Monday) and hour at which each instant falls, each of shape (n,)."""
        quarters, row = np.unique((at - np.datetime64(0, "us")) // QUARTER, return_inverse=True)
        moments = [
            moment.replace(tzinfo=UTC).astimezone(self.zone)
            for moment in (np.datetime64(0, "us") + quarters * QUARTER).tolist()
        ]
        days = np.array([(moment.date() - self.first_day).days for moment in moments], dtype=np.intp)
        weekdays = np.array([moment.weekday() for moment in moments], dtype=np.intp)
        hours = np.array([moment.hour for moment in moments], dtype=np.intp)
        return days[row], weekdays[row], hours[row]

    def _moment(self, day: int, hour: int) -> datetime:
        local = datetime.combine(self.first_day + timedelta(days=day), time(hour), tzinfo=self.zone)
        return local.astimezone(UTC)


def instant(moment: datetime) -> np.datetime64:
    """A timezone-aware moment as datetime64[us] in UTC.

    >>> instant(datetime(2026, 1, 1, tzinfo=UTC))
    np.datetime64('2026-01-01T00:00:00.000000')
    """
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")


def moments(at: NDArray[np.datetime64]) -> list[datetime]:
    """Instants as timezone-aware moments in UTC, shape (n,)."""
    return [moment.replace(tzinfo=UTC) for moment in at.astype("datetime64[us]").tolist()]
