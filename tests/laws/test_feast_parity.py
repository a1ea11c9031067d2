"""Feast's online store, Feast's point-in-time join and the table that training reads give the same features."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from benchmarks.servers import RedisServer
from bidloop.adapters.feast.columns import columns_of
from bidloop.adapters.feast.naming import join_keys
from bidloop.adapters.feast.objects import history_path
from bidloop.adapters.feast.repository import FeastRepository
from bidloop.adapters.feast.store import FeastStore
from bidloop.core.clock import ManualClock
from bidloop.core.event import (
    CompetitorLaunched,
    EmailClicked,
    EmailOpened,
    Event,
    IndicatorPublished,
    PageViewed,
    SeasonMarked,
    SessionEnded,
    SessionStarted,
)
from bidloop.core.feature_table import FeatureTable
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Observations
from bidloop.features.contributions import Contributions, contributions
from bidloop.features.memory import Memory, facts_by_key
from bidloop.features.planning import plan_of
from bidloop.features.signal_sets import calendar_signals, campaign_signals, market_signals, user_signals, with_signals
from bidloop.features.training import point_in_time
from bidloop.features.view import FeatureView
from bidloop.features.views import campaign_view

START = datetime(2026, 3, 27, tzinfo=UTC)  # Berlin changes to summer time two days later
WHOLE = with_signals(
    campaign_view("Europe/Berlin", measures=["quality_score"], half_life_days=3.0),
    campaign_signals(),
    user_signals(),
    calendar_signals("DE", "BY"),
    market_signals(["confidence"]),
)
STEPS = replace(WHOLE, resolution_seconds=60.0, lag_seconds=90.0)
DAYS = 10


class Story(NamedTuple):
    """What becomes known, fact by fact in the order in which it is told, and what is asked on the way."""

    opportunities: list[Opportunity]
    amounts: np.ndarray
    price: np.ndarray
    budget: np.ndarray
    events: list[Event]

    def told(
        self, ads: slice | None = None, events: slice | None = None
    ) -> tuple[Observations, list[tuple[int, Event]]]:
        part = ads or slice(None)
        shown, clicked, converted, value, cost = self.amounts[part].T
        observations = Observations(
            at=np.array([one.at.replace(tzinfo=None) for one in self.opportunities[part]], dtype="datetime64[us]"),
            opportunities=self.opportunities[part],
            impressions=shown, clicks=clicked, conversions=converted, value=value, cost=cost,
            further={"market_price": self.price[part], "daily_budget": self.budget[part]},
        )  # fmt: skip
        return observations, list(enumerate(self.events, start=1))[events or slice(None)]


def story(seed: int) -> Story:
    """Some days of a busy account: few names and whole minutes, so that much falls on the same entity and instant."""
    rng = np.random.default_rng(seed)
    ads, events = 120, 90
    sign = rng.choice([1.0, 1.0, 1.0, -1.0], (ads, 1))  # what was restated takes away
    return Story(
        [opportunity(rng) for _ in range(ads)],
        rng.integers(0, [300, 30, 10, 500, 50], (ads, 5)) * sign * (rng.random((ads, 5)) < 0.5),
        np.where(rng.random(ads) < 0.5, rng.gamma(2.0, 2.0, ads), np.nan),
        np.where(rng.random(ads) < 0.2, rng.integers(0, 3, ads) * 25.0, np.nan),
        [_event(rng, f"e{i}") for i in range(events)],
    )


def in_parts(view: FeatureView, facts: Story) -> list[Contributions]:
    parts = [facts.told(slice(80, 120), slice(0, 0)), facts.told(slice(0, 80))]
    return [contributions(plan_of(view), *part) for part in parts]


def opportunity(rng: np.random.Generator, at: datetime | None = None) -> Opportunity:
    few = rng.integers(0, 3, 5)
    return Opportunity(
        opportunity_id="o", at=at or _instant(rng), campaign_id=f"c{few[0]}", keyword=["", "buy", "red ü"][few[1]],
        device=["", "mobile", "desktop"][few[2]], location=["", "DE", "FR"][few[3]], user_id=["", "p.anna", "p.ben"][few[4]],
        measures={"quality_score": float(few[0])} if few[1] else {},
    )  # fmt: skip


def _instant(rng: np.random.Generator) -> datetime:
    whole = START + timedelta(minutes=int(rng.integers(0, DAYS * 1440) // 30 * 30))
    return whole if rng.random() < 0.7 else whole + timedelta(microseconds=int(rng.integers(-2, 3)))


def _event(rng: np.random.Generator, name: str) -> Event:
    at, user, place = _instant(rng), f"p.{rng.choice(['anna', 'ben'])}", str(rng.choice(["", "DE"]))
    kinds = (
        lambda: PageViewed(event_id=name, at=at, user_id=user),
        lambda: SessionStarted(event_id=name, at=at, user_id=user),
        lambda: SessionEnded(event_id=name, at=at, user_id=user, duration_seconds=60.0, page_views=1),
        lambda: EmailOpened(event_id=name, at=at, user_id=user),
        lambda: EmailClicked(event_id=name, at=at, user_id=user),
        lambda: CompetitorLaunched(event_id=name, at=at, competitor="them"),
        lambda: IndicatorPublished(
            event_id=name, at=at, series="confidence", period="2026-03", value=float(rng.normal()), location=place
        ),
        lambda: SeasonMarked(
            event_id=name, at=at, name="sale", starts=_instant(rng), ends=_instant(rng), location=place
        ),
    )
    event: Event = kinds[int(rng.integers(len(kinds)))]()
    return event


def assert_same(found: FeatureTable, wanted: FeatureTable) -> None:
    assert (found.view, tuple(found.numeric)) == (wanted.view, tuple(wanted.numeric))
    for name, column in found.numeric.items():
        np.testing.assert_allclose(column, wanted.numeric[name], rtol=1e-9, atol=1e-9, err_msg=name)
    assert {name: words.tolist() for name, words in found.categorical.items()} == {
        name: words.tolist() for name, words in wanted.categorical.items()
    }


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def repository(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeastRepository]:
    folder = tmp_path_factory.mktemp("feast")
    if request.param == "sqlite":
        yield FeastRepository(folder)
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    repository = FeastRepository(folder, online="redis", redis_url=server.url, project=f"test{secrets.token_hex(8)}")
    yield repository
    repository.store.teardown()


@settings(max_examples=3, phases=(Phase.generate,))  # a seed does not shrink
@given(st.integers(0, 2**32 - 1), st.sampled_from([WHOLE, STEPS]))
def test_online_and_historical_values_are_those_of_training(repository, seed, view):
    # A view of its own for each example: what was published of another is not part of this story.
    view = replace(view, name=f"story {secrets.token_hex(4)}")
    rng = np.random.default_rng(seed)
    facts = story(seed)
    clock = ManualClock(START)
    store = FeastStore(view, repository, clock=clock)
    for turn in range(1, 5):  # facts come in no order: many are late by days, many are of days to come
        clock.set(START + timedelta(days=DAYS * turn / 4, seconds=float(rng.uniform(-60, 60))))
        store.observe(*facts.told(slice(30 * (turn - 1), 30 * turn), slice(25 * (turn - 1), 25 * turn)))
        asked = [
            opportunity(rng, clock.now() + timedelta(seconds=float(second))) for second in rng.uniform(-59, 90_000, 25)
        ]
        borders = [one.at for one in facts.opportunities[: 30 * turn] if one.at > clock.now() - timedelta(seconds=59)]
        for step in (timedelta(0), timedelta(microseconds=1), timedelta(seconds=150)):
            asked += [replace(one, at=at + step) for one, at in zip(asked[:15], borders, strict=False)]
        known = facts.told(slice(0, 30 * turn), slice(0, 25 * turn))
        assert_same(store.read(asked), point_in_time(view, known[0], asked, known[1]))

    repository.write_history(view, in_parts(view, facts))
    past = [opportunity(rng) for _ in range(100)]
    whole = facts.told()
    assert_same(repository.historical(view, past), point_in_time(view, whole[0], past, whole[1]))


@settings(max_examples=2, phases=(Phase.generate,))
@given(st.integers(0, 2**32 - 1), st.sampled_from([WHOLE, STEPS]))
def test_an_online_store_filled_by_feast_itself_has_the_values_of_that_instant(repository, seed, view):
    view = replace(view, name=f"filled {secrets.token_hex(4)}")
    rng = np.random.default_rng(seed)
    facts = story(seed)
    now = START + timedelta(days=int(rng.integers(3, DAYS)))
    repository.apply(view)
    repository.write_history(view, in_parts(view, facts))
    repository.materialize(view, now)
    asked = [opportunity(rng, now) for _ in range(30)]
    whole = facts.told()
    assert_same(repository.online(view, asked), point_in_time(view, whole[0], asked, whole[1]))


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> FeastRepository:
    return FeastRepository(tmp_path_factory.mktemp("local"))


def test_history_is_the_same_however_many_rows_are_written_at_a_time(
    local: FeastRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bidloop.adapters.feast.history.BATCH", 7)
    facts, rng = story(5), np.random.default_rng(5)
    observations, events = facts.told()
    local.apply(WHOLE)
    local.write_history(WHOLE, [contributions(plan_of(WHOLE), observations, events)])
    past = [opportunity(rng) for _ in range(100)]
    assert_same(local.historical(WHOLE, past), point_in_time(WHOLE, observations, past, events))


def test_each_state_that_is_written_is_that_of_the_memory_at_its_instant(local: FeastRepository) -> None:
    facts, plan = story(11), plan_of(WHOLE)
    known = contributions(plan, *facts.told())
    local.write_history(WHOLE, [known])
    for i, (entity, columns) in enumerate(zip(plan.entities, columns_of(WHOLE), strict=True)):
        rows, inputs = known.to(plan, i)
        memories: dict[str, Memory] = {}
        for key, place in facts_by_key(known.keys[i], rows).items():
            memories[key] = Memory(entity)
            memories[key].add(known.due[rows][place], inputs[place])
        file = pq.read_table(history_path(local.folder, WHOLE, entity.name)).to_pydict()
        found, instants = columns.states(file, len(file[columns.as_of]))
        keys = zip(*(file[name] for name in join_keys(entity)), strict=True) if entity.key else [("",)] * len(found)
        wanted = [memories["\x1f".join(key)].at(at) for key, at in zip(keys, instants.tolist(), strict=True)]
        steps = zip((known.keys[i][row] for row in rows.tolist()), known.due[rows].tolist(), strict=True)
        assert len(found) == len(set(steps))
        assert [at for _, at in wanted] == instants.tolist()
        np.testing.assert_allclose(found, [state for state, _ in wanted], rtol=1e-12, atol=1e-9, err_msg=entity.name)


def test_a_request_with_a_hundred_candidates_reads_as_its_rows(repository: FeastRepository) -> None:
    view = replace(WHOLE, name="candidates")
    facts, rng = story(3), np.random.default_rng(3)
    now = START + timedelta(days=5)
    store = FeastStore(view, repository, clock=ManualClock(now))
    store.observe(*facts.told())
    asked = [opportunity(rng, now + timedelta(seconds=i)) for i in range(100)]
    together = store.read(asked)
    for i in range(0, 100, 20):
        assert store.read([asked[i]]).row(0) == together.row(i)
