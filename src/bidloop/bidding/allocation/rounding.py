"""From real numbers to whole micros: every constraint is kept to the micro, and the sum is the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from bidloop.bidding.allocation.constraints import Limit
from bidloop.core.errors import ConfigurationError

FURTHEST = 1_000_000
"""One unit of currency, in micros: a solver's answer is never that far from one that keeps every constraint."""


def to_micros(campaigns: Sequence[str], spend: NDArray[np.float64], limits: Sequence[Limit]) -> dict[str, int]:
    """The whole micros nearest to the spends that keep every constraint.

    With a sum and bounds alone this is rounding by the largest remainder; groups that overlap make it a small whole-number
    program, in micros beside the spends' own floor, where floating point is exact.

    Parameters
    ----------
    campaigns, spend
        Names, and what the solver gave them in micros, shape (n,).
    limits
        What must hold.

    Raises
    ------
    ConfigurationError
        When no whole micros within 1 unit of currency keep every constraint.

    Examples
    --------
    >>> from bidloop.core.money import Money
    >>> whole = [Limit("the budget", ("a", "b", "c"), side, Money(100)) for side in ("most", "least")]
    >>> to_micros(["a", "b", "c"], np.array([33.6, 33.1, 33.3]), whole)
    {'a': 34, 'b': 33, 'c': 33}
    """
    floor = [int(np.floor(amount)) for amount in spend]
    base = dict(zip(campaigns, floor, strict=True))
    place = {name: i for i, name in enumerate(campaigns)}
    n = len(campaigns)
    # Above and below the floor: offset = up − down, at the price of leaving the remainder.
    remainder = spend - floor
    rows, low, high = [], [], []
    for limit in limits:
        row = np.zeros(2 * n)
        for name in limit.campaigns:
            row[place[name]], row[n + place[name]] = 1.0, -1.0
        offset = limit.amount.micros - sum(base[name] for name in limit.campaigns)
        rows.append(row)
        # An offset that no rounding reaches says nothing.
        most = limit.side == "most"
        high.append(float(min(offset, n * FURTHEST)) if most else np.inf)
        low.append(-np.inf if most else float(max(offset, -n * FURTHEST)))
    found = milp(
        np.concatenate([1.0 - remainder, 1.0 + remainder]),
        integrality=np.ones(2 * n),
        bounds=Bounds(np.zeros(2 * n), np.concatenate([np.full(n, FURTHEST), np.minimum(floor, FURTHEST)])),
        constraints=LinearConstraint(np.array(rows), low, high),
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        raise ConfigurationError(
            "constraints that no whole micros keep",
            expected="bounds that leave room for one micro",
            remedy="Round the bounds to cents.",
        )
    moved = np.round(found.x).astype(int)
    micros = {name: base[name] + int(moved[i] - moved[n + i]) for i, name in enumerate(campaigns)}
    for limit in limits:
        assert room(micros, limit) >= 0, limit.name
    return micros


def room(micros: Mapping[str, int], limit: Limit) -> int:
    """How many micros of room an allocation leaves to a limit; below 0 it is broken."""
    total = sum(micros[name] for name in limit.campaigns)
    return limit.amount.micros - total if limit.side == "most" else total - limit.amount.micros
