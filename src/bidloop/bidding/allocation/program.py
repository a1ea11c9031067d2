"""The convex program: the spends that bring most, given what is not known, and the price of each constraint.

Over n campaigns with spends b and d draws of the response curves f_s::

    maximise   (1 − λ) mean_s F_s(b) + λ CVaR_α(F(b)) + m u,        F_s(b) = Σ_c f_c,s(b_c)
    subject to Σ b + u = budget, and every other limit

CVaR_α is the mean of the worst share α of the draws (Rockafellar and Uryasev 2000). It is also the least of all means in which
no draw counts more than 1/(α d), so each such mean is a bound from above. Only the bounds that matter are put into the
program: the worst draws at its last answer make the next one, until it moves no more (Künzi-Bay and Mayer 2006). u is
money left unspent, where that is allowed, and m the marginal return that money must bring.

Each curve is taken as straight between the knots of a grid that all draws of a campaign share, so that the program is
linear; since every draw is concave, filling the pieces in their order is optimal for each. Three more rounds put the knots
close about the last answer. The duals of the last round are the constraints' prices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from bidloop.bidding.allocation.constraints import Limit
from bidloop.bidding.allocation.response import ResponseCurve
from bidloop.bidding.allocation.settings import AllocationSettings
from bidloop.core.errors import Diverged
from bidloop.core.money import MICROS

Floats = NDArray[np.float64]

KNOTS = 24
ROUNDS = 4
PRECISION = 1e-6
"""Of the mean of the worst share, as a share of all that can be brought."""


@dataclass(frozen=True)
class Solved:
    """The answer of the program.

    Parameters
    ----------
    spend
        Account currency, shape (n,).
    prices
        Of each limit, what one more unit of money of room for it would bring, at least 0, shape (number of limits,).
    weights
        How much each draw counts in the objective at the optimum, adding up to 1, shape (d,): what is in the worst share
        counts more.
    """

    spend: Floats
    prices: Floats
    weights: Floats


def solve(curves: Sequence[ResponseCurve], limits: Sequence[Limit], settings: AllocationSettings) -> Solved:
    """Find the spends that bring most under limits that can be kept together.

    Raises
    ------
    Diverged
        When the solver finds no answer.
    """
    knots = [_coarse(curve) for curve in curves]
    bounds: list[Floats] = []
    for again in range(ROUNDS):
        program = _Program(curves, knots, limits, settings)
        solved = program.solve(bounds)
        if again < ROUNDS - 1:
            knots = [_closer(grid, at) for grid, at in zip(knots, solved.spend, strict=True)]
    return solved


def _coarse(curve: ResponseCurve) -> Floats:
    """Knots from nothing to the curve's limit, the ends of what was seen among them."""
    least = 1e-3 * curve.limit
    ends = np.array([0.0, max(curve.seen_low, least), curve.seen_high, curve.limit])
    return np.unique(np.concatenate([ends, np.geomspace(least, curve.limit, KNOTS)]))


def _closer(knots: Floats, spend: float) -> Floats:
    """The same knots, and as many again between the neighbours of an answer."""
    i = int(np.clip(np.searchsorted(knots, spend), 1, len(knots) - 1))
    low, high = knots[max(i - 2, 0)], knots[min(i + 1, len(knots) - 1)]
    grid = np.unique(np.concatenate([knots, np.linspace(low, high, KNOTS)]))
    return np.asarray(grid[np.append(np.diff(grid) > 1e-9 * grid[-1], True)])


