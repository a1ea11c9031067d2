"""Fit candidates, calibrate and judge each on later days, and put the best on the shelf as a bundle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from bidloop.core.examples import Examples
from bidloop.core.outcome import Outcomes
from bidloop.core.trained_model import TrainedLandscape
from bidloop.features.view import FeatureView
from bidloop.models.fit import fit_trials
from bidloop.models.hyperparameters import Hyperparameters
from bidloop.models.landscape import fit_landscape, fit_landscape_from_bids
from bidloop.models.tuned import TunedKind
from bidloop.outcomes.ports import History
from bidloop.prediction.bundle import write_bundle
from bidloop.prediction.order_value import OrderValue, cell_of, fit_order_value
from bidloop.retraining.evidence import Renewal
from bidloop.retraining.judging import Candidate, fields_of
from bidloop.retraining.promise import promises
from bidloop.retraining.settings import RenewalSettings
from bidloop.retraining.shelf import Shelf
from bidloop.retraining.training_set import TrainingSet, features_as_of_then

if TYPE_CHECKING:
    from bidloop.models.tuning import Tuned

Progress = Callable[[str, float], None]
LANDSCAPE_ROWS = 60_000
"""More bids than this teach trees of depth 6 nothing new, and cost time."""
TUNED, JUDGED = 0.6, 0.8
"""Shares of the progress bar at which tuning ends, and training."""
LEAST_BIDS = 500
"""Fewer bids with a known fate make no landscape."""


def renew(
    data: TrainingSet,
    history: History,
    view: FeatureView,
    shelf: Shelf,
    settings: RenewalSettings,
    *,
    now: datetime,
    hyperparameters: Hyperparameters | None = None,
    tune_seconds: float | None = None,
    unfinished: Path | None = None,
    on_progress: Progress | None = None,
) -> Renewal:
    """Train on what is known, and write the best candidate as a bundle.

    Parameters
    ----------
    data
        What to learn from and to judge on.
    history
        Where bids and their fates are read from.
    now
        When this is.
    hyperparameters
        Settings of each kind of model, such as an earlier tuning found; the defaults where none are given.
    tune_seconds
        Look for better ones first, for so long. The held-out days are not looked at: they judge afterwards.
    unfinished
        A folder in which a training that is killed leaves what the next one goes on from.

    Raises
    ------
    InsufficientData
        When too little happened to learn from.
    """
    report = on_progress or (lambda doing, share: None)
    tuned: dict[str, TunedKind] = {}
    fit, validation, held_out = data.parts
    if tune_seconds is not None:
        found = _tuned(
            fit, validation, settings, tune_seconds, unfinished, lambda doing, share: report(doing, TUNED * share)
        )
        hyperparameters, tuned = found.hyperparameters, found.kinds
    begin = TUNED if tuned else 0.0
    failed: dict[str, str] = {}
    trials = fit_trials(
        fit,
        validation,
        seed=settings.seed,
        kinds=settings.kinds or None,
        hyperparameters=hyperparameters,
        checkpoints=unfinished,
        on_failure=failed.__setitem__,
        on_progress=lambda name, share: report(f"training {name}", begin + (JUDGED - begin) * share),
    )
    report("judging on held-out days", JUDGED)
    candidates = sorted(
        (Candidate(trial, validation, held_out) for trial in trials), key=lambda candidate: candidate.log_loss
    )
    best = candidates[0]
    fields = fields_of(held_out, [data.outcomes.opportunities[i].campaign_id for i in data.split.held_out])
    evidence = tuple(candidate.evidence(best, fields) for candidate in candidates)
    report("intervals", 0.9)
    clicks, conversions = promises(best, data, view, settings.level)
    report("bid landscape", 0.95)
    landscape = _landscape(history, view, settings.seed)
    version = write_bundle(
        shelf.folder,
        model=best.model,
        landscape=landscape,
        calibration=best.calibrations,
        intervals=clicks.model,
        conversion_intervals=conversions.model,
        order_value=_order_value(data.outcomes),
        delays=None if data.delays is None else msgspec.to_builtins(data.delays),
        view=msgspec.to_builtins(view),
        view_version=view.version,
        metrics={
            "clicks": msgspec.to_builtins(evidence[0].clicks),
            "conversions": msgspec.to_builtins(evidence[0].conversions),
            "data": data.described.fingerprint,
        },
        created_at=now,
    )
    report("done", 1.0)
    return Renewal(
        version=version,
        winner=best.model.name,
        view_version=view.version,
        data=data.described,
        candidates=evidence,
        coverage=clicks.coverage,
        conversion_coverage=conversions.coverage,
        delays=data.delays,
        landscape=landscape is not None,
        hyperparameters=msgspec.to_builtins(hyperparameters or Hyperparameters()),
        tuned=tuned,
        failed=failed,
    )


def _tuned(
    fit: Examples,
    validation: Examples,
    settings: RenewalSettings,
    seconds: float,
    folder: Path | None,
    report: Progress,
) -> Tuned:
    from bidloop.models.tuning import tune  # half a second that most trainings need not spend

    kinds = settings.kinds or None
    return tune(fit, validation, seed=settings.seed, seconds=seconds, kinds=kinds, folder=folder, on_progress=report)


def _landscape(history: History, view: FeatureView, seed: int) -> TrainedLandscape | None:
    """What a bid wins, from bids whose fate is known; `None` where the log tells no prices.

    Prices per click and per mille are not of one kind: the landscape is that of the more frequent charge.
    """
    bids = history.bids()
    priced = bids.take(np.flatnonzero(np.isfinite(bids.price) | np.isfinite(bids.bid)))
    charges = Counter(opportunity.charge for opportunity in priced.opportunities)
    if not charges or charges.most_common(1)[0][1] < LEAST_BIDS:
        return None
    charge = charges.most_common(1)[0][0]
    alike = np.array([opportunity.charge is charge for opportunity in priced.opportunities])
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(alike))[:LANDSCAPE_ROWS]
    sample = priced.take(np.sort(rows))
    table = features_as_of_then(view, history, sample.opportunities)
    if np.isfinite(sample.price).all():
        landscape = fit_landscape(table, sample.price, sample.weight, seed=seed)
    else:
        known = np.isfinite(sample.bid)
        landscape = fit_landscape_from_bids(
            table.take(known), sample.bid[known], sample.won[known], sample.weight[known], seed=seed
        )
    return replace(landscape, charge=charge)


def _order_value(outcomes: Outcomes) -> OrderValue | None:
    """What conversions are worth, by campaign and cell. Refunds that are conversions of their own belong in.

    A conversion that is told to be worth 0 counts, one of which no value is told does not. Where all are told to be worth 0,
    values are not kept track of: platforms fill the column all the same.
    """
    valued = outcomes.conversions if outcomes.valued is None else outcomes.valued
    sold = np.flatnonzero(valued > 0)
    if not outcomes.value[sold].any():
        return None
    shown = [outcomes.opportunities[i] for i in sold]
    return fit_order_value(
        [opportunity.campaign_id for opportunity in shown],
        valued[sold],
        outcomes.value[sold],
        outcomes.weight[sold],
        currency=[opportunity.currency for opportunity in shown],
        cells=[cell_of(opportunity) for opportunity in shown],
    )
