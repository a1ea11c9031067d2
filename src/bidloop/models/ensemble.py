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
from bidloop.models.rows import Response

FREEDOM = 0.5
"""Standard deviation, before the data speak, of the logarithm of a weight. Equal weights are hard to beat with a day
or two of clicks, and the day that is best for one member is not the next day."""
LEAST_WEIGHT = 0.05
"""A member with less than this says nothing and costs time at every request."""
MOST_MEMBERS = 4
LEAST_GAIN = 1.0
"""Nats of log likelihood that a further member must gain on the later days: what a weight that means nothing gains by
being fitted to them, and loses elsewhere (Akaike, "A New Look at the Statistical Model Identification", 1974)."""


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


def choose_members(
    log_odds: Mapping[str, NDArray[np.float64]], response: Response
) -> tuple[dict[str, float], list[float]]:
    """The few models whose average would have been best on later days, chosen one after the other.

    Forward selection (Caruana et al., "Ensemble Selection from Libraries of Models", 2004) by the loss of the best
    weights, with what draws those towards equal ones; it ends at `MOST_MEMBERS`, or where no further member gains.

    Parameters
    ----------
    log_odds
        Log odds of a click by each model, by name, each of shape (n,), for rows that it was not fitted to.
    response
        What came of those rows.

    Returns
    -------
    Weight of each member, in the order of `log_odds`; and the loss after each addition, in nats per (scaled) impression.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> first, second, noise = rng.normal(size=(3, 20_000))
    >>> clicked = (rng.random(20_000) < 1 / (1 + np.exp(-first - second))).astype(float)
    >>> response = Response.of(clicked, np.ones(20_000), np.ones(20_000))
    >>> weights, losses = choose_members({"noise": noise, "first": 2 * first, "second": 2 * second}, response)
    >>> list(weights), losses[1] < losses[0]
    (['first', 'second'], True)
    """
    chosen: list[str] = []
    losses: list[float] = []
    while len(chosen) < min(MOST_MEMBERS, len(log_odds)):
        tried = {
            name: _best_weights(np.column_stack([log_odds[member] for member in (*chosen, name)]), response)[1]
            for name in log_odds
            if name not in chosen
        }
        name = min(tried, key=tried.__getitem__)
        if losses and tried[name] > losses[-1] - LEAST_GAIN:
            break
        chosen.append(name)
        losses.append(tried[name])
    members = [name for name in log_odds if name in chosen]
    weights = fit_weights([log_odds[name] for name in members], response)
    per_impression = [loss / float(response.total.sum()) for loss in losses]
    return {name: float(w) for name, w in zip(members, weights, strict=True) if w > 0}, per_impression


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
    weights, _ = _best_weights(np.column_stack(log_odds), response)
    weights = np.round(np.where(weights < LEAST_WEIGHT, 0.0, weights) / weights[weights >= LEAST_WEIGHT].sum(), 2)
    weights[np.argmax(weights)] += 1.0 - weights.sum()
    rounded: NDArray[np.float64] = np.round(weights, 2)
    return rounded


def _best_weights(stacked: NDArray[np.float64], response: Response) -> tuple[NDArray[np.float64], float]:
    """Weights, and the sum of the loss and of what draws them towards equal ones, in nats."""

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
    return _share(found.x[:-1]), float(found.fun)


def _share(free: NDArray[np.float64]) -> NDArray[np.float64]:
    power = np.exp(free - free.max())
    return np.asarray(power / power.sum())
