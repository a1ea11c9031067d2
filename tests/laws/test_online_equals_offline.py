"""The store that answers online and the table that training reads give the same features, whatever the stream does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bidloop.core.event import (
    CompetitorLaunched,
    DeviceLinked,
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
from bidloop.features.signal_sets import calendar_signals, campaign_signals, market_signals, user_signals, with_signals
from bidloop.features.training import point_in_time
from bidloop.features.view import FeatureView, RateFeature
from bidloop.features.views import campaign_view, display_view

START = datetime(2026, 3, 27, tzinfo=UTC)  # Berlin changes to summer time two days later
SHORT = FeatureView(
    name="short",
    lag_seconds=360 * 60.0,  # as far as questions and facts lie apart, so that both sides of the border are met
    rates=(
        RateFeature(name="account", key=(), parent="", half_life_days=0.01, values=("ctr", "conversion_rate", "impressions")),
        RateFeature(name="daypart", key=("time.part_of_day",), half_life_days=400.0, strength=0.1),
        RateFeature(
            name="cell", key=("device", "time.hour"), parent="daypart", half_life_days=0.5, strength=30.0,
            values=("ctr", "conversion_rate", "impressions"),
        ),
    ),
)  # fmt: skip
EVERY_SIGNAL = with_signals(
    msgspec.structs.replace(campaign_view("Europe/Berlin", half_life_days=3.0), lag_seconds=60.0, resolution_seconds=1.0),
    campaign_signals(), user_signals(), calendar_signals("DE", "BY"), market_signals(["cci", "rates"]),
)  # fmt: skip
VIEWS = [
    EVERY_SIGNAL,
    campaign_view("Europe/Berlin", measures=["quality_score"], half_life_days=3.0),
    display_view(["slot", "domain"], ["floor"], "Asia/Shanghai", half_life_days=7.0),
    SHORT,
]
# Whole minutes over ten days, few enough that questions and facts often fall on the same instant.
minutes = st.integers(0, 40).map(lambda step: step * 360) | st.integers(0, 14_400)
few = st.sampled_from(["", "a", "b"])
histories = st.builds(
    History,
    ctr=st.floats(0, 1) | st.just(float("nan")),
    conversion_rate=st.floats(0, 1),
    spend=st.just(Money(0)),
    impressions=st.integers(0, 10_000),
    clicks=st.integers(0, 100),
)


def _opportunity(
    minute: int, campaign: str, device: str, slot: str, domain: str, history: History | None
) -> Opportunity:
    return Opportunity(
        user_id=slot,
        location=domain,
        opportunity_id="o",
        at=START + timedelta(minutes=minute),
        campaign_id=campaign,
        keyword=domain,
        device=device,
        attributes={"slot": slot, "domain": domain} if slot else {},
        measures={"quality_score": float(minute)} if device else {"floor": float("inf")},
        history=history,
    )


opportunities = st.builds(_opportunity, minutes, few, few, few, few, st.none() | histories)
# What was restated takes away, perhaps more than was there and before it was there.
amounts = st.tuples(st.floats(-100, 500), st.integers(-10, 30), st.integers(-10, 30))
facts = st.tuples(opportunities, amounts)


def told(kind: type[Event], **fields: st.SearchStrategy[object]) -> st.SearchStrategy[Event]:
    at = minutes.map(lambda minute: START + timedelta(minutes=minute))
    return st.builds(kind, event_id=st.just("e"), at=at, **fields)


happenings = st.one_of(
    told(PageViewed, user_id=few, campaign_id=few),
    told(SessionStarted, user_id=few),
    told(SessionEnded, user_id=few, duration_seconds=st.none() | st.floats(0, 900), page_views=st.none() | st.integers(0, 3)),
    told(FormSubmitted, user_id=few), told(EmailOpened, user_id=few), told(EmailClicked, user_id=few),
    told(DeviceLinked, user_id=few, device_id=few),
    told(IndicatorPublished, series=st.sampled_from(["cci", "rates"]), period=few, value=st.floats(-5, 5), location=few),
    told(SeasonMarked, name=few, location=few, starts=minutes.map(lambda minute: START + timedelta(minutes=minute)),
         ends=minutes.map(lambda minute: START + timedelta(minutes=minute))),
    told(CompetitorLaunched, competitor=few, location=few), told(PlatformChanged, platform=few, change=few),
)  # fmt: skip


def numbered(events: list[Event]) -> list[tuple[int, Event]]:
    return list(enumerate(events, start=1))


def observations(rows: list[tuple[Opportunity, tuple[float, int, int]]]) -> Observations:
    shown, clicked, converted = np.array([amount for _, amount in rows], dtype=np.float64).reshape(-1, 3).T
    prices = np.where(clicked > 0, np.abs(shown) / 40, np.nan)
    return Observations(
        at=np.array([opportunity.at.replace(tzinfo=None) for opportunity, _ in rows], dtype="datetime64[us]"),
        opportunities=[opportunity for opportunity, _ in rows],
        impressions=shown,
        clicks=clicked,
        conversions=converted,
        value=converted * 20.0,
        cost=np.abs(clicked) * 0.7,
        spent_at=np.array(
            [
                (o.at - timedelta(hours=int(c < 0))).replace(tzinfo=None)
                for (o, _), c in zip(rows, clicked, strict=True)
            ],
            dtype="datetime64[us]",
        ),
        further={
            "eligible_impressions": shown * 1.5,
            "quality_points": shown * 7.0,
            "quality_impressions": shown,
            "bids": np.ones(len(rows)),
            "bid_total": np.abs(shown) / 100,
            "market_price": prices,
            "daily_budget": np.where(converted > 3, converted, np.nan),
            "competitor_share": prices / 100,
        },
    )


def assert_same(left: FeatureTable, right: FeatureTable) -> None:
    assert left.view == right.view
    assert tuple(left.numeric) == tuple(right.numeric)
    assert tuple(left.categorical) == tuple(right.categorical)
    for name, column in left.numeric.items():
        np.testing.assert_allclose(column, right.numeric[name], rtol=1e-9, atol=1e-9, err_msg=name)
    for name, words in left.categorical.items():
        assert words.tolist() == right.categorical[name].tolist()


@given(
    st.sampled_from(VIEWS), st.lists(facts, max_size=40), st.lists(happenings, max_size=30),
    st.lists(opportunities, max_size=12), st.data(),
)  # fmt: skip
def test_online_equals_offline_for_late_and_unordered_streams(view, rows, events, asked, data):
    store = InProcessStore(view)
    shuffled, mixed = data.draw(st.permutations(rows)), data.draw(st.permutations(numbered(events)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        store.observe(observations(shuffled[start:end]), mixed[start:end])
        store.read(asked)  # reading in between must leave no trace
    store.observe(events=mixed[len(rows) :])
    assert_same(store.read(asked), point_in_time(view, observations(rows), asked, numbered(events)))


@given(
    st.sampled_from(VIEWS), st.lists(facts, min_size=1, max_size=30), st.lists(happenings, max_size=20), opportunities, facts,
    happenings,
)  # fmt: skip
def test_a_planted_future_event_changes_nothing(view, rows, events, asked, planted, happening):
    opportunity, amount = planted
    if happening.at < asked.at:
        happening = msgspec.structs.replace(happening, at=asked.at)
    if opportunity.at < asked.at:
        opportunity = _moved(opportunity, asked.at)  # the very same instant is the future too
    clean, known = InProcessStore(view), numbered(events)
    clean.observe(observations(rows), known)
    leaking = InProcessStore(view)
    leaking.observe(observations([(opportunity, amount), *rows]), [(99, happening), *known])
    assert_same(leaking.read([asked]), clean.read([asked]))
    assert_same(
        point_in_time(view, observations([(opportunity, amount), *rows]), [asked], [(99, happening), *known]),
        point_in_time(view, observations(rows), [asked], known),
    )


@given(
    st.sampled_from(VIEWS), st.lists(facts, max_size=40), st.lists(happenings, max_size=20), st.lists(facts, max_size=10),
    opportunities, minutes,
)  # fmt: skip
def test_settling_the_past_changes_no_later_read(view, rows, events, late, asked, settled):
    whole, short = InProcessStore(view), InProcessStore(view)
    for store in (whole, short):
        store.observe(observations(rows), numbered(events))
    short.settle(START + timedelta(minutes=settled))
    for store in (whole, short):
        store.observe(observations(late))
    asked = _moved(asked, max(asked.at, START + timedelta(minutes=settled)))
    assert_same(short.read([asked]), whole.read([asked]))


@given(
    st.sampled_from(VIEWS), st.lists(facts, max_size=30), st.lists(happenings, max_size=20),
    st.lists(opportunities, min_size=1, max_size=8),
)  # fmt: skip
def test_a_batch_reads_as_its_rows(view, rows, events, asked):
    store = InProcessStore(view)
    store.observe(observations(rows), numbered(events))
    together = store.read(asked)
    for i, opportunity in enumerate(asked):
        assert store.read([opportunity]).row(0) == together.row(i)


def _moved(opportunity: Opportunity, at: datetime) -> Opportunity:
    return Opportunity(
        opportunity_id=opportunity.opportunity_id,
        at=at,
        campaign_id=opportunity.campaign_id,
        keyword=opportunity.keyword,
        device=opportunity.device,
        attributes=opportunity.attributes,
        history=opportunity.history,
    )


def test_a_long_busy_stream_agrees_as_well():
    rng = np.random.default_rng(7)
    n = 4000
    words = rng.integers(0, 4, (n, 4)).astype(str)
    rows = [
        (_opportunity(int(minute), *parts, None), (float(sign * weight), int(sign * click), int(sign * (click and sale))))
        for minute, parts, weight, click, sale, sign in zip(
            rng.integers(0, 400 * 1440, n), words, rng.choice([1.0, 290.0], n), rng.random(n) < 0.1, rng.random(n) < 0.3,
            rng.choice([1, 1, 1, -1], n), strict=True,
        )
    ]  # fmt: skip
    asked = [
        _opportunity(int(minute), *rng.integers(0, 5, 4).astype(str), None)
        for minute in rng.integers(0, 420 * 1440, 500)
    ]
    for view in VIEWS:
        store = InProcessStore(view)
        for start in range(0, n, 700):
            store.observe(observations(rows[start : start + 700]))
            store.read(asked[:20])
        assert_same(store.read(asked), point_in_time(view, observations(rows), asked))
