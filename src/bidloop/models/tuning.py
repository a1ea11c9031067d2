"""Looks for better hyper-parameters for as long as it is given, and never ends worse than the defaults.

Each kind has a study of its own (Optuna's TPE: Bergstra et al., "Algorithms for Hyper-Parameter Optimization", 2011). The
default is tried first; then the kind that has had least time so far gets the next trial. A trial is worth its mean held-out
loss of clicks over the folds, each at the later days' own level, because a day that is better for all says nothing of how
well a model ranks and spreads. Where the training days are long enough there are two folds, the validation days and the days
before them: what is best of thirty settings on one day is partly that day. The best is taken if it beats the default on
each fold.

Finished trials are kept in a file of Optuna's, under a name made from the rows, the seed and the search space. A tuning that
was killed goes on from there. Each trial draws with a seed of its own, so it also ends where it would have ended.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from bidloop.core.errors import ConfigurationError
from bidloop.core.examples import Examples
from bidloop.models.folds import Fold, fingerprint, rolling_folds
from bidloop.models.hyperparameters import SPACES, Hyperparameters, Span
from bidloop.models.kinds import FAILURES, TABLE, Terms, known_kinds
from bidloop.models.tuned import State, TunedKind, TuningTrial

RANDOM_TRIALS = 6
"""Before TPE has seen so many, it draws at random."""
LEAST_TRIALS = 4
"""A median of fewer says nothing, and prunes nothing."""
WARM_UP = {"trees": 80}
"""Trees, or epochs, before a trial may be pruned: until then a low learning rate looks worse than it is."""
USUAL_WARM_UP = 1
EVERY = {"trees": 20}
"""How often, in trees or epochs, it is asked whether to go on."""
FIRST_FOLD_DONE = 1_000_000
"""The step at which the first fold's result is told to the pruner, after all trees or epochs."""
JOURNAL = "tuning.journal"

Progress = Callable[[str, float], None]
_log = logging.getLogger("bidloop.models")


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """The best settings that were found, and the evidence.

    Parameters
    ----------
    hyperparameters
        The best of each kind, for `fit.fit_trials`.
    kinds
        The evidence, by kind.
    folds
        How many stretches of later days each setting was judged on.
    seconds
        What all trials took, those of an earlier tuning that this one went on from included.
    """

    hyperparameters: Hyperparameters
    kinds: dict[str, TunedKind]
    folds: int
    seconds: float


def tune(
    train: Examples,
    validation: Examples,
    *,
    seed: int,
    seconds: float | None = None,
    trials: int | None = None,
    kinds: Sequence[str] | None = None,
    folder: Path | None = None,
    on_progress: Progress | None = None,
) -> Tuned:
    """Try settings of each kind of model until the time is over, and propose the best.

    Parameters
    ----------
    train, validation
        Earlier and later days. Neither may contain the days that models are judged on.
    seed
        With the same rows and `trials`, the same seed gives the same result. With `seconds` the machine's speed decides how
        far it comes.
    seconds
        Time for all kinds together. A trial in progress when it is over is given up.
    trials
        At most so many trials per kind, the default's among them.
    kinds
        Some kinds of model; those with nothing to tune are passed over. All by default.
    folder
        Where finished trials are kept, so that a killed tuning goes on; then `seconds` and `trials` are for both together.
        Without it nothing is kept.
    on_progress
        Told what is being tuned, and the share of the time (or of the trials) that is gone.

    Raises
    ------
    ConfigurationError
        Without any limit, or for an unknown kind.
    InsufficientData
        When either part has no click or nothing but clicks.
    """
    if seconds is None and trials is None:
        raise ConfigurationError(
            "a tuning without a limit", expected="seconds or trials", remedy="Say how long it may take, such as 10 m."
        )
    start = time.monotonic()
    names = [kind for kind in known_kinds(kinds) if SPACES.get(kind)]
    folds = rolling_folds(train, validation)
    with _quiet():
        storage = None if folder is None else _open(folder)
        studies = [_Study(kind, folds, seed, storage) for kind in names]
        budget = _Budget(start, seconds, trials, studies, on_progress or (lambda name, share: None))
        while not budget.over and (going_on := [study for study in studies if study.goes_on(trials)]):
            min(going_on, key=lambda study: study.seconds).try_next(budget)
        proposals = {study.kind: study.proposal() for study in studies}
    budget.report("done", 1.0)
    return Tuned(
        hyperparameters=_with(**{kind: settings for kind, (settings, _) in proposals.items()}),
        kinds={kind: evidence for kind, (_, evidence) in proposals.items()},
        folds=len(folds),
        seconds=sum(study.seconds for study in studies),
    )


