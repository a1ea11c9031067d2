"""What an opportunity says by itself: its categories, its time and its measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidloop.core.opportunity import Opportunity
from bidloop.features.local_time import LocalTimes
from bidloop.features.source import column
from bidloop.features.view import FeatureView


@dataclass(frozen=True)
class Facts:
    """The features of n opportunities that need no memory, and the columns that the keys of the rates are made of."""

    numeric: dict[str, NDArray[np.float64]]
    categorical: dict[str, NDArray[np.object_]]
    sources: dict[str, list[str]]


def facts(view: FeatureView, opportunities: Sequence[Opportunity]) -> Facts:
    """Read everything that n opportunities carry themselves."""
    times = LocalTimes(opportunities, view.timezone)
    sources = key_columns(view, opportunities, times)
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
    return Facts(numeric, categorical, sources)


def key_columns(
    view: FeatureView, opportunities: Sequence[Opportunity], times: LocalTimes | None = None
) -> dict[str, list[str]]:
    """The columns that the keys of a view's rates are made of, by source."""
    names = dict.fromkeys(source for rate in view.rates for source in rate.key)
    if times is None:
        times = LocalTimes(opportunities if any(name.startswith("time.") for name in names) else (), view.timezone)
    return {name: column(name, opportunities, times) for name in names}


def _finite(value: float) -> float:
    return float(value) if math.isfinite(value) else math.nan
