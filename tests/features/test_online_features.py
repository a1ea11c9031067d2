from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from bidloop.core.errors import InvalidInput
from bidloop.core.money import Money
from bidloop.core.opportunity import History, Opportunity
from bidloop.core.outcome import Observations
from bidloop.features.online import InProcessStore
from bidloop.features.views import campaign_view, display_view

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)
VIEW = campaign_view(half_life_days=1.0)


def shoes(at: datetime = MONDAY, **change) -> Opportunity:
    cell = {"campaign_id": "shoes", "ad_group_id": "red", "keyword": "buy", "device": "mobile", "location": "DE"}
    return Opportunity(opportunity_id="o", at=at, **{**cell, **change})


def seen(*rows: tuple[Opportunity, float, float, float], at: str | None = None) -> Observations:
    counts = np.array([row[1:] for row in rows], dtype=np.float64).reshape(-1, 3)
    times = [at or row[0].at.replace(tzinfo=None) for row in rows]
    return Observations(
        at=np.array(times, dtype="datetime64[us]"),
        opportunities=[row[0] for row in rows],
        impressions=counts[:, 0],
        clicks=counts[:, 1],
        conversions=counts[:, 2],
        value=np.zeros(len(rows)),
        cost=np.zeros(len(rows)),
    )


def value(store: InProcessStore, name: str, opportunity: Opportunity) -> float | None:
    return store.read([opportunity]).row(0).numeric[name]


def test_nothing_is_known_before_the_first_observation():
    row = InProcessStore(VIEW).read([shoes()]).row(0)
    assert all(known is None for name, known in row.numeric.items() if not name.endswith(("_sin", "_cos")))


def test_counts_halve_with_every_half_life():
    store = InProcessStore(VIEW)
    store.observe(seen((shoes(), 800, 40, 4)))
    assert value(store, "account_impressions", shoes(MONDAY + DAY)) == pytest.approx(400)
    assert value(store, "account_impressions", shoes(MONDAY + 3 * DAY)) == pytest.approx(100)
    assert value(store, "cell_log_impressions", shoes(MONDAY + 3 * DAY)) == pytest.approx(math.log(101))


def test_a_past_that_faded_away_counts_as_none():
    store = InProcessStore(VIEW)
    store.observe(seen((shoes(), 800, 40, 4)))
    assert value(store, "account_ctr", shoes(MONDAY + 29 * DAY)) is not None
    assert value(store, "account_ctr", shoes(MONDAY + 31 * DAY)) is None


def test_rates_are_drawn_towards_the_key_above():
    store = InProcessStore(VIEW)
    # The half-life is one day, so a day later half of the counts stand: 500 impressions, 50 clicks, 10 conversions.
    store.observe(seen((shoes(), 1000, 100, 20)))
    row = store.read([shoes(MONDAY + DAY)]).row(0).numeric
    account = (50 + 2) / (500 + 2 / 0.01)
    assert row["account_ctr"] == pytest.approx(account)
    assert row["campaign_ctr"] == pytest.approx((50 + 2) / (500 + 2 / account))
    assert row["account_conversion_rate"] == pytest.approx((10 + 2) / (50 + 2 / 0.05))


def test_an_unseen_cell_takes_the_rate_of_what_is_known_above_it():
    store = InProcessStore(VIEW)
    store.observe(seen((shoes(), 1000, 100, 20)))
    row = store.read([shoes(MONDAY + DAY, keyword="new", device="tablet")]).row(0).numeric
    assert row["keyword_ctr"] == row["cell_ctr"] == row["ad_group_ctr"]
    assert row["cell_conversion_rate"] == row["ad_group_conversion_rate"]
    assert row["cell_impressions"] == 0.0
    other = store.read([shoes(MONDAY + DAY, campaign_id="hats")]).row(0).numeric
    assert other["cell_ctr"] == other["account_ctr"]


def test_a_conversion_rate_stays_unknown_until_somebody_clicked():
    store = InProcessStore(VIEW)
    store.observe(seen((shoes(), 1000, 0, 0)))
    assert value(store, "account_ctr", shoes(MONDAY + DAY)) == pytest.approx(2 / (500 + 200))
    assert value(store, "account_conversion_rate", shoes(MONDAY + DAY)) is None


def test_a_rate_never_exceeds_one_even_where_conversions_outnumber_clicks():
    store = InProcessStore(VIEW)
    store.observe(seen((shoes(), 10, 5, 500)))
    assert value(store, "cell_conversion_rate", shoes(MONDAY + DAY)) == 1.0


