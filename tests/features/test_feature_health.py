"""Missing, senseless and stale values are counted as they are, whoever counts at once."""

from __future__ import annotations

import math
import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidloop.core.errors import InvalidInput
from bidloop.core.event import ClickReceived, ImpressionServed
from bidloop.core.feature_table import FeatureTable
from bidloop.core.opportunity import Opportunity
from bidloop.features.cards import cards
from bidloop.features.health import AT_ONCE, FeatureHealth
from bidloop.features.online import InProcessStore
from bidloop.features.signal_sets import campaign_signals, market_signals, with_signals
from bidloop.features.verdicts import Thresholds, judge
from bidloop.features.views import campaign_view, display_view

VIEW = with_signals(campaign_view(), campaign_signals(), market_signals())
NOW = datetime(2026, 3, 1, tzinfo=UTC)
CELL = Opportunity(opportunity_id="o", at=NOW, campaign_id="shoes")


def table(rows: int, **columns: list[float] | list[str]) -> FeatureTable:
    """A table of the view in which every number is 0.5 and every text is told, but for the columns given."""
    given_columns = {name: np.array(values) for name, values in columns.items()}
    return FeatureTable(
        VIEW.version,
        {name: given_columns.get(name, np.full(rows, 0.5)) for name in VIEW.numeric_names},
        {
            name: np.array(columns.get(name, ["x"] * rows), dtype=object)
            for name in VIEW.categorical_names
        },
    )  # fmt: skip


def test_missing_values_and_values_out_of_range_are_counted_apart() -> None:
    health = FeatureHealth(VIEW)
    health.add(
        table(4, ctr_7d=[math.nan, 0.2, 1.5, -0.1], cpc_7d=[math.inf, 3.0, -1.0, 2.0], device=["", "x", "", "x"])
    )
    told = health.tallies()
    assert (told["ctr_7d"].missing, told["ctr_7d"].outside, told["ctr_7d"].rows) == (1, 2, 4)
    assert (told["ctr_7d"].lowest, told["ctr_7d"].highest) == (-0.1, 1.5)
    assert (told["cpc_7d"].missing, told["cpc_7d"].outside) == (0, 1)  # no upper bound is declared
    assert (told["device"].missing, told["device"].outside) == (2, 0)
    assert (told["quality_score_7d"].bounded, told["ctr_7d"].bounded, told["device"].bounded) == (False, True, False)


def test_what_is_never_there_has_no_lowest_value() -> None:
    health = FeatureHealth(VIEW)
    health.add(table(2, ctr_7d=[math.nan, math.nan]))
    assert (health.tallies()["ctr_7d"].lowest, health.tallies()["ctr_7d"].highest) == (None, None)


@settings(max_examples=30)
@given(st.lists(st.lists(st.sampled_from([math.nan, -1.0, 0.0, 0.5, 1.0, 2.0]), max_size=300), max_size=5))
def test_the_counts_do_not_depend_on_how_rows_are_read_together(batches: list[list[float]]) -> None:
    together, apart = FeatureHealth(VIEW), FeatureHealth(VIEW)
    every = [value for batch in batches for value in batch]
    together.add(table(len(every), ctr_7d=every))
    for batch in batches:
        apart.add(table(len(batch), ctr_7d=batch))
    assert together.tallies() == apart.tallies()
    assert apart.tallies()["ctr_7d"].missing == sum(map(math.isnan, every))
    assert apart.tallies()["ctr_7d"].outside == sum(value in (-1.0, 2.0) for value in every)


def test_nothing_is_lost_when_threads_count_and_read_at_once() -> None:
    health, reads = FeatureHealth(VIEW), AT_ONCE + 11

    def work() -> None:
        for i in range(reads):
            health.add(table(1, ctr_7d=[math.nan]))
            health.failed()
            if i % 50 == 0:
                health.tallies()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (health.reads, health.failures, health.rows) == (4 * reads, 4 * reads, 4 * reads)
    assert health.tallies()["ctr_7d"].missing == 4 * reads


