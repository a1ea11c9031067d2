"""What can be set about FTRL-Proximal."""

from __future__ import annotations

import math

import msgspec

from bidloop.core.errors import ConfigurationError


class FtrlSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the weights are learned.

    Parameters
    ----------
    alpha, beta
        A weight's learning rate is ``alpha / (beta + √ sum of its squared gradients)``.
    l1, l2
        Penalties on the size and on the square of weights.
    crosses
        Take at most so many pairs of categories.
    bits
        At most two to this power slots for a cross.
    batch
        Rows that are learned from at once; 1 is the algorithm as published, and slow.
    most_epochs
        Passes over the rows, at most, where later rows say when to stop.
    patience
        Epochs without a gain on later rows before training stops.

    Raises
    ------
    ConfigurationError
        When a value is out of its range.
    """

    alpha: float = 0.02
    beta: float = 1.0
    l1: float = 1.0
    l2: float = 20.0
    crosses: int = 8
    bits: int = 18
    batch: int = 128
    most_epochs: int = 8
    patience: int = 2

    def __post_init__(self) -> None:
        self._check("alpha", 0 < self.alpha < math.inf, "a number above 0")
        for name in ("beta", "l1", "l2"):
            self._check(name, 0 <= getattr(self, name) < math.inf, "a number of at least 0")
        for name in ("crosses", "patience"):
            self._check(name, getattr(self, name) >= 0, "at least 0")
        for name in ("batch", "most_epochs"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        self._check("bits", 4 <= self.bits <= 22, "4 … 22")

    def _check(self, name: str, fine: bool, expected: str) -> None:
        if not fine:
            raise ConfigurationError(f"{name} = {getattr(self, name)!r} of FTRL", expected=expected)
