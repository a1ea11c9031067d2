"""What every store of online features must do, on every adapter: the values of `point_in_time`, whatever the log does."""

from __future__ import annotations

import itertools
import math
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bidloop.adapters.redis import feature_store
from bidloop.adapters.redis.feature_store import RedisFeatureStore
from bidloop.core.clock import ManualClock
from bidloop.core.errors import InvalidInput
from bidloop.core.event import (
    CompetitorLaunched,
    EmailClicked,
    EmailOpened,
    Event,
    FormSubmitted,
    IndicatorPublished,
    PageViewed,
    PlatformChanged,
    SeasonMarked,
    SessionEnded,
    SessionStarted,
)
from bidloop.core.feature_table import FeatureTable
from bidloop.core.money import Money
from bidloop.core.opportunity import History, Opportunity
from bidloop.core.outcome import Observations
from bidloop.features.online import InProcessStore
from bidloop.features.ports import OnlineStore
from bidloop.features.signal_sets import calendar_signals, campaign_signals, market_signals, user_signals, with_signals
from bidloop.features.training import point_in_time
from bidloop.features.view import FeatureView
from bidloop.features.views import campaign_view

NOW = datetime(2026, 4, 3, 12, tzinfo=UTC)  # Good Friday
PLAIN = campaign_view("Europe/Berlin", half_life_days=3.0)
WHOLE = with_signals(
    PLAIN, campaign_signals(), user_signals(), calendar_signals("DE"), market_signals(["consumer_confidence"])
)
STEPS = replace(WHOLE, resolution_seconds=1.0)
LATE = replace(WHOLE, resolution_seconds=10.0, lag_seconds=90.0)
VIEWS = [PLAIN, WHOLE, STEPS, LATE]

Fact = tuple[Opportunity, dict[str, float]] | Event
"""What a log tells: an increment of what is known of an ad, or an event. Its position is its place, from 1 on."""
Open = Callable[..., OnlineStore]


def in_process(view: FeatureView, clock: ManualClock, request: pytest.FixtureRequest, stack: ExitStack) -> OnlineStore:
    return InProcessStore(view)


def on_redis(
    view: FeatureView, clock: ManualClock, request: pytest.FixtureRequest, stack: ExitStack
) -> RedisFeatureStore:
    prefix = f"{request.getfixturevalue('stream_name')}:{secrets.token_hex(4)}"
    url = request.getfixturevalue("redis_url")
    store = RedisFeatureStore(view, url, clock=clock, prefix=prefix, keep_seconds=60.0, answer_seconds=10.0)
    stack.callback(store.close)
    stack.callback(store.clear)
    return store


def in_feast(view: FeatureView, clock: ManualClock, request: pytest.FixtureRequest, stack: ExitStack) -> OnlineStore:
    from bidloop.adapters.feast.repository import FeastRepository
    from bidloop.adapters.feast.store import FeastStore

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    return FeastStore(view, FeastRepository(folder, online="sqlite"), clock=clock, keep_seconds=200.0)


STORES = {"in process": in_process, "redis": on_redis, "feast": in_feast}


