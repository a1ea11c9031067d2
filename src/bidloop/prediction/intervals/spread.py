"""How far the true rates of cells lie from predicted ones.

Whoever predicts a cell's rate p from what else is known of it is off by some relative error. The cell's own past events
teach the model, so the error falls as they come in; but some of it stays, since rates move from day to day. With e events
expected in the cell's past (its impressions times p, times 1 - p) the relative variance of the true odds around the predicted
ones is

``floor² + 1 / (1 / unknown² + learning · e)``

which is what the posterior of a gamma or beta prior does, with two changes: a model does not learn from a cell's past exactly
as such a posterior would (`learning`), and the past does not tell all of the coming day (`floor`). The true rate is a beta
distribution with mean p and this spread; realised counts around it are beta-binomial, whose likelihood tells the spread of the
rates apart from the luck of the counts (empirical Bayes; Robbins (1956), Efron and Morris (1975)).

Sparse cells say little about their own spread, and a small account has little else. So the three numbers are drawn towards
what they usually are, with the weight of their usual range: a plain answer where there is no evidence, none of it left where
there is plenty.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, betaln

from bidloop.core.errors import InsufficientData
from bidloop.prediction.intervals.cells import checked

Floats: TypeAlias = NDArray[np.float64]

USUAL = ((0.5, 0.3), (1.0, 0.4), (0.1, 0.6))
"""Median of `unknown`, `learning` and `floor`, and the standard deviation of the logarithm of each: new cells are off by
about half, models use a cell's past in full, and a tenth stays unknown."""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Relative spread of true rates around predicted ones, by how much was known of the cell.

    Parameters
    ----------
    unknown
        Relative standard deviation for a cell without a past of its own.
    learning
        How much the predictions learn from a past event of the cell; 1 is as much as a beta posterior does. More than that
        is possible, since a cell with a long past mostly has neighbours with one.
    floor
        Relative standard deviation that stays however much is known.
    cells
        Number of cells it was learned from.
    measured_coverage
        Share of held-out counts that it and the luck of so many trials together covered; `None` before any measurement, and
        where the counts were so few that they would have looked as well covered by any spread.

    Examples
    --------
    >>> spread = Spread(unknown=0.5, learning=0.7, floor=0.1, cells=1000)
    >>> lower, upper = spread.bounds([0.03, 0.03], [0, 50_000], level=0.95)
    >>> lower.round(3), upper.round(3)
    (array([0.008, 0.024]), array([0.065, 0.036]))
    """

    unknown: float
    learning: float
    floor: float
    cells: int
    measured_coverage: float | None = None

    def variance(self, p: ArrayLike, support: ArrayLike) -> Floats:
        """Relative variance of the true odds of n cells around the predicted ones, shape (n,)."""
        rates, past = np.asarray(p, dtype=np.float64), _known(support)
        return np.asarray(
            self.floor**2 + 1 / (self.unknown**-2 + self.learning * past * rates * (1 - rates)), dtype=np.float64
        )

    def beta(self, p: ArrayLike, support: ArrayLike) -> tuple[Floats, Floats]:
        """Both parameters of the beta distributions of n true rates, shape (n,) each."""
        rates = np.clip(np.asarray(p, dtype=np.float64), 1e-9, 1 - 1e-9)
        strength = np.maximum(1 / (rates * (1 - rates) * self.variance(rates, support)) - 1, 1e-3)
        return rates * strength, (1 - rates) * strength

    def bounds(self, p: ArrayLike, support: ArrayLike, *, level: float) -> tuple[Floats, Floats]:
        """Lower and upper bounds of the true rates of n cells, with ``0 <= lower <= p <= upper <= 1``.

        Parameters
        ----------
        p
            Predicted rates, in [0, 1], shape (n,).
        support
            Effective past trials behind them, shape (n,); missing (NaN) and negative count as none.
        level
            Probability of covering, in (0, 1).
        """
        rates = np.asarray(p, dtype=np.float64)
        a, b = self.beta(rates, support)
        tail = (1 - level) / 2
        lower, upper = betaincinv(a, b, tail), betaincinv(a, b, 1 - tail)
        return np.clip(lower, 0.0, rates), np.clip(upper, rates, 1.0)


def fit_spread(p: ArrayLike, trials: ArrayLike, events: ArrayLike, support: ArrayLike) -> Spread:
    """Learn the spread from predictions and what came after them: the most probable one, given what is usual.

    Parameters
    ----------
    p
        Predicted rates of cells, in [0, 1], shape (n,). Each must have been made without the counts beside it: a cell's mean
        over several days of predictions that followed the days already contains its own luck, and looks surer than it is.
    trials, events
        What came, shape (n,): impressions and clicks, or clicks and conversions. Cells without trials are left out. Of a
        sample, as many as say as much (`intervals.cells.Cells`).
    support
        Effective past trials behind each prediction, shape (n,).

    Raises
    ------
    InvalidInput
        When a number is out of range.
    InsufficientData
        When no cell has trials.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> p, past, m = rng.uniform(0.01, 0.05, 4000), rng.integers(0, 2000, 4000), rng.integers(100, 1000, 4000)
    >>> truth = Spread(unknown=0.8, learning=0.5, floor=0.15, cells=0)
    >>> found = fit_spread(p, m, rng.binomial(m, rng.beta(*truth.beta(p, past))), past)
    >>> sparse, dense = found.variance([0.03, 0.03], [20, 800]) / truth.variance([0.03, 0.03], [20, 800])
    >>> bool(0.75 < sparse < 1.33), bool(0.75 < dense < 1.33)
    (True, True)
    """
    # Imported here because a server that only predicts should not pay for it.
    from scipy.optimize import minimize

    cells = checked(p, trials, events, support)
    if len(cells) == 0:
        raise InsufficientData("no cell with trials", expected="at least one to learn the spread of rates from")
    sample = cells.thinned()
    usual = np.array([math.log(median) for median, _ in USUAL])
    width = np.array([width for _, width in USUAL])

    def loss(logs: Floats) -> float:
        a, b = _spread(logs, 0).beta(sample.p, sample.support)
        likelihood = np.sum(betaln(a + sample.clicks, b + sample.impressions - sample.clicks) - betaln(a, b))
        return float(np.sum(((logs - usual) / width) ** 2) / 2 - likelihood)

    # Left to itself the method sets out by 5 % of each coordinate: of a `learning` of 1, whose logarithm is 0, by next to nothing.
    simplex = np.vstack([usual, usual + np.diag(width)])
    options = {"xatol": 0.01, "fatol": 0.01, "initial_simplex": simplex}
    found = minimize(loss, usual, method="Nelder-Mead", options=options)
    return _spread(found.x, len(cells))


def _spread(logs: Floats, cells: int) -> Spread:
    unknown, learning, floor = np.exp(logs).tolist()
    return Spread(unknown=unknown, learning=learning, floor=floor, cells=cells)


def _known(support: ArrayLike) -> Floats:
    return np.maximum(np.nan_to_num(np.asarray(support, dtype=np.float64), nan=0.0, posinf=1e300, neginf=0.0), 0.0)
