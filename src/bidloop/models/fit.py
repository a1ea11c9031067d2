"""Trains every candidate: tried out on later days first, then fitted to all days."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from bidloop.core.errors import InsufficientData
from bidloop.core.examples import Examples
from bidloop.core.feature_table import FeatureTable
from bidloop.core.trained_model import TrainedModel
from bidloop.models.candidate import Candidate, export
from bidloop.models.encoding import fit_encoding
from bidloop.models.ensemble import Ensemble, choose_members, fit_weights
from bidloop.models.hyperparameters import Hyperparameters
from bidloop.models.kinds import ENSEMBLE, FAILURES, KINDS, MEMBERS, TABLE, Terms, known_kinds
from bidloop.models.rows import Rows

ENSEMBLE_EFFORT = 0.5

Progress = Callable[[str, float], None]
OnFailure = Callable[[str, str], None]
"""Told a kind of model that could not be trained, and why."""
Curve = tuple[tuple[int, float], ...]
_log = logging.getLogger("bidloop.models")


@dataclass(frozen=True)
class Trial:
    """One kind of model, trained twice.

    Parameters
    ----------
    early
        Fitted to the training rows alone, with the validation rows for early stopping and weights: what it predicts
        for the validation rows is a prediction. Learn calibration and intervals from it.
    final
        Fitted to both, with what the trial taught: how many trees, how many epochs, which weights. This one is served.
    seconds
        What both took. An ensemble's are those of choosing its weights: its members have their own.
    curve
        Loss of clicks on the validation rows after each epoch or tree, in nats per (scaled)
        impression; empty for kinds that learn in one step.
    """

    early: TrainedModel
    final: TrainedModel
    seconds: float
    curve: Curve


def fit_trials(
    train: Examples,
    validation: Examples,
    *,
    seed: int,
    kinds: Sequence[str] | None = None,
    hyperparameters: Hyperparameters | None = None,
    checkpoints: Path | None = None,
    on_progress: Progress | None = None,
    on_failure: OnFailure | None = None,
) -> list[Trial]:
    """Train every kind of model twice: on earlier days alone to choose what there is to choose, then on all days.

    A kind that cannot be trained on these rows costs the others nothing: it is told, and left out.

    Parameters
    ----------
    train
        Earlier days.
    validation
        Later days. Number of trees, epochs and weights are chosen on them; then each model is fitted to all days.
    seed
        Makes training repeatable.
    kinds
        Some of `KINDS`; all by default. An ensemble averages those of `MEMBERS` that are named beside it, and where none is
        named, all of them.
    hyperparameters
        Settings of each kind, such as `tuning.tune` found; the defaults where none are given.
    checkpoints
        A folder in which networks leave what a killed training goes on from.
    on_progress
        Told what is being trained, and the share that is done.
    on_failure
        Told each kind that failed, a member of the ensemble that was not asked for itself among them, and the reason. The log
        is told as well.

    Returns
    -------
    One trial per kind that was asked for and did not fail, in the order of `KINDS`.

    Raises
    ------
    ConfigurationError
        For an unknown kind.
    InsufficientData
        When either part has no click or nothing but clicks.
    BidloopError, or one of `kinds.FAILURES`
        The first failure, when nothing that was asked for could be trained.
    """
    wanted = known_kinds(kinds)
    if len(train) == 0 or len(validation) == 0:
        raise InsufficientData(
            f"{len(train)} training rows and {len(validation)} validation rows",
            expected="some of both",
            remedy="Train on a longer stretch of the log.",
        )
    terms = Terms(seed=seed, hyperparameters=hyperparameters or Hyperparameters(), checkpoints=checkpoints)
    fitting = _Fitting(train, validation, terms)
    report = on_progress or (lambda name, share: None)
    fitted = _with_members(wanted)
    efforts = [TABLE[kind].effort if kind in TABLE else ENSEMBLE_EFFORT for kind in fitted]
    ends = [sum(efforts[: i + 1]) / sum(efforts) for i in range(len(fitted))]
    trials: list[Trial] = []
    failures: list[Exception] = []
    for kind, begin, end in zip(fitted, [0.0, *ends], ends, strict=False):
        try:
            trial = fitting.trial(kind, partial(_within, report, kind, begin, end))
        except FAILURES as error:
            failures.append(error)
            reason = str(error) or type(error).__name__
            _log.warning("Training %s failed: %s", kind, reason)
            if on_failure is not None:
                on_failure(kind, reason)
            continue
        if kind in wanted:
            trials.append(trial)
    if not trials:
        raise failures[0]
    report("done", 1.0)
    return trials


def _within(report: Progress, kind: str, begin: float, end: float, share: float) -> None:
    report(kind, begin + (end - begin) * share)


def joined(first: Examples, second: Examples) -> Examples:
    """The rows of both, one after the other."""
    a, b = first.features, second.features
    features = FeatureTable(
        a.view,
        {name: np.concatenate((column, b.numeric[name])) for name, column in a.numeric.items()},
        {name: np.concatenate((column, b.categorical[name])) for name, column in a.categorical.items()},
    )
    names = ("impressions", "clicks", "conversions", "value", "weight")
    counts = {name: np.concatenate((getattr(first, name), getattr(second, name))) for name in names}
    maturity = None
    if first.maturity is not None or second.maturity is not None:
        known = [np.ones(len(rows)) if rows.maturity is None else rows.maturity for rows in (first, second)]
        maturity = np.concatenate(known)
    return Examples(features, at=np.concatenate((first.at, second.at)), maturity=maturity, **counts)


Fits = tuple[Candidate, Candidate]


class _Fitting:
    """The rows, encoded once for all kinds, and what has been fitted to them so far."""

    def __init__(self, train: Examples, validation: Examples, terms: Terms) -> None:
        both = joined(train, validation)
        self.encodings = fit_encoding(train), fit_encoding(both)
        self.rows, self.later = (Rows.of(examples, self.encodings[0]) for examples in (train, validation))
        self.all_rows = Rows.of(both, self.encodings[1])
        self.terms = terms
        self.early: dict[str, Candidate] = {}
        self.final: dict[str, Candidate] = {}

    def trial(self, kind: str, on_progress: Callable[[float], None]) -> Trial:
        """Early and final fit of one kind; those of an ensemble's members come before."""
        start = time.perf_counter()
        on_progress(0.0)
        fits, curve = self._average() if kind == ENSEMBLE else self._fit(kind, on_progress)
        early, final = (export(fit, encoding) for fit, encoding in zip(fits, self.encodings, strict=True))
        self.early[kind], self.final[kind] = fits
        return Trial(early, final, time.perf_counter() - start, curve)

    def _fit(self, kind: str, on_progress: Callable[[float], None]) -> tuple[Fits, Curve]:
        curve: list[tuple[int, float]] = []
        first = replace(
            self.terms,
            on_epoch=lambda number, loss: curve.append((number, loss)),
            on_progress=lambda share: on_progress(share / 2),
        )
        second = replace(self.terms, on_progress=lambda share: on_progress((1 + share) / 2))
        early = TABLE[kind].fit(self.rows, self.later, first)
        return (early, TABLE[kind].refit(self.all_rows, early, second)), tuple(curve)

    def _average(self) -> tuple[Fits, Curve]:
        log_odds = {
            kind: self.early[kind].logits(self.later.numeric, self.later.categories)[:, 0]
            for kind in MEMBERS
            if kind in self.early
        }
        if not log_odds:
            raise InsufficientData("an ensemble none of whose members could be trained", expected="at least one")
        members = choose_members(log_odds, self.later.click)
        weights = fit_weights([log_odds[kind] for kind in members], self.later.click)
        kept = [(kind, float(weight)) for kind, weight in zip(members, weights, strict=True) if weight > 0]
        early, final = (
            Ensemble(tuple(fits[kind] for kind, _ in kept), tuple(weight for _, weight in kept))
            for fits in (self.early, self.final)
        )
        return (early, final), ()


def _with_members(wanted: Sequence[str]) -> list[str]:
    """What has to be fitted, in the order of `KINDS`."""
    needed = set(wanted)
    if ENSEMBLE in needed and not needed.intersection(MEMBERS):
        needed.update(MEMBERS)
    return [kind for kind in KINDS if kind in needed]