@pytest.fixture(params=STORES)
def open_store(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens an empty store of a view; its clock stands at `NOW`, or is handed in."""
    with ExitStack() as stack:
        yield lambda view, clock=None: STORES[request.param](view, clock or ManualClock(NOW), request, stack)


@pytest.fixture
def open_shared(redis_url: str, stream_name: str) -> Iterator[Callable[..., RedisFeatureStore]]:
    """Opens a store of a view that has what the others of this test have as well."""
    with ExitStack() as stack:

        def open_it(view: FeatureView = STEPS, clock: ManualClock | None = None) -> RedisFeatureStore:
            store = RedisFeatureStore(
                view, redis_url, clock=clock or ManualClock(NOW), prefix=stream_name, answer_seconds=10.0
            )
            stack.callback(store.close)
            stack.callback(store.clear)
            return store

        yield open_it


def asked(at: datetime = NOW, **change: object) -> Opportunity:
    cell = {"campaign_id": "shoes", "ad_group_id": "red", "keyword": "buy", "device": "mobile", "location": "DE"}
    return Opportunity(opportunity_id="o", at=at, **{**cell, "user_id": "p.anna", **change})


def shown(at: datetime, change: dict[str, object] | None = None, **amounts: float) -> Fact:
    return asked(at, **(change or {})), {
        "impressions": 100.0,
        "clicks": 7.0,
        "conversions": 2.0,
        "value": 80.0,
        "cost": 9.0,
        **amounts,
    }


COUNTS = ("impressions", "clicks", "conversions", "value", "cost")
FURTHER = {
    "eligible_impressions": 0.0, "quality_points": 0.0, "quality_impressions": 0.0, "bids": 0.0, "bid_total": 0.0,
    "market_price": math.nan, "daily_budget": math.nan, "competitor_share": math.nan, "competitor_overlap": math.nan,
}  # fmt: skip


def told(log: list[Fact], first: int = 1) -> tuple[Observations, list[tuple[int, Event]]]:
    """One page of a log, as a store and `point_in_time` take it; position 0 where it comes from no log (`first` of 0)."""
    placed = [(place if first else 0, fact) for place, fact in enumerate(log, start=first)]
    ads = [(position, fact) for position, fact in placed if isinstance(fact, tuple)]
    return Observations(
        at=np.array([fact[0].at.replace(tzinfo=None) for _, fact in ads], dtype="datetime64[us]"),
        opportunities=[fact[0] for _, fact in ads],
        **{name: np.array([fact[1].get(name, 0.0) for _, fact in ads], dtype=np.float64) for name in COUNTS},
        further={
            name: np.array([fact[1].get(name, nothing) for _, fact in ads], dtype=np.float64)
            for name, nothing in FURTHER.items()
        },
        position=np.array([position for position, _ in ads], dtype=np.int64),
    ), [(position, fact) for position, fact in placed if not isinstance(fact, tuple)]


def pages(log: list[Fact], *cuts: int) -> list[tuple[Observations, list[tuple[int, Event]]]]:
    """A log cut into pages before these places."""
    edges = [0, *sorted(cuts), len(log)]
    return [told(log[start:end], start + 1) for start, end in itertools.pairwise(edges)]


def right(view: FeatureView, log: list[Fact], opportunities: list[Opportunity]) -> FeatureTable:
    observations, events = told(log)
    return point_in_time(view, observations, opportunities, events)


def assert_same(found: FeatureTable, wanted: FeatureTable) -> None:
    assert (found.view, tuple(found.numeric)) == (wanted.view, tuple(wanted.numeric))
    for name, column in found.numeric.items():
        np.testing.assert_allclose(column, wanted.numeric[name], rtol=1e-9, atol=1e-9, err_msg=name)
    assert {name: words.tolist() for name, words in found.categorical.items()} == {
        name: words.tolist() for name, words in wanted.categorical.items()
    }


def value(store: OnlineStore, name: str, at: datetime = NOW, **change: object) -> float | None:
    return store.read([asked(at, **change)]).row(0).numeric[name]


# Around now, where a store that settles the past has to tell instants apart; and days ago.
seconds = (
    st.integers(-130, 130).map(float)
    | st.integers(-10 * 86_400, 7_200).map(float)
    | st.floats(-70, 70).map(lambda s: round(s, 3))
)
instants = seconds.map(lambda second: NOW + timedelta(seconds=second))
few = st.sampled_from(["", "a", "b"])
people = st.sampled_from(["", "p.anna", "p.ben"])
places = st.sampled_from(["", "DE", "FR"])
cells = st.fixed_dictionaries(
    {"campaign_id": few, "keyword": few, "device": few, "location": places, "user_id": people}
)
amounts = st.fixed_dictionaries(
    {"impressions": st.floats(-100, 500), "clicks": st.integers(-10, 30).map(float), "conversions": st.integers(-3, 9).map(float)},
    optional={
        "value": st.floats(-50, 500), "cost": st.floats(-5, 50), "eligible_impressions": st.floats(0, 900), "bids": st.floats(0, 9),
        "quality_points": st.floats(0, 900), "quality_impressions": st.floats(0, 90), "bid_total": st.floats(0, 9),
        "market_price": st.floats(-1, 20), "daily_budget": st.sampled_from([0.0, 20.0, 50.0]), "competitor_share": st.floats(0, 1),
    },
)  # fmt: skip
events = st.one_of(
    st.builds(PageViewed, event_id=st.just("e"), at=instants, user_id=people),
    st.builds(SessionStarted, event_id=st.just("e"), at=instants, user_id=people),
    st.builds(SessionEnded, event_id=st.just("e"), at=instants, user_id=people, duration_seconds=st.floats(0, 600), page_views=st.integers(1, 2)),
    st.builds(EmailOpened, event_id=st.just("e"), at=instants, user_id=people),
    st.builds(IndicatorPublished, event_id=st.just("e"), at=instants, series=st.just("consumer_confidence"), period=st.just("2026-03"),
              value=st.floats(-5, 5), location=places),
    st.builds(SeasonMarked, event_id=st.just("e"), at=instants, name=st.just("sale"), starts=instants, ends=instants, location=places),
    st.builds(CompetitorLaunched, event_id=st.just("e"), at=instants, competitor=st.just("them")),
    st.builds(PlatformChanged, event_id=st.just("e"), at=instants, platform=st.just("ours"), change=st.just("it")),
)  # fmt: skip
logs = st.lists(
    st.tuples(st.builds(lambda at, cell: asked(at, ad_group_id="", **cell), instants, cells), amounts) | events,
    max_size=40,
)
# A store need not tell more than the last minute.
questions = st.builds(
    lambda second, cell: asked(NOW + timedelta(seconds=second), ad_group_id="", **cell),
    st.integers(-60, 60).map(float) | st.floats(-60, 7_200).map(lambda s: round(s, 3)),
    cells,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(VIEWS), logs, st.lists(questions, max_size=8), st.lists(st.integers(0, 40), max_size=4))
def test_values_are_those_of_training_whatever_the_log_does(open_store: Open, view, log, opportunities, cuts) -> None:
    store = open_store(view)
    for page in pages(log, *(cut for cut in cuts if cut < len(log))):
        store.observe(*page)
        store.read(opportunities)  # reading in between leaves no trace
    assert_same(store.read(opportunities), right(view, log, opportunities))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(VIEWS), logs, logs, st.lists(questions, max_size=8), st.integers(0, 200_000))
def test_values_stay_right_while_time_goes_on(open_store: Open, view, log, more, opportunities, passed) -> None:
    clock = ManualClock(NOW)
    store, later = open_store(view, clock), timedelta(seconds=passed)
    first, second = pages(log + more, len(log))
    store.observe(*first)
    clock.set(NOW + later)
    store.observe(*second)
    then = [replace(opportunity, at=opportunity.at + later) for opportunity in opportunities]
    assert_same(store.read(then), right(view, log + more, then))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(VIEWS), logs, st.lists(questions, min_size=1, max_size=8), st.booleans())
def test_a_batch_reads_as_its_rows_to_the_last_bit(open_store: Open, view, log, opportunities, together) -> None:
    if together:  # as the candidates of one request are
        opportunities = [replace(opportunity, at=NOW) for opportunity in opportunities]
    store = open_store(view)
    store.observe(*told(log))
    batch = store.read(opportunities)
    for i, opportunity in enumerate(opportunities):
        assert store.read([opportunity]).row(0) == batch.row(i)


def full_log() -> list[Fact]:
    """Something of everything, an hour ago."""
    at, more = NOW - timedelta(hours=1), {"user_id": "p.anna"}
    return [
        shown(at, eligible_impressions=400.0, quality_points=700.0, quality_impressions=100.0, bids=3.0, bid_total=6.0, market_price=1.5,
              daily_budget=90.0, competitor_share=0.3, competitor_overlap=0.4),
        SessionStarted(event_id="1", at=at, **more),
        PageViewed(event_id="2", at=at, **more),
        FormSubmitted(event_id="3", at=at, **more),
        EmailOpened(event_id="4", at=at, **more),
        EmailClicked(event_id="5", at=at, **more),
        SessionEnded(event_id="6", at=at, duration_seconds=40.0, page_views=1, **more),
        IndicatorPublished(event_id="7", at=at, series="consumer_confidence", period="2026-03", value=-2.0),
        SeasonMarked(event_id="8", at=at, name="easter", starts=NOW - timedelta(days=1), ends=NOW + timedelta(days=3)),
        CompetitorLaunched(event_id="9", at=at, competitor="them"),
        PlatformChanged(event_id="10", at=at, platform="ours", change="auction"),
    ]  # fmt: skip


def test_every_kind_of_signal_is_told(open_store: Open) -> None:
    store = open_store(STEPS)
    store.observe(*told(full_log()))
    found = store.read([asked()])
    assert {name for name, column in found.numeric.items() if np.isnan(column[0])} == set()
    assert_same(found, right(STEPS, full_log(), [asked()]))
    assert (found.numeric["season"][0], found.numeric["consumer_confidence"][0], found.numeric["is_holiday"][0]) == (
        1,
        -2,
        1,
    )


def test_nothing_asked_is_an_empty_table_with_all_columns(open_store: Open) -> None:
    store = open_store(STEPS)
    assert_same(store.read([]), right(STEPS, [], []))
    store.observe(*told(full_log()))
    assert tuple(store.read([]).numeric) == STEPS.numeric_names


def test_nothing_is_known_before_the_first_fact(open_store: Open) -> None:
    assert_same(open_store(WHOLE).read([asked()]), right(WHOLE, [], [asked()]))


def test_a_late_fact_counts_as_if_it_had_come_in_time(open_store: Open) -> None:
    log = [
        shown(NOW - timedelta(seconds=5)),
        shown(NOW - timedelta(days=9), clicks=20.0),
        shown(NOW - timedelta(seconds=30)),
    ]
    store = open_store(STEPS)
    for page in pages(log, 1, 2):
        store.observe(*page)
    questions = [asked(NOW - timedelta(seconds=second)) for second in (0, 4, 5, 29, 30, 60)]
    assert_same(store.read(questions), right(STEPS, log, questions))


def test_a_planted_future_event_changes_nothing_until_its_time_has_come(open_store: Open) -> None:
    clock = ManualClock(NOW)
    store, clean = open_store(STEPS, clock), open_store(STEPS, clock)
    future = [
        shown(NOW, clicks=90.0),
        PageViewed(event_id="e", at=NOW + timedelta(hours=1), user_id="p.anna"),
        shown(NOW + timedelta(days=1)),
    ]
    for each, log in ((store, full_log() + future), (clean, full_log())):
        each.observe(*told(log))
    assert store.read([asked()]).row(0) == clean.read([asked()]).row(0)
    clock.set(NOW + timedelta(days=2))
    store.observe(*told([shown(NOW)], 15))
    later = [asked(NOW + timedelta(days=2))]
    assert_same(store.read(later), right(STEPS, [*full_log(), *future, shown(NOW)], later))


def test_what_was_restated_counts_as_it_was_restated(open_store: Open) -> None:
    at = NOW - timedelta(days=2)
    store, clean = open_store(STEPS), open_store(STEPS)
    store.observe(
        *told([shown(at), shown(at, impressions=-40.0, clicks=-3.0, conversions=-2.0, value=-80.0, cost=-1.0)])
    )
    clean.observe(*told([shown(at, impressions=60.0, clicks=4.0, conversions=0.0, value=0.0, cost=8.0)]))
    assert_same(store.read([asked()]), clean.read([asked()]))


@pytest.mark.parametrize("ago", [timedelta(seconds=5), timedelta(days=2)])
def test_the_value_told_last_counts_and_of_one_step_the_largest(open_store: Open, ago: timedelta) -> None:
    def share(value: float, seconds: float) -> Fact:
        return shown(NOW - ago + timedelta(seconds=seconds), competitor_share=value)

    store = open_store(STEPS)
    log = [share(0.5, 2.2), share(0.9, 0.1), share(math.nan, 2.4), share(0.4, 2.0), share(0.7, 1.0), share(0.6, 2.9)]
    for page in pages(log, 2, 3, 5):
        store.observe(*page)
    assert value(store, "competitor_share") == 0.6
    assert_same(store.read([asked()]), right(STEPS, log, [asked()]))


def test_of_nobody_nothing_is_known(open_store: Open) -> None:
    store = open_store(WHOLE)
    store.observe(*told(full_log()))
    both = store.read([asked(), asked(user_id=""), asked(user_id="p.ben")])
    assert both.numeric["user_page_views_7d"][0] > 0.9
    assert np.isnan(both.numeric["user_page_views_7d"][1])
    assert both.numeric["user_page_views_7d"][2] == 0.0
    assert np.isnan(both.numeric["user_propensity"][1])
    assert both.numeric["ctr_7d"][0] == both.numeric["ctr_7d"][1]


def test_what_the_caller_knows_of_a_cell_stands_in_where_nothing_was_seen(open_store: Open) -> None:
    past = History(ctr=0.2, conversion_rate=0.1, spend=Money(0), impressions=1000, clicks=200)
    questions = [asked(history=past), asked(history=past, keyword="new")]
    store = open_store(WHOLE)
    store.observe(*told(full_log()))
    found = store.read(questions)
    assert_same(found, right(WHOLE, full_log(), questions))
    assert found.numeric["cell_impressions"][1] == 1000


def test_what_happened_less_than_the_lag_ago_is_not_known(open_store: Open) -> None:
    store = open_store(replace(PLAIN, lag_seconds=90.0))
    store.observe(*told([shown(NOW - timedelta(seconds=90))]))
    assert value(store, "cell_impressions") is None
    assert value(store, "cell_impressions", NOW + timedelta(microseconds=1)) == pytest.approx(100)


def test_a_fact_counts_from_the_end_of_its_step_of_time(open_store: Open) -> None:
    store = open_store(STEPS)
    store.observe(*told([shown(NOW + timedelta(milliseconds=300))]))
    assert value(store, "cell_impressions", NOW + timedelta(milliseconds=999)) is None
    assert value(store, "cell_impressions", NOW + timedelta(seconds=1)) == 100


def test_keys_may_hold_any_characters(open_store: Open) -> None:
    names = ["a:b", "a", "b:c", "*", "ü€🎯", "a b", "{x}", "-", "?" * 500]
    log = [
        shown(NOW - timedelta(seconds=1), {"campaign_id": one, "keyword": other})
        for one in names
        for other in names[:3]
    ]
    questions = [asked(campaign_id=one, keyword=other) for one in names for other in names]
    store = open_store(STEPS)
    store.observe(*told(log))
    assert_same(store.read(questions), right(STEPS, log, questions))


def test_a_forgotten_person_is_as_one_who_never_came(open_store: Open) -> None:
    store = open_store(STEPS)
    log = [*full_log(), PageViewed(event_id="b", at=NOW - timedelta(minutes=1), user_id="p.anna.2")]
    store.observe(*told(log))
    assert store.forget("p.anna") == 1
    assert value(store, "user_page_views_7d") == 0.0
    assert value(store, "user_page_views_7d", user_id="p.anna.2") > 0.9
    assert store.forget("p.anna") == store.forget("p.*") == 0
    # What was known of the ads that the person saw stays.
    assert value(store, "cell_impressions") > 90
    store.observe(*told([PageViewed(event_id="c", at=NOW - timedelta(seconds=1), user_id="p.anna")], len(log) + 1))
    assert value(store, "user_page_views_7d") == pytest.approx(1.0, abs=1e-5)


def test_of_a_page_with_a_number_that_makes_no_sense_nothing_is_added(open_store: Open) -> None:
    store = open_store(STEPS)
    observations, events = told([*full_log(), shown(NOW - timedelta(seconds=1), clicks=math.inf)])
    with pytest.raises(InvalidInput):
        store.observe(observations, events)
    assert_same(store.read([asked()]), right(STEPS, [], [asked()]))


# What several processes share.


def random_log(n: int, seed: int = 5) -> list[Fact]:
    rng = np.random.default_rng(seed)
    log: list[Fact] = []
    for _ in range(n):
        at = NOW - timedelta(seconds=round(float(rng.choice([rng.uniform(-60, 120), rng.uniform(0, 9e5)])), 3))
        who = {
            "campaign_id": f"c{rng.integers(3)}",
            "keyword": f"k{rng.integers(9)}",
            "user_id": f"p.{rng.integers(5)}",
        }
        log.append(
            shown(at, who, clicks=float(rng.integers(9)))
            if rng.random() < 0.7
            else PageViewed(event_id="e", at=at, user_id=who["user_id"])
        )
    return log


def candidates() -> list[Opportunity]:
    return [
        asked(NOW + timedelta(seconds=k % 3), campaign_id=f"c{c}", keyword=f"k{k}", user_id=f"p.{k % 6}")
        for c in range(3)
        for k in range(9)
    ]


def test_the_same_page_again_changes_nothing(open_shared) -> None:
    log = random_log(60)
    store = open_shared()
    for page in pages(log, 20, 40):
        store.observe(*page)
    before = store.read(candidates())
    for page in (*pages(log, 20, 40), *pages(log, 33), *pages(log)):
        store.observe(*page)
    found = store.read(candidates())
    assert all(found.row(i) == before.row(i) for i in range(len(found)))
    assert_same(before, right(STEPS, log, candidates()))
    assert store.position == 60


def test_what_comes_from_no_log_counts_each_time(open_store: Open) -> None:
    store = open_store(STEPS)
    for _ in range(2):
        store.observe(*told([shown(NOW - timedelta(seconds=1))], 0))
    assert value(store, "cell_impressions") == pytest.approx(200, rel=1e-4)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 60), max_size=5),
    st.lists(st.integers(0, 60), max_size=5),
    st.randoms(use_true_random=False),
)
def test_two_that_follow_one_log_with_interleaved_pages_count_each_fact_once(
    redis_url: str, stream_name: str, mine, theirs, order
) -> None:
    log, prefix = random_log(60), f"{stream_name}:{secrets.token_hex(4)}"
    stores = [
        RedisFeatureStore(STEPS, redis_url, clock=ManualClock(NOW), prefix=prefix, answer_seconds=10.0)
        for _ in range(2)
    ]
    left = [pages(log, *mine), pages(log, *theirs)]
    while any(left):
        who = order.choice([i for i in range(2) if left[i]])
        stores[who].observe(*left[who].pop(0))
    assert_same(stores[0].read(candidates()), right(STEPS, log, candidates()))
    stores[0].clear()
    for store in stores:
        store.close()


def test_many_that_race_count_each_fact_once(open_shared) -> None:
    log = random_log(400)
    stores = [open_shared() for _ in range(4)]
    start, failed = threading.Barrier(len(stores)), []

    def follow(store: RedisFeatureStore, step: int) -> None:
        start.wait()
        try:
            for page in pages(log, *range(step, len(log), step)):
                store.observe(*page)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=follow, args=(store, 7 + 4 * i)) for i, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert_same(stores[0].read(candidates()), right(STEPS, log, candidates()))
    assert stores[0].position == 400


def test_facts_from_no_log_are_all_there_though_many_write_at_once(open_shared) -> None:
    stores = [open_shared() for _ in range(4)]
    start = threading.Barrier(len(stores))

    def write(store: RedisFeatureStore) -> None:
        start.wait()
        for _ in range(25):
            store.observe(*told([shown(NOW - timedelta(seconds=1), impressions=1.0)], 0))

    threads = [threading.Thread(target=write, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(stores[0], "cell_impressions") == pytest.approx(100, rel=1e-4)


def test_one_that_was_killed_before_it_noted_its_position_starts_anew(
    open_shared, redis_url: str, stream_name: str
) -> None:
    log = random_log(60)
    first, second = pages(log, 30)
    store = open_shared()
    store.observe(*first)
    with redis.Redis.from_url(redis_url) as client:
        cursor = f"{{{stream_name}}}:{STEPS.version}:position"
        noted = client.get(cursor)
        store.observe(*second)
        client.set(cursor, noted)  # as it stands when all values are written, and the note is not
    anew = open_shared()
    assert anew.position == 30
    anew.observe(*second)
    assert_same(anew.read(candidates()), right(STEPS, log, candidates()))
    assert anew.position == 60


def test_one_that_was_killed_in_the_middle_of_a_page_starts_anew(open_shared, monkeypatch: pytest.MonkeyPatch) -> None:
    log = random_log(60)
    first, second = pages(log, 30)
    monkeypatch.setattr(feature_store, "KEYS_PER_CALL", 8)
    store = open_shared()
    store.observe(*first)
    write, calls = store._write, itertools.count()

    def dies(*words: object) -> object:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return write(*words)

    monkeypatch.setattr(store, "_write", dies)
    with pytest.raises(KeyboardInterrupt):
        store.observe(*second)
    anew = open_shared()
    assert anew.position == 30
    half = anew.read(candidates()).numeric["account_impressions"]
    assert not np.array_equal(half, right(STEPS, log[:30], candidates()).numeric["account_impressions"])
    anew.observe(*second)
    assert_same(anew.read(candidates()), right(STEPS, log, candidates()))


def test_the_same_page_again_never_brings_back_a_forgotten_person(open_shared) -> None:
    log = random_log(60)
    store = open_shared()
    store.observe(*told(log))
    assert store.forget("p.1") == 1
    store.observe(*told(log))
    assert value(store, "user_page_views_7d", user_id="p.1") == 0.0


def test_a_cleared_store_is_built_anew_from_the_log(open_shared) -> None:
    log, store, other = random_log(60), open_shared(), open_shared(LATE)
    for each in (store, other):
        each.observe(*told(log))
    store.clear()
    assert store.position == 0
    assert_same(store.read(candidates()), right(STEPS, [], candidates()))
    store.observe(*told(log))
    assert_same(store.read(candidates()), right(STEPS, log, candidates()))
    assert_same(other.read(candidates()), right(LATE, log, candidates()))
