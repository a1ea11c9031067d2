"""The bid landscape: how likely a bid wins, learned from market prices or from one's own won and lost bids.

Boosted trees with the settings of the specification, non-decreasing in the bid. A category of many values (slot,
domain) is read as one number per value: by how much its auctions are won more or less often than others at the same
bid, drawn towards none, and learned out of fold so that a row does not see its own fate. Beyond the bids that were
seen the chance stays at its last value, because trees do not extrapolate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from bidloop.core.encoding import Encoding
from bidloop.core.errors import InsufficientData, InvalidInput
from bidloop.core.examples import Examples
from bidloop.core.feature_table import FeatureTable
from bidloop.core.trained_model import TrainedLandscape
from bidloop.models.boosting import add_trees, boost
from bidloop.models.encoding import fit_encoding
from bidloop.models.graph import Graph
from bidloop.models.levels import add_levels, levels
from bidloop.models.trees import TreeInput

SETTINGS: dict[str, float | int | str] = {"max_depth": 6, "learning_rate": 0.1, "subsample": 0.8}
ROUNDS = 100
SEED = 42
BIDS_PER_PRICE = 4
"""Bids tried against each known market price: more of them, and the price is pinned down more closely."""
EDGE = 1.5
"""Tried bids reach from the lowest price over this to the highest price times this."""
STRENGTH = 20.0
"""Auctions that a value's own record must outweigh."""
FOLDS = 5
FEWEST_AUCTIONS = 50


def fit_landscape(
    features: FeatureTable,
    market_price: NDArray[np.float64],
    weight: NDArray[np.float64],
    *,
    seed: int = SEED,
) -> TrainedLandscape:
    """Learn from market prices: a bid at or above the price wins.

    Parameters
    ----------
    features
        n auctions.
    market_price
        Least bid that would have won, in account currency per unit of charge, shape (n,); a price of 0 is won by any
        bid.
    weight
        How many auctions each row stands for, shape (n,).

    Raises
    ------
    InvalidInput
        When lengths differ, or a price or weight is negative or not finite.
    InsufficientData
        With fewer than 50 auctions, or only one price.
    """
    n = len(features)
    _check(n, market_price=market_price, weight=weight)
    paid = market_price[market_price > 0]
    if n < FEWEST_AUCTIONS or len(np.unique(paid)) < 2:
        raise InsufficientData(f"{n} auctions at {len(np.unique(paid))} prices", expected=f"{FEWEST_AUCTIONS} auctions")
    rng = np.random.default_rng(seed)
    low, high = float(paid.min()) / EDGE, float(paid.max()) * EDGE
    # Half of the bids lie evenly over the range of log bids, half near prices that are paid, where the curve is steep.
    half = BIDS_PER_PRICE // 2
    even = np.exp(rng.uniform(np.log(low), np.log(high), (n, half)))
    near = rng.choice(paid, (n, half)) * np.exp(rng.normal(0.0, 0.2, (n, half)))
    bids = np.concatenate((even, near), axis=1)
    rows = np.repeat(np.arange(n), BIDS_PER_PRICE)
    return _fit(
        features.take(rows),
        bids.ravel(),
        (bids >= market_price[:, None]).ravel().astype(np.float64),
        weight[rows] / BIDS_PER_PRICE,
        auction=rows,
        seed=seed,
        observed=(float(paid.min()), float(paid.max())),
    )


def fit_landscape_from_bids(
    features: FeatureTable,
    bid: NDArray[np.float64],
    won: NDArray[np.bool_] | NDArray[np.float64],
    weight: NDArray[np.float64],
    *,
    seed: int = SEED,
) -> TrainedLandscape:
    """Learn from one's own bids: of a lost bid no more is known than that the price was above it.

    Parameters
    ----------
    features
        n auctions.
    bid
        What was bid, above 0, in account currency per unit of charge, shape (n,).
    won
        Whether it won, shape (n,).
    weight
        How many auctions each row stands for, shape (n,).

    Raises
    ------
    InvalidInput
        When lengths differ, or a bid or weight is negative or not finite.
    InsufficientData
        With fewer than 50 bids above 0, or when all or none of them won.
    """
    fate = np.asarray(won, dtype=np.float64)
    _check(len(features), bid=bid, won=fate, weight=weight)
    used = np.flatnonzero(bid > 0)
    if len(used) < FEWEST_AUCTIONS or not 0 < fate[used].sum() < len(used):
        raise InsufficientData(
            f"{len(used)} bids of which {fate[used].sum():g} won",
            expected=f"at least {FEWEST_AUCTIONS} bids, some won and some lost",
            remedy="Collect more auctions, or bid differently now and then.",
        )
    bids = bid[used]
    return _fit(
        features.take(used),
        bids,
        fate[used],
        weight[used],
        auction=np.arange(len(used)),
        seed=seed,
        observed=(float(bids.min()), float(bids.max())),
    )


