"""What a tuning found of each kind, as plain data: to store and to draw."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import msgspec

State = Literal["complete", "pruned", "failed", "out of time"]


class TuningTrial(msgspec.Struct, frozen=True, kw_only=True):
    """One setting that was tried.

    Parameters
    ----------
    settings
        The figures that differ from trial to trial.
    state
        How it ended.
    loss
        Mean held-out loss of clicks over the folds, in nats per (scaled) impression; `None` unless complete.
    folds
        The same fold by fold, the validation days first, as far as it came.
    seconds
        What it took.
    """

    settings: dict[str, float]
    state: State
    loss: float | None
    folds: tuple[float, ...]
    seconds: float


class TunedKind(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one kind.

    Parameters
    ----------
    default, best
        Held-out loss of the default, and of what is proposed (the default, where nothing was better on each fold); `None`
        where the default could not be tried in time.
    trials
        Every trial in order, the default first.
    """

    default: float | None
    best: float | None
    trials: tuple[TuningTrial, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials by how they ended."""
        return dict(Counter(trial.state for trial in self.trials))

    @property
    def history(self) -> tuple[tuple[int, float], ...]:
        """For a plot: number of each complete trial, and the least loss up to it.

        Examples
        --------
        >>> losses = (0.5, 0.6, None, 0.4)
        >>> trials = [TuningTrial(settings={}, state="complete", loss=x, folds=(), seconds=1.0) for x in losses]
        >>> TunedKind(default=0.5, best=0.4, trials=tuple(trials)).history
        ((0, 0.5), (1, 0.5), (3, 0.4))
        """
        points: list[tuple[int, float]] = []
        for number, trial in enumerate(self.trials):
            if trial.loss is not None:
                points.append((number, min(trial.loss, points[-1][1] if points else trial.loss)))
        return tuple(points)
