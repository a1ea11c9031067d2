"""The comparison set as one table: how each kind of model is tried on later days, and then fitted to all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bidloop.core.errors import ConfigurationError, Diverged, InsufficientData, closest
from bidloop.models.candidate import Candidate, OnEpoch
from bidloop.models.constant import fit_constant
from bidloop.models.ensemble import FAMILIES
from bidloop.models.ftrl import Ftrl, fit_ftrl
from bidloop.models.hyperparameters import Hyperparameters
from bidloop.models.logistic import fit_logistic
from bidloop.models.network import Network, fit_network
from bidloop.models.rows import Rows
from bidloop.models.smoothed import fit_smoothed
from bidloop.models.trees import MOST_ROUNDS, Trees, fit_trees


@dataclass(frozen=True, kw_only=True)
class Terms:
    """On which terms a model is trained.

    Parameters
    ----------
    seed
        Makes training repeatable.
    hyperparameters
        Settings of every kind.
    conversions
        Whether conversions are learned too. Where models are compared by clicks, trees are spared the second half of the
        work; the networks share their layers, so for them nothing changes.
    checkpoints
        Folder for what a killed training goes on from.
    on_epoch
        Told the held-out loss after each epoch or tree; may raise.
    on_progress
        Told the share that is done; may raise.
    """

    seed: int
    hyperparameters: Hyperparameters
    conversions: bool = True
    checkpoints: Path | None = None
    on_epoch: OnEpoch | None = None
    on_progress: Callable[[float], None] | None = None


@dataclass(frozen=True)
class Kind:
    """How one kind of model is trained.

    Parameters
    ----------
    fit
        From earlier rows and later ones, on which number of trees or epochs is chosen.
    refit
        From all rows and the fit that chose.
    effort
        Seconds that both take with the default settings on 42,000 rows, for the progress bar.
    """

    fit: Callable[[Rows, Rows, Terms], Candidate]
    refit: Callable[[Rows, Candidate, Terms], Candidate]
    effort: float


def _plain(fit: Callable[[Rows], Candidate], effort: float) -> Kind:
    """A kind that has nothing to choose on later days."""
    return Kind(lambda rows, later, terms: fit(rows), lambda rows, early, terms: fit(rows), effort)


def _ftrl(rows: Rows, later: Rows, terms: Terms) -> Candidate:
    return fit_ftrl(rows, later, seed=terms.seed, settings=terms.hyperparameters.ftrl, on_epoch=terms.on_epoch)


def _ftrl_again(rows: Rows, early: Candidate, terms: Terms) -> Candidate:
    assert isinstance(early, Ftrl)
    return fit_ftrl(rows, seed=terms.seed, settings=terms.hyperparameters.ftrl, epochs=early.epochs)


def _trees(rows: Rows, later: Rows, terms: Terms) -> Candidate:
    rounds = MOST_ROUNDS, MOST_ROUNDS if terms.conversions else 0
    settings = terms.hyperparameters.trees
    return fit_trees(rows, later, seed=terms.seed, settings=settings, rounds=rounds, on_epoch=terms.on_epoch)


def _trees_again(rows: Rows, early: Candidate, terms: Terms) -> Candidate:
    assert isinstance(early, Trees)
    return fit_trees(rows, seed=terms.seed, settings=terms.hyperparameters.trees, rounds=early.rounds)


def _network(branch: Literal["network", "dcn", "deepfm"], effort: float) -> Kind:
    def fit(rows: Rows, later: Rows, terms: Terms) -> Candidate:
        return fit_network(
            rows,
            later,
            seed=terms.seed,
            settings=getattr(terms.hyperparameters, branch),
            checkpoints=terms.checkpoints,
            on_epoch=terms.on_epoch,
            on_progress=terms.on_progress,
        )

    def refit(rows: Rows, early: Candidate, terms: Terms) -> Candidate:
        assert isinstance(early, Network)
        return fit_network(
            rows,
            seed=terms.seed,
            settings=getattr(terms.hyperparameters, branch),
            epochs=early.epochs,
            checkpoints=terms.checkpoints,
            on_progress=terms.on_progress,
        )

    return Kind(fit, refit, effort)


TABLE: dict[str, Kind] = {
    "constant": _plain(fit_constant, 0.01),
    "smoothed": _plain(fit_smoothed, 0.01),
    "logistic": _plain(fit_logistic, 3.0),
    "ftrl": Kind(_ftrl, _ftrl_again, 3.0),
    "trees": Kind(_trees, _trees_again, 8.0),
    "network": _network("network", 8.0),
    "dcn": _network("dcn", 10.0),
    "deepfm": _network("deepfm", 10.0),
}
"""Every kind that is fitted to rows, in the order of the tables."""
MEMBERS = tuple(kind for family in FAMILIES for kind in family)
"""What the ensemble may average."""
ENSEMBLE = "ensemble"
KINDS = (*TABLE, ENSEMBLE)
FAILURES = (ArithmeticError, ConfigurationError, Diverged, InsufficientData, MemoryError, RuntimeError, ValueError)
"""What rows and settings can do to the training of one kind, which says nothing of the others: overflow, too little memory,
nothing that could be solved, no feature to read or too many."""


def known_kinds(kinds: Sequence[str] | None) -> tuple[str, ...]:
    """The kinds asked for, or all of them.

    Raises
    ------
    ConfigurationError
        For an unknown kind.
    """
    unknown = [kind for kind in kinds or () if kind not in KINDS]
    if unknown:
        raise ConfigurationError(
            f"kinds of model {', '.join(unknown)}",
            expected=f"some of {', '.join(KINDS)}",
            remedy=closest(unknown[0], KINDS),
        )
    return KINDS if kinds is None else tuple(kinds)
