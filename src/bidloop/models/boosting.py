"""Boosting by XGBoost, always the same trees for the same rows and seed; and a sum of trees in a graph."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from bidloop.models.candidate import OnEpoch
from bidloop.models.graph import Graph

PATIENCE = 40
"""Trees without a gain on the watched rows after which no more are added."""

Objective = Callable[[NDArray[np.float32], Any], tuple[NDArray[np.float64], NDArray[np.float64]]]
Loss = Callable[[NDArray[np.float32], Any], tuple[str, float]]


def boost(
    settings: dict[str, Any],
    known: Any,
    *,
    seed: int,
    rounds: int,
    objective: Objective | None = None,
    watched: Any = None,
    loss: Loss | None = None,
    on_epoch: OnEpoch | None = None,
) -> Any:
    """Boost trees for log odds, one thread and one seed: the same trees each time."""
    return xgboost.train(
        {
            "objective": "binary:logistic",
            "base_score": 0.5,
            "tree_method": "hist",
            "nthread": 1,
            "seed": seed,
            "verbosity": 0,
            "disable_default_eval_metric": loss is not None,
            **settings,
        },
        known,
        rounds,
        obj=objective,
        evals=[] if watched is None else [(watched, "later")],
        custom_metric=loss,
        early_stopping_rounds=None if watched is None else PATIENCE,
        callbacks=None if on_epoch is None else [_Told(on_epoch)],
        verbose_eval=False,
    )


class _Told(xgboost.callback.TrainingCallback):
    """Passes the loss on the watched rows on, tree by tree."""

    def __init__(self, on_epoch: OnEpoch) -> None:
        super().__init__()
        self._on_epoch = on_epoch

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        [losses] = evals_log["later"].values()
        self._on_epoch(epoch + 1, float(losses[-1]))
        return False


def margins(booster: Any, read: Any) -> NDArray[np.float64]:
    """Sum of the trees, without the level that they were added to."""
    return np.asarray(booster.predict(read, output_margin=True), dtype=np.float64)


def add_trees(graph: Graph, booster: Any, tensor: str) -> str:
    """The sum of a booster's trees over the columns of a tensor, float32, shape (n, 1)."""
    model = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]
    nodes: dict[str, list[Any]] = {
        name: [] for name in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")
    }
    leaves: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for number, tree in enumerate(model["trees"]):
        for node, left in enumerate(tree["left_children"]):
            leaf = left < 0
            values = (
                number,
                node,
                0 if leaf else tree["split_indices"][node],
                0.0 if leaf else tree["split_conditions"][node],
                "LEAF" if leaf else "BRANCH_LT",
                0 if leaf else left,
                0 if leaf else tree["right_children"][node],
            )
            for column, value in zip(nodes.values(), values, strict=True):
                column.append(value)
            if leaf:
                for column, value in zip(
                    leaves.values(), (number, node, 0, tree["split_conditions"][node]), strict=True
                ):
                    column.append(value)
    return graph.add(
        "TreeEnsembleRegressor",
        tensor,
        n_targets=1,
        **{f"nodes_{name}": column for name, column in nodes.items()},
        **{f"target_{name}": column for name, column in leaves.items()},
    )
