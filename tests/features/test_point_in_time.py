from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from bidloop.core.errors import InvalidInput
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Observations
from bidloop.features.scan import decayed_running_sums
from bidloop.features.training import point_in_time
from bidloop.features.views import campaign_view

START = datetime(2026, 1, 5, tzinfo=UTC)


def shown(days: float, campaign: str = "shoes") -> Opportunity:
    return Opportunity(opportunity_id="o", at=START + timedelta(days=days), campaign_id=campaign)


def seen(*days: float, impressions: float = 100.0) -> Observations:
    n = len(days)
    return Observations(
        at=np.array([(START + timedelta(days=day)).replace(tzinfo=None) for day in days], dtype="datetime64[us]"),
        opportunities=[shown(day) for day in days],
        impressions=np.full(n, impressions),
        clicks=np.ones(n),
        conversions=np.zeros(n),
        value=np.zeros(n),
        cost=np.zeros(n),
    )


def test_each_row_knows_only_its_own_past():
    view = campaign_view(half_life_days=1.0)
    table = point_in_time(view, seen(2, 0, 1), [shown(2), shown(0), shown(3), shown(1)])
    np.testing.assert_allclose(table.numeric["account_impressions"], [75.0, math.nan, 87.5, 50.0])


def test_another_campaign_shares_the_account_but_not_the_cell():
    table = point_in_time(campaign_view(half_life_days=1.0), seen(0), [shown(1, "hats")])
    assert table.numeric["account_impressions"][0] == pytest.approx(50.0)
    assert table.numeric["cell_impressions"][0] == 0.0


def test_without_observations_every_rate_is_missing():
    table = point_in_time(campaign_view(), seen(), [shown(0)])
    assert math.isnan(table.numeric["account_ctr"][0])
    assert math.isnan(table.numeric["cell_impressions"][0])


def test_without_questions_there_are_no_rows_but_all_columns():
    view = campaign_view()
    table = point_in_time(view, seen(0, 1), [])
    assert tuple(table.numeric) == view.numeric_names
    assert len(table) == 0


def test_numbers_that_make_no_sense_are_refused():
    with pytest.raises(InvalidInput, match="impressions in observation 0"):
        point_in_time(campaign_view(), seen(0, impressions=math.nan), [shown(1)])


def test_less_than_nothing_reads_as_nothing_and_is_not_forgotten():
    taken, added = seen(0, impressions=-100.0), seen(1, impressions=300.0)
    both = Observations(
        **{
            name: np.concatenate((getattr(taken, name), getattr(added, name)))
            for name in ("at", "impressions", "clicks", "conversions", "value", "cost")
        },
        opportunities=[*taken.opportunities, *added.opportunities],
    )
    known = point_in_time(campaign_view(half_life_days=1.0), both, [shown(1), shown(2)])
    np.testing.assert_allclose(known.numeric["account_impressions"], [math.nan, 150.0 - 25.0])
    assert known.numeric["account_ctr"][1] == pytest.approx((0.75 + 2) / (125 + 2 / 0.01))


def test_running_sums_of_a_small_key_are_exact_beside_a_huge_one():
    group = np.array([0] * 1000 + [1] * 3)
    time = np.concatenate((np.linspace(0, 5000, 1000), [10.0, 11.0, 4000.0]))
    amounts = np.concatenate((np.full(1000, 1e12), [4.0, 1.0, 1e-3]))[:, None]
    sums = decayed_running_sums(group, time, amounts)
    np.testing.assert_allclose(sums[-3:, 0], [4.0, 3.0, 1e-3], rtol=1e-15)
