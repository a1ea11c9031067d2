"""Learns response curves from daily spends and outcomes.

The outcome of campaign c on day t is expected to be::

    exp(level of c in the week of t + weekday effect of t) × shape(spend; elasticity of c) × share reported

* The **level** moves from week to week like a random walk, so that changes of demand, of creatives or of the market are not
  taken for an effect of the spend; how far it moves is learned from all campaigns. Its steps have the tails of Student's t with
  4 degrees of freedom: most weeks are like the one before, and some are not at all.
* The **elasticity** is drawn towards that of the other campaigns, the more so the fewer days tell of it.
* **Weekdays** have one effect for all campaigns.
* Outcomes scatter more than counts: their variance is grain × mean + (spread × mean)², with a spread per campaign.

Penalised quasi-likelihood (Breslow and Clayton 1993) by Newton steps, the variances by expectation-maximisation in between;
the curves are draws from the normal approximation at its end, the coming weeks' drift included.

**What is assumed**: within a week, apart from the weekday, spend does not follow demand. Where it does (a budget that is raised on
the day on which sales are good, bids that win more when more people search), the elasticity is overstated, and no
history without experiments can tell. A shift that rests on it should be made in steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from bidloop.bidding.allocation.days import CampaignDays
from bidloop.bidding.allocation.posterior import Arrow, Block
from bidloop.bidding.allocation.response import ResponseCurve
from bidloop.bidding.allocation.settings import Family, ResponseSettings
from bidloop.bidding.allocation.shapes import log_shape
from bidloop.core.errors import InsufficientData

Floats = NDArray[np.float64]

FEWEST_DAYS = 14
"""Fewer days than this, over all campaigns, tell nothing of weekdays and weeks."""
ROUNDS = 60
SETTLED = 1e-3
"""No log of a parameter or deviation moves more than this in a round: what is left of it does not show in the intervals."""
WEEKDAY_DEVIATION = 0.3
LEVEL_DEVIATION = 2.0
"""How far, in logs, a campaign's first level may be from the return of all campaigns together."""
MEAN_ELASTICITY = (0.85, 1.0)
"""Prior of the mean elasticity, in log odds: 0.7, and from 0.25 to 0.94 with probability 0.95."""
TAILS = 4.0
"""Degrees of freedom of the steps of a level."""
PRIOR_DAYS = 4.0
"""What the starting value of a variance is worth, in observations."""
DRIFT, ELASTICITY_DEVIATION, SPREAD = 0.1, 0.5, 0.2
"""Starting values: drift of a level per week, deviation of elasticities in log odds, spread of a day's outcome."""


def fit_responses(
    days: CampaignDays, family: Family, settings: ResponseSettings, *, until: np.datetime64 | None = None
) -> list[ResponseCurve]:
    """Learn the response curve of every campaign that ever spent, for the days that come.

    Parameters
    ----------
    days
        Spends and outcomes.
    family
        The shape of the curves.
    until
        The last day that is known; by default the last on which anything ran.

    Raises
    ------
    InsufficientData
        When fewer than 14 days are told, or nothing ever came of the spend.

    Examples
    --------
    >>> random = np.random.default_rng(1)
    >>> day = np.datetime64("2026-03-01") + np.arange(56)
    >>> spend = 100 * np.exp(0.4 * random.normal(size=56))
    >>> sold = random.poisson(30 * (spend / 100) ** 0.6).astype(float)
    >>> days = CampaignDays(np.full(56, "brand", dtype=object), day, spend, sold)
    >>> [curve] = fit_responses(days, Family.POWER, ResponseSettings())
    >>> low, high = curve.interval(150.0, 0.9)
    >>> low < 30 * 1.5**0.6 < high
    True
    """
    last = days.last if until is None else until
    rows = days.between(last - np.timedelta64(settings.window_days - 1, "D"), last + np.timedelta64(1, "D"))
    if len(set(rows.day.tolist())) < FEWEST_DAYS or not rows.outcome.any():
        raise InsufficientData(
            f"{len(set(rows.day.tolist()))} days with {rows.outcome.sum():g} of the outcome",
            expected=f"at least {FEWEST_DAYS} days, and an outcome at all",
            remedy="Give a longer history, or another objective.",
        )
    fitted = _Fit(rows, family, last)
    for _ in range(ROUNDS):
        if fitted.step() < SETTLED:
            break
    return fitted.curves(settings)


