"""Fit candidates, calibrate and judge each on later days, and put the best on the shelf as a bundle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from bidloop.core.errors import InsufficientData
from bidloop.core.examples import Examples
from bidloop.core.outcome import Outcomes
from bidloop.core.trained_model import TrainedLandscape
from bidloop.features.cells import cell_keys
from bidloop.features.view import FeatureView
from bidloop.models.fit import Trial, fit_trials
from bidloop.models.landscape import fit_landscape, fit_landscape_from_bids
from bidloop.outcomes.ports import History
from bidloop.prediction.bundle import write_bundle
from bidloop.prediction.calibration import Calibration, Calibrations, fit_calibration
from bidloop.prediction.intervals import Cells, Coverage, IntervalModel, fit_intervals, group_cells, measure_coverage
from bidloop.prediction.order_value import OrderValue, fit_order_value
from bidloop.prediction.quality import Quality, evaluate
from bidloop.prediction.scoring import Scorer
from bidloop.retraining.settings import RenewalSettings
from bidloop.retraining.shelf import Shelf
from bidloop.retraining.training_set import Split, examples_of, features_as_of_then, local_days, split_by_time

Progress = Callable[[str, float], None]
LANDSCAPE_ROWS = 60_000
"""More bids than this teach trees of depth 6 nothing new, and cost time."""
RESAMPLES = 200
"""Bootstrap resamples behind each interval of a candidate's quality."""
WELL_COUNTED = 1 / 2
"""Largest relative standard error of a cell's number of impressions."""
LEAST_BIDS = 500
"""Fewer bids with a known fate make no landscape."""


class Renewal(msgspec.Struct, frozen=True, kw_only=True):
    """What a renewal did, and the evidence for it.

    Parameters
    ----------
    version, winner
        Version of the bundle, and which kind of model it holds.
    rows
        Rows of each part of the split.
    clicks, conversions
        Quality of every candidate on the held-out days, by kind: of clicks given impressions, and of conversions given
        clicks, on mature rows (empty where those hold no conversion).
    coverage
        How often the intervals held on the held-out days; `None` when there were too few cells.
    landscape
        Whether a bid landscape was learned.
    """

    version: str
    winner: str
    rows: dict[str, int]
    clicks: dict[str, Quality]
    conversions: dict[str, Quality]
    coverage: Coverage | None
    landscape: bool


class _Candidate:
    """One kind of model, tried out and final, with its calibration and what it was worth on the held-out days.

    Calibration and intervals are learned from what the trial predicted for the validation days, which it had not seen; the
    final model, which has, is the one that serves and is judged. Conversions are calibrated and judged on mature rows alone,
    since those of the others may still arrive.
    """

    def __init__(
        self,
        trial: Trial,
        validation: Examples,
        held_out: Examples,
        mature_validation: NDArray[np.bool_],
        mature_held_out: NDArray[np.bool_],
    ) -> None:
        self.model = trial.final
        self._early, self._final = (Scorer(model.onnx, model.encoding) for model in (trial.early, trial.final))
        raw = self._early.logits(validation.features).astype(np.float64)
        self.calibrations = Calibrations(
            click=fit_calibration(raw[:, 0], validation.clicks, validation.impressions, validation.weight),
            conversion=_conversion_calibration(raw[:, 1], validation, mature_validation),
        )
        ctr, conversion_rate = self._rates(self._final, held_out)
        self.clicks = evaluate(ctr, held_out.impressions, held_out.clicks, held_out.weight, resamples=RESAMPLES)
        self.conversions = _conversion_quality(conversion_rate, held_out, mature_held_out)

    def ctr(self, examples: Examples, *, tried: bool = False) -> NDArray[np.float64]:
        """Calibrated click rates of the final model, or of the trial's; shape (n,)."""
        return self._rates(self._early if tried else self._final, examples)[0]

    def _rates(self, scorer: Scorer, examples: Examples) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        raw = scorer.logits(examples.features).astype(np.float64)
        return (
            expit(self.calibrations.click.apply(raw[:, 0])),
            expit(self.calibrations.conversion.apply(raw[:, 1])),
        )


