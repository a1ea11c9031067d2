from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from bidloop.adapters.ibis.backfill import write_backfill
from bidloop.adapters.ibis.engine import DuckDBEngine, states_query
from bidloop.adapters.ibis.rows import VIEW, read_states, rows_schema
from bidloop.adapters.ibis.tables import Asked, facts_table, write_facts, write_questions
from bidloop.adapters.memory.event_log import MemoryEventLog
from bidloop.adapters.parquet.history import ParquetHistory
from bidloop.adapters.parquet.spool import Spool
from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.decision_log import SqlDecisionLog
from bidloop.core.behaviour import PageViewed
from bidloop.core.errors import ConfigurationError
from bidloop.core.event import ClickReceived, ConversionReported, Event, ImpressionServed
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.features.contributions import Contributions, contributions
from bidloop.features.keys import entity_keys
from bidloop.features.local_time import instant_of
from bidloop.features.plan import Plan
from bidloop.features.planning import plan_of
from bidloop.features.signal_sets import user_signals, with_signals
from bidloop.features.state import folded
from bidloop.features.training import point_in_time
from bidloop.features.view import CategoryFeature, FeatureView, RateFeature
from bidloop.features.views import campaign_view

START = datetime(2026, 3, 1, tzinfo=UTC)
VIEW_WITH_USERS = with_signals(campaign_view(half_life_days=1.0), user_signals())


def about(i: int) -> Opportunity:
    return Opportunity(
        opportunity_id=f"o{i}",
        at=START + timedelta(minutes=17 * i),
        campaign_id=f"c{i % 3}",
        device="mobile" if i % 2 else "desktop",
        user_id=f"u{i % 5}" if i % 4 else "",
    )


def log_of(n: int) -> list[Event]:
    events: list[Event] = []
    for i in range(n):
        shown = about(i)
        name = f"i{i}"
        events.append(
            ImpressionServed(event_id=f"s{i}", at=shown.at, impression_id=name, opportunity=shown, price=Money(5_000))
        )
        if shown.user_id:
            at = shown.at - timedelta(minutes=5)
            events.append(PageViewed(event_id=f"p{i}", at=at, user_id=shown.user_id, url="https://shop.example/"))
        if i % 3 == 0:
            at = shown.at + timedelta(minutes=2)
            events.append(ClickReceived(event_id=f"k{i}", at=at, impression_id=name))
        if i % 6 == 0:
            at = shown.at + timedelta(hours=9)
            events.append(ConversionReported(event_id=f"v{i}", at=at, impression_id=name, value=Money(30_000_000)))
    return events


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ParquetHistory]:
    folder = tmp_path_factory.mktemp("history")
    log, engine = MemoryEventLog(), open_database(folder / "decisions.db")
    log.append(log_of(60))
    history = ParquetHistory(folder / "parts", log, SqlDecisionLog(engine), part_rows=50)
    history.sync()
    yield history
    engine.dispose()


def spool_of(history: ParquetHistory, folder: Path, **more: object) -> Spool:
    told = history.spool(folder, memory="500MB", threads=1, **more)  # type: ignore[arg-type]
    return Spool(told.folder, told.as_of, told.settings, told.observations_count, told.outcomes_count, chunk=7)


def test_the_spool_tells_what_the_history_tells(history, tmp_path):
    told, whole, outcomes = spool_of(history, tmp_path), history.observations(), history.outcomes()
    assert told.observations_count == len(whole)
    assert told.outcomes_count == len(outcomes) == 60
    seen = list(told.observations())
    assert max(map(len, seen)) == 7
    for name in ("at", "impressions", "clicks", "conversions", "value", "cost", "position"):
        np.testing.assert_array_equal(np.concatenate([getattr(one, name) for one in seen]), getattr(whole, name))
    np.testing.assert_array_equal(
        np.concatenate([one.further["market_price"] for one in seen]), whole.further["market_price"]
    )
    assert [one for some in seen for one in some.opportunities] == whole.opportunities
    assert [name for one in told.outcomes() for name in one.impression_id] == list(outcomes.impression_id)
    assert [one for some in told.outcomes() for one in some.mature.tolist()] == outcomes.mature.tolist()
    assert [pair for some in told.happenings() for pair in some] == history.happenings()


def test_a_sample_is_the_same_for_a_seed_and_in_the_order_of_time(history, tmp_path):
    def drawn(name: str, seed: int) -> list[str]:
        told = spool_of(history, tmp_path / name, sample=(20, seed))
        return [name for one in told.outcomes() for name in one.impression_id]

    first, again, other = drawn("a", 1), drawn("b", 1), drawn("c", 2)
    assert first == again
    assert len(set(first)) == 20
    assert first == sorted(first, key=lambda name: int(name[1:]))
    assert set(first) != set(other)


def test_a_backfill_equals_the_table_in_memory(history, tmp_path):
    told = spool_of(history, tmp_path)
    facts = write_backfill(VIEW_WITH_USERS, told, tmp_path / "rows.parquet", tmp_path, memory="500MB", threads=1)
    rows, outcomes = pq.read_table(tmp_path / "rows.parquet"), history.outcomes()
    events = history.happenings()
    table = point_in_time(VIEW_WITH_USERS, history.observations(), outcomes.opportunities, events)
    assert facts == len(history.observations()) + len(events)
    for name, column in table.numeric.items():
        np.testing.assert_allclose(rows[name].to_numpy(), column, rtol=1e-9, atol=1e-9, err_msg=name)
    for name, words in table.categorical.items():
        assert rows[name].to_pylist() == words.tolist()
    assert rows["impression_id"].to_pylist() == list(outcomes.impression_id)
    for name in ("impressions", "clicks", "conversions", "value", "cost", "weight"):
        np.testing.assert_array_equal(rows[name].to_numpy(), getattr(outcomes, name))
    assert rows["at"].to_pylist() == [one.at for one in outcomes.opportunities]


