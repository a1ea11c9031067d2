"""What training found, as rows: of conversions the interval that is answered, and nothing where it was not measured."""

from __future__ import annotations

import msgspec

from bidloop.app.evidence import coverage_rows
from bidloop.app.report.content import CoverageRow
from bidloop.prediction.intervals import Coverage, TierCoverage

COVERAGE = Coverage(
    level=0.95, cells=120, covered=0.97, below=0.01, above=0.02, width=0.91,
    tiers=(TierCoverage(0.0, 60, 0.98, 0.95), TierCoverage(80.0, 60, 0.96, 0.87)), counts_covered=0.944, true_width=0.12,
)  # fmt: skip


def test_of_clicks_the_interval_of_the_coming_rate_is_told_by_tier() -> None:
    rows = coverage_rows(COVERAGE)
    assert [row.tier for row in rows] == ["all", "0 – 80 impressions", "from 80 impressions"]
    assert [(row.covered, row.mean_width) for row in rows] == [(0.97, 0.91), (0.98, 0.95), (0.96, 0.87)]


def test_of_conversions_the_interval_of_the_true_rate_is_told() -> None:
    assert coverage_rows(COVERAGE, "clicks") == [
        CoverageRow(tier="counts of all cells", cells=120, covered=0.944, mean_width=0.12)
    ]


def test_of_conversions_whose_counts_cannot_tell_nothing_is_said() -> None:
    assert coverage_rows(msgspec.structs.replace(COVERAGE, counts_covered=None), "clicks") == []
    assert coverage_rows(None, "clicks") == []
