"""What an opportunity says by itself: its categories, its time and its measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from bidloop.core.opportunity import Opportunity
from bidloop.features.local_time import LocalTimes
from bidloop.features.source import column
from bidloop.features.view import FeatureView


@dataclass(frozen=True)
class Described:
    """What n opportunities say by themselves.

    Parameters
    ----------
    numeric, categorical
        The features that need no memory, by name, shape (n,) each.
    sources
        The columns that were read for them, by source.
    local
        Their instants in the account's timezone.
    """

    numeric: dict[str, NDArray[np.float64]]
    categorical: dict[str, NDArray[np.object_]]
    sources: dict[str, list[str]]
    local: list[datetime]


def describe(view: FeatureView, opportunities: Sequence[Opportunity]) -> Described:
    """Read what n opportunities carry themselves."""
    times = LocalTimes(opportunities, view.timezone)
    sources: dict[str, list[str]] = {}
    for category in view.categories:
        if category.source not in sources:
            sources[category.source] = column(category.source, opportunities, times)
    numeric: dict[str, NDArray[np.float64]] = {}
    for part in view.cyclic:
        sine, cosine = times.cyclic(part)
        numeric[f"{part}_sin"], numeric[f"{part}_cos"] = np.array(sine), np.array(cosine)
    for measure in view.measures:
        values = [_finite(opportunity.measures.get(measure.measure, math.nan)) for opportunity in opportunities]
        numeric[measure.name] = np.array(values, dtype=np.float64)
    categorical = {category.name: np.array(sources[category.source], dtype=object) for category in view.categories}
    return Described(numeric, categorical, sources, times.local)


def _finite(value: float) -> float:
    return float(value) if math.isfinite(value) else math.nan
