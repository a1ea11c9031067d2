"""How sure is a rate, and where will it come to lie? Two intervals, and how often they held.

The *credible interval* is about the true rate of a cell: what it would be if its impressions never ended. The *prediction
interval* is about the realised rate of its coming impressions, which are few; it is wider by their luck.

| notion | file |
|---|---|
| counts of cells: what intervals are learned from and held against | `cells` |
| how far true rates lie from predicted ones: the credible interval | `spread` |
| a predicted rate and its support in, both intervals out | `model` |
| learning both, tier by tier of traffic | `fitting` |
| how often intervals held | `coverage` |
"""

from bidloop.prediction.intervals.cells import Cells, counted_well, group_cells
from bidloop.prediction.intervals.coverage import Coverage, TierCoverage, measure_coverage
from bidloop.prediction.intervals.fitting import fit_intervals
from bidloop.prediction.intervals.model import IntervalModel, Tier
from bidloop.prediction.intervals.spread import Spread, fit_spread

__all__ = [
    "Cells",
    "Coverage",
    "IntervalModel",
    "Spread",
    "Tier",
    "TierCoverage",
    "counted_well",
    "fit_intervals",
    "fit_spread",
    "group_cells",
    "measure_coverage",
]
