"""The kill test, on little: nothing accepted is lost or there twice, whatever is killed."""

from __future__ import annotations

from benchmarks import chaos


def test_whatever_is_killed_nothing_is_lost_nothing_is_there_twice_and_features_are_the_same() -> None:
    report = chaos.run(events=3_000, kills=6, servers=1, absorbers=2, interval=1.0)
    assert report.right, report
    assert sum(report.kills.values()) >= 6
    assert {"redis", "postgresql", "server 0", "absorber 0"} <= report.kills.keys()
    assert (report.sent, report.good, report.duplicates, report.bad) == (3_000, 2_850, 120, 30)
    assert report.answered["rejected"] >= report.bad
    assert report.feature_values > 10_000
