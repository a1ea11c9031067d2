"""Which cells of a sampled log have a rate that an interval could be held against."""

from __future__ import annotations

import numpy as np
import pytest

from bidloop.prediction.intervals.cells import counted_well


@pytest.mark.parametrize(
    ("weights", "known"),
    [
        ([1.0], True),
        ([292.0], False),
        ([292.0] * 4, False),
        ([292.0] * 5, True),
        ([1.0] * 3 + [292.0], False),
        ([1.0] * 600 + [292.0], True),
    ],
    ids=["unsampled", "one of 292", "four", "five", "a few clicks beside one", "hardly sampled"],
)
def test_a_cell_s_size_is_known_from_five_sampled_rows_on(weights: list[float], known: bool) -> None:
    n = len(weights)
    assert counted_well(["cell"] * n, np.ones(n), weights).tolist() == [known] * n


def test_each_cell_is_counted_by_itself_and_clicks_alone_tell_no_size() -> None:
    keys = ["a", "b", "b", "c"] + ["d"] * 12
    known = counted_well(keys, np.ones(16), [1.0, 50.0, 50.0, 1.0] + [50.0] * 12)
    assert known.tolist() == [False, False, False, False] + [True] * 12
