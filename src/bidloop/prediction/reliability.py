"""Do predicted rates come true? By bins of like predictions, by traffic tier, by device: predicted beside observed.

Symbols as in `quality`: `p` predicted rates, `impressions` and `clicks` the counts of rows, `weight` how many rows of the
population one stands for; float64 arrays of shape (n,).
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

from bidloop.core.errors import InvalidInput

Floats: TypeAlias = NDArray[np.float64]

TIER = "traffic tier"
"""What the field is called that says how large a row's campaign is."""
HEAD, MIDDLE, TAIL = "head", "middle", "tail"
HEAD_SHARE, MIDDLE_SHARE = 0.5, 0.9
"""Shares of all impressions at which the head and the middle end."""
OTHER = "(other)"
"""Where the rarer values of a field are counted together."""


class ReliabilityBin(msgspec.Struct, frozen=True):
    """One point of the calibration curve: rows with like predictions.

    Parameters
    ----------
    predicted, observed
        Mean predicted and observed rate, both by weighted impressions.
    lower, upper
        95 % interval of the observed rate (Jeffreys, on the effective number of impressions behind the weights).
    impressions, clicks
        Weighted counts.
    """

    predicted: float
    observed: float
    lower: float
    upper: float
    impressions: float
    clicks: float


class GroupRatio(msgspec.Struct, frozen=True):
    """Predicted over observed clicks in one group.

    Parameters
    ----------
    impressions, clicks
        Weighted counts.
    predicted
        Clicks that were predicted.
    ratio
        `predicted` over `clicks` (Σp/Σy); `None` where no click was observed.
    lower, upper
        95 % interval of the ratio, from the Jeffreys interval of the observed rate on the effective number of impressions
        behind the weights; `upper` is `None` where no click was observed.
    ece
        Expected calibration error within the group, as a rate.
    """

    impressions: float
    clicks: float
    predicted: float
    ratio: float | None
    lower: float
    upper: float | None
    ece: float


def reliability_curve(
    p: ArrayLike, impressions: ArrayLike, clicks: ArrayLike, weight: ArrayLike, bins: int = 15
) -> tuple[ReliabilityBin, ...]:
    """Predicted against observed rate in bins of equal mass, by rising prediction.

    Rows with the same prediction share a bin, so the order of rows does not matter and a constant model gives one bin.
    Empty bins are left out.

    >>> [(round(b.predicted, 2), b.observed) for b in reliability_curve([0.1, 0.3], [10, 10], [1, 4], [1, 1], bins=2)]
    [(0.1, 0.1), (0.3, 0.4)]
    """
    p_, m, c, w = checked_rows(p, impressions, clicks, weight)
    where = _equal_mass_bins(p_, w * m, bins)
    curve = []
    for i in np.unique(where[w * m > 0]):
        rows = where == i
        shown, clicked = float(np.sum((w * m)[rows])), float(np.sum((w * c)[rows]))
        observed = clicked / shown
        lower, upper = _jeffreys(observed, _effective_impressions(m[rows], c[rows], w[rows], observed))
        predicted = float(np.sum((w * m * p_)[rows]) / shown)
        curve.append(ReliabilityBin(predicted, observed, lower, upper, shown, clicked))
    return tuple(curve)


