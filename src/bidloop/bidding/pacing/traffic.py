"""Which share of a day's and of a week's traffic comes when, so that a budget follows its audience and not the clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidloop.core.errors import ConfigurationError, InvalidInput

HOUR = 3600.0


@dataclass(frozen=True)
class TrafficDay:
    """One calendar day of an account, cut into hours.

    Parameters
    ----------
    date
        The day in the account's timezone.
    start, end
        Its bounds in POSIX seconds; 23 to 25 hours apart.
    passed
        Share of the day's traffic that came before each hour, with 1 at the end.
    """

    date: date
    start: float
    end: float
    passed: tuple[float, ...]

    def elapsed(self, seconds: float) -> float:
        """Share of the day's traffic that comes before an instant (POSIX seconds), in [0, 1]."""
        if seconds <= self.start:
            return 0.0
        if seconds >= self.end:
            return 1.0
        hour, within = divmod(seconds - self.start, HOUR)
        i = int(hour)
        width = min(HOUR, self.end - self.start - hour * HOUR)
        return self.passed[i] + (self.passed[i + 1] - self.passed[i]) * within / width


class TrafficShape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Traffic by weekday and hour of the account's timezone.

    Parameters
    ----------
    weights
        Traffic of each hour, 7 weekdays (Monday first) of 24 hours, none negative. Only the proportions within a
        weekday count; a weekday without any is taken as even.
    timezone
        IANA name.
    weekday_shares
        Traffic of each weekday's whole day, Monday first, none negative. Only the proportions count; where all are zero the
        week is even.

    Examples
    --------
    An hour with three quarters of a Thursday's traffic:

    >>> from datetime import UTC, datetime
    >>> quiet, busy = (1 / 69,) * 23 + (1.0,), (1.0,) * 24
    >>> shape = TrafficShape(weights=(busy, busy, busy, quiet, busy, busy, busy))
    >>> round(shape.elapsed(datetime(2026, 1, 1, 23, 30, tzinfo=UTC)), 3)
    0.625
    """

    weights: tuple[tuple[float, ...], ...] = ((1.0,) * 24,) * 7
    timezone: str = "UTC"
    weekday_shares: tuple[float, ...] = (1 / 7,) * 7

    def __post_init__(self) -> None:
        if len(self.weights) != 7 or any(len(hours) != 24 for hours in self.weights):
            raise ConfigurationError(
                f"traffic weights of {len(self.weights)} weekdays with {sorted({len(h) for h in self.weights})} hours",
                expected="7 weekdays of 24 hours",
            )
        if not all(math.isfinite(weight) and weight >= 0 for hours in self.weights for weight in hours):
            raise ConfigurationError(
                "a traffic weight that is negative or not finite", expected="weights of zero or more"
            )
        if len(self.weekday_shares) != 7 or not all(math.isfinite(s) and s >= 0 for s in self.weekday_shares):
            raise ConfigurationError(
                f"weekday shares of {self.weekday_shares}", expected="7 finite shares, Monday first, none negative"
            )

    @classmethod
    def from_shares(cls, shares: ArrayLike, *, timezone: str = "UTC") -> TrafficShape:
        """The shape that a table of shares tells, such as a platform or an exchange publishes.

        Parameters
        ----------
        shares
            Share of the week's traffic in each hour, shape (7, 24), Monday first; need not add up to 1.

        Raises
        ------
        ConfigurationError
            When the table is not 7 by 24, or a share is negative or not finite.

        Examples
        --------
        >>> table = np.ones((7, 24))
        >>> table[5:] *= 0.5
        >>> TrafficShape.from_shares(table).weekday_shares[4:]
        (0.16666666666666666, 0.08333333333333333, 0.08333333333333333)
        """
        table = np.asarray(shares, dtype=np.float64)
        if table.shape != (7, 24):
            raise ConfigurationError(f"a table of shares of shape {table.shape}", expected="7 weekdays of 24 hours")
        days = table.sum(axis=1)
        total = float(days.sum())
        return cls(
            weights=tuple(tuple(map(float, hours)) for hours in table),
            timezone=timezone,
            weekday_shares=tuple(map(float, days / total)) if total > 0 else (1 / 7,) * 7,
        )

    @classmethod
    def learn(
        cls,
        at: NDArray[np.datetime64],
        counts: ArrayLike = 1.0,
        *,
        timezone: str = "UTC",
        smoothing: float = 1.0,
    ) -> TrafficShape:
        """The shape of past traffic.

        Each weekday's hours are its own counts plus `smoothing` average days of the profile of all weekdays together,
        so that a weekday seen once is believed half. So are the weekdays' totals, per day on which there was traffic.

        Parameters
        ----------
        at
            When, datetime64 in UTC, shape (n,).
        counts
            Opportunities or impressions at each, shape (n,) or one number.
        smoothing
            Days of pooled profile that are added, not negative.

        Raises
        ------
        InvalidInput
            When a count is negative or not finite.
        """
        count = np.broadcast_to(np.asarray(counts, dtype=np.float64), at.shape)
        if not np.all(np.isfinite(count) & (count >= 0)):
            raise InvalidInput("a traffic count that is negative or not finite", expected="counts of zero or more")
        day, weekday, hour = _local(at, ZoneInfo(timezone))
        table = np.zeros((7, 24))
        np.add.at(table, (weekday, hour), count)
        total = float(table.sum())
        if total <= 0:
            return cls(timezone=timezone)
        days = np.bincount((np.unique(day) - 1) % 7, minlength=7)  # ordinal 1 was a Monday
        average = total / days.sum()
        seen = days + max(smoothing, 1e-9)
        totals = (table.sum(axis=1) + (seen - days) * average) / seen
        profile = 0.99 * table.sum(axis=0) / total + 0.01 / 24
        table += smoothing * profile * average
        table /= np.where((rows := table.sum(axis=1, keepdims=True)) > 0, rows, 1.0)
        return cls(
            weights=tuple(tuple(map(float, hours)) for hours in table),
            timezone=timezone,
            weekday_shares=tuple(map(float, totals / totals.sum())),
        )

    def day(self, at: datetime) -> TrafficDay:
        """The account's calendar day that an instant falls on."""
        return self.day_of(at.astimezone(ZoneInfo(self.timezone)).date())

    def day_of(self, day: date) -> TrafficDay:
        """A calendar day of the account."""
        start, end, weights = self._hours(day)
        total = sum(weights)
        passed, so_far = [0.0], 0.0
        for weight in weights:
            so_far += weight
            passed.append(min(1.0, so_far / total))
        passed[-1] = 1.0
        return TrafficDay(day, start, end, tuple(passed))

    def volume(self, day: date) -> float:
        """Traffic of a calendar day where that of an average day is 1; a day of a clock change has more or less of its hours.

        Examples
        --------
        >>> shape = TrafficShape(timezone="Europe/Berlin")
        >>> round(shape.volume(date(2026, 3, 29)) * 24), round(shape.volume(date(2026, 10, 25)) * 24)
        (23, 25)
        """
        week = sum(self.weekday_shares)
        share = self.weekday_shares[day.weekday()] / week if week > 0 else 1 / 7
        start, end = self._bounds(day)
        if end - start == 24 * HOUR:
            return 7 * share
        return 7 * share * sum(self._hours(day)[2]) / sum(self._weekday(day))

    def _bounds(self, day: date) -> tuple[float, float]:
        """Bounds of a calendar day in POSIX seconds."""
        zone = ZoneInfo(self.timezone)
        start = datetime.combine(day, time(), zone).timestamp()
        return start, datetime.combine(day + timedelta(days=1), time(), zone).timestamp()

    def _weekday(self, day: date) -> tuple[float, ...]:
        """The weights of the hours that the clock shows; even where there are none."""
        hours = self.weights[day.weekday()]
        return hours if sum(hours) > 0 else (1.0,) * 24

    def _hours(self, day: date) -> tuple[float, float, list[float]]:
        """Bounds of a calendar day in POSIX seconds, and the traffic of each of its hours."""
        zone, (start, end) = ZoneInfo(self.timezone), self._bounds(day)
        hours = self._weekday(day)
        weights = []
        for i in range(math.ceil((end - start) / HOUR)):
            # A day of a clock change has 23 or 25 hours: each takes the weight of what the account's clock shows.
            begins = start + i * HOUR
            shown = datetime.fromtimestamp(begins, zone).hour
            weights.append(hours[shown] * min(HOUR, end - begins) / HOUR)
        # All traffic in the one hour that the clock skips: better an even day than none.
        return (
            start,
            end,
            weights if sum(weights) > 0 else [min(HOUR, end - start - i * HOUR) / HOUR for i in range(len(weights))],
        )

    def elapsed(self, at: datetime) -> float:
        """Share of its day's traffic that comes before an instant, in [0, 1]."""
        return self.day(at).elapsed(at.timestamp())


def _local(
    at: NDArray[np.datetime64], zone: ZoneInfo
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Ordinal of the day, weekday (0 is Monday) and hour that the account's clock shows, each of shape (n,)."""
    # Every offset in use is a multiple of a quarter of an hour, so a year of rows needs 35,000 conversions at most.
    quarters, which = np.unique(at.astype("datetime64[s]").astype(np.int64) // 900, return_inverse=True)
    local = [datetime.fromtimestamp(int(quarter) * 900, UTC).astimezone(zone) for quarter in quarters]
    shown = np.array([(then.toordinal(), then.weekday(), then.hour) for then in local], dtype=np.int64).reshape(-1, 3)
    return shown[which, 0], shown[which, 1], shown[which, 2]
