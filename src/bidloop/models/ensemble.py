"""A weighted average of the log odds of several models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from bidloop.models.candidate import Candidate, Parameters
from bidloop.models.graph import Graph
from bidloop.models.level import levelled_loss
from bidloop.models.rows import Response

FREEDOM = 0.5
"""Standard deviation, before the data speak, of the logarithm of a weight. Equal weights are hard to beat with a day
or two of clicks, and the day that is best for one member is not the next day."""
LEAST_WEIGHT = 0.05
"""A member with less than this says nothing and costs time at every request."""
FAMILIES = (("logistic",), ("ftrl",), ("trees",), ("network", "dcn", "deepfm"))
"""Of each family the best takes part: those that err differently add to each other, those of one family hardly do, and each costs
time at every request."""


@dataclass(frozen=True)
class Ensemble:
    """Models that err differently, averaged: the average is never worse than the average of its members' log losses.

    Parameters
    ----------
    members
        The models.
    weights
        Non-negative, sum 1, one per member.
    """

    members: tuple[Candidate, ...]
    weights: tuple[float, ...]
    name: str = "ensemble"

    @property
    def parameters(self) -> Parameters:
        """Weight of each member."""
        return {f"weight_{member.name}": weight for member, weight in zip(self.members, self.weights, strict=True)}

    def logits(self, numeric: NDArray[np.float32], categories: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log odds of n rows, shape (n, 2)."""
        parts = [
            weight * member.logits(numeric, categories)
            for member, weight in zip(self.members, self.weights, strict=True)
        ]
        return np.asarray(np.sum(parts, axis=0))

    def build(self, graph: Graph) -> str:
        """The members' graphs and a weighted sum."""
        parts = [
            graph.add("Mul", member.build(graph), graph.constant(np.float32(weight)))
            for member, weight in zip(self.members, self.weights, strict=True)
        ]
        return graph.add("Sum", *parts)


def choose_members(log_odds: Mapping[str, NDArray[np.float64]], response: Response) -> list[str]:
    """The best model of each family, by their losses on later days at these days' own level.

    Parameters
    ----------
    log_odds
        Log odds of a click by each model, by name, each of shape (n,), for rows that it was not fitted to.
    response
        What came of those rows.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.normal(size=5_000)
    >>> clicked = (rng.random(5_000) < 1 / (1 + np.exp(-truth))).astype(float)
    >>> response = Response.of(clicked, np.ones(5_000), np.ones(5_000))
    >>> choose_members({"trees": 0.5 * truth, "network": rng.normal(size=5_000), "dcn": truth}, response)
    ['trees', 'dcn']
    """
    there = ([name for name in family if name in log_odds] for family in FAMILIES)
    return [min(names, key=lambda name: levelled_loss(log_odds[name], response)) for names in there if names]


def fit_weights(log_odds: Sequence[NDArray[np.float64]], response: Response) -> NDArray[np.float64]:
    """Weights that would have been best on later days, whatever the level of those days.

    The level is left free, because a day's level says nothing of how well a model ranks and spreads.

    Parameters
    ----------
    log_odds
        Log odds of a click by each member, each of shape (n,), for rows that the members were not fitted to.
    response
        What came of those rows.

    Returns
    -------
    Weights with sum 1, shape (number of members,); a member below `LEAST_WEIGHT` gets 0. In hundredths: finer weights
    would fit the noise of those days.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.normal(size=20_000)
    >>> clicked = (rng.random(20_000) < 1 / (1 + np.exp(-truth))).astype(float)
    >>> response = Response.of(clicked, np.ones(20_000), np.ones(20_000))
    >>> fit_weights([truth, rng.normal(size=20_000)], response).tolist()
    [1.0, 0.0]
    """
    stacked = np.column_stack(log_odds)

    def objective(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = _share(point[:-1])
        mixed = stacked @ weights + response.shift + point[-1]
        error = response.total / (1 + np.exp(-mixed)) - response.positive
        slope = stacked.T @ error
        prior = point[:-1] / FREEDOM**2
        loss = response.loss(mixed) * response.total.sum() + 0.5 * point[:-1] @ prior
        return float(loss), np.append(weights * (slope - weights @ slope) + prior, error.sum())

    with threadpool_limits(1, user_api="blas"):  # as for the logistic regression
        found = minimize(objective, np.zeros(stacked.shape[1] + 1), jac=True, method="L-BFGS-B")
    weights = _share(found.x[:-1])
    weights = np.round(np.where(weights < LEAST_WEIGHT, 0.0, weights) / weights[weights >= LEAST_WEIGHT].sum(), 2)
    weights[np.argmax(weights)] += 1.0 - weights.sum()
    rounded: NDArray[np.float64] = np.round(weights, 2)
    return rounded


def _share(free: NDArray[np.float64]) -> NDArray[np.float64]:
    power = np.exp(free - free.max())
    return np.asarray(power / power.sum())