def test_what_was_restated_counts_as_it_was_restated():
    restated, right = InProcessStore(VIEW), InProcessStore(VIEW)
    restated.observe(seen((shoes(), 1000, 100, 20), (shoes(), -200, -60, -20)))
    right.observe(seen((shoes(), 800, 40, 0)))
    assert restated.read([shoes(MONDAY + DAY)]).row(0) == right.read([shoes(MONDAY + DAY)]).row(0)


def test_less_than_nothing_reads_as_nothing_and_is_not_forgotten():
    store = InProcessStore(VIEW)
    store.observe(seen((shoes(), 1000, 10, -5)))
    row = store.read([shoes(MONDAY + DAY)]).row(0).numeric
    assert row["account_conversion_rate"] == pytest.approx(2 / (5 + 2 / 0.05))
    store.observe(seen((shoes(), -2000, 0, 0)))
    assert value(store, "account_ctr", shoes(MONDAY + DAY)) is None
    store.observe(seen((shoes(), 1800, 0, 7)))
    row = store.read([shoes(MONDAY + DAY)]).row(0).numeric
    assert row["account_impressions"] == pytest.approx(400)
    assert row["account_conversion_rate"] == pytest.approx((1 + 2) / (5 + 2 / 0.05))


def test_what_is_taken_back_before_it_was_added_meets_it_later():
    store = InProcessStore(VIEW)
    store.observe(seen((shoes(MONDAY - DAY), -100, 0, 0), (shoes(), 1000, 10, 0)))
    assert value(store, "account_impressions", shoes(MONDAY)) is None
    assert value(store, "account_impressions", shoes(MONDAY + DAY)) == pytest.approx(500 - 25)
    # Late facts join the sums behind them as they are, not as they read.
    store.observe(seen((shoes(MONDAY - 2 * DAY), -100, 0, 0)))
    assert value(store, "account_impressions", shoes(MONDAY + DAY)) == pytest.approx(500 - 25 - 12.5)


def test_an_impression_is_no_part_of_its_own_features():
    store = InProcessStore(VIEW)
    store.observe(seen((shoes(), 1, 1, 0)))
    assert value(store, "account_ctr", shoes()) is None
    assert value(store, "account_ctr", shoes(MONDAY + timedelta(microseconds=1))) is not None


def test_a_late_click_does_not_change_an_earlier_feature():
    store = InProcessStore(VIEW)
    store.observe(seen((shoes(), 100, 1, 0)))
    before = store.read([shoes(MONDAY + DAY)]).row(0)
    store.observe(seen((shoes(MONDAY + 2 * DAY), 0, 1, 0)))
    assert store.read([shoes(MONDAY + DAY)]).row(0) == before
    assert value(store, "cell_ctr", shoes(MONDAY + 3 * DAY)) != before.numeric["cell_ctr"]


def test_a_late_observation_counts_as_if_it_had_come_in_time():
    facts = [(shoes(MONDAY + days * DAY), 100, 1, 0) for days in (0, 1, 2, 2, 3)]
    late, timely = InProcessStore(VIEW), InProcessStore(VIEW)
    timely.observe(seen(*facts))
    # One of the two facts of the same instant comes first, the other late, together with two older ones.
    for arriving in ((4, 2), (0, 3, 1)):
        late.observe(seen(*(facts[i] for i in arriving)))
        late.read([shoes(MONDAY + 9 * DAY)])
    for days in (0.5, 1, 1.5, 2, 2.5, 3, 4):
        assert late.read([shoes(MONDAY + days * DAY)]).row(0) == timely.read([shoes(MONDAY + days * DAY)]).row(0)


HISTORY = History(ctr=0.04, conversion_rate=0.1, spend=Money.of(100), impressions=5000, clicks=200)


def test_the_callers_history_stands_in_where_nothing_was_seen():
    row = InProcessStore(VIEW).read([shoes(history=HISTORY)]).row(0).numeric
    assert row["cell_ctr"] == pytest.approx(0.04)
    assert row["cell_conversion_rate"] == pytest.approx(0.1)
    assert row["cell_impressions"] == 5000
    assert row["account_ctr"] is None


def test_the_callers_history_is_drawn_towards_the_known_rate_above():
    store = InProcessStore(VIEW)
    store.observe(seen((shoes(keyword="other"), 100_000, 1000, 10)))
    row = store.read([shoes(MONDAY + DAY, history=HISTORY)]).row(0).numeric
    assert row["keyword_ctr"] < row["cell_ctr"] < 0.04


def test_own_observations_go_before_the_callers_history():
    store = InProcessStore(VIEW)
    store.observe(seen((shoes(), 1000, 10, 1)))
    later = MONDAY + DAY
    assert store.read([shoes(later, history=HISTORY)]).row(0) == store.read([shoes(later)]).row(0)


