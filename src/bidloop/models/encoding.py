"""Learns how a feature table becomes floats and slots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bidloop.core.encoding import CategoryField, Encoding, NumericField, bucket
from bidloop.core.errors import InsufficientData
from bidloop.core.examples import Examples

FEWEST_WEEKDAYS = 14
"""Days that training must span before weekdays are used: a weekday seen once is nothing but a date."""

RATE_CLIP = 1e4
"""A rate is at most this many times the typical one."""

MOST_BUCKETS = 1 << 20


def fit_encoding(examples: Examples) -> Encoding:
    """Learn the slots of every category and the scale of every number that can tell rows apart.

    * A category is hashed into eight times as many buckets as it has values, so that about one value in sixteen
      shares its slot with another.
    * A number is centred on its mean and divided by its standard deviation; a missing one becomes the mean.
    * A rate (``*_ctr``, ``*_conversion_rate``) is divided by its median and not centred, so that models can take ratios
      and logs of it; a missing one becomes the median.
    * Left out are counts of the past (``*_impressions``), what is constant, and weekdays when training spans fewer than
      14 days.

    Examples
    --------
    >>> from bidloop.core.feature_table import FeatureTable
    >>> table = FeatureTable(
    ...     "v1",
    ...     {"hour_sin": np.array([-1.0, 1.0]), "cell_impressions": np.array([5.0, 9.0])},
    ...     {"device": np.array(["mobile", "desktop"], dtype=object)},
    ... )
    >>> at, one = np.array(["2026-01-01", "2026-01-02"], dtype="datetime64[us]"), np.ones(2)
    >>> encoding = fit_encoding(Examples(table, at, one, 0 * one, 0 * one, 0 * one, one))
    >>> [field.name for field in encoding.numeric], [field.name for field in encoding.categories]
    (['hour_sin'], ['device'])
    """
    table = examples.features
    days = (examples.at.max() - examples.at.min()) / np.timedelta64(1, "D") if len(examples) else 0.0
    left_out = () if days >= FEWEST_WEEKDAYS - 1 else ("weekday", "weekday_sin", "weekday_cos")
    numeric = [
        _number(name, column) for name, column in table.numeric.items() if name not in left_out and not is_count(name)
    ]
    categories = [_category(name, column) for name, column in table.categorical.items() if name not in left_out]
    return Encoding(
        table.view,
        tuple(field for field in numeric if field is not None),
        tuple(field for field in categories if len(field.seen) > 1),
    )


def require_features(fields: int) -> None:
    """Refuse to fit a kind of model that reads features where it has none to read.

    Parameters
    ----------
    fields
        How many of those that it reads differ between rows.

    Raises
    ------
    InsufficientData
        When there are none.
    """
    if fields == 0:
        raise InsufficientData(
            "no feature differs between rows, of those that this kind of model reads",
            expected="at least one",
            remedy="Train on a longer stretch of the log, or on a view with more features.",
        )


def is_rate(name: str) -> bool:
    """Whether a feature is a rate of clicks or conversions."""
    return name.endswith(("_ctr", "_conversion_rate"))


def is_count(name: str) -> bool:
    """Whether a feature is a count of the past or its log, which grows with the length of the log."""
    return name.endswith("_impressions")


def _number(name: str, column: NDArray[np.float64]) -> NumericField | None:
    known = column[np.isfinite(column)]
    if len(known) == 0 or known.min() == known.max():
        return None
    if is_rate(name):
        typical = float(np.median(known[known > 0])) if np.any(known > 0) else 1.0
        return NumericField(name, fill=typical, shift=0.0, scale=typical, clip=RATE_CLIP)
    mean, spread = float(known.mean()), float(known.std())
    return NumericField(name, fill=mean, shift=mean, scale=spread) if spread > 0 else None


def _category(name: str, column: NDArray[np.object_]) -> CategoryField:
    values = {str(value) for value in column} - {""}
    buckets = min(MOST_BUCKETS, 1 << max(6, int(np.ceil(np.log2(8 * max(1, len(values)))))))
    return CategoryField(name, (name,), buckets, tuple(sorted({bucket(name, value, buckets) for value in values})))