def _fit(
    features: FeatureTable,
    bid: NDArray[np.float64],
    won: NDArray[np.float64],
    weight: NDArray[np.float64],
    *,
    auction: NDArray[np.intp],
    seed: int,
    observed: tuple[float, float],
) -> TrainedLandscape:
    log_bid = np.log(bid).astype(np.float32)
    encoding = _encoding(features)
    numeric, categories = encoding.apply(features)
    weight = weight / weight.mean()
    edges = _Edges(encoding, categories)
    slope, level = _line(log_bid.astype(np.float64), won, weight)
    expected = expit(slope * log_bid + level)
    fold = np.random.default_rng(seed).integers(0, FOLDS, int(auction.max()) + 1)[auction]
    inputs = np.concatenate(
        (
            log_bid[:, None],
            TreeInput(encoding).of(numeric, categories),
            edges.out_of_fold(won - expected, expected * (1 - expected), weight, fold),
        ),
        axis=1,
    )
    matrix = xgboost.DMatrix(inputs, label=won, weight=weight)
    monotone = "(" + ",".join(["1"] + ["0"] * (inputs.shape[1] - 1)) + ")"
    booster = boost({**SETTINGS, "monotone_constraints": monotone}, matrix, seed=seed, rounds=ROUNDS)
    tables = edges.tables(won - expected, expected * (1 - expected), weight)
    return TrainedLandscape(
        _graph(encoding, booster, edges, tables),
        encoding,
        *observed,
        parameters={**SETTINGS, "rounds": ROUNDS, "seed": seed},
    )


class _Edges:
    """How much easier than average the auctions of each value of each large category are won, in log odds."""

    def __init__(self, encoding: Encoding, categories: NDArray[np.int64]) -> None:
        small = set(TreeInput(encoding).small)
        self.fields = [j for j in range(len(encoding.categories)) if j not in small]
        self._sizes = [len(encoding.categories[j].seen) + 1 for j in self.fields]
        self._places = [levels(encoding.categories[j], categories[:, j]) for j in self.fields]

    def tables(
        self, surprise: NDArray[np.float64], variance: NDArray[np.float64], weight: NDArray[np.float64]
    ) -> list[NDArray[np.float32]]:
        """One number per level of each field: one Newton step from the common curve, drawn towards 0."""
        tables = []
        for place, size in zip(self._places, self._sizes, strict=True):
            gained = np.bincount(place, weight * surprise, minlength=size)
            known = np.bincount(place, weight * variance, minlength=size)
            table = gained / (known + STRENGTH * float(np.mean(variance)))
            table[0] = 0.0
            tables.append(table.astype(np.float32))
        return tables

    def out_of_fold(
        self,
        surprise: NDArray[np.float64],
        variance: NDArray[np.float64],
        weight: NDArray[np.float64],
        fold: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """The numbers of each row, learned without the auctions of its fold, shape (n, fields)."""
        columns = np.zeros((len(surprise), len(self.fields)), dtype=np.float32)
        for part in range(FOLDS):
            here = fold == part
            for j, table in enumerate(self.tables(surprise, variance, np.where(here, 0.0, weight))):
                columns[here, j] = table[self._places[j][here]]
        return columns


def _graph(encoding: Encoding, booster: Any, edges: _Edges, tables: list[NDArray[np.float32]]) -> bytes:
    graph = Graph()
    parts = ["log_bid"]
    if TreeInput(encoding).names:
        parts.append(TreeInput(encoding).add(graph))
    for j, table in zip(edges.fields, tables, strict=True):
        parts.append(graph.add("Gather", graph.constant(table[:, None]), add_levels(graph, encoding, j), axis=0))
    chance = graph.add("Sigmoid", add_trees(graph, booster, graph.add("Concat", *parts, axis=1)))
    return graph.finish(
        inputs={
            "log_bid": ("float", 1),
            "numeric": ("float", len(encoding.numeric)),
            "categories": ("int64", len(encoding.categories)),
        },
        output="win_probability",
        tensor=chance,
        columns=1,
    )


def _encoding(features: FeatureTable) -> Encoding:
    """As for performance models, without weekdays: prices of a few days say nothing of a week."""
    n = len(features)
    none = np.zeros(n)
    return fit_encoding(Examples(features, np.zeros(n, "datetime64[us]"), none, none, none, none, none))


def _line(log_bid: NDArray[np.float64], won: NDArray[np.float64], weight: NDArray[np.float64]) -> tuple[float, float]:
    """Slope (at least 0) and level of the log odds of winning as a line in the log bid."""

    def objective(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_odds = point[0] * log_bid + point[1]
        error = weight * (expit(log_odds) - won) / len(won)
        loss = np.sum(weight * (np.logaddexp(0, log_odds) - won * log_odds)) / len(won) + 1e-4 * point[0] ** 2
        return float(loss), np.array([error @ log_bid + 2e-4 * point[0], error.sum()])

    found = minimize(objective, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)])
    return float(found.x[0]), float(found.x[1])


def _check(n: int, **columns: NDArray[np.float64]) -> None:
    for name, column in columns.items():
        if len(column) != n:
            raise InvalidInput(f"{len(column)} values of {name} for {n} rows", path=name, expected="one per row")
        wrong = ~(np.isfinite(column) & (column >= 0))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InvalidInput(f"{column[row]} in row {row}", path=name, expected="finite numbers of at least 0")
