"""What a conversion is worth: a campaign's own average where it has many orders, the pool's where it has few."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidloop.core.errors import InvalidInput
from bidloop.core.money import Money

Floats: TypeAlias = NDArray[np.float64]

CAPPED_SHARE = 0.01
"""Share of orders, the largest relative to their campaign's median, that are cut back to the next largest."""


class OrderValue(msgspec.Struct, frozen=True, kw_only=True):
    """Expected value of one conversion.

    Parameters
    ----------
    pooled
        Over all campaigns, in account currency; what an unknown campaign gets.
    by_campaign
        Of each campaign with orders of its own, in account currency.
    currency
        ISO 4217 code of the amounts.
    orders
        Number of conversions with a value that it was learned from.
    strength
        How many orders of its own weigh as much as the pool.

    Examples
    --------
    >>> OrderValue(pooled=20.0, by_campaign={"shoes": 62.5}, currency="USD", orders=40, strength=5.0).of("shoes")
    Money(micros=62500000, currency='USD')
    """

    pooled: float
    by_campaign: dict[str, float]
    currency: str
    orders: float
    strength: float

    def of(self, campaign_id: str) -> Money:
        """E[value | conversion] in this campaign."""
        return Money.of(self.by_campaign.get(campaign_id, self.pooled), self.currency)


def fit_order_value(
    campaigns: ArrayLike, conversions: ArrayLike, value: ArrayLike, weight: ArrayLike | None = None, *, currency: str
) -> OrderValue | None:
    """Average order values by campaign, drawn towards the pool and robust against a few giant orders.

    Parameters
    ----------
    campaigns
        Campaign of each row, shape (n,).
    conversions, value
        Conversions of each row and the sum of their values in account currency, shape (n,). Rows without a value are
        left out: a conversion whose value is not told says nothing of what it is worth.
    weight
        How many such rows of the population one row stands for, shape (n,); 1 when left out.
    currency
        ISO 4217 code of `value`.

    Returns
    -------
    OrderValue or None
        `None` where no conversion carried a value.

    Raises
    ------
    InvalidInput
        When a number is negative or not finite, or shapes differ.

    Notes
    -----
    The largest one per cent of orders, relative to their campaign's median, are cut back (winsorised), and what is
    cut off is given to all orders in proportion, so that the total stays what it was. Campaign means are then drawn
    towards the pooled mean with the credibility weight n / (n + k), where k is the variance within campaigns over the
    variance between them (Bühlmann and Straub, 1970).

    Examples
    --------
    >>> worth = fit_order_value(["a"] * 300 + ["b"] * 300, [1] * 600, [10.0] * 300 + [30.0] * 300, currency="USD")
    >>> worth.of("a"), worth.of("never seen")
    (Money(micros=10000000, currency='USD'), Money(micros=20000000, currency='USD'))
    """
    names, orders, mean, w = _orders(campaigns, conversions, value, weight)
    if len(names) == 0:
        return None
    mass = orders * w
    known, where = np.unique(names, return_inverse=True)
    trimmed = _winsorised(mean, mass, where, len(known))
    total = np.bincount(where, mass)
    own = np.bincount(where, mass * trimmed) / total
    pooled = float(np.sum(total * own) / np.sum(total))
    # Counted, not weighted: one sampled order is one piece of evidence, whatever it stands for.
    evidence = np.asarray(np.bincount(where, orders), dtype=np.float64)
    strength = _strength(trimmed, orders, where, own, evidence)
    share = evidence / (evidence + strength)
    drawn = np.where(share > 0, share * own, 0.0) + (1 - share) * pooled
    return OrderValue(
        pooled=pooled,
        by_campaign={str(name): float(drawn[i]) for i, name in enumerate(known)},
        currency=currency,
        orders=float(orders.sum()),
        strength=float(min(strength, 1e12)),
    )


def _orders(
    campaigns: ArrayLike, conversions: ArrayLike, value: ArrayLike, weight: ArrayLike | None
) -> tuple[NDArray[np.str_], Floats, Floats, Floats]:
    names = np.asarray(campaigns, dtype=str)
    n, v = (np.asarray(column, dtype=np.float64) for column in (conversions, value))
    w = np.ones(len(n)) if weight is None else np.asarray(weight, dtype=np.float64)
    if len({names.shape, n.shape, v.shape, w.shape}) != 1:
        raise InvalidInput(
            f"columns of shapes {names.shape}, {n.shape}, {v.shape}, {w.shape}", expected="one shape (n,)"
        )
    for name, column in (("conversions", n), ("value", v), ("weight", w)):
        fine = np.isfinite(column) & (column >= 0)
        if not fine.all():
            raise InvalidInput(
                f"wrong value in row {int(np.argmin(fine))}", path=name, expected="finite numbers of at least 0"
            )
    told = (n > 0) & (v > 0) & (w > 0)
    return names[told], n[told], v[told] / n[told], w[told]


def _winsorised(mean: Floats, mass: Floats, where: NDArray[np.intp], campaigns: int) -> Floats:
    median = np.array([np.median(mean[where == i]) for i in range(campaigns)])[where]
    relative = mean / median
    cut = np.minimum(relative, np.quantile(relative, 1 - CAPPED_SHARE, method="lower")) * median
    return np.asarray(cut * (np.sum(mass * mean) / np.sum(mass * cut)), dtype=np.float64)


def _strength(values: Floats, orders: Floats, where: NDArray[np.intp], own: Floats, evidence: Floats) -> float:
    """Variance within campaigns over variance between them, in orders; infinite where campaigns do not differ."""
    campaigns, rows, total = len(own), len(values), float(evidence.sum())
    if campaigns < 2:
        return 0.0
    if rows <= campaigns:
        return float("inf")
    # A row that is the mean of several orders has that much less variance, hence the weight.
    within = float(np.sum(orders * (values - own[where]) ** 2)) / (rows - campaigns)
    centre = float(np.sum(evidence * own) / total)
    spread = float(np.sum(evidence * (own - centre) ** 2)) - (campaigns - 1) * within
    between = spread / (total - float(np.sum(evidence**2)) / total)
    if within == 0:
        return 0.0
    return within / between if between > 0 else float("inf")
