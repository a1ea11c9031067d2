"""How late conversions are: which share of those to come is reported by which age.

Fitted by `delay_fit`, kept with the model, and read by whoever counts conversions that are young: training, monitoring,
experiments, pacing and the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, ndtri

Floats: TypeAlias = NDArray[np.float64]
Kind: TypeAlias = Literal["exponential", "weibull", "buckets"]

LEAST = 0.02
"""Maturity is never said to be less: what is younger counts as if it were so old, and weighs next to nothing."""
DAY = 86_400.0


class DelayCurve(msgspec.Struct, frozen=True, kw_only=True):
    """Delays of one campaign, or of all.

    Parameters
    ----------
    shares
        Share of the conversions to come that is reported by each of the model's ages; never falls, and ends at 1.
    deviations
        Standard deviation of the log of each.
    conversions
        How many told of it.
    """

    shares: tuple[float, ...]
    deviations: tuple[float, ...]
    conversions: float


class MaturityCurve(msgspec.Struct, frozen=True, kw_only=True):
    """What a report draws: share of the conversions to come that is reported, by age, with its interval.

    Parameters
    ----------
    ages
        Seconds since the click, ascending from 0.
    shares, lower, upper
        At each age, in [0, 1].
    level
        Of the interval.
    conversions
        How many told of it.
    """

    ages: tuple[float, ...]
    shares: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    level: float
    conversions: float


class DelayModel(msgspec.Struct, frozen=True, kw_only=True):
    """P(reported by now | there will be a conversion within the window), by campaign and age of the click.

    Plain data: it goes into the model bundle and the report as it is.

    Parameters
    ----------
    kind
        The shape that was chosen: exponential, Weibull, or free by buckets.
    ages
        Seconds since the click, ascending; the last is the conversion window. Between them the shares are straight lines.
    pooled
        What holds for an unknown campaign.
    campaigns
        By campaign.

    Examples
    --------
    >>> curve = DelayCurve(shares=(0.5, 1.0), deviations=(0.1, 0.0), conversions=90)
    >>> model = DelayModel(kind="buckets", ages=(DAY, 3 * DAY), pooled=curve, campaigns={})
    >>> model.maturity(["spring", "spring", "autumn"], [0.5 * DAY, 2 * DAY, 30 * DAY]).tolist()
    [0.25, 0.75, 1.0]
    >>> model.mean_delay() / DAY
    1.25
    """

    kind: Kind
    ages: tuple[float, ...]
    pooled: DelayCurve
    campaigns: dict[str, DelayCurve]

    def maturity(self, campaigns: Sequence[str] | NDArray[np.object_], age_seconds: ArrayLike) -> Floats:
        """Share of the conversions of n clicks that is reported by now.

        Parameters
        ----------
        campaigns
            Of each click, n of them; one that is not known counts as the pool.
        age_seconds
            How old each click is, shape (n,).

        Returns
        -------
        ndarray
            float64 in [`LEAST`, 1], shape (n,).
        """
        age = np.asarray(age_seconds, dtype=np.float64)
        names, which = np.unique(np.asarray(campaigns, dtype=np.str_), return_inverse=True)
        share = np.zeros(len(age))
        for number, name in enumerate(names.tolist()):
            rows = which == number
            share[rows] = self._share(self.campaigns.get(name, self.pooled), age[rows])
        return np.clip(share, LEAST, 1.0)

    def curve(self, campaign: str | None, points: int = 60, level: float = 0.95) -> MaturityCurve:
        """The maturity curve of a campaign, of the pool where it is unknown or `None`, at so many ages up to the window."""
        curve = self._of(campaign)
        ages = np.linspace(0.0, self.ages[-1], points)
        share = self._share(curve, ages)
        deviation = np.interp(ages, self.ages, curve.deviations)
        inner = np.clip(share, 1e-9, 1 - 1e-9)
        # In log odds, so that the interval stays inside [0, 1].
        half = ndtri(0.5 + level / 2) * np.minimum(deviation / (1 - inner), 50.0)
        lower, upper = (np.where((share > 0) & (share < 1), expit(logit(inner) + by), share) for by in (-half, half))
        return MaturityCurve(
            ages=tuple(ages.tolist()),
            shares=tuple(share.tolist()),
            lower=tuple(lower.tolist()),
            upper=tuple(upper.tolist()),
            level=level,
            conversions=curve.conversions,
        )

    def mean_delay(self, campaign: str | None = None) -> float:
        """Mean seconds from click to report, of conversions within the window; of the pool where the campaign is unknown."""
        ages = np.concatenate(([0.0], self.ages))
        missing = 1.0 - np.concatenate(([0.0], self._of(campaign).shares))
        return float(np.sum(np.diff(ages) * (missing[:-1] + missing[1:]) / 2))

    def _of(self, campaign: str | None) -> DelayCurve:
        return self.pooled if campaign is None else self.campaigns.get(campaign, self.pooled)

    def _share(self, curve: DelayCurve, age: Floats) -> Floats:
        return np.asarray(np.interp(age, (0.0, *self.ages), (0.0, *curve.shares)))
