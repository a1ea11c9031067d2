"""Campaign-days that make no sense are refused, and today is the mean of the last week."""

from __future__ import annotations

import numpy as np
import pytest

from bidloop.bidding.allocation.days import CampaignDays
from bidloop.core.errors import InvalidInput

DAY = np.array(["2026-03-01", "2026-03-02"], dtype="datetime64[D]")
IDS = np.array(["brand", "brand"], dtype=object)
ONE = np.ones(2)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"spend": np.array([1.0, -1.0])}, "spend -1.0 of 'brand' on 2026-03-02"),
        ({"outcome": np.array([np.nan, 1.0])}, "outcome nan"),
        ({"outcome": np.ones(3)}, "different lengths"),
        ({"reported": np.array([0.0, 1.0])}, "reported share"),
        ({"day": DAY[[0, 0]]}, "two rows for one day"),
    ],
)
def test_rows_that_make_no_sense_are_refused_with_the_reason(changed: dict[str, object], word: str) -> None:
    columns = {"campaign": IDS, "day": DAY, "spend": ONE, "outcome": ONE} | changed
    with pytest.raises(InvalidInput, match=word):
        CampaignDays(**columns)  # type: ignore[arg-type]


def test_a_day_without_spend_counts_as_nothing_in_todays_mean() -> None:
    day = np.array(["2026-03-01", "2026-03-08", "2026-03-14"], dtype="datetime64[D]")
    days = CampaignDays(np.array(["a", "b", "b"], dtype=object), day, np.array([700.0, 70.0, 7.0]), np.zeros(3))
    assert days.today(recent_days=7) == {"a": 0.0, "b": 11.0}


def test_a_history_shorter_than_a_week_is_averaged_over_its_own_days() -> None:
    assert CampaignDays(IDS, DAY, np.array([10.0, 20.0]), ONE).today(recent_days=7) == {"brand": 15.0}
