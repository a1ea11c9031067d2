"""Gradient-boosted trees on what happened so far and on categories of few values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import xgboost
from numpy.typing import NDArray
from scipy.special import expit

from bidloop.core.encoding import Encoding
from bidloop.core.errors import ConfigurationError
from bidloop.models.boosting import Loss, Objective, add_trees, boost, margins
from bidloop.models.candidate import OnEpoch, Parameters
from bidloop.models.encoding import require_features
from bidloop.models.graph import Graph
from bidloop.models.levels import add_levels, levels
from bidloop.models.relative import Relative
from bidloop.models.rows import Response, Rows

MOST_ROUNDS = 300
FEWEST_ROUNDS = 20
MOST_LEVELS = 24
"""Categories of more values than this are seen by their rates of the past alone."""
FEWEST_EVENTS = 20
DEEPEST = 16
"""Twice as deep as any that tuning tries: the number of leaves doubles with each level, and all of them are served."""
MOST_BINS = 1 << 16
SMALLEST_HESSIAN = 1e-16
"""XGBoost's own bound for the logistic loss."""


class TreeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How trees are boosted, in XGBoost's own words.

    Parameters
    ----------
    max_depth
        Questions between the root and a leaf.
    learning_rate
        Share of each tree that is taken.
    subsample, colsample_bytree
        Share of the rows, and of the columns, that each tree sees.
    min_child_weight
        Least sum of p (1 - p) in a leaf.
    reg_lambda
        L2 penalty on a leaf's value.
    max_bin
        Thresholds tried per column.

    Raises
    ------
    ConfigurationError
        When a value is out of its range.
    """

    max_depth: int = 4
    learning_rate: float = 0.05
    subsample: float = 0.7
    colsample_bytree: float = 0.4
    min_child_weight: float = 20.0
    reg_lambda: float = 5.0
    max_bin: int = 64

    def __post_init__(self) -> None:
        self._check("max_depth", 1 <= self.max_depth <= DEEPEST, f"1 … {DEEPEST}")
        for name in ("learning_rate", "subsample", "colsample_bytree"):
            self._check(name, 0 < getattr(self, name) <= 1, "above 0 and at most 1")
        for name in ("min_child_weight", "reg_lambda"):
            self._check(name, 0 <= getattr(self, name) < math.inf, "a number of at least 0")
        self._check("max_bin", 2 <= self.max_bin <= MOST_BINS, f"2 … {MOST_BINS}")

    def _check(self, name: str, fine: bool, expected: str) -> None:
        if not fine:
            raise ConfigurationError(f"{name} = {getattr(self, name)!r} of the trees", expected=expected)


class TreeInput:
    """The columns that trees read: ratios, then one column of 0 and 1 per level of each category of few values."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._relative = Relative(encoding)
        self.small = [j for j, field in enumerate(encoding.categories) if len(field.seen) <= MOST_LEVELS]
        self.names = [
            *self._relative.names,
            *(f"{encoding.categories[j].name}#{i}" for j in self.small for i in self._levels(j)),
        ]

    def _levels(self, j: int) -> range:
        return range(1, len(self._encoding.categories[j].seen) + 1)

    def of(self, numeric: NDArray[np.float32], categories: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32, shape (n, number of names)."""
        parts = [self._relative.ratios(numeric)]
        for j in self.small:
            place = levels(self._encoding.categories[j], categories[:, j])
            parts.append((place[:, None] == np.array(self._levels(j))).astype(np.float32))
        return np.concatenate(parts, axis=1)

    def add(self, graph: Graph) -> str:
        """The same in a graph."""
        parts = [self._relative.add(graph, log=False)] if self._relative.names else []
        for j in self.small:
            rows = np.eye(len(self._levels(j)) + 1, dtype=np.float32)[:, 1:]
            parts.append(graph.add("Gather", graph.constant(rows), add_levels(graph, self._encoding, j), axis=0))
        return graph.add("Concat", *parts, axis=1)


@dataclass(frozen=True)
class Trees:
    """Two sums of trees, for clicks and for conversions; `None` where the average is all that can be learned.

    `bases` are the log odds that the trees are added to, and `shifts` what sampling added to both.
    """

    encoding: Encoding
    boosters: tuple[Any, Any]
    bases: tuple[float, float]
    shifts: tuple[float, float]
    settings: TreeSettings
    name: str = "trees"

    @property
    def rounds(self) -> tuple[int, int]:
        """Number of trees of each."""
        clicks, conversions = (0 if booster is None else booster.num_boosted_rounds() for booster in self.boosters)
        return clicks, conversions

    @property
    def parameters(self) -> Parameters:
        """Settings of the boosting and the number of trees."""
        return {
            **msgspec.structs.asdict(self.settings),
            "rounds_click": self.rounds[0],
            "rounds_conversion": self.rounds[1],
        }

    def logits(self, numeric: NDArray[np.float32], categories: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log odds of n rows, shape (n, 2)."""
        read = xgboost.DMatrix(TreeInput(self.encoding).of(numeric, categories), nthread=1)
        return np.column_stack(
            [
                np.full(len(numeric), base - shift) + (0.0 if booster is None else margins(booster, read))
                for booster, base, shift in zip(self.boosters, self.bases, self.shifts, strict=True)
            ]
        )

    def build(self, graph: Graph) -> str:
        """One tree ensemble per outcome."""
        heads = []
        for booster, base, shift in zip(self.boosters, self.bases, self.shifts, strict=True):
            level = np.array([base - shift], dtype=np.float32)
            if booster is None:
                heads.append(graph.repeat(level))
            else:
                total = add_trees(graph, booster, TreeInput(self.encoding).add(graph))
                heads.append(graph.add("Add", total, graph.constant(level)))
        return graph.add("Concat", *heads, axis=1)


def fit_trees(
    rows: Rows,
    later: Rows | None = None,
    *,
    seed: int,
    settings: TreeSettings | None = None,
    rounds: tuple[int, int] = (MOST_ROUNDS, MOST_ROUNDS),
    on_epoch: OnEpoch | None = None,
) -> Trees:
    """Fit trees for clicks and for conversions.

    Parameters
    ----------
    later
        Rows of later days; boosting stops where they no longer gain. Without them it takes exactly `rounds`.
    rounds
        Most trees for clicks and for conversions.
    on_epoch
        Told the number of trees for clicks and their loss on the later rows after each of them; may raise.

    Raises
    ------
    InsufficientData
        When no number and no category of few values differs between rows.
    """
    settings = settings or TreeSettings()
    options = msgspec.structs.asdict(settings)
    read = TreeInput(rows.encoding)
    require_features(len(read.names))
    inputs = read.of(rows.numeric, rows.categories)
    further = None if later is None else read.of(later.numeric, later.categories)

    def head(response: Response, held: Response | None, most: int, told: OnEpoch | None) -> Any:
        if most == 0 or not response.enough(FEWEST_EVENTS):
            return None
        if held is None or further is None or not held.enough(1):
            trees = most if held is None else most // 3
            objective = discounted_objective(response) if _late(response) else None
            return boost(options, _matrix(inputs, response), seed=seed, rounds=trees, objective=objective)
        late = _late(response) or _late(held)
        # From the later days' own level: a day that is better for all says nothing of how many trees are too many.
        watch = boost(
            options,
            _matrix(inputs, response),
            seed=seed,
            rounds=most,
            objective=discounted_objective(response) if late else None,
            watched=_matrix(further, held),
            loss=_discounted_loss(held) if late else None,
            on_epoch=told,
        )
        return watch[: max(FEWEST_ROUNDS, watch.best_iteration + 1)]

    responses = (rows.click, rows.conversion)
    held = (None, None) if later is None else (later.click, later.conversion)
    boosters = [head(*of) for of in zip(responses, held, rounds, (on_epoch, None), strict=True)]
    return Trees(
        rows.encoding,
        (boosters[0], boosters[1]),
        (rows.click.base, rows.conversion.base),
        (rows.click.shift, rows.conversion.shift),
        settings,
    )


def _matrix(inputs: NDArray[np.float32], response: Response) -> Any:
    used = _used(response)
    matrix = xgboost.DMatrix(inputs[used], nthread=1)
    if not _late(response):
        total = response.total[used]
        matrix.set_label(response.positive[used] / total)
        matrix.set_weight(total)
    matrix.set_base_margin(np.full(len(used), response.base, dtype=np.float32))
    return matrix


def _used(response: Response) -> NDArray[np.intp]:
    return np.flatnonzero((response.positive != 0) | (response.negative != 0))


def _late(response: Response) -> bool:
    return bool(np.any(response.negative < 0))


def discounted_objective(response: Response) -> Objective:
    """Slopes of the log likelihood where yes may exceed the trials, which is no label that XGBoost's own objective takes.

    Trials are discounted for conversions that are still to come, so a row may have more yes than trials. The loss stays
    convex: its second derivative, trials × p (1 - p), does not contain the number of yes.
    """
    used = _used(response)
    positive, total = response.positive[used], response.total[used]

    def objective(margin: NDArray[np.float32], matrix: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        chance = expit(margin.astype(np.float64))
        return total * chance - positive, np.maximum(total * chance * (1 - chance), SMALLEST_HESSIAN)

    return objective


def _discounted_loss(response: Response) -> Loss:
    used = _used(response)
    part = Response(response.positive[used], response.negative[used], response.shift)
    return lambda margin, matrix: ("loss", part.loss(margin.astype(np.float64)))
