"""What can be set about the network and its training."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from bidloop.core.errors import ConfigurationError

TowerName = Literal["mlp", "dcn", "deepfm"]
CounterfactualName = Literal["none", "ipw", "dr"]


class NetworkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the network is built and trained; what it is without settings is what the specification asks for.

    Parameters
    ----------
    tower
        What stands between the inputs and the two heads: ``mlp`` (hidden layers alone), ``dcn`` (with cross layers) or
        ``deepfm`` (with a factorisation machine).
    hidden
        Units of each hidden layer.
    dropout
        Share of hidden units that a training step switches off, in [0, 1).
    hidden_categories
        Share of category values that a training step replaces by the unseen one, in [0, 1).
    widest_embedding
        Numbers that stand for a category's value, at most. Wider embeddings of rare values learn the training rows by
        heart, and held-out days lose.
    learning_rate, weight_decay
        Of AdamW.
    averaging
        Decay per step of the running average of the weights, which is what predicts, in [0, 1).
    most_epochs
        Passes over the rows, at most, where later rows say when to stop.
    patience
        Epochs without a gain on later rows before training stops.
    batch
        Rows per step, of all processes together; by default about 150 steps an epoch, within 256 … 2048 rows.
    counterfactual, counterfactual_weight
        Correction of the conversion head for being seen after clicks only, and how much it counts (see `loss`).

    Raises
    ------
    ConfigurationError
        When a value is out of its range.

    Examples
    --------
    >>> NetworkSettings().hidden
    (256, 128, 64)
    """

    tower: TowerName = "mlp"
    hidden: tuple[int, ...] = (256, 128, 64)
    dropout: float = 0.2
    hidden_categories: float = 0.35
    widest_embedding: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    averaging: float = 0.99
    most_epochs: int = 6
    patience: int = 1
    batch: int | None = None
    counterfactual: CounterfactualName = "none"
    counterfactual_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("dropout", "hidden_categories", "averaging"):
            self._check(name, 0 <= getattr(self, name) < 1, "at least 0 and less than 1")
        for name in ("weight_decay", "counterfactual_weight"):
            self._check(name, 0 <= getattr(self, name) < math.inf, "a number of at least 0")
        self._check("learning_rate", 0 < self.learning_rate < math.inf, "a number above 0")
        self._check("hidden", len(self.hidden) > 0 and min(self.hidden) >= 1, "at least one layer of at least one unit")
        self._check("widest_embedding", self.widest_embedding >= 2, "at least 2")
        self._check("most_epochs", self.most_epochs >= 1, "at least 1")
        self._check("patience", self.patience >= 0, "at least 0")
        self._check("batch", self.batch is None or self.batch >= 1, "at least 1, or nothing")

    def _check(self, name: str, fine: bool, expected: str) -> None:
        if not fine:
            raise ConfigurationError(f"{name} = {getattr(self, name)!r} of the network", expected=expected)