def ece(p: ArrayLike, impressions: ArrayLike, clicks: ArrayLike, weight: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error: the mean distance between predicted and observed rate over bins of equal mass.

    A rate, in [0, 1]. Noise alone makes it greater than 0; compare models on the same rows. Equal-mass bins after
    Nixon et al., "Measuring Calibration in Deep Learning" (2019), arXiv 1904.01685: bins of equal width would put
    nearly all impressions of a 0.1 % click rate into the first.

    >>> round(ece([0.1, 0.3], [10, 10], [1, 4], [1, 1], bins=2), 3)
    0.05
    """
    return curve_error(reliability_curve(p, impressions, clicks, weight, bins))


def calibration_by_group(
    p: ArrayLike, impressions: ArrayLike, clicks: ArrayLike, weight: ArrayLike, groups: ArrayLike
) -> dict[str, GroupRatio]:
    """Predicted over observed clicks for each group: an advertiser, a device, a traffic tier.

    >>> by_device = calibration_by_group([0.1, 0.2], [10, 10], [1, 1], [1, 1], ["phone", "desktop"])
    >>> by_device["desktop"].ratio
    2.0
    """
    p_, m, c, w = checked_rows(p, impressions, clicks, weight)
    names, where = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(where) != len(p_):
        raise InvalidInput(f"{len(where)} groups for {len(p_)} rows", path="groups", expected="one group a row")
    order = np.argsort(where, kind="stable")
    edges = np.searchsorted(where[order], np.arange(len(names) + 1))
    found = {}
    for i, name in enumerate(names):
        rows = order[edges[i] : edges[i + 1]]
        if np.sum(w[rows] * m[rows]) > 0:
            found[str(name)] = _ratio(p_[rows], m[rows], c[rows], w[rows])
    return found


def traffic_tiers(campaigns: ArrayLike, mass: ArrayLike) -> NDArray[np.str_]:
    """The traffic tier of each row's campaign: head, middle or tail.

    The largest campaigns that make up half of all impressions are the head, the next ones up to 90 % the middle.

    Parameters
    ----------
    campaigns
        Name of each row's campaign, shape (n,).
    mass
        Weighted impressions of each row, shape (n,).

    Examples
    --------
    >>> traffic_tiers(["big", "small", "big", "fair"], [50, 2, 10, 38]).tolist()
    ['head', 'tail', 'head', 'middle']
    """
    names, where = np.unique(np.asarray(campaigns, dtype=str), return_inverse=True)
    total = np.bincount(where, np.asarray(mass, dtype=np.float64), minlength=len(names))
    order = np.argsort(-total, kind="stable")
    before = (np.cumsum(total[order]) - total[order]) / max(total.sum(), 1e-300)
    tier = np.empty(len(names), dtype="<U6")
    tier[order] = np.where(before < HEAD_SHARE, HEAD, np.where(before < MIDDLE_SHARE, MIDDLE, TAIL))
    return tier[where]


def top_values(values: ArrayLike, mass: ArrayLike, most: int = 8) -> NDArray[np.str_]:
    """The value of each row where it is one of the most frequent, and `OTHER` where it is not.

    >>> top_values(["a", "b", "a", "c"], [1, 5, 1, 1], most=2).tolist()
    ['a', 'b', 'a', '(other)']
    """
    names, where = np.unique(np.asarray(values, dtype=str), return_inverse=True)
    total = np.bincount(where, np.asarray(mass, dtype=np.float64), minlength=len(names))
    shown = np.full(len(names), OTHER, dtype=np.promote_types(names.dtype, "<U7"))
    kept = np.argsort(-total, kind="stable")[:most]
    shown[kept] = names[kept]
    return shown[where]


def checked_rows(
    p: ArrayLike, impressions: ArrayLike, clicks: ArrayLike, weight: ArrayLike
) -> tuple[Floats, Floats, Floats, Floats]:
    names = ("p", "impressions", "clicks", "weight")
    columns = tuple(np.asarray(column, dtype=np.float64) for column in (p, impressions, clicks, weight))
    if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
        shapes = ", ".join(f"{name} {column.shape}" for name, column in zip(names, columns, strict=True))
        raise InvalidInput(f"columns of shapes {shapes}", expected="one shape (n,)")
    for name, column in zip(names, columns, strict=True):
        _all_true(np.isfinite(column) & (column >= 0), name, "finite numbers of at least 0")
    p_, m, c, w = columns
    _all_true(p_ <= 1, "p", "probabilities in [0, 1]")
    # Weighted counts that were summed in another order may exceed their total by rounding.
    _all_true(c <= m * (1 + 1e-9), "clicks", "no more clicks than impressions")
    if not np.sum(w * m) > 0:
        raise InvalidInput("no impression with a positive weight", path="impressions", expected="at least one")
    return p_, m, np.minimum(c, m), w


def _all_true(fine: NDArray[np.bool_], name: str, expected: str) -> None:
    if not fine.all():
        row = int(np.argmin(fine))
        count = int(np.sum(~fine))
        raise InvalidInput(f"{count} wrong values of {name}, first in row {row}", path=name, expected=expected)


def _ratio(p: Floats, m: Floats, c: Floats, w: Floats) -> GroupRatio:
    shown, clicked, predicted = float(np.sum(w * m)), float(np.sum(w * c)), float(np.sum(w * m * p))
    observed = clicked / shown
    lower, upper = _jeffreys(observed, _effective_impressions(m, c, w, observed))
    return GroupRatio(
        shown,
        clicked,
        predicted,
        predicted / clicked if clicked > 0 else None,
        predicted / (upper * shown),
        predicted / (lower * shown) if clicked > 0 and lower > 0 else None,
        curve_error(reliability_curve(p, m, c, w)),
    )


def _equal_mass_bins(p: Floats, mass: Floats, bins: int) -> NDArray[np.intp]:
    """Bin of each row: the middle of its tied rows' place in the cumulative mass."""
    _, where = np.unique(p, return_inverse=True)
    tied = np.bincount(where, mass)
    middle = np.cumsum(tied) - tied / 2
    bin_of: NDArray[np.intp] = np.minimum((middle / tied.sum() * bins).astype(np.intp), bins - 1)
    return bin_of[where]


def _effective_impressions(m: Floats, c: Floats, w: Floats, rate: float) -> float:
    """Unweighted impressions that would make the weighted rate as uncertain as it is."""
    variance = float(np.sum(w**2 * (c * (1 - rate) ** 2 + (m - c) * rate**2)))
    if variance > 0:
        return rate * (1 - rate) * float(np.sum(w * m)) ** 2 / variance
    return float(np.sum(w * m)) ** 2 / float(np.sum(w**2 * m))


def _jeffreys(rate: float, impressions: float) -> tuple[float, float]:
    a, b = rate * impressions + 0.5, (1 - rate) * impressions + 0.5
    return min(float(betaincinv(a, b, 0.025)), rate), max(float(betaincinv(a, b, 0.975)), rate)


def curve_error(curve: tuple[ReliabilityBin, ...]) -> float:
    """Expected calibration error of a calibration curve."""
    total = sum(bin_.impressions for bin_ in curve)
    return sum(bin_.impressions * abs(bin_.predicted - bin_.observed) for bin_ in curve) / total
