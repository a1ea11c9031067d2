"""Intervals of the rates that a candidate predicts, learned on the validation days and held against the held-out ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import InsufficientData
from bidloop.features.cells import cell_keys
from bidloop.features.view import FeatureView
from bidloop.prediction.intervals import Cells, Coverage, IntervalModel, fit_intervals, group_cells, measure_coverage
from bidloop.prediction.intervals.cells import counted_well
from bidloop.retraining.judging import Candidate
from bidloop.retraining.training_set import TrainingSet, local_days

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Promise:
    """Intervals with the coverage they had; `None` both where there are too few cells to learn from or to measure on."""

    model: IntervalModel | None
    coverage: Coverage | None


def promises(best: Candidate, data: TrainingSet, view: FeatureView, level: float) -> tuple[Promise, Promise]:
    """Intervals of click rates and of conversion rates.

    One cell per key of the view and day: the unit that an interval speaks of.
    """
    days = local_days(data.examples.at, view.timezone)
    keys = np.char.add(np.char.add(cell_keys(view, data.outcomes.opportunities).astype(str), "\x1f"), days.astype(str))
    cells = _CellsOf(best, data, keys)
    clicks = _promise(
        cells.clicks(data.split.validation, tried=True), cells.clicks(data.split.held_out), level, single=False
    )
    conversions = _promise(
        cells.conversions(data.split.validation, tried=True), cells.conversions(data.split.held_out), level, single=True
    )
    return clicks, conversions


def _promise(learned: Cells, later: Cells, level: float, *, single: bool) -> Promise:
    try:
        model = fit_intervals(learned.p, learned.impressions, learned.clicks, learned.support, level, single=single)
        coverage = measure_coverage(model, later.p, later.impressions, later.clicks, later.support)
    except InsufficientData:
        return Promise(None, None)
    return Promise(coverage.told(model), coverage)


@dataclass(frozen=True)
class _CellsOf:
    """Cells and days of some rows, as a candidate predicts them."""

    best: Candidate
    data: TrainingSet
    keys: NDArray[np.str_]

    def clicks(self, rows: NDArray[np.intp], *, tried: bool = False) -> Cells:
        """Clicks of impressions."""
        part, keys = self.data.examples.take(rows), self.keys[rows]
        known = counted_well(keys, part.impressions, part.weight)
        part = part.take(known)
        ctr, _ = self.best.rates(part, tried=tried)
        support = part.features.numeric["cell_impressions"]
        return group_cells(keys[known], ctr, part.impressions, part.clicks, support, part.weight)

    def conversions(self, rows: NDArray[np.intp], *, tried: bool = False) -> Cells:
        """Conversions of clicks, as far as they are reported: of a rate that has had a share of its time, that share."""
        part = self.data.examples.take(rows)
        clicked = part.clicks > 0
        part = part.take(clicked)
        maturity = np.ones(len(part)) if part.maturity is None else part.maturity
        ctr, conversion_rate = self.best.rates(part, tried=tried)
        conversions = np.minimum(part.conversions, part.clicks)
        support = part.features.numeric["cell_impressions"] * ctr
        return group_cells(
            self.keys[rows][clicked], conversion_rate * maturity, part.clicks, conversions, support, part.weight
        )
