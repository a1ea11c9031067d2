from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from bidloop.core.errors import InsufficientData
from bidloop.core.event import CampaignReported
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.features.engineered import engineer, fit_ranges, normalise


def report(impressions=1000, clicks=50, conversions=5, spend="25", at=datetime(2026, 1, 3, 23, tzinfo=UTC), **measures):
    return CampaignReported(
        event_id="r",
        at=at,
        opportunity=Opportunity(opportunity_id="r", at=at, campaign_id="shoes", measures=measures),
        impressions=impressions,
        clicks=clicks,
        conversions=conversions,
        spend=Money.of(spend),
    )


def test_a_row_says_the_specified_names():
    figures = msgspec.to_builtins(engineer(report(quality_score=8.0, impression_share=61.5)))
    assert figures == {
        "hourOfDay": 23,
        "dayOfWeek": 6,
        "cpc": 0.5,
        "ctr": 0.05,
        "conversionRate": 0.1,
        "costPerConversion": 5.0,
        "impressionShare": 61.5,
        "qualityScore": 8.0,
        "dayOfMonth": 3,
        "isWeekend": True,
        "timeCategory": "night",
    }


def test_the_calendar_is_the_accounts_own():
    figures = engineer(report(), "Asia/Shanghai")
    assert (figures.hour_of_day, figures.day_of_week, figures.day_of_month, figures.time_category) == (
        7,
        0,
        4,
        "morning",
    )


def test_what_cannot_be_divided_is_missing_and_not_zero():
    figures = engineer(report(impressions=0, clicks=0, conversions=0, spend="0"))
    assert (figures.ctr, figures.cpc, figures.conversion_rate, figures.cost_per_conversion) == (None,) * 4


@pytest.mark.parametrize("measures", [{}, {"quality_score": float("nan"), "impression_share": float("inf")}])
def test_quality_and_share_are_never_invented(measures):
    figures = engineer(report(**measures))
    assert figures.quality_score is None
    assert figures.impression_share is None


def test_what_the_row_itself_tells_goes_before_the_measures_of_its_opportunity():
    row = report(quality_score=8.0, impression_share=61.5)
    figures = engineer(msgspec.structs.replace(row, impression_share=0.6, quality_score=float("nan")))
    assert (figures.impression_share, figures.quality_score) == (0.6, 8.0)
    bare = engineer(msgspec.structs.replace(report(), impression_share=0.0, quality_score=7.0))
    assert (bare.impression_share, bare.quality_score) == (0.0, 7.0)


def test_normalising_leaves_its_input_alone_and_stays_in_the_unit_interval():
    rows = [engineer(report(clicks=clicks)) for clicks in (10, 20, 50)]
    ranges = fit_ranges(rows[:2])
    before = [msgspec.to_builtins(row) for row in rows]
    scaled = [normalise(row, ranges) for row in rows]
    assert [row.ctr for row in scaled] == [0.0, 1.0, 1.0]
    assert [row.hour_of_day for row in scaled] == [1.0] * 3
    assert [msgspec.to_builtins(row) for row in rows] == before


def test_a_figure_without_a_range_stays_missing_and_one_that_never_varied_is_zero():
    ranges = fit_ranges([engineer(report())])
    scaled = normalise(engineer(report(quality_score=9.0)), ranges)
    assert scaled.quality_score is None
    assert scaled.cpc == 0.0


def test_ranges_need_a_row():
    with pytest.raises(InsufficientData, match="no rows"):
        fit_ranges([])
