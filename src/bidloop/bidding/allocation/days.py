"""What each campaign spent and brought, day by day: what a response curve is learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import InvalidInput


@dataclass(frozen=True)
class CampaignDays:
    """Spend and outcome of n campaign-days, one row per campaign and day on which it ran.

    Parameters
    ----------
    campaign
        Campaign ids, object array of `str`, shape (n,).
    day
        Calendar day in the account's timezone, datetime64[D], shape (n,).
    spend
        Account currency, float64, shape (n,).
    outcome
        Clicks, conversions or conversion value as reported by now, float64, shape (n,).
    reported
        Share of the day's outcome that is reported by now, in (0, 1], shape (n,); `None` where all of it is.
    grain
        What a single event adds to the outcome: 1 of counts, about the mean order value of a conversion value. It says how
        lumpy small outcomes are.

    Raises
    ------
    InvalidInput
        When shapes differ, a number is negative or not finite, or a campaign has two rows for one day.

    Examples
    --------
    >>> day = np.array(["2026-03-01", "2026-03-01", "2026-03-02"], dtype="datetime64[D]")
    >>> ids = np.array(["brand", "generic", "brand"], dtype=object)
    >>> days = CampaignDays(ids, day, np.array([10.0, 40.0, 12.0]), np.array([3.0, 5.0, 4.0]))
    >>> days.campaigns, days.today(recent_days=7)
    (('brand', 'generic'), {'brand': 11.0, 'generic': 20.0})
    """

    campaign: NDArray[np.object_]
    day: NDArray[np.datetime64]
    spend: NDArray[np.float64]
    outcome: NDArray[np.float64]
    reported: NDArray[np.float64] | None = None
    grain: float = 1.0

    def __post_init__(self) -> None:
        n = len(self.campaign)
        if any(len(column) != n for column in (self.day, self.spend, self.outcome)) or (
            self.reported is not None and len(self.reported) != n
        ):
            raise InvalidInput("columns of different lengths", expected="one value per campaign and day")
        for name, column in (("spend", self.spend), ("outcome", self.outcome)):
            wrong = np.flatnonzero(~(np.isfinite(column) & (column >= 0)))
            if len(wrong):
                i = wrong[0]
                raise InvalidInput(
                    f"{name} {column[i]} of {self.campaign[i]!r} on {self.day[i]}",
                    path=name,
                    expected="a finite number, not negative",
                )
        if self.reported is not None and not np.all((self.reported > 0) & (self.reported <= 1)):
            raise InvalidInput("a reported share outside (0, 1]", path="reported", expected="a share in (0, 1]")
        seen = set(zip(self.campaign.tolist(), self.day.tolist(), strict=True))
        if len(seen) < n:
            raise InvalidInput("a campaign with two rows for one day", expected="one row per campaign and day")

    def __len__(self) -> int:
        return len(self.campaign)

    @property
    def campaigns(self) -> tuple[str, ...]:
        """The campaigns, in alphabetical order."""
        return tuple(sorted(set(self.campaign.tolist())))

    @property
    def last(self) -> np.datetime64:
        """The last day on which anything ran."""
        return np.datetime64(self.day.max())

    def between(self, start: np.datetime64 | None, end: np.datetime64 | None) -> CampaignDays:
        """The rows with ``start <= day < end``; `None` leaves a side open."""
        keep = np.ones(len(self), dtype=bool)
        if start is not None:
            keep &= self.day >= start
        if end is not None:
            keep &= self.day < end
        reported = None if self.reported is None else self.reported[keep]
        return CampaignDays(
            self.campaign[keep], self.day[keep], self.spend[keep], self.outcome[keep], reported, self.grain
        )

    def today(self, *, recent_days: int = 7) -> dict[str, float]:
        """Mean spend per day of each campaign over the last days; a day on which it did not run counts as 0."""
        first = max(self.day.min(), self.last - np.timedelta64(recent_days - 1, "D"))
        days = int((self.last - first) / np.timedelta64(1, "D")) + 1
        recent = self.day >= first
        return {
            name: float(self.spend[recent & (self.campaign == name)].sum()) / days  #
            for name in self.campaigns
        }
