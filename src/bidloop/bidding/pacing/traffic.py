"""Which share of a day's traffic comes by when, so that a budget follows its audience and not the clock."""

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
        so that a weekday seen once is believed half.

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
        profile = 0.99 * table.sum(axis=0) / total + 0.01 / 24
        table += smoothing * profile * total / max(1, len(np.unique(day)))
        table /= np.where((rows := table.sum(axis=1, keepdims=True)) > 0, rows, 1.0)
        return cls(weights=tuple(tuple(map(float, hours)) for hours in table), timezone=timezone)

    def day(self, at: datetime) -> TrafficDay:
        """The account's calendar day that an instant falls on."""
        zone = ZoneInfo(self.timezone)
        local = at.astimezone(zone).date()
        start = datetime.combine(local, time(), zone).timestamp()
        end = datetime.combine(local + timedelta(days=1), time(), zone).timestamp()
        hours = self.weights[local.weekday()]
        weights = []
        for i in range(math.ceil((end - start) / HOUR)):
            # A day of a clock change has 23 or 25 hours: each takes the weight of what the account's clock shows.
            begins = start + i * HOUR
            shown = datetime.fromtimestamp(begins, zone).hour
            weights.append(hours[shown] * min(HOUR, end - begins) / HOUR)
        total = sum(weights)
        if total <= 0:
            weights, total = [1.0] * len(weights), float(len(weights))
        passed, so_far = [0.0], 0.0
        for weight in weights:
            so_far += weight
            passed.append(min(1.0, so_far / total))
        passed[-1] = 1.0
        return TrafficDay(local, start, end, tuple(passed))

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