def test_a_history_without_impressions_says_nothing():
    empty = History(ctr=0.5, conversion_rate=0.5, spend=Money(0), impressions=0, clicks=0)
    assert value(InProcessStore(VIEW), "cell_ctr", shoes(history=empty)) is None


def test_time_is_told_on_the_accounts_own_clock():
    view = display_view(["slot"], timezone="Asia/Shanghai")
    sunday_evening = Opportunity(opportunity_id="o", at=datetime(2026, 1, 4, 18, tzinfo=UTC), campaign_id="c")
    row = InProcessStore(view).read([sunday_evening]).row(0)
    assert (row.categorical["hour"], row.categorical["weekday"], row.categorical["part_of_day"]) == (
        "2",
        "monday",
        "night",
    )
    assert row.numeric["hour_sin"] == pytest.approx(math.sin(2 * math.pi * 2 / 24))
    assert (row.numeric["weekday_sin"], row.numeric["weekday_cos"]) == (0.0, 1.0)


def test_midnight_is_next_to_a_minute_before_it():
    store = InProcessStore(VIEW)
    late, early = (store.read([shoes(MONDAY + timedelta(minutes=m))]).row(0).numeric for m in (-1, 0))
    assert math.dist((late["hour_sin"], late["hour_cos"]), (early["hour_sin"], early["hour_cos"])) < 0.005


def test_missing_and_infinite_measures_are_missing_and_a_missing_attribute_is_empty():
    view = display_view(["slot"], ["floor"])
    rows = [
        Opportunity(opportunity_id="o", at=MONDAY, campaign_id="c", measures=measures)
        for measures in ({"floor": 3.0}, {}, {"floor": math.inf}, {"floor": math.nan})
    ]
    table = InProcessStore(view).read(rows)
    assert [table.row(i).numeric["floor"] for i in range(4)] == [3.0, None, None, None]
    assert table.row(0).categorical["slot"] == ""


def test_reading_nothing_gives_an_empty_table_with_every_column():
    table = InProcessStore(VIEW).read([])
    assert (tuple(table.numeric), tuple(table.categorical)) == (VIEW.numeric_names, VIEW.categorical_names)
    assert len(table) == 0


def test_columns_come_in_the_order_of_the_view():
    table = InProcessStore(VIEW).read([shoes()])
    assert (tuple(table.numeric), tuple(table.categorical)) == (VIEW.numeric_names, VIEW.categorical_names)
    assert table.view == VIEW.version


@pytest.mark.parametrize("counts", [(-math.inf, 0, 0), (1, math.nan, 0), (1, 0, math.inf)])
def test_an_observation_that_makes_no_sense_leaves_the_store_as_it_was(counts):
    store = InProcessStore(VIEW)
    with pytest.raises(InvalidInput, match="observation 1"):
        store.observe(seen((shoes(), 100, 1, 0), (shoes(), *counts)))
    assert value(store, "account_ctr", shoes(MONDAY + DAY)) is None


def test_an_observation_without_a_time_is_refused():
    with pytest.raises(InvalidInput, match="without a time"):
        InProcessStore(VIEW).observe(seen((shoes(), 1, 0, 0), at="NaT"))


def test_an_opportunity_without_a_timezone_is_refused():
    with pytest.raises(InvalidInput, match="without a timezone"):
        InProcessStore(VIEW).read([shoes(datetime(2026, 1, 5))])


def test_a_read_of_the_settled_past_is_refused_with_the_way_out():
    store = InProcessStore(VIEW)
    store.observe(seen((shoes(), 100, 1, 0)))
    store.settle(MONDAY + DAY)
    assert value(store, "account_impressions", shoes(MONDAY + DAY)) == pytest.approx(50)
    with pytest.raises(InvalidInput, match="point_in_time"):
        store.read([shoes()])


def test_settling_frees_the_steps_but_not_the_sums():
    store = InProcessStore(VIEW)
    store.observe(seen(*((shoes(MONDAY + timedelta(minutes=m)), 1, 0, 0) for m in range(500))))
    before = value(store, "account_impressions", shoes(MONDAY + DAY))
    store.settle(MONDAY + DAY)
    assert value(store, "account_impressions", shoes(MONDAY + DAY)) == pytest.approx(before, rel=1e-12)
    assert all(memory._length == 0 for memories in store._memories for memory in memories.values())


def test_ages_between_observations_do_not_overflow():
    store = InProcessStore(campaign_view(half_life_days=0.001))
    store.observe(seen((shoes(), 100, 1, 0), (shoes(MONDAY + 3650 * DAY), 100, 1, 0)))
    assert value(store, "account_impressions", shoes(MONDAY + 3650 * DAY)) is None
    assert value(store, "account_impressions", shoes(MONDAY + 3650.001 * DAY)) == pytest.approx(50)
