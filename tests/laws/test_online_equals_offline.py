"""The store that answers online and the table that training reads give the same features, whatever the stream does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bidloop.core.feature_table import FeatureTable
from bidloop.core.money import Money
from bidloop.core.opportunity import History, Opportunity
from bidloop.core.outcome import Observations
from bidloop.features.online import InProcessStore
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
VIEWS = [
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


def observations(rows: list[tuple[Opportunity, tuple[float, int, int]]]) -> Observations:
    shown, clicked, converted = np.array([amount for _, amount in rows], dtype=np.float64).reshape(-1, 3).T
    return Observations(
        at=np.array([opportunity.at.replace(tzinfo=None) for opportunity, _ in rows], dtype="datetime64[us]"),
        opportunities=[opportunity for opportunity, _ in rows],
        impressions=shown,
        clicks=clicked,
        conversions=converted,
        value=np.zeros(len(rows)),
        cost=np.zeros(len(rows)),
    )


def assert_same(left: FeatureTable, right: FeatureTable) -> None:
    assert left.view == right.view
    assert tuple(left.numeric) == tuple(right.numeric)
    assert tuple(left.categorical) == tuple(right.categorical)
    for name, column in left.numeric.items():
        np.testing.assert_allclose(column, right.numeric[name], rtol=1e-9, atol=1e-9, err_msg=name)
    for name, words in left.categorical.items():
        assert words.tolist() == right.categorical[name].tolist()


@given(st.sampled_from(VIEWS), st.lists(facts, max_size=40), st.lists(opportunities, max_size=12), st.data())
def test_online_equals_offline_for_late_and_unordered_streams(view, rows, asked, data):
    store = InProcessStore(view)
    shuffled = data.draw(st.permutations(rows))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        store.observe(observations(shuffled[start:end]))
        store.read(asked)  # reading in between must leave no trace
    assert_same(store.read(asked), point_in_time(view, observations(rows), asked))


@given(st.sampled_from(VIEWS), st.lists(facts, min_size=1, max_size=30), opportunities, facts)
def test_a_planted_future_event_changes_nothing(view, rows, asked, planted):
    opportunity, amount = planted
    if opportunity.at < asked.at:
        opportunity = _moved(opportunity, asked.at)  # the very same instant is the future too
    clean = InProcessStore(view)
    clean.observe(observations(rows))
    leaking = InProcessStore(view)
    leaking.observe(observations([(opportunity, amount), *rows]))
    assert_same(leaking.read([asked]), clean.read([asked]))
    assert_same(
        point_in_time(view, observations([(opportunity, amount), *rows]), [asked]),
        point_in_time(view, observations(rows), [asked]),
    )


@given(st.sampled_from(VIEWS), st.lists(facts, max_size=40), st.lists(facts, max_size=10), opportunities, minutes)
def test_settling_the_past_changes_no_later_read(view, rows, late, asked, settled):
    whole, short = InProcessStore(view), InProcessStore(view)
    for store in (whole, short):
        store.observe(observations(rows))
    short.settle(START + timedelta(minutes=settled))
    for store in (whole, short):
        store.observe(observations(late))
    asked = _moved(asked, max(asked.at, START + timedelta(minutes=settled)))
    assert_same(short.read([asked]), whole.read([asked]))


@given(st.sampled_from(VIEWS), st.lists(facts, max_size=30), st.lists(opportunities, min_size=1, max_size=8))
def test_a_batch_reads_as_its_rows(view, rows, asked):
    store = InProcessStore(view)
    store.observe(observations(rows))
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
