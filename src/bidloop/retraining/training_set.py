"""History as labelled rows, split by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import InsufficientData
from bidloop.core.examples import Examples
from bidloop.core.feature_table import FeatureTable
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Outcomes
from bidloop.features.training import point_in_time
from bidloop.features.view import FeatureView
from bidloop.outcomes.ports import History


@dataclass(frozen=True)
class Split:
    """Rows by time: the earliest to fit on, later ones to validate on, the last ones to judge on."""

    fit: NDArray[np.intp]
    validation: NDArray[np.intp]
    held_out: NDArray[np.intp]


def features_as_of_then(view: FeatureView, history: History, opportunities: Sequence[Opportunity]) -> FeatureTable:
    """The feature values of n opportunities, each as of its own instant, from all that the history tells."""
    happenings = history.happenings() if view.amounts else ()
    return point_in_time(view, history.observations(), opportunities, happenings)


def examples_of(outcomes: Outcomes, table: FeatureTable) -> Examples:
    """Outcomes with their feature values as labelled rows."""
    return Examples(
        table,
        outcomes.at,
        outcomes.impressions,
        outcomes.clicks,
        outcomes.conversions,
        outcomes.value,
        outcomes.weight,
    )


def split_by_time(at: NDArray[np.datetime64], timezone: str, *, held_out_days: int, validation_days: int) -> Split:
    """Split rows at midnights of the account's timezone, so that no later row helps to predict an earlier one.

    Parameters
    ----------
    at
        Time of each row, datetime64[us] in UTC, shape (n,).
    timezone
        IANA name of the account's timezone.

    Raises
    ------
    InsufficientData
        When the rows span too few days for the split.

    Examples
    --------
    >>> at = np.datetime64("2026-01-01T12:00", "us") + np.arange(5) * np.timedelta64(1, "D")
    >>> split = split_by_time(at, "UTC", held_out_days=2, validation_days=1)
    >>> split.fit, split.validation, split.held_out
    (array([0, 1]), array([2]), array([3, 4]))
    """
    if len(at) == 0:
        raise InsufficientData("no rows at all", expected="outcomes of several days", remedy="Ingest a log first.")
    last = at.max().astype("datetime64[us]").item().replace(tzinfo=UTC).astimezone(ZoneInfo(timezone))
    midnight = datetime(last.year, last.month, last.day, tzinfo=last.tzinfo)
    held_out_from = _utc(midnight - timedelta(days=held_out_days - 1))
    validation_from = _utc(midnight - timedelta(days=held_out_days - 1 + validation_days))
    split = Split(
        np.flatnonzero(at < validation_from),
        np.flatnonzero((at >= validation_from) & (at < held_out_from)),
        np.flatnonzero(at >= held_out_from),
    )
    for name, rows in (("fit", split.fit), ("validation", split.validation), ("held-out", split.held_out)):
        if len(rows) == 0:
            first = at.min().astype("datetime64[D]")
            raise InsufficientData(
                f"no {name} rows between {first} and {last.date()}",
                expected=f"at least {held_out_days + validation_days + 1} days of outcomes",
                remedy="Ingest more days, or lower held_out_days and validation_days.",
            )
    return split


def local_days(at: NDArray[np.datetime64], timezone: str) -> NDArray[np.int64]:
    """Number of the day on which each instant falls in the account's timezone, int64, shape (n,).

    Examples
    --------
    >>> at = np.array(["2026-01-01T15:59", "2026-01-01T16:00"], dtype="datetime64[us]")
    >>> np.diff(local_days(at, "Asia/Shanghai"))
    array([1])
    """
    # Clocks differ by whole quarters of an hour, so a year of rows needs 35,000 conversions at most.
    quarters, which = np.unique(at.astype("datetime64[s]").astype(np.int64) // 900, return_inverse=True)
    zone = ZoneInfo(timezone)
    days = [datetime.fromtimestamp(int(quarter) * 900, UTC).astimezone(zone).toordinal() for quarter in quarters]
    return np.array(days, dtype=np.int64)[which]


def _utc(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")