def renew(
    history: History,
    view: FeatureView,
    shelf: Shelf,
    settings: RenewalSettings,
    *,
    now: datetime,
    on_progress: Progress | None = None,
) -> Renewal:
    """Train on history as it is known now, and write the best candidate as a bundle.

    Raises
    ------
    InsufficientData
        When there are too few rows or days.
    """
    report = on_progress or (lambda doing, share: None)
    report("reading the history", 0.0)
    outcomes = history.outcomes(as_of=now)
    if len(outcomes) < settings.minimum_rows:
        raise InsufficientData(
            f"{len(outcomes):,} rows of history",
            expected=f"at least {settings.minimum_rows:,}",
            remedy="Ingest more of the log, or lower renewal.minimum_rows.",
        )
    split = split_by_time(
        outcomes.at,
        view.timezone,
        held_out_days=settings.held_out_days,
        validation_days=settings.validation_days,
    )
    report("features as they were", 0.05)
    table = features_as_of_then(view, history, outcomes.opportunities)
    examples = examples_of(outcomes, table)
    fit, validation, held_out = (examples.take(part) for part in (split.fit, split.validation, split.held_out))
    trials = fit_trials(
        fit,
        validation,
        seed=settings.seed,
        kinds=settings.kinds or None,
        on_progress=lambda name, share: report(f"training {name}", 0.1 + 0.6 * share),
    )
    report("judging on held-out days", 0.7)
    mature = outcomes.mature
    candidates = [
        _Candidate(trial, validation, held_out, mature[split.validation], mature[split.held_out]) for trial in trials
    ]
    best = min(candidates, key=lambda candidate: candidate.clicks.log_loss)
    report("intervals", 0.8)
    days = local_days(outcomes.at, view.timezone)
    keys = np.char.add(np.char.add(cell_keys(view, outcomes.opportunities).astype(str), "\x1f"), days.astype(str))
    intervals, coverage = _intervals(best, examples, split, keys, settings.level)
    report("bid landscape", 0.85)
    landscape = _landscape(history, view, settings.seed)
    version = write_bundle(
        shelf.folder,
        model=best.model,
        landscape=landscape,
        calibration=best.calibrations,
        intervals=intervals,
        order_value=_order_value(outcomes),
        view=msgspec.to_builtins(view),
        view_version=view.version,
        metrics={"clicks": msgspec.to_builtins(best.clicks)},
        created_at=now,
    )
    report("done", 1.0)
    return Renewal(
        version=version,
        winner=best.model.name,
        rows={"fit": len(fit), "validation": len(validation), "held_out": len(held_out)},
        clicks={candidate.model.name: candidate.clicks for candidate in candidates},
        conversions={c.model.name: c.conversions for c in candidates if c.conversions is not None},
        coverage=coverage,
        landscape=landscape is not None,
    )


def _conversion_calibration(
    log_odds: NDArray[np.float64], examples: Examples, mature: NDArray[np.bool_]
) -> Calibration:
    clicked = (examples.clicks > 0) & mature
    if not clicked.any():
        return Calibration()
    return fit_calibration(
        log_odds[clicked],
        np.minimum(examples.conversions, examples.clicks)[clicked],
        examples.clicks[clicked],
        examples.weight[clicked],
    )


def _conversion_quality(
    conversion_rate: NDArray[np.float64], examples: Examples, mature: NDArray[np.bool_]
) -> Quality | None:
    clicked = (examples.clicks > 0) & mature
    conversions = np.minimum(examples.conversions, examples.clicks)[clicked]
    if not conversions.any():
        return None
    return evaluate(
        conversion_rate[clicked], examples.clicks[clicked], conversions, examples.weight[clicked], resamples=RESAMPLES
    )


def _intervals(
    best: _Candidate, examples: Examples, split: Split, keys: NDArray[np.str_], level: float
) -> tuple[IntervalModel | None, Coverage | None]:
    """Intervals fitted on the validation days' cells, and how often they held on the held-out days'."""
    try:
        learned = _cells(best, examples, split.validation, keys, tried=True)
        model = fit_intervals(learned.p, learned.impressions, learned.clicks, learned.support, level)
        later = _cells(best, examples, split.held_out, keys)
        coverage = measure_coverage(model, later.p, later.impressions, later.clicks, later.support)
    except InsufficientData:
        return None, None
    return msgspec.structs.replace(model, measured_coverage=coverage.covered), coverage


def _cells(
    best: _Candidate, examples: Examples, rows: NDArray[np.intp], keys: NDArray[np.str_], *, tried: bool = False
) -> Cells:
    """One cell per key and day: the unit that an interval speaks of."""
    part = examples.take(rows)
    _, where = np.unique(keys[rows], return_inverse=True)
    known = _counted_well(where, part)
    part, where = part.take(known), where[known]
    ctr, support = best.ctr(part, tried=tried), part.features.numeric["cell_impressions"]
    return group_cells(where, ctr, part.impressions, part.clicks, support, part.weight)


def _counted_well(where: NDArray[np.intp], examples: Examples) -> NDArray[np.bool_]:
    """Rows of cells whose number of impressions is known.

    In a sampled log it is estimated as a sum of weights w, with variance Σ w (w - 1), to which one more row is added that
    the sample may have missed: a cell of a few sampled rows, or of clicks alone, has no rate that an interval could be held
    against. Where nothing was sampled (w = 1), all are known.
    """
    shown = examples.weight * examples.impressions
    excess = np.maximum(examples.weight - 1.0, 0.0)
    missed = float((examples.weight * excess).max(initial=0.0))
    variance = np.bincount(where, shown * excess) + missed
    return np.asarray((variance <= (WELL_COUNTED * np.bincount(where, shown)) ** 2)[where])


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
    """Pooled order values, from conversions that carried one."""
    sold = np.flatnonzero((outcomes.conversions > 0) & (outcomes.value > 0))
    if not len(sold):
        return None
    campaigns = np.array([outcomes.opportunities[i].campaign_id for i in sold], dtype=object)
    return fit_order_value(
        campaigns,
        outcomes.conversions[sold],
        outcomes.value[sold],
        outcomes.weight[sold],
        currency=outcomes.opportunities[sold[0]].currency,
    )
