"""What may be set about each kind of model, as plain data: today's figures by default, or a tuned set that was stored."""

from __future__ import annotations

import msgspec

from bidloop.core.errors import ConfigurationError
from bidloop.models.ftrl import FtrlSettings
from bidloop.models.network.settings import NetworkSettings
from bidloop.models.trees import TreeSettings


class Hyperparameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of every kind of model that has some.

    Constant and smoothed rates have none, and the logistic regression learns its penalties from the data.

    Raises
    ------
    ConfigurationError
        When a network's settings name the tower of another kind.

    Examples
    --------
    A tuned set is stored as JSON, and a set that is not complete is completed by the defaults:

    >>> tuned = Hyperparameters(trees=TreeSettings(max_depth=6))
    >>> msgspec.json.decode(msgspec.json.encode(tuned), type=Hyperparameters) == tuned
    True
    >>> msgspec.json.decode(b'{"trees": {"max_depth": 6}}', type=Hyperparameters) == tuned
    True
    """

    ftrl: FtrlSettings = FtrlSettings()
    trees: TreeSettings = TreeSettings()
    network: NetworkSettings = NetworkSettings(tower="mlp")
    dcn: NetworkSettings = NetworkSettings(tower="dcn")
    deepfm: NetworkSettings = NetworkSettings(tower="deepfm")

    def __post_init__(self) -> None:
        for kind, tower in (("network", "mlp"), ("dcn", "dcn"), ("deepfm", "deepfm")):
            found = getattr(self, kind).tower
            if found != tower:
                raise ConfigurationError(
                    f"tower {found!r} of {kind}", expected=repr(tower), remedy=f'Say "tower": "{tower}".'
                )


class Span(msgspec.Struct, frozen=True):
    """Where to look for a better figure: whole numbers if both ends are, in equal ratios if `log`."""

    low: float
    high: float
    log: bool = False


_NETWORK = {
    "learning_rate": Span(3e-4, 5e-3, log=True),
    "weight_decay": Span(1e-6, 1e-1, log=True),
    "dropout": Span(0.0, 0.5),
    "hidden_categories": Span(0.0, 0.6),
}
SPACES: dict[str, dict[str, Span]] = {
    "ftrl": {
        "alpha": Span(0.003, 0.2, log=True),
        "l1": Span(0.1, 10.0, log=True),
        "l2": Span(1.0, 100.0, log=True),
        "crosses": Span(0, 16),
    },
    "trees": {
        "max_depth": Span(2, 8),
        "learning_rate": Span(0.02, 0.2, log=True),
        "subsample": Span(0.4, 1.0),
        "colsample_bytree": Span(0.2, 1.0),
        "min_child_weight": Span(1.0, 200.0, log=True),
        "reg_lambda": Span(0.5, 50.0, log=True),
    },
    "network": _NETWORK,
    "dcn": _NETWORK,
    "deepfm": _NETWORK,
}
"""What is tuned of each kind. The layers' sizes are not: they are the specification's, and the same for all networks."""
