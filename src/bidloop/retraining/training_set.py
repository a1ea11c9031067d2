"""History as labelled rows, split by time, with the share of each row's conversions that is reported by now."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import InsufficientData
from bidloop.core.examples import Examples
from bidloop.core.feature_table import FeatureTable
from bidloop.core.local_day import local_days
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Outcomes
from bidloop.features.training import point_in_time
from bidloop.features.view import FeatureView
from bidloop.outcomes.delay import DelayModel
from bidloop.outcomes.delay_fit import fit_delay_model
from bidloop.outcomes.maturity import matured
from bidloop.outcomes.ports import History
from bidloop.retraining.evidence import TrainingData
from bidloop.retraining.settings import RenewalSettings

VALIDATION_PART, MOST_VALIDATION_DAYS = 4, 14
"""Of the days that are not held out a fourth is for validation: intervals of days to come need several days to learn from."""


@dataclass(frozen=True)
class Split:
    """Rows by time: the earliest to fit on, later ones to validate on, the last ones to judge on."""

    fit: NDArray[np.intp]
    validation: NDArray[np.intp]
    held_out: NDArray[np.intp]


@dataclass(frozen=True)
class TrainingSet:
    """All that a renewal learns from and judges on.

    Parameters
    ----------
    outcomes
        What came of everything shown, as known at `as_of`, n rows in order of time.
    examples
        The same as labelled rows, with the share of their conversions that is reported by then.
    split
        Which rows are fitted, validated on, and held out.
    delays
        How late conversions are; `None` where none tells, and then every label counts as it is.
    as_of
        Nothing later was looked at.
    """

    outcomes: Outcomes
    examples: Examples
    split: Split
    delays: DelayModel | None
    as_of: datetime

    @property
    def parts(self) -> tuple[Examples, Examples, Examples]:
        """The rows to fit on, to validate on, and to judge on."""
        split = self.split
        return self.examples.take(split.fit), self.examples.take(split.validation), self.examples.take(split.held_out)

    @property
    def described(self) -> TrainingData:
        """What this is, for the record."""
        rows, split = self.examples, self.split
        parts = {"fit": split.fit, "validation": split.validation, "held_out": split.held_out}
        seen = hashlib.sha256()
        for column in (rows.at, rows.impressions, rows.clicks, rows.conversions, rows.weight, *parts.values()):
            seen.update(np.ascontiguousarray(column).tobytes())
        return TrainingData(
            as_of=self.as_of,
            first=_instant(rows.at[0]),
            last=_instant(rows.at[-1]),
            rows={name: len(part) for name, part in parts.items()},
            impressions=float(np.sum(rows.weight * rows.impressions)),
            clicks=float(np.sum(rows.weight * rows.clicks)),
            conversions=float(np.sum(rows.weight * rows.conversions)),
            fingerprint=seen.hexdigest()[:16],
        )


def read_training_set(
    history: History,
    view: FeatureView,
    settings: RenewalSettings,
    *,
    now: datetime,
    window_days: float,
    on_progress: Callable[[str, float], None] | None = None,
) -> TrainingSet:
    """History as it is known now, as labelled rows with the features of their own instants.

    Parameters
    ----------
    now
        Nothing later counts. Where the log ends earlier, what is known is as of its end, so that the same log gives the same
        training set whenever it is read.
    window_days
        The conversion window: nothing arrives later.
    on_progress
        Told what is being done, and the share that is done.

    Raises
    ------
    InsufficientData
        When there are too few rows or days.
    """
    report = on_progress or (lambda doing, share: None)
    report("reading the history", 0.0)
    # What came after the log's last event nobody has told yet: that time is not time that conversions have had.
    as_of = min(now, history.latest() or now)
    outcomes = history.outcomes(as_of=as_of)
    if len(outcomes) < settings.minimum_rows:
        raise InsufficientData(
            f"{len(outcomes):,} rows of history",
            expected=f"at least {settings.minimum_rows:,}",
            remedy="Ingest more of the log, or lower renewal.minimum_rows.",
        )
    split = split_by_time(
        outcomes.at, view.timezone, held_out_days=settings.held_out_days, validation_days=settings.validation_days
    )
    report("delays of conversions", 0.3)
    delays = fit_delay_model(history.delays(as_of=as_of), window_days=window_days)
    report("features as they were", 0.4)
    table = features_as_of_then(view, history, outcomes.opportunities)
    return TrainingSet(outcomes, examples_of(outcomes, table, delays, as_of), split, delays, as_of)


def features_as_of_then(view: FeatureView, history: History, opportunities: Sequence[Opportunity]) -> FeatureTable:
    """The feature values of n opportunities, each as of its own instant, from all that the history tells."""
    happenings = history.happenings() if view.amounts else ()
    return point_in_time(view, history.observations(), opportunities, happenings)


def examples_of(outcomes: Outcomes, table: FeatureTable, delays: DelayModel | None, as_of: datetime) -> Examples:
    """Outcomes as known at an instant, with their feature values, as labelled rows."""
    return Examples(
        table,
        outcomes.at,
        outcomes.impressions,
        outcomes.clicks,
        outcomes.conversions,
        outcomes.value,
        outcomes.weight,
        matured(outcomes, delays, as_of),
    )


def split_by_time(
    at: NDArray[np.datetime64], timezone: str, *, held_out_days: int, validation_days: int | None = None
) -> Split:
    """Split rows at midnights of the account's timezone, so that no later row helps to predict an earlier one.

    Parameters
    ----------
    at
        Time of each row, datetime64[us] in UTC, shape (n,).
    timezone
        IANA name of the account's timezone.
    held_out_days, validation_days
        The last days, and the days before those; `None` is a quarter of what is left, 1 at least and 14 at most.

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
    if validation_days is None:
        first, end = local_days(np.array([at.min(), at.max()]), timezone)
        left = int((end - first).astype(int)) + 1 - held_out_days
        validation_days = min(max(1, left // VALIDATION_PART), MOST_VALIDATION_DAYS)
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


def _instant(at: np.datetime64) -> datetime:
    moment: datetime = at.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)


def _utc(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")
