"""The benchmark of late conversions runs, on little, and shows the difference that it is about."""

from __future__ import annotations

from benchmarks.late_conversions import KINDS, WORLDS, levels, run


def test_discounted_trials_come_nearer_to_the_truth_than_taking_labels_as_they_are() -> None:
    errors, delay_errors, chosen = run(["exponential"], seeds=1, auctions=1500)
    assert set(chosen) == {"exponential"} < set(WORLDS)
    by_name = {(error.method, error.model): error.mean for error in errors}
    for model in ("logistic", "trees"):
        assert by_name["naive", model] < -0.25
        assert abs(by_name["trials, as chosen", model]) < 0.15
    late = {error.method: error.root_mean_square for error in delay_errors}
    assert set(late) == {"plain average", "as chosen", *(kind for kind in KINDS if kind)}
    assert late["as chosen"] < late["plain average"]


def test_one_rate_is_nearly_right_by_every_way_of_counting_but_the_naive_one() -> None:
    off = {level.method: level.mean for level in levels(draws=2, clicks=20_000)}
    assert off.pop("naive") < -0.25
    assert set(off) == {"trials", "delay buckets", "importance", "true delay"}
    assert all(abs(error) < 0.15 for error in off.values())