class _OutOfTime(Exception):
    """The time was over in the middle of a trial."""


class _Budget:
    """How much of the time, or of the trials, is gone."""

    def __init__(
        self, start: float, seconds: float | None, trials: int | None, studies: Sequence[_Study], report: Progress
    ) -> None:
        self._seconds, self._trials, self._studies, self.report = seconds, trials, studies, report
        self._start = start - sum(study.seconds for study in studies)

    @property
    def over(self) -> bool:
        return self._seconds is not None and time.monotonic() - self._start >= self._seconds

    @property
    def share(self) -> float:
        shares = [0.0]
        if self._seconds:
            shares.append((time.monotonic() - self._start) / self._seconds)
        if self._trials:
            shares.append(sum(len(study.tried) for study in self._studies) / (len(self._studies) * self._trials))
        return min(1.0, max(shares))

    def check(self, kind: str) -> None:
        """Say how far it is; raise when the time is over."""
        if self.over:
            raise _OutOfTime
        self.report(f"tuning {kind}", self.share)


class _Study:
    """The trials of one kind: in memory while one is under way, and in a file once it is finished."""

    def __init__(self, kind: str, folds: Sequence[Fold], seed: int, storage: JournalStorage | None) -> None:
        self.kind = kind
        self._folds, self._seed = folds, seed
        self._default = getattr(Hyperparameters(), kind)
        self._study = optuna.create_study(
            pruner=optuna.pruners.MedianPruner(LEAST_TRIALS, n_warmup_steps=WARM_UP.get(kind, USUAL_WARM_UP))
        )
        self._kept: optuna.Study | None = None
        if storage is not None:
            key = fingerprint(folds, seed, self._default, SPACES[kind])
            self._kept = optuna.create_study(storage=storage, study_name=f"{kind} {key}", load_if_exists=True)
            self._study.add_trials(self._kept.trials)

    @property
    def seconds(self) -> float:
        """What all trials took."""
        return sum(float(trial.user_attrs["seconds"]) for trial in self._finished)

    @property
    def tried(self) -> list[FrozenTrial]:
        """Trials that came to an end of their own."""
        return [trial for trial in self._finished if _state(trial) != "out of time"]

    @property
    def _finished(self) -> list[FrozenTrial]:
        return [trial for trial in self._study.get_trials(deepcopy=False) if trial.state.is_finished()]

    def goes_on(self, trials: int | None) -> bool:
        """Whether there is something left to try; not where the default failed, because nothing can be held against it."""
        tried = self.tried
        return not tried or (tried[0].state == TrialState.COMPLETE and (trials is None or len(tried) < trials))

    def try_next(self, budget: _Budget) -> None:
        """One trial more."""
        number = len(self.tried)
        [own] = np.random.SeedSequence([self._seed, zlib.crc32(self.kind.encode()), number]).generate_state(1)
        self._study.sampler = optuna.samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=int(own))
        if number == 0:
            self._study.enqueue_trial({name: getattr(self._default, name) for name in SPACES[self.kind]})
        trial = self._study.ask()
        figures = {name: _suggest(trial, name, span) for name, span in SPACES[self.kind].items()}
        start, losses, state = time.monotonic(), list[float](), TrialState.FAIL
        try:
            settings = msgspec.structs.replace(self._default, **figures)
            for fold in self._folds:
                losses.append(self._loss(settings, fold, budget, None if losses else trial))
            state = TrialState.COMPLETE
        except optuna.TrialPruned:
            state = TrialState.PRUNED
        except _OutOfTime:
            trial.set_user_attr("out of time", True)
        except FAILURES as error:
            _log.warning("Tuning %s: %s failed: %s", self.kind, trial.params, error)
        trial.set_user_attr("seconds", time.monotonic() - start)
        trial.set_user_attr("folds", losses)
        done = self._study.tell(trial, float(np.mean(losses)) if state == TrialState.COMPLETE else None, state)
        if self._kept is not None:
            self._kept.add_trial(done)

    def _loss(self, settings: msgspec.Struct, fold: Fold, budget: _Budget, told: optuna.Trial | None) -> float:
        """Held-out loss of clicks; what it was on the way is told to the pruner, if it asks about this fold."""
        every = EVERY.get(self.kind, 1)

        def on_epoch(number: int, loss: float) -> None:
            budget.check(self.kind)
            if not np.isfinite(loss):
                raise FloatingPointError(f"a held-out loss of {loss} after step {number}")
            if told is not None and number % every == 0:
                _report(told, loss, number)

        terms = Terms(
            seed=self._seed,
            hyperparameters=_with(**{self.kind: settings}),
            conversions=False,
            on_epoch=on_epoch,
            on_progress=lambda share: budget.check(self.kind),
        )
        loss = fold.loss(TABLE[self.kind].fit(fold.rows, fold.later, terms))
        if not np.isfinite(loss):
            raise FloatingPointError(f"a held-out loss of {loss}")
        if told is not None and len(self._folds) > 1:
            _report(told, loss, FIRST_FOLD_DONE)
        return loss

    def proposal(self) -> tuple[msgspec.Struct, TunedKind]:
        """The best settings that beat the default on each fold, or the default; and the evidence."""
        records = tuple(_record(trial) for trial in self._finished)
        complete = [record for record in records if record.state == "complete"]
        if not self.tried or _state(self.tried[0]) != "complete":
            return self._default, TunedKind(default=None, best=None, trials=records)
        default = complete[0]
        better = [record for record in complete if all(a < b for a, b in zip(record.folds, default.folds, strict=True))]
        best = min(better, key=lambda record: record.loss or 0.0, default=default)
        settings = msgspec.structs.replace(self._default, **best.settings) if best is not default else self._default
        return settings, TunedKind(default=default.loss, best=best.loss, trials=records)