class _Program:
    """The program on one grid of knots, in shares of all that can be spent and of all that it would bring."""

    def __init__(
        self,
        curves: Sequence[ResponseCurve],
        knots: Sequence[Floats],
        limits: Sequence[Limit],
        settings: AllocationSettings,
    ) -> None:
        self._settings = settings
        owner = np.repeat(np.arange(len(curves)), [len(grid) - 1 for grid in knots])
        width = np.concatenate([np.diff(grid) for grid in knots])
        rises = np.concatenate(
            [np.diff(curve.outcome(grid), axis=0) for curve, grid in zip(curves, knots, strict=True)]
        )
        self._unit = float(width.sum())
        self._scale = float(rises.mean(axis=1).sum()) or 1.0
        self._gains = rises.T / self._scale  # draws × pieces: what a piece that is filled brings
        pieces = np.arange(len(width))
        self._width = width / self._unit
        self._spends = csr_matrix((self._width, (owner, pieces)), shape=(len(curves), len(width)))
        matrix, amounts = _matrix(curves, limits)
        self._matrix, self._amounts = matrix @ self._spends, amounts / self._unit

    def solve(self, bounds: list[Floats]) -> Solved:
        """The optimum; `bounds` are weights of the draws that bound the worst share, and it finds what more it needs."""
        aversion = self._settings.aversion if self._settings.risk is not None else 0.0
        while True:
            filled, prices, bounding, promised = self._optimum(aversion, bounds)
            if aversion == 0:
                break
            worst = self._worst(self._gains @ filled)
            if bounds and promised - float(worst @ (self._gains @ filled)) < PRECISION:
                break
            bounds.append(worst)
        draws = len(self._gains)
        weights = np.full(draws, (1 - aversion) / draws)
        for price, bound in zip(bounding, bounds, strict=True):
            weights += price * bound
        return Solved((self._spends @ filled) * self._unit, prices * self._scale / self._unit, weights / weights.sum())

    def _worst(self, outcomes: Floats) -> Floats:
        """The weights of the draws in the mean of the worst share."""
        assert self._settings.risk is not None
        most = 1 / (self._settings.risk * len(outcomes))
        taken = np.minimum(1.0, most * np.arange(1, len(outcomes) + 1))
        weights = np.empty(len(outcomes))
        weights[np.argsort(outcomes, kind="stable")] = np.diff(taken, prepend=0.0)
        return weights

    def _optimum(self, aversion: float, bounds: Sequence[Floats]) -> tuple[Floats, Floats, Floats, float]:
        """Filled pieces, prices of the limits and of the bounds, and what the worst share is bounded by."""
        import cvxpy as cp  # slow to import, and needed by nobody who serves

        filled = cp.Variable(len(self._width), nonneg=True)
        objective = (1 - aversion) * (self._gains.mean(axis=0) @ filled)
        kept, rules = self._matrix @ filled <= self._amounts, [filled <= 1]
        worst, bounded = cp.Variable(), None
        if aversion > 0 and bounds:
            bounded = worst <= (np.array(bounds) @ self._gains) @ filled
            rules.append(bounded)
            objective += aversion * worst
        if self._settings.min_marginal is not None:
            # Money left unspent is worth what money must bring; the budget itself is a constant.
            objective -= (self._settings.min_marginal * self._unit / self._scale) * (self._width @ filled)
        problem = cp.Problem(cp.Maximize(objective), [kept, *rules])
        try:
            problem.solve(solver=cp.CLARABEL)  # type: ignore[no-untyped-call]
        except cp.SolverError as error:
            raise Diverged(f"the allocation's program: {error}", expected="an optimum") from error
        if problem.status != cp.OPTIMAL:
            raise Diverged(f"the allocation's program is {problem.status}", expected="an optimum")
        prices = [
            np.atleast_1d(np.asarray(rule.dual_value, dtype=float)) for rule in (kept, bounded) if rule is not None
        ]
        return (
            np.clip(np.asarray(filled.value, dtype=float), 0.0, 1.0),
            np.maximum(0.0, prices[0]),
            np.zeros(0) if bounded is None else np.maximum(0.0, prices[1]),
            np.inf if bounded is None else float(np.asarray(worst.value)),
        )


def _matrix(curves: Sequence[ResponseCurve], limits: Sequence[Limit]) -> tuple[csr_matrix, Floats]:
    """Limits as rows of "at most"."""
    place = {curve.campaign: j for j, curve in enumerate(curves)}
    rows = [i for i, limit in enumerate(limits) for _ in limit.campaigns]
    columns = [place[name] for limit in limits for name in limit.campaigns]
    sign = np.array([1.0 if limit.side == "most" else -1.0 for limit in limits])
    matrix = csr_matrix((sign[rows], (rows, columns)), shape=(len(limits), len(curves)))
    return matrix, sign * np.array([limit.amount.micros / MICROS for limit in limits])
