"""The benchmark of order values runs, on little, and shows what it promises."""

from __future__ import annotations

from benchmarks import order_value


def test_ours_errs_less_than_averages_and_its_intervals_hold_where_theirs_do_not() -> None:
    rows = order_value.run(4, seed=1, families=("log-normal 1", "Pareto 2", "reports"), accounts=((150, 20),))
    found = {(row.family, row.way): row for row in rows}
    for family in ("log-normal 1", "Pareto 2", "reports"):
        ours = found[family, "ours"]
        for way in ("mean", "pool", "median", "credibility"):
            assert ours.error < found[family, way].error
        assert ours.covered is not None
        assert 0.91 < ours.covered < 0.98
        assert abs(ours.total) < 0.04
    mean = found["Pareto 2", "mean"]
    assert mean.covered is not None
    assert mean.covered < 0.87


def test_a_wrong_order_moves_ours_a_little_and_an_average_a_lot() -> None:
    found = {giant.way: giant for giant in order_value.giants(2, seed=1, sizes=(20,))}
    assert found["ours"].campaign < 1.4
    assert found["ours"].others < 1.15
    assert found["mean"].campaign > 20


def test_cells_that_differ_are_told_apart() -> None:
    found = {row.way: row for row in order_value.in_cells(1, seed=1, families=("log-normal 1",))}
    assert found["ours, by cell"].error < min(found["ours, by campaign"].error, found["mean"].error)
    covered = found["ours, by cell"].covered
    assert covered is not None
    assert 0.91 < covered < 0.98
