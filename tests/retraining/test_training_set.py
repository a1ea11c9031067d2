"""History as labelled rows, split by the account's own days."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from bidloop.core.errors import InsufficientData
from bidloop.core.feature_table import FeatureTable
from bidloop.core.outcome import Outcomes
from bidloop.retraining.training_set import examples_of, split_by_time

HOUR = np.timedelta64(1, "h")


def hours(start: str, n: int) -> np.ndarray:
    return np.datetime64(start, "us") + np.arange(n) * HOUR


def test_every_row_is_in_one_part_and_no_part_reaches_into_a_later_one() -> None:
    at = np.random.default_rng(0).permutation(hours("2026-03-01T00:30", 24 * 9))
    split = split_by_time(at, "UTC", held_out_days=3, validation_days=2)
    everything = np.concatenate([split.fit, split.validation, split.held_out])
    assert sorted(everything.tolist()) == list(range(len(at)))
    assert at[split.fit].max() < at[split.validation].min()
    assert at[split.validation].max() < at[split.held_out].min()
    assert (len(split.fit), len(split.validation), len(split.held_out)) == (4 * 24, 2 * 24, 3 * 24)


@pytest.mark.parametrize(
    ("timezone", "midnight"),
    [("UTC", "2026-03-08T00:00"), ("Asia/Shanghai", "2026-03-07T16:00"), ("America/New_York", "2026-03-08T05:00")],
)
def test_days_begin_at_the_account_s_midnight(timezone: str, midnight: str) -> None:
    at = hours("2026-03-04T12:00", 24 * 4)  # ends on 8 March, when New York's clocks go forward
    split = split_by_time(at, timezone, held_out_days=1, validation_days=1)
    assert at[split.held_out].min() == np.datetime64(midnight, "us")


def test_a_day_of_23_hours_is_one_day() -> None:
    at = hours("2026-03-27T23:00", 24 * 4 - 1)  # Berlin loses an hour in the night to 29 March
    split = split_by_time(at, "Europe/Berlin", held_out_days=2, validation_days=1)
    assert at[split.validation].min() == np.datetime64("2026-03-28T23:00", "us")
    assert at[split.held_out].min() == np.datetime64("2026-03-29T22:00", "us")
    assert len(split.validation) == 23


@pytest.mark.parametrize(("days", "missing"), [(1, "fit"), (3, "fit")])
def test_too_few_days_are_refused_with_what_to_do(days: int, missing: str) -> None:
    with pytest.raises(InsufficientData, match=f"no {missing} rows between 2026-03-01") as refused:
        split_by_time(hours("2026-03-01T00:00", 24 * days), "UTC", held_out_days=2, validation_days=1)
    assert "at least 4 days" in str(refused.value)
    assert "held_out_days" in refused.value.remedy


def test_a_gap_where_the_validation_days_should_be_is_refused() -> None:
    at = np.concatenate([hours("2026-03-01T00:00", 24), hours("2026-03-09T00:00", 48)])
    with pytest.raises(InsufficientData, match="no validation rows"):
        split_by_time(at, "UTC", held_out_days=2, validation_days=1)


@pytest.mark.parametrize(("days", "validation"), [(4, 1), (7, 1), (10, 2), (30, 7), (100, 14)])
def test_a_quarter_of_the_days_before_the_held_out_ones_validates(days: int, validation: int) -> None:
    at = hours("2026-03-01T00:00", 24 * days)
    split = split_by_time(at, "UTC", held_out_days=2)
    sizes = [len(part) // 24 for part in (split.fit, split.validation, split.held_out)]
    assert sizes == [days - 2 - validation, validation, 2]


def test_no_rows_at_all_are_refused() -> None:
    with pytest.raises(InsufficientData, match="Ingest a log first"):
        split_by_time(np.array([], dtype="datetime64[us]"), "UTC", held_out_days=2, validation_days=1)


def test_examples_are_the_outcomes_beside_their_features() -> None:
    at = hours("2026-03-01T00:00", 3)
    columns = {name: np.arange(3) + float(i) for i, name in enumerate("abcdef")}
    outcomes = Outcomes(
        impression_id=np.array(["x", "y", "z"], dtype=object),
        opportunities=[],
        at=at,
        impressions=columns["a"],
        clicks=columns["b"],
        conversions=columns["c"],
        value=columns["d"],
        cost=columns["e"],
        weight=columns["f"],
        mature=np.ones(3, dtype=bool),
    )
    table = FeatureTable("view", {"cell_ctr": np.array([0.1, 0.2, 0.3])}, {})
    examples = examples_of(outcomes, table, None, datetime(2026, 3, 2, tzinfo=UTC))
    assert examples.features is table
    for name, column in zip(("impressions", "clicks", "conversions", "value", "weight"), "abcdf", strict=True):
        np.testing.assert_array_equal(getattr(examples, name), columns[column])
