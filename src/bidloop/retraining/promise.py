"""Intervals of the rates that a candidate predicts, learned on the validation days and held against the held-out ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import InsufficientData
from bidloop.core.local_day import local_days
from bidloop.features.cells import cell_keys
from bidloop.features.view import FeatureView
from bidloop.prediction.intervals import Cells, Coverage, IntervalModel, fit_intervals, group_cells, measure_coverage
from bidloop.prediction.intervals.cells import counted_well
from bidloop.retraining.judging import Candidate
from bidloop.retraining.training_set import TrainingSet

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Promise:
    """Intervals with the coverage they had; `None` both where there are too few cells to learn from or to measure on."""

    model: IntervalModel | None
    coverage: Coverage | None


def promises(best: Candidate, data: TrainingSet, view: FeatureView, level: float) -> tuple[Promise, Promise]:
    """Intervals of click rates and of conversion rates.

    One cell per key of the view and day: the unit that an interval speaks of. Only what came of the intervals of conversion
    rates is counted by key over all held-out days, beside what was predicted at their beginning: a day of a key mostly has one
    click or none, which whatever interval would cover as stated.
    """
    keys = cell_keys(view, data.outcomes.opportunities).astype(str)
    days = local_days(data.examples.at, view.timezone).astype(str)
    by_key, by_day = (_CellsOf(best, data, names) for names in (keys, np.char.add(np.char.add(keys, "\x1f"), days)))
    split = data.split
    clicks = _promise(by_day.clicks(split.validation, tried=True), by_day.clicks(split.held_out), level, single=False)
    conversions = _promise(
        by_day.conversions(split.validation, tried=True), by_key.conversions(split.held_out), level, single=True
    )
    return clicks, conversions


def _promise(known: Cells, later: Cells, level: float, *, single: bool) -> Promise:
    try:
        model = fit_intervals(
            known.p, known.impressions, known.clicks, known.support, level,
            single=single, design=known.design, reported=known.reported,
        )  # fmt: skip
        coverage = measure_coverage(
            model, later.p, later.impressions, later.clicks, later.support,
            design=later.design, reported=later.reported,
        )  # fmt: skip
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
        rows = self._in_time(rows)
        part, keys = self.data.examples.take(rows), self.keys[rows]
        known = counted_well(keys, part.impressions, part.weight)
        part = part.take(known)
        ctr, _ = self.best.rates(part, tried=tried)
        support = part.features.numeric["cell_impressions"]
        return group_cells(keys[known], ctr, part.impressions, part.clicks, support, part.weight)

    def conversions(self, rows: NDArray[np.intp], *, tried: bool = False) -> Cells:
        """Conversions of clicks, as far as they are reported."""
        rows = self._in_time(rows[self.data.examples.clicks[rows] > 0])
        part = self.data.examples.take(rows)
        ctr, conversion_rate = self.best.rates(part, tried=tried)
        conversions = np.minimum(part.conversions, part.clicks)
        support = part.features.numeric["cell_impressions"] * ctr
        return group_cells(
            self.keys[rows], conversion_rate, part.clicks, conversions, support, part.weight, part.maturity
        )

    def _in_time(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        return rows[np.argsort(self.data.examples.at[rows], kind="stable")]
