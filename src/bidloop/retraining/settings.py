"""How much is held out, and what is trained."""

from __future__ import annotations

import msgspec

from bidloop.core.errors import ConfigurationError


class RenewalSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How history is split and what is trained on it.

    Parameters
    ----------
    held_out_days
        The last days, which no fit sees and on which candidates are judged.
    validation_days
        The days before those, for early stopping, calibration and intervals; `None` is a quarter of the days before those that
        are held out, 1 at least and 14 at most.
    minimum_rows
        Fewer rows than this are refused.
    kinds
        Which candidates to train; empty means all.
    level
        Stated coverage of the intervals.
    seed
        Makes training repeatable; at least 0.

    Raises
    ------
    ConfigurationError
        When a value is out of its range.
    """

    held_out_days: int = 2
    validation_days: int | None = None
    minimum_rows: int = 1000
    kinds: tuple[str, ...] = ()
    level: float = 0.95
    seed: int = 42

    def __post_init__(self) -> None:
        for name in ("held_out_days", "validation_days", "minimum_rows"):
            value = getattr(self, name)
            self._check(name, value is None or value >= 1, "at least 1")
        self._check("level", 0 < self.level < 1, "above 0 and below 1, such as 0.95")
        self._check("seed", self.seed >= 0, "at least 0")

    def _check(self, name: str, fine: bool, expected: str) -> None:
        if not fine:
            raise ConfigurationError(f"{name} = {getattr(self, name)!r} of the renewal", expected=expected)