def test_the_file_says_by_which_definition_it_was_made_and_holds_null_where_nothing_is_known(history, tmp_path):
    write_backfill(VIEW_WITH_USERS, spool_of(history, tmp_path), tmp_path / "rows.parquet", tmp_path, memory="500MB")
    rows = pq.read_table(tmp_path / "rows.parquet")
    told = json.loads(rows.schema.metadata[VIEW])
    assert told["version"] == VIEW_WITH_USERS.version
    assert told["view"]["name"] == "campaign"
    assert rows["account_ctr"].null_count == 1  # the first row of all
    missing = duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/rows.parquet' WHERE user_page_views_1d IS NULL").fetchall()
    assert missing == [(15,)]


def test_a_feature_may_not_be_called_like_a_column():
    rates = (
        RateFeature(name="account", key=(), parent="", values=("ctr", "conversion_rate", "impressions")),
        RateFeature(name="cell", key=("device",), values=("ctr", "conversion_rate", "impressions")),
    )
    view = FeatureView(name="v", categories=(CategoryFeature(name="cost", source="device"),), rates=rates)
    with pytest.raises(ConfigurationError, match="features named cost"):
        rows_schema(view)


def states_by_duckdb(plan: Plan, known: Contributions, asked: list[int], folder: Path) -> np.ndarray:
    """States of the account."""
    write_facts(plan, [known], folder / "facts.parquet")
    keys = entity_keys(plan, [about(1)] * len(asked))
    span = write_questions(plan, [(asked, keys)], folder / "questions.parquet")
    files = folder / "facts.parquet", folder / "questions.parquet"
    engine = DuckDBEngine(*files, memory="500MB", threads=1, spilled=folder / "spilled")
    engine.write(states_query(plan, 0, span), folder / "states.parquet")
    engine.close()
    [[states]] = read_states(plan.entities[:1], [folder / "states.parquet"], len(asked))
    return states


@pytest.mark.parametrize("half_life_days", [1 / 1440, 1.0, 4000.0])
def test_gaps_of_a_thousand_half_lives_and_many_facts_at_one_instant_lose_nothing(half_life_days, tmp_path):
    plan = plan_of(campaign_view(half_life_days=half_life_days))
    rng = np.random.default_rng(3)
    first = instant_of(START)
    instants = first + np.concatenate([rng.integers(0, 3 * 86_400, 300) * 1_000_000, np.full(200, 7_000_000_000)])
    instants = np.concatenate([instants, instants + 900 * 86_400_000_000, instants + 901 * 86_400_000_000])
    amounts = rng.choice([290.0, 1e-3, -1.0, 1e6], (len(instants), 3)) * (rng.random((len(instants), 3)) < 0.5)
    keys = tuple([""] * len(instants) for _ in plan.entities)
    n = len(instants)
    known = Contributions(instants, np.zeros(n, dtype=np.int64), keys, amounts, np.zeros(n, dtype=bool))
    asked = sorted({*instants[::7].tolist(), int(instants.max()) + 1, int(instants.min()) - 1, first + 10**14})
    states = states_by_duckdb(plan, known, asked, tmp_path)
    for state, instant in zip(states, asked, strict=True):
        rows, inputs = known.to(plan, 0)
        counts = known.due[rows] <= instant
        expected = folded(plan.entities[0], known.due[rows][counts], inputs[counts], instant)
        scale = folded(plan.entities[0], known.due[rows][counts], np.abs(inputs[counts]), instant)
        np.testing.assert_allclose(state, expected, rtol=1e-9, atol=1e-11 * max(float(scale.max()), 1e-60))


def test_nothing_known_and_nobody_named_are_empty_states(tmp_path):
    plan = plan_of(VIEW_WITH_USERS)
    nothing = contributions(plan)
    states = states_by_duckdb(plan, nothing, [instant_of(START)], tmp_path)
    np.testing.assert_array_equal(states[0], plan.entities[0].empty)


def test_a_value_that_was_not_told_is_null_in_the_table_of_facts():
    plan = plan_of(campaign_view())
    known = Contributions(
        np.array([5]),
        np.array([1]),
        tuple([None] for _ in plan.entities),
        np.array([[1.0, np.nan, 0.0]]),
        np.array([True]),
    )
    assert facts_table(plan, known).to_pylist() == [
        {
            "due": 5,
            **{f"key{i}": None for i in range(5)},
            "amount0": 1.0,
            "amount1": None,
            "amount2": 0.0,
            "corrects": 1.0,
        }
    ]


@pytest.mark.parametrize("dialect", ["duckdb", "postgres", "pyspark"])
def test_the_query_can_be_had_for_each_database(dialect):
    query = states_query(plan_of(campaign_view()), 1, Asked(1, 0, 10**12), dialect)
    assert all(name in query for name in ("facts", "questions", "OVER", "s2"))