@dataclass
class _Campaign:
    """Rows and present parameters of one campaign: a level per week, and the log odds of its elasticity at the end."""

    name: str
    spend: Floats
    outcome: Floats
    week: NDArray[np.intp]
    weekday: NDArray[np.intp]
    log_reported: Floats
    first_level: float
    weeks: int
    usual: float = field(init=False)
    theta: Floats = field(init=False)
    steadiness: Floats = field(init=False)
    spread: float = SPREAD**2

    def __post_init__(self) -> None:
        self.usual = float(np.exp(np.mean(np.log(self.spend))))
        self.first_level += float(np.log(self.usual))
        self.steadiness = np.ones(self.weeks - 1)  # of each step: low where the level jumps
        self.theta = np.append(np.full(self.weeks, self.first_level), MEAN_ELASTICITY[0])

    def log_mean(self, family: Family, weekdays: Floats, nudge: float = 0.0) -> Floats:
        elasticity = expit(self.theta[-1] + nudge)
        shape = log_shape(family, elasticity, self.spend / self.usual)
        return self.theta[self.week] + weekdays[self.weekday] + shape + self.log_reported


class _Fit:
    """The parameters of all campaigns, and the steps that better them."""

    def __init__(self, days: CampaignDays, family: Family, last: np.datetime64) -> None:
        self._family, self._grain = family, days.grain
        ran = days.spend > 0
        pooled = float(np.log(days.outcome[ran].sum() / days.spend[ran].sum()))
        reported = np.ones(len(days)) if days.reported is None else days.reported
        self._campaigns: list[_Campaign] = []
        for name in days.campaigns:
            mine = np.flatnonzero(ran & (days.campaign == name))
            if not len(mine):
                continue
            # Weeks are counted back from the last day, so that the last one is whole.
            ago = ((last - days.day[mine]) / np.timedelta64(1, "D")).astype(int)
            weeks = int(ago.max()) // 7 + 1
            self._campaigns.append(
                _Campaign(
                    name,
                    days.spend[mine],
                    days.outcome[mine],
                    weeks - 1 - ago // 7,
                    (days.day[mine].astype("datetime64[D]").astype(int) + 3) % 7,
                    np.log(reported[mine]),
                    pooled,
                    weeks,
                )
            )
        self._shared = np.append(np.zeros(7), MEAN_ELASTICITY[0])
        self._drift, self._deviation = DRIFT**2, ELASTICITY_DEVIATION**2
        self._stride = DRIFT**2  # mean squared step of a level, jumps included
        self._arrow: Arrow | None = None

    def step(self) -> float:
        """One Newton step for the parameters, and the variances that are most likely given them; says how far it moved."""
        before = np.log([self._drift, self._deviation])
        self._arrow = Arrow([self._block(campaign) for campaign in self._campaigns], *self._prior())
        shared, own = self._arrow.step()
        self._shared += np.clip(shared, -1.0, 1.0)
        for campaign, move in zip(self._campaigns, own, strict=True):
            campaign.theta += np.clip(move, -1.0, 1.0)
            campaign.theta[-1] = np.clip(campaign.theta[-1], -5.0, 5.0)
        self._variances()
        moved = [np.abs(shared).max(), *(np.abs(move).max() for move in own)]
        return float(max(*moved, np.abs(np.log([self._drift, self._deviation]) - before).max()))

    def curves(self, settings: ResponseSettings) -> list[ResponseCurve]:
        """Draws of the curves for the coming days."""
        assert self._arrow is not None
        random = np.random.default_rng(settings.seed)
        shared, own = self._arrow.draws(settings.draws, random)
        weekday = np.log(np.exp(self._shared[:7] + shared[:, :7]).mean(axis=1))
        # Mean over the horizon of a random walk that starts at the last week's middle.
        ahead = np.sqrt(self._stride * (0.5 + settings.horizon_days / 7 / 3))
        above, below = random.random((2, settings.draws))
        curves = []
        for campaign, moves in zip(self._campaigns, own, strict=True):
            drift = ahead * random.normal(size=settings.draws)
            low, high = (float(end) for end in np.quantile(campaign.spend, [0.05, 0.95]))
            curves.append(
                ResponseCurve(
                    campaign.name,
                    ((self._family, settings.draws),),
                    campaign.usual,
                    campaign.theta[-2] + moves[:, -2] + weekday + drift,
                    expit(np.clip(campaign.theta[-1] + moves[:, -1], -6.0, 6.0)),
                    above,
                    below,
                    low,
                    high,
                    settings.reach * high,
                    campaign.spread**0.5,
                    len(campaign.spend),
                )
            )
        return curves

    def _design(self, campaign: _Campaign) -> tuple[Floats, Floats, Floats, Floats]:
        """Expected outcomes, and the derivatives of their logs: by level and elasticity, by the shared ones; weights."""
        mean = np.exp(np.clip(campaign.log_mean(self._family, self._shared[:7]), -30.0, 40.0))
        n, h = len(mean), 1e-4
        own = np.zeros((n, campaign.weeks + 1))
        own[np.arange(n), campaign.week] = 1.0
        up, down = (campaign.log_mean(self._family, self._shared[:7], nudge) for nudge in (h, -h))
        own[:, -1] = (up - down) / (2 * h)
        shared = np.zeros((n, 8))
        shared[np.arange(n), campaign.weekday] = 1.0
        weight = mean / (self._grain + campaign.spread * mean)
        return mean, own, shared, weight

    def _block(self, campaign: _Campaign) -> Block:
        mean, own, shared, weight = self._design(campaign)
        residual = weight * (campaign.outcome / mean - 1)
        hessian, gradient = own.T @ (weight[:, None] * own), own.T @ residual
        cross, shared_hessian = own.T @ (weight[:, None] * shared), shared.T @ (weight[:, None] * shared)
        shared_gradient = shared.T @ residual
        # First level, steps from week to week, and the elasticity beside the others'.
        levels = campaign.theta[:-1]
        hessian[0, 0] += LEVEL_DEVIATION**-2
        gradient[0] -= (levels[0] - campaign.first_level) / LEVEL_DEVIATION**2
        walk = np.diff(np.eye(campaign.weeks), axis=0)
        steady = campaign.steadiness / self._drift
        hessian[:-1, :-1] += walk.T @ (steady[:, None] * walk)
        gradient[:-1] -= walk.T @ (steady * np.diff(levels))
        off = (campaign.theta[-1] - self._shared[7]) / self._deviation
        hessian[-1, -1] += 1 / self._deviation
        gradient[-1] -= off
        cross[-1, 7] -= 1 / self._deviation
        shared_hessian[7, 7] += 1 / self._deviation
        shared_gradient[7] += off
        return Block(hessian, cross, gradient, shared_hessian, shared_gradient)

    def _prior(self) -> tuple[Floats, Floats]:
        """Precision and gradient of what is known beforehand of weekdays and the mean elasticity."""
        precision = np.append(np.full(7, WEEKDAY_DEVIATION**-2), MEAN_ELASTICITY[1] ** -2)
        centre = np.append(np.zeros(7), MEAN_ELASTICITY[0])
        return np.diag(precision), -precision * (self._shared - centre)

    def _variances(self) -> None:
        assert self._arrow is not None
        covariances = self._arrow.covariances()
        squares, strides, steps, off = (
            PRIOR_DAYS * DRIFT**2,
            PRIOR_DAYS * DRIFT**2,
            PRIOR_DAYS,
            PRIOR_DAYS * ELASTICITY_DEVIATION**2,
        )
        for campaign, (covariance, mean_variance) in zip(self._campaigns, covariances, strict=True):
            walk = np.diff(np.eye(campaign.weeks), axis=0)
            square = np.diff(campaign.theta[:-1]) ** 2 + np.sum((walk @ covariance[:-1, :-1]) * walk, axis=1)
            campaign.steadiness = (TAILS + 1) / (TAILS + square / self._drift)
            squares += float(campaign.steadiness @ square)
            strides += float(square.sum())
            steps += campaign.weeks - 1
            off += (campaign.theta[-1] - self._shared[7]) ** 2 + mean_variance
        self._drift, self._stride = max(squares / steps, 1e-6), strides / steps
        self._deviation = max(off / (len(self._campaigns) + PRIOR_DAYS), 1e-3)
        self._spreads()

    def _spreads(self) -> None:
        """Each campaign's spread, drawn towards that of all."""
        assert self._arrow is not None
        designs = [self._design(campaign) for campaign in self._campaigns]
        uncertain = self._arrow.variances([own for _, own, _, _ in designs], [shared for _, _, shared, _ in designs])
        told = []
        for campaign, (mean, _, _, weight), variance in zip(self._campaigns, designs, uncertain, strict=True):
            square = (campaign.outcome / mean - 1) ** 2 + variance - self._grain / mean
            # Where the scatter of the count itself is large, it says little.
            trust = np.minimum(weight * campaign.spread, 1.0) ** 2
            told.append((float(trust @ square), float(trust.sum())))
        sums = np.array(told)
        pooled = max((sums[:, 0].sum() + PRIOR_DAYS * SPREAD**2) / (sums[:, 1].sum() + PRIOR_DAYS), 1e-4)
        for campaign, (total, count) in zip(self._campaigns, told, strict=True):
            found = max((total + PRIOR_DAYS * pooled) / (count + PRIOR_DAYS), 1e-4)
            campaign.spread = float(np.sqrt(campaign.spread * found))  # half the way: trust depends on it