def _with(**branches: msgspec.Struct) -> Hyperparameters:
    """The defaults, and these in their place."""
    return msgspec.structs.replace(Hyperparameters(), **branches)


def _report(trial: optuna.Trial, loss: float, step: int) -> None:
    trial.report(loss, step)
    if trial.should_prune():
        raise optuna.TrialPruned


def _suggest(trial: optuna.Trial, name: str, span: Span) -> float:
    if isinstance(span.low, int) and isinstance(span.high, int):
        return trial.suggest_int(name, span.low, span.high, log=span.log)
    return trial.suggest_float(name, span.low, span.high, log=span.log)


def _state(trial: FrozenTrial) -> State:
    if trial.user_attrs.get("out of time"):
        return "out of time"
    names: dict[TrialState, State] = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
    return names.get(trial.state, "failed")


def _record(trial: FrozenTrial) -> TuningTrial:
    state = _state(trial)
    return TuningTrial(
        settings=trial.params,
        state=state,
        loss=trial.value if state == "complete" else None,
        folds=tuple(trial.user_attrs["folds"]),
        seconds=trial.user_attrs["seconds"],
    )


def _open(folder: Path) -> JournalStorage:
    """The file of finished trials; one that cannot be read is put aside."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / JOURNAL
    if path.exists():
        # Whoever is killed while writing leaves half a line, to which the next line would be glued.
        content = path.read_bytes()
        path.write_bytes(content[: content.rfind(b"\n") + 1])
    try:
        storage = JournalStorage(JournalFileBackend(str(path)))
        for line in (
            path.read_bytes().splitlines()
        ):  # Optuna looks over a last line that it cannot read, until the next is added
            json.loads(line)
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        aside = path.replace(path.with_suffix(".damaged"))
        _log.warning("The tuning kept in %s cannot be read (%s); it is put aside as %s.", path, error, aside.name)
        return JournalStorage(JournalFileBackend(str(path)))
    return storage


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's own lines, for as long as it works for us."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
