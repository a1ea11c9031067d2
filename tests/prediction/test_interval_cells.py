"""Which cells of a sampled log have a rate that an interval could be held against."""

from __future__ import annotations

import numpy as np
import pytest

from bidloop.prediction.intervals.cells import checked, counted_well, group_cells


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


def test_a_cell_is_held_against_what_was_predicted_before_any_of_it_was_seen() -> None:
    cells = group_cells(["b", "a", "b", "b"], [0.1, 0.2, 0.5, 0.6], np.ones(4), [1, 0, 1, 1], [7, 8, 70, 80])
    assert (cells.p.tolist(), cells.support.tolist()) == ([0.2, 0.1], [8, 7])
    assert (cells.impressions.tolist(), cells.clicks.tolist()) == ([1, 3], [0, 3])


def test_of_conversions_that_are_still_to_come_the_share_that_had_its_time_is_expected() -> None:
    told = group_cells(["a", "a"], [0.1, 0.1], [3, 1], [1, 0], [40, 40], reported=[0.2, 1.0])
    assert told.reported.tolist() == pytest.approx([0.4])
    so_far = told.so_far()
    assert (so_far.p[0], so_far.support[0]) == pytest.approx((0.04, 100)), "as many events are expected in the past"


@pytest.mark.parametrize(
    ("of_clicks", "of_rest", "effect"), [(1.0, 1.0, 1.0), (10.0, 10.0, 10.0), (1.0, 290.0, 1.289), (1.0, 1.5, 1.0)]
)
def test_counts_say_as_much_as_the_rows_that_were_kept(of_clicks: float, of_rest: float, effect: float) -> None:
    cells = group_cells(["a", "a", "b"], [0.001] * 3, [1, 10, 8], [1, 0, 0], [0, 0, 0], [of_clicks, of_rest, of_rest])
    assert cells.design.tolist() == pytest.approx([effect, effect], rel=1e-3)


def test_at_most_fifty_thousand_cells_are_looked_at() -> None:
    column = np.ones(120_000)
    assert len(checked(column, column, column, column).thinned()) == 40_000
