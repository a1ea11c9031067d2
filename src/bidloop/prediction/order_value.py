"""What a conversion is worth: a campaign's own average where it has many orders, that of all campaigns where it has few.

Order values are heavy-tailed: one order in ten thousand may be worth a thousand others, and an average of twenty orders says
more of luck than of the campaign. So the level of a campaign is learned in logarithms, where a giant order is one order, and
what logarithms cannot tell, how much above its typical order the average order lies, is learned from all orders at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from bidloop.core.errors import InvalidInput
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.prediction.order_levels import LEAST_CAMPAIGNS, MOST_VARIANCE, GroupFit, Told, fit_groups

Floats: TypeAlias = NDArray[np.float64]

LEAST_ORDERS_OF_CELL = 20
"""A cell with fewer orders gets the value of its campaign: there may be many such cells, and a bundle stays small."""
MOST_CELLS = 10_000
"""Of more cells those with the most orders are kept."""
LEAST_FREEDOM = 5
"""From fewer degrees of freedom nobody can say how far orders lie apart."""
MICRO = 1e-6
"""Less is nothing, be it an amount, a share of a conversion or a weight."""


def cell_of(opportunity: Opportunity) -> str:
    """What may differ in value within a campaign: ad group and device."""
    return f"{opportunity.ad_group_id}\x1f{opportunity.device}"


class OrderValue(msgspec.Struct, frozen=True, kw_only=True):
    """Expected value of one conversion.

    Parameters
    ----------
    pooled
        Mean over campaigns, in account currency; what an unknown campaign gets.
    by_campaign
        Of each campaign with orders of its own, in account currency.
    currency
        ISO 4217 code of the amounts.
    orders
        Number of conversions with a value that it was learned from.
    strength
        How many orders of its own weigh as much as the pool.
    by_cell
        By campaign and cell, of cells with at least 20 orders; empty where cells do not differ by more than chance.
    pooled_spread, spread, cell_spread
        Standard errors of the logarithms of the above; those of an unknown campaign include how campaigns differ.
        Absent where nobody knows, as in bundles of earlier versions.
    freedom
        Degrees of freedom behind the standard errors.

    Examples
    --------
    >>> worth = OrderValue(pooled=20.0, by_campaign={"shoes": 62.5}, currency="USD", orders=40, strength=5.0)
    >>> worth.of("shoes"), worth.interval("shoes")
    (Money(micros=62500000, currency='USD'), None)
    """

    pooled: float
    by_campaign: dict[str, float]
    currency: str
    orders: float
    strength: float
    by_cell: dict[str, dict[str, float]] = {}
    pooled_spread: float | None = None
    spread: dict[str, float] = {}
    cell_spread: dict[str, dict[str, float]] = {}
    freedom: float = 0.0

    def of(self, campaign_id: str, cell: str | None = None) -> Money:
        """E[value | conversion] in this campaign, or in a cell of it where that is known to differ."""
        cells = self.by_cell.get(campaign_id, {})
        value = self.by_campaign.get(campaign_id, self.pooled) if cell is None or cell not in cells else cells[cell]
        return Money.of(value, self.currency)

    def interval(self, campaign_id: str, cell: str | None = None, *, level: float = 0.95) -> tuple[Money, Money] | None:
        """Between which amounts `of` would lie if all orders to come were known; `None` where that cannot be said.

        Parameters
        ----------
        level
            Stated probability of covering, in (0, 1).

        Raises
        ------
        InvalidInput
            When the level is not in (0, 1).

        Examples
        --------
        >>> values = np.random.default_rng(0).lognormal(4, 1, 400)
        >>> worth = fit_order_value(["shoes"] * 400, np.ones(400), values, currency="USD")
        >>> print(worth.of("shoes"), *worth.interval("shoes"), sep=" | ")
        86.330172 USD | 73.662341 USD | 101.17651 USD
        """
        if not 0 < level < 1:
            raise InvalidInput(f"a level of {level}", path="level", expected="a probability in (0, 1), such as 0.95")
        spread = self.spread.get(campaign_id) if campaign_id in self.by_campaign else self.pooled_spread
        if cell is not None:
            spread = self.cell_spread.get(campaign_id, {}).get(cell, spread)
        if spread is None:
            return None
        value = self.of(campaign_id, cell).amount
        reach = min(float(stdtrit(self.freedom, (1 + level) / 2)) * spread, MOST_VARIANCE)
        lower, upper = value * np.exp([-reach, reach])
        return Money.of(float(lower), self.currency), Money.of(float(upper), self.currency)


def fit_order_value(
    campaigns: ArrayLike,
    conversions: ArrayLike,
    value: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    currency: str | Sequence[str],
    cells: ArrayLike | None = None,
) -> OrderValue | None:
    """Average order values by campaign and cell, drawn towards the pool and robust against a few giant orders.

    Parameters
    ----------
    campaigns
        Campaign of each row, shape (n,).
    conversions
        Conversions of each row whose value is told, shape (n,); rows without one are left out. A conversion whose value is
        not told says nothing of what it is worth and must not be counted here; one that is told to be worth 0 must be.
    value
        Sum of their values in account currency, shape (n,). Refunds that are conversions of their own are negative.
    weight
        How many such rows of the population one row stands for, shape (n,); 1 when left out.
    currency
        ISO 4217 code of `value`, or that of each row.
    cells
        Cell of each row within its campaign, such as its ad group and device, shape (n,).

    Returns
    -------
    OrderValue or None
        `None` where no conversion carried a value.

    Raises
    ------
    InvalidInput
        When a number is not finite, a count is negative, shapes differ, or there is more than one currency: amounts of
        two currencies have no average.

    Notes
    -----
    1. *Level.* In logarithms a campaign's orders have a mean and all campaigns one variance, fitted robustly: no order pulls
       by more than 2.5 standard deviations (Huber, 1964). The mean of several orders in one report row has the variance
       that a sum of log-normal orders has (Fenton, 1960). Campaign levels are drawn towards their mean by the credibility
       weight n / (n + k), where k is the variance of one order over the variance between campaigns (Bühlmann and Straub,
       1970; the latter by Paule and Mandel, 1982).
    2. *Own average.* Campaigns may differ in more than level, in the share of giant orders or of refunds. Their averages,
       each order counted up to a limit that grows with their number, replace the level by as much as both differ by more
       than chance (Hausman, 1978), so that a campaign with very many orders gets its own average.
    3. *Total.* One factor for all makes estimates add up to the value of all orders, up to a cut: an order counts up to its
       estimate times N ** (2 / 3) of N orders in all, the truncated mean of Bubeck, Cesa-Bianchi and Lugosi (2013,
       arXiv 1209.1727) for values with a moment of order 1.5, though never less than the fifth largest. So one order of a
       campaign of average level, be it a typing error, adds at most about N ** (-1 / 3) to all estimates: 5 % with 10,000
       orders. Of Pareto values with a tail of 1.5 the cut takes 2 % then, of lighter tails less.

    Cells go the same way, their orders taken relative to their campaign's estimate.

    Examples
    --------
    >>> worth = fit_order_value(["a"] * 300 + ["b"] * 300, [1] * 600, [10.0] * 300 + [30.0] * 300, currency="USD")
    >>> worth.of("a"), worth.of("never seen")
    (Money(micros=10000000, currency='USD'), Money(micros=20000000, currency='USD'))
    """
    code = currency if isinstance(currency, str) else _one_currency(currency, np.size(np.asarray(conversions)))
    names, places, told = _told(campaigns, cells, conversions, value, weight)
    if len(names) == 0:
        return None
    known, where = np.unique(names, return_inverse=True)
    orders = float(told.orders.sum())
    plain = float(np.sum(told.mass * told.value) / told.mass.sum())
    if plain <= 0 or not (told.value > 0).any():
        # Nothing was sold in sum: no logarithm and no ratio can say more.
        return OrderValue(pooled=plain, by_campaign={}, currency=code, orders=orders, strength=0.0)
    fit = fit_groups(told, where, len(known))
    by_cell: dict[str, dict[str, float]] = {}
    cell_spread: dict[str, dict[str, float]] = {}
    sure = fit.freedom >= LEAST_FREEDOM
    if places is not None and sure:
        for (campaign, cell), estimate, spread in _cells(names, places, told, where, fit):
            by_cell.setdefault(campaign, {})[cell] = estimate
            cell_spread.setdefault(campaign, {})[cell] = spread
    return OrderValue(
        pooled=fit.pooled,
        by_campaign={str(name): float(fit.estimate[i]) for i, name in enumerate(known)},
        currency=code,
        orders=orders,
        strength=float(min(fit.order_variance / fit.between, 1e12)) if fit.between > 0 else 1e12,
        by_cell=by_cell,
        pooled_spread=fit.pooled_spread if sure and len(known) >= LEAST_CAMPAIGNS else None,
        spread={str(name): float(np.sqrt(fit.variance[i])) for i, name in enumerate(known)} if sure else {},
        cell_spread=cell_spread,
        freedom=fit.freedom,
    )


def _told(
    campaigns: ArrayLike, cells: ArrayLike | None, conversions: ArrayLike, value: ArrayLike, weight: ArrayLike | None
) -> tuple[NDArray[np.str_], NDArray[np.str_] | None, Told]:
    names = np.asarray(campaigns, dtype=str)
    places = None if cells is None else np.asarray(cells, dtype=str)
    n, v = (np.asarray(column, dtype=np.float64) for column in (conversions, value))
    w = np.ones(n.shape) if weight is None else np.asarray(weight, dtype=np.float64)
    shapes = [column.shape for column in (names, n, v, w, *(() if places is None else (places,)))]
    if len(set(shapes)) != 1 or n.ndim != 1:
        raise InvalidInput(f"columns of shapes {', '.join(map(str, shapes))}", expected="one shape (n,)")
    for name, column, least in (("conversions", n, 0.0), ("value", v, -np.inf), ("weight", w, 0.0)):
        fine = np.isfinite(column) & (column >= least)
        if not fine.all():
            expected = "finite numbers" if least < 0 else "finite numbers of at least 0"
            raise InvalidInput(f"wrong value in row {int(np.argmin(fine))}", path=name, expected=expected)
    told = (n >= MICRO) & (w >= MICRO)
    mean = v[told] / n[told]
    rows = Told(n[told], np.where(np.abs(mean) < MICRO, 0.0, mean), n[told] * w[told])
    return names[told], None if places is None else places[told], rows


def _one_currency(codes: Sequence[str], rows: int) -> str:
    found = sorted(set(codes))
    if len(codes) != rows or len(found) > 1:
        raise InvalidInput(
            f"amounts in {', '.join(found)}" if len(found) > 1 else f"{len(codes)} currencies for {rows} rows",
            path="currency",
            expected="amounts of one currency",
            remedy="Convert to account currency first, or fit one order value per currency.",
        )
    return found[0] if found else ""


def _cells(
    names: NDArray[np.str_], places: NDArray[np.str_], told: Told, where: NDArray[np.intp], fit: GroupFit
) -> list[tuple[tuple[str, str], float, float]]:
    """Name, estimate and standard error of the logarithm of each cell with enough orders, where cells differ."""
    _, first, cell = np.unique(np.stack([names, places]), axis=1, return_index=True, return_inverse=True)
    count = np.bincount(cell, told.orders)
    least = np.sort(count)[-MOST_CELLS] if len(count) > MOST_CELLS else 0.0
    many = count[cell] >= max(LEAST_ORDERS_OF_CELL, least)
    if not (told.value[many] > 0).any():
        return []
    kept, cell = np.unique(cell[many], return_inverse=True)
    campaign = where[first[kept]]
    rows = told.take(many)
    fitted = fit_groups(Told(rows.orders, rows.value / fit.estimate[where[many]], rows.mass), cell, len(kept))
    if fitted.kept.max() == 0 or fitted.freedom < LEAST_FREEDOM:
        return []
    # What a cell keeps of its own does not depend on how well its campaign's level is known.
    variance = fitted.variance + (1 - fitted.kept) ** 2 * fit.variance[campaign]
    estimate = fitted.estimate * fit.estimate[campaign]
    return [
        ((str(names[first[k]]), str(places[first[k]])), float(estimate[i]), float(np.sqrt(variance[i])))
        for i, k in enumerate(kept)
    ]
