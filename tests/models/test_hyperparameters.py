"""Settings that make no sense, such as those of a file that was edited by hand, are refused by name."""

from __future__ import annotations

import math

import msgspec
import pytest

from bidloop.core.errors import ConfigurationError
from bidloop.models.hyperparameters import Hyperparameters
from bidloop.models.trees import TreeSettings


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_depth": 0}, {"max_depth": 40}, {"learning_rate": 0.0}, {"learning_rate": 1.5}, {"subsample": 9.0},
        {"colsample_bytree": 0.0}, {"min_child_weight": -1.0}, {"reg_lambda": math.nan}, {"reg_lambda": math.inf}, {"max_bin": 1},
    ],
)  # fmt: skip
def test_settings_of_trees_out_of_range_are_refused_by_name(wrong: dict[str, float]) -> None:
    [name] = wrong
    with pytest.raises(ConfigurationError, match=f"{name} = "):
        TreeSettings(**wrong)


@pytest.mark.parametrize(("kind", "tower"), [("network", "dcn"), ("dcn", "mlp"), ("deepfm", "dcn")])
def test_a_network_with_the_tower_of_another_kind_is_refused(kind: str, tower: str) -> None:
    with pytest.raises(ConfigurationError, match=f"tower '{tower}' of {kind}"):
        msgspec.json.decode(msgspec.json.encode({kind: {"tower": tower}}), type=Hyperparameters)
