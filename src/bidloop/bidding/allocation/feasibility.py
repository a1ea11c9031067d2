"""Whether constraints can be kept together, and if not, which of them contradict each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_matrix

from bidloop.bidding.allocation.constraints import Limit
from bidloop.core.errors import ConfigurationError


def refuse_contradiction(limits: Sequence[Limit]) -> None:
    """Accept constraints that can be kept together in silence; name the ones that cannot.

    Raises
    ------
    ConfigurationError
        When no allocation keeps all of them. It names a set that cannot be kept and of which each part is needed: without any one
        of them the others can be kept.
    """
    wrong = contradiction(limits)
    if wrong:
        raise ConfigurationError(
            "these constraints cannot be kept together: " + "; ".join(limit.name for limit in wrong),
            expected="constraints that some allocation keeps",
            remedy="Loosen any one of them." if len(wrong) > 1 else "Loosen it.",
        )


def contradiction(limits: Sequence[Limit]) -> list[Limit]:
    """A set of constraints of which each part is needed for them to contradict each other; empty where all can be kept.

    Elastic relaxation first: every constraint may be violated at a price, and those that are not part of it in the
    optimum's duals are put aside. Then each one that is left is taken out on trial (Chinneck and Dravnieks 1991), those
    that concern the most campaigns first, so that the plainest set remains.

    Examples
    --------
    >>> from bidloop.core.money import Money
    >>> least, most = Limit("at least 5", ("a",), "least", Money(5)), Limit("at most 4", ("a",), "most", Money(4))
    >>> [limit.name for limit in contradiction([least, Limit("b's maximum", ("b",), "most", Money(9)), most])]
    ['at least 5', 'at most 4']
    """
    needed, violated = _elastic(limits)
    if not violated:
        return []
    keep = [limit for limit, part in zip(limits, needed, strict=True) if part]
    if not _elastic(keep)[1]:  # the duals left one out by their tolerance
        keep = list(limits)
    for limit in sorted(keep, key=lambda limit: -len(limit.campaigns)):
        rest = [other for other in keep if other is not limit]
        if _elastic(rest)[1]:
            keep = rest
    return keep


def _elastic(limits: Sequence[Limit]) -> tuple[list[bool], bool]:
    """Which constraints have a part in the least violation of all, and whether there is any."""
    campaigns = {name: j for j, name in enumerate(sorted({name for limit in limits for name in limit.campaigns}))}
    if not limits:
        return [], False
    scale = max(1, *(limit.amount.micros for limit in limits))
    rows, columns, values = [], [], []
    for i, limit in enumerate(limits):
        sign = 1.0 if limit.side == "most" else -1.0
        for name in limit.campaigns:
            rows.append(i)
            columns.append(campaigns[name])
            values.append(sign)
        rows.append(i)
        columns.append(len(campaigns) + i)
        values.append(-1.0)
    bound = np.array([(1 if limit.side == "most" else -1) * limit.amount.micros / scale for limit in limits])
    shape = (len(limits), len(campaigns) + len(limits))
    price = np.append(np.zeros(len(campaigns)), np.ones(len(limits)))
    found = linprog(price, A_ub=csr_matrix((values, (rows, columns)), shape=shape), b_ub=bound, method="highs")
    assert found.status == 0  # violating everything enough is always possible
    part = np.abs(found.ineqlin.marginals) > 1e-9
    return part.tolist(), bool(found.fun > 1e-9)
