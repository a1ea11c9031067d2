"""The network's settings: the specification's by default, and refused where they make no sense."""

from __future__ import annotations

import msgspec
import pytest

from bidloop.core.errors import ConfigurationError
from bidloop.models.network.settings import NetworkSettings


def test_the_hidden_layers_are_256_128_64_and_a_fifth_of_the_units_is_dropped() -> None:
    settings = NetworkSettings()
    assert settings.hidden == (256, 128, 64)
    assert settings.dropout == 0.2
    assert settings.tower == "mlp"


@pytest.mark.parametrize(
    "given",
    [
        {"dropout": 1.0}, {"dropout": float("nan")}, {"hidden_categories": -0.1}, {"averaging": 1.0}, {"learning_rate": 0.0},
        {"learning_rate": float("inf")}, {"weight_decay": -1.0}, {"hidden": ()}, {"hidden": (4, 0)}, {"widest_embedding": 1},
        {"most_epochs": 0}, {"patience": -1}, {"batch": 0}, {"counterfactual_weight": -1.0},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_name(given: dict[str, object]) -> None:
    [name] = given
    with pytest.raises(ConfigurationError, match=f"{name} = "):
        NetworkSettings(**given)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="layers"):
        msgspec.json.decode(b'{"layers": [64]}', type=NetworkSettings)
