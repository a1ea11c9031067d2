"""How much is held out, and what is trained."""

from __future__ import annotations

import msgspec


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
        Makes training repeatable.
    """

    held_out_days: int = 2
    validation_days: int | None = None
    minimum_rows: int = 1000
    kinds: tuple[str, ...] = ()
    level: float = 0.95
    seed: int = 42
