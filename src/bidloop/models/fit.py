"""Trains every candidate: tried out on later days first, then fitted to all days."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bidloop.core.errors import ConfigurationError, InsufficientData
from bidloop.core.examples import Examples
from bidloop.core.feature_table import FeatureTable
from bidloop.core.trained_model import TrainedModel
from bidloop.models.candidate import Candidate, export
from bidloop.models.constant import fit_constant
from bidloop.models.encoding import fit_encoding
from bidloop.models.ensemble import Ensemble, fit_weights
from bidloop.models.logistic import fit_logistic
from bidloop.models.network import Network, fit_network
from bidloop.models.rows import Rows
from bidloop.models.smoothed import fit_smoothed
from bidloop.models.trees import Trees, fit_trees

KINDS = ("constant", "smoothed", "logistic", "trees", "network", "ensemble")
MEMBERS = ("logistic", "trees", "network")
"""What the ensemble averages."""

Progress = Callable[[str, float], None]


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
    """

    early: TrainedModel
    final: TrainedModel


def fit_candidates(
    train: Examples,
    validation: Examples,
    *,
    seed: int,
    kinds: Sequence[str] | None = None,
    on_progress: Progress | None = None,
) -> list[TrainedModel]:
    """Train every kind of model on all the rows given, and choose what there is to choose on the later ones.

    Parameters
    ----------
    train
        Earlier days.
    validation
        Later days. Number of trees, epochs and weights are chosen on them; then each model is fitted to all days.
    seed
        Makes training repeatable.
    kinds
        Some of `KINDS`; all by default.
    on_progress
        Told what is being trained, and the share that is done.

    Returns
    -------
    The trained models in the order of `KINDS`.

    Raises
    ------
    ConfigurationError
        For an unknown kind.
    InsufficientData
        When either part has no click or nothing but clicks.
    """
    return [trial.final for trial in fit_trials(train, validation, seed=seed, kinds=kinds, on_progress=on_progress)]


def fit_trials(
    train: Examples,
    validation: Examples,
    *,
    seed: int,
    kinds: Sequence[str] | None = None,
    on_progress: Progress | None = None,
) -> list[Trial]:
    """As `fit_candidates`, with the models of the trial beside the final ones."""
    wanted = _wanted(kinds)
    fitted = [kind for kind in KINDS if kind in wanted or ("ensemble" in wanted and kind in MEMBERS)]
    if len(train) == 0 or len(validation) == 0:
        raise InsufficientData(
            f"{len(train)} training rows and {len(validation)} validation rows",
            expected="some of both",
            remedy="Train on a longer stretch of the log.",
        )
    both = joined(train, validation)
    early_encoding, final_encoding = fit_encoding(train), fit_encoding(both)
    rows, later = Rows.of(train, early_encoding), Rows.of(validation, early_encoding)
    all_rows = Rows.of(both, final_encoding)
    report = on_progress or (lambda name, share: None)
    early: dict[str, Candidate] = {}
    final: dict[str, Candidate] = {}
    for done, kind in enumerate(fitted):
        report(kind, done / len(fitted))
        if kind == "ensemble":
            early[kind], final[kind] = _ensembles(early, final, later)
        else:
            early[kind] = _fit(kind, rows, later, seed)
            final[kind] = _refit(kind, all_rows, early[kind], seed)
    report("done", 1.0)
    return [
        Trial(export(early[kind], early_encoding), export(final[kind], final_encoding))
        for kind in fitted
        if kind in wanted
    ]


def joined(first: Examples, second: Examples) -> Examples:
    """The rows of both, one after the other."""
    a, b = first.features, second.features
    table = FeatureTable(
        a.view,
        {name: np.concatenate((column, b.numeric[name])) for name, column in a.numeric.items()},
        {name: np.concatenate((column, b.categorical[name])) for name, column in a.categorical.items()},
    )
    columns = ("at", "impressions", "clicks", "conversions", "value", "weight")
    return Examples(table, *(np.concatenate((getattr(first, name), getattr(second, name))) for name in columns))


def _wanted(kinds: Sequence[str] | None) -> tuple[str, ...]:
    unknown = [kind for kind in kinds or () if kind not in KINDS]
    if unknown:
        raise ConfigurationError(f"kinds of model {', '.join(unknown)}", expected=f"some of {', '.join(KINDS)}")
    return KINDS if kinds is None else tuple(kinds)


def _fit(kind: str, rows: Rows, later: Rows, seed: int) -> Candidate:
    match kind:
        case "constant":
            return fit_constant(rows)
        case "smoothed":
            return fit_smoothed(rows)
        case "logistic":
            return fit_logistic(rows)
        case "trees":
            return fit_trees(rows, later, seed=seed)
        case _:
            return fit_network(rows, later, seed=seed)


def _refit(kind: str, rows: Rows, early: Candidate, seed: int) -> Candidate:
    if isinstance(early, Trees):
        return fit_trees(rows, seed=seed, rounds=early.rounds)
    if isinstance(early, Network):
        return fit_network(rows, seed=seed, epochs=early.epochs)
    return _fit(kind, rows, rows, seed)


def _ensembles(early: dict[str, Candidate], final: dict[str, Candidate], later: Rows) -> tuple[Ensemble, Ensemble]:
    log_odds = [early[name].logits(later.numeric, later.categories)[:, 0] for name in MEMBERS]
    weights = fit_weights(log_odds, later.click)
    kept = [(name, float(weight)) for name, weight in zip(MEMBERS, weights, strict=True) if weight > 0]
    first, second = (
        Ensemble(tuple(fits[name] for name, _ in kept), tuple(weight for _, weight in kept)) for fits in (early, final)
    )
    return first, second
