"""Who searches for what, where, when and on which device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidloop.simulation.calendar import Calendar
from bidloop.simulation.randomness import stream
from bidloop.simulation.settings import WorldSettings

FAITHFUL = 0.8
"""Share of a user's searches that come from the user's main device."""
ACTIVITY = 0.7
"""Shape of the gamma distribution of users' activity: below 1 means a few are very active."""
CAMPAIGN_SPREAD = 0.3
"""Standard deviation of the logarithm of campaigns' traffic."""


@dataclass(frozen=True)
class Cells:
    """What n auctions are for, as numbers into `Names`.

    Parameters
    ----------
    at
        When, datetime64[us] in UTC, shape (n,), non-decreasing.
    campaign, ad_group, keyword, device, location
        Numbers, shape (n,); ad group and keyword count within their campaign.
    user
        Number of the user, shape (n,); -1 for someone unknown.
    weekday, hour
        In the account's timezone, 0 is Monday, shape (n,).
    """

    at: NDArray[np.datetime64]
    campaign: NDArray[np.intp]
    ad_group: NDArray[np.intp]
    keyword: NDArray[np.intp]
    device: NDArray[np.intp]
    location: NDArray[np.intp]
    user: NDArray[np.intp]
    weekday: NDArray[np.intp]
    hour: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.at)


class Traffic:
    """Draws the auctions of a day: how many, when, and by whom for what."""

    def __init__(self, settings: WorldSettings, calendar: Calendar, ad_group_of: NDArray[np.intp]) -> None:
        self._settings = settings
        self._calendar = calendar
        self._ad_group_of = ad_group_of
        rng = stream(settings.seed, "users")
        self._activity = np.cumsum(rng.gamma(ACTIVITY, size=settings.users))
        self._home = _pick(rng, settings.location_shares, settings.users)
        self._main_device = _pick(rng, settings.device_shares, settings.users)
        spread = stream(settings.seed, "campaign traffic").normal(0.0, CAMPAIGN_SPREAD, len(settings.campaigns))
        self.campaign_shares = np.exp(spread) / np.exp(spread).sum()

    def expected(self, weekday: int) -> float:
        """Mean number of auctions on such a day."""
        shape = self._settings.weekday_shape
        return self._settings.auctions_per_day * shape[weekday] * 7 / sum(shape)

    def day(self, day: int) -> Cells:
        """The auctions of a day, in order of time."""
        rng = stream(self._settings.seed, "traffic", day)
        weekday = (self._calendar.first_day.weekday() + day) % 7
        return self._draw(rng, int(rng.poisson(self.expected(weekday))), self._calendar.hour_starts(day))

    def sample(self, size: int) -> Cells:
        """About so many auctions spread over a whole week, for what is to be known of the world on average."""
        rng = stream(self._settings.seed, "typical week")
        week = [self._draw(rng, round(size * self.expected(w) / self.expected(0) / 7), self._week(w)) for w in range(7)]
        return Cells(*(np.concatenate([getattr(d, name) for d in week]) for name in Cells.__dataclass_fields__))

    def _week(self, weekday: int) -> NDArray[np.datetime64]:
        return self._calendar.hour_starts((weekday - self._calendar.first_day.weekday()) % 7)

    def _draw(self, rng: np.random.Generator, n: int, hour_starts: NDArray[np.datetime64]) -> Cells:
        settings = self._settings
        micros = (rng.random(n) * 3_600_000_000).astype("timedelta64[us]")
        at = np.sort(hour_starts[_pick(rng, settings.hour_shape, n)] + micros)
        user = np.searchsorted(self._activity, rng.random(n) * self._activity[-1])
        other = _pick(rng, settings.device_shares, n)
        device = np.where(rng.random(n) < FAITHFUL, self._main_device[user], other)
        campaign = _pick(rng, self.campaign_shares, n)
        keyword = _pick(rng, 1.0 / np.arange(1, settings.keywords + 1), n)
        _, weekday, hour = self._calendar.local(at)
        location = self._home[user]
        return Cells(at, campaign, self._ad_group_of[keyword], keyword, device, location, user, weekday, hour)


def _pick(rng: np.random.Generator, shares: tuple[float, ...] | NDArray[np.float64], n: int) -> NDArray[np.intp]:
    """Numbers 0 … len(shares) - 1 in proportion to the shares."""
    edges = np.cumsum(np.asarray(shares, dtype=np.float64))
    numbers = np.searchsorted(edges, rng.random(n) * edges[-1], side="right")
    return np.asarray(np.minimum(numbers, len(edges) - 1), dtype=np.intp)
