"""How far apart are the order values of groups? Levels in logarithms, drawn together, and made to add up to all that was sold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats: TypeAlias = NDArray[np.float64]

LEAST_CAMPAIGNS = 10
"""From fewer campaigns nobody can say how far the next one will lie from them."""
CLIP = 2.5
"""How many standard deviations of log order values one order may pull; costs 0.2 % of efficiency where nothing is wrong."""
LENT_BETWEEN = 0.16
"""Variance between few campaigns that is taken for granted, less and less up to 10: a few may be alike by chance."""
OWN_CUT = 3.0
"""A campaign's own average counts an order up to this many times the campaign's level times its orders ** (2 / 3)."""
LENT_ORDERS = 10.0
"""Orders' worth of all campaigns' variance in that of one campaign: its giant orders may not have come yet."""
LEAST_SHARE = 0.1
"""Own averages below this share of the level, as refunds make them, count as this much: estimates stay above 0."""
SEVERAL = 5
"""An order is not cut below the fifth largest, relative to what was expected: a price list may have two prices far apart."""
LEAST_FACTOR = 1e-3
"""What all orders are worth at least, refunds taken off, as a share of what those with a value are."""
MOST_ROUNDS, CLOSE = 200, 1e-6
LEAST_VARIANCE, MOST_VARIANCE = 1e-6, 50.0
"""Bounds of the variance of log order values: identical values have none, and beyond e ** 50 nothing is money."""
MOST_TAIL = 5.0
"""Of a larger variance of logarithms it is not believed that it tells of giant orders rather than of tiny ones."""
_INSIDE = float(2 * ndtr(CLIP) - 1)
_CLIPPED_VARIANCE = _INSIDE - 2 * CLIP * np.exp(-(CLIP**2) / 2) / np.sqrt(2 * np.pi) + CLIP**2 * (1 - _INSIDE)


@dataclass(frozen=True)
class Told:
    """Rows that tell a value: orders of each, the mean value of one, and the orders of the population they stand for."""

    orders: Floats
    value: Floats
    mass: Floats

    def take(self, rows: NDArray[np.bool_]) -> Told:
        return Told(self.orders[rows], self.value[rows], self.mass[rows])


@dataclass(frozen=True)
class _Levels:
    """Log values of groups drawn together: their variances, what they keep of their own, and what it was learned from."""

    log: Floats
    variance: Floats
    own: Floats
    own_variance: Floats
    kept: Floats
    weight: Floats
    between: float
    order_variance: float


@dataclass(frozen=True)
class GroupFit:
    """Estimates of groups, the variances of their logarithms, and how much of these each group keeps of its own."""

    estimate: Floats
    variance: Floats
    kept: Floats
    pooled: float
    pooled_spread: float
    between: float
    order_variance: float
    freedom: float


def fit_groups(told: Told, where: NDArray[np.intp], groups: int) -> GroupFit:
    """Estimates of groups that add up to the value of all rows.

    Parameters
    ----------
    told
        n rows.
    where
        Group of each, in 0 … `groups` - 1, shape (n,).
    """
    orders = told.orders.sum()
    level = _levels(told, where, groups)
    log, variance, kept, apart = _with_own_averages(told, where, level)
    estimate = np.exp(log)
    factor, share = _total(told, estimate[where])
    estimate *= factor
    # Heavy tails hide in few orders: no less than log-normal orders of that variance would have.
    seen = float(np.sum(told.orders**2 * (share - 1) ** 2)) / orders**2
    noise = max(seen, float(np.expm1(min(level.order_variance, MOST_TAIL))) / orders)
    pooled = float(np.average(estimate, weights=level.weight))
    centre = 1 / float(level.weight.sum()) + noise
    return GroupFit(
        estimate,
        variance + noise,
        kept,
        pooled,
        float(np.sqrt(level.between + apart + centre)),
        level.between,
        level.order_variance,
        float(max(int(np.sum(told.value > 0)) - (groups if level.between > 0 else 1), 0)),
    )


def _total(told: Told, estimate: Floats) -> tuple[float, Floats]:
    """By how much the rows are worth more than estimated, giant ones cut, and each row relative to that.

    What was seen several times is no accident, and is not cut.
    """
    seen = np.sort(told.value / estimate)[::-1][min(SEVERAL, len(estimate)) - 1]
    most = estimate * np.maximum((told.orders.sum() / told.orders) ** (2 / 3), seen)
    value = np.clip(told.value, -most, most)
    # Above 0 also where refunds leave nothing of what is not cut.
    factor = max(float(np.sum(told.mass * value) / np.sum(told.mass * estimate)), LEAST_FACTOR)
    return factor, value / (estimate * factor)


def _levels(told: Told, where: NDArray[np.intp], groups: int) -> _Levels:
    """Log values of groups from robust means of log order values, drawn together."""
    sold = told.value > 0
    log, orders, group = np.log(told.value[sold]), told.orders[sold], where[sold]
    rows = np.bincount(group, minlength=groups)
    spare = len(log) - int(np.sum(rows > 0))
    level = np.where(rows > 0, np.bincount(group, log, groups) / np.maximum(rows, 1), log.mean())
    lent = LENT_BETWEEN * max(1 - groups / LEAST_CAMPAIGNS, 0.0)
    order_variance = 1.0
    for _ in range(MOST_ROUNDS):
        variance = np.log1p(np.expm1(order_variance) / orders)
        deviation = np.sqrt(variance)
        mean = log + variance / 2  # the log of a mean lies half a variance above the mean of logs
        pull = np.clip((mean - level[group]) / deviation, -CLIP, CLIP)
        precision = np.bincount(group, 1 / variance, groups)
        own = level + np.bincount(group, pull / deviation, groups) / np.where(rows > 0, precision, 1.0)
        own_variance = np.divide(1.0, precision, out=np.full(groups, np.inf), where=rows > 0)
        # With one order each, luck and what campaigns are cannot be told apart: all of it is taken for luck.
        between = _between(own[rows > 0], own_variance[rows > 0]) + lent if spare else 0.0
        weight = 1 / (between + own_variance)
        centre = float(np.average(own, weights=weight))
        kept = between * weight
        drawn = centre + kept * (own - centre)
        rest = np.clip((mean - (own if spare else drawn)[group]) / deviation, -CLIP, CLIP)
        ratio = float(np.sum(rest**2)) / (_CLIPPED_VARIANCE * max(spare or len(log) - 1, 1))
        now = float(np.clip(order_variance * ratio, LEAST_VARIANCE, MOST_VARIANCE))
        change = max(float(np.abs(drawn - level).max()), abs(now / order_variance - 1))
        level, order_variance = drawn, now
        if change < CLOSE:
            break
    return _Levels(
        level,
        between * (1 - kept) + (1 - kept) ** 2 / weight.sum(),
        own,
        own_variance,
        kept,
        weight,
        between,
        order_variance,
    )


def _between(values: Floats, variances: Floats) -> float:
    """Variance of what `values` measure, whose errors have the given `variances` (Paule and Mandel, 1982)."""

    def excess(between: float) -> float:
        weight = 1 / (between + variances)
        return float(np.sum(weight * (values - np.average(values, weights=weight)) ** 2)) - (len(values) - 1)

    lower, upper = 0.0, float(np.ptp(values)) ** 2
    if upper == 0 or excess(0.0) <= 0:
        return 0.0
    for _ in range(40):
        middle = (lower + upper) / 2
        lower, upper = (middle, upper) if excess(middle) > 0 else (lower, middle)
    return lower


def _with_own_averages(told: Told, where: NDArray[np.intp], level: _Levels) -> tuple[Floats, Floats, Floats, float]:
    """Log values drawn to groups' own averages, their variances, what they keep, and the variance of the difference."""
    groups, rows = len(level.log), np.bincount(where)
    if len(where) == groups:
        return level.log, level.variance, level.kept, 0.0
    by_level = np.exp(level.log)
    by_level *= _total(told, by_level[where])[0]
    count = np.bincount(where, told.orders)
    most = OWN_CUT * by_level[where] * (count[where] / told.orders) ** (2 / 3)
    value = np.clip(told.value, -most, most)
    own = np.bincount(where, told.mass * value) / np.bincount(where, told.mass)
    own = np.maximum(own, LEAST_SHARE * by_level)
    scatter = np.bincount(where, told.orders * (value - own[where]) ** 2)
    lent = float(np.sum(scatter / by_level**2)) / (len(value) - groups)
    variance = (scatter / own**2 + LENT_ORDERS * lent) / (rows - 1 + LENT_ORDERS) / count
    sold = np.isfinite(level.own_variance)
    # Of two estimates of one thing the better one's error is in both, so that they differ by the variances' difference.
    chance = np.where(sold, np.maximum(np.abs(variance - level.own_variance), variance / 4), variance)
    difference = np.log(own) - level.own
    apart = _between(difference, chance)
    if apart == 0:
        return level.log, level.variance, level.kept, 0.0
    share = apart / (apart + chance)
    log = level.log + share * (difference - np.average(difference, weights=share))
    return log, level.variance + (1 - share) * apart, 1 - (1 - level.kept) * (1 - share), apart