def test_tables_of_another_view_are_counted_apart() -> None:
    health, other = FeatureHealth(VIEW), InProcessStore(display_view(["slot"]))
    health.add(other.read([CELL, CELL]))
    assert (health.reads, health.rows, health.others) == (1, 0, 2)


def test_what_a_store_reads_before_anything_happened_is_missing() -> None:
    health = FeatureHealth(VIEW)
    health.add(InProcessStore(VIEW).read([CELL]))
    told = {one.name: one for one in judge(VIEW, health.tallies(), {}, NOW)}
    assert told["ctr_7d"].verdict == told["cell_ctr"].verdict == told["keyword"].verdict == "missing everywhere"
    assert told["hour_sin"].verdict == told["campaign_id"].verdict == "fine"
    assert (told["ctr_7d"].availability, told["ctr_7d"].missing, told["ctr_7d"].fresh_seconds) == (0.0, 1.0, None)
    assert told["competitor_launches_30d"].verdict == "fine"  # none is a number as well


def test_what_nobody_looked_at_is_not_fine() -> None:
    assert {one.verdict for one in judge(VIEW, FeatureHealth(VIEW).tallies(), {}, NOW)} == {"not seen"}


@pytest.mark.parametrize(
    "limits",
    [
        {"missing": 0.0},
        {"missing": 1.1},
        {"missing": math.nan},
        {"outside": -0.1},
        {"outside": 1.1},
        {"stale_hours": math.inf},
    ],
)
def test_thresholds_out_of_range_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(limits))):
        Thresholds(**limits)


def test_every_verdict_has_its_threshold() -> None:
    health = FeatureHealth(VIEW)
    health.add(table(4, ctr_7d=[math.nan, math.nan, 0.1, 0.1], ctr_1d=[2.0, 0.1, 0.1, 0.1]))

    def verdict(name: str, **limits: float) -> str:
        [one] = [one for one in judge(VIEW, health.tallies(), {}, NOW, Thresholds(**limits)) if one.name == name]
        return one.verdict

    assert verdict("ctr_7d") == "fine"
    assert verdict("ctr_7d", missing=0.5) == "missing"
    assert verdict("ctr_1d") == "out of range"
    assert verdict("ctr_1d", outside=0.25) == "fine"


@pytest.mark.parametrize(
    ("days", "stale"),
    [(1, set[str]()), (3, {"ctr_1h", "ctr_1d"}), (8, {"ctr_1h", "ctr_1d", "ctr_7d"})],
)
def test_a_feature_is_stale_when_nothing_happened_for_longer_than_it_looks_back(days: int, stale: set[str]) -> None:
    health = FeatureHealth(VIEW)
    health.add(table(1))
    health.saw(
        [
            ClickReceived(event_id="1", at=NOW - timedelta(days=days), impression_id="i"),
            ClickReceived(event_id="2", at=NOW - timedelta(days=days + 5), impression_id="i"),
            ImpressionServed(event_id="3", at=NOW, impression_id="i"),
        ]
    )
    told = {one.name: one for one in judge(VIEW, health.tallies(), health.newest, NOW)}
    # Impressions still come: it is the clicks that are missing, and with them what is said of the CTR.
    assert {name for name in ("ctr_1h", "ctr_1d", "ctr_7d", "ctr_30d") if told[name].verdict == "stale"} == stale
    assert told["ctr_7d"].fresh_seconds == days * 86_400
    assert told["account_impressions"].fresh_seconds == 0
    assert told["days_since_launch"].verdict == told["campaign_age"].verdict == "fine"


def test_every_feature_of_the_view_is_judged_in_its_order() -> None:
    health = FeatureHealth(VIEW)
    health.add(table(1))
    assert [one.name for one in judge(VIEW, health.tallies(), {}, NOW)] == [card.name for card in cards(VIEW)]
    assert health.types >= {"click_received", "campaign_reported", "competitor_launched"}
    assert "page_viewed" not in health.types
