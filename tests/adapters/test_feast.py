"""What a team that runs Feast finds there of Bidloop, and what Bidloop finds of the team's."""

from __future__ import annotations

import logging
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import feast
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from feast.data_source import PushMode
from feast.infra.offline_stores.dask import DaskOfflineStore, DaskOfflineStoreConfig
from feast.types import Array, Float64, Int64, String
from msgspec.structs import replace

from benchmarks.servers import RedisServer
from bidloop.adapters.feast.naming import states_name, values_name
from bidloop.adapters.feast.objects import feast_objects, history_path
from bidloop.adapters.feast.questions import entity_rows, references
from bidloop.adapters.feast.repository import FeastRepository
from bidloop.adapters.feast.store import FeastStore
from bidloop.core.clock import ManualClock
from bidloop.core.errors import ConfigurationError, InvalidInput, Unavailable
from bidloop.core.event import Event, PageViewed
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Observations
from bidloop.features.contributions import contributions
from bidloop.features.planning import plan_of
from bidloop.features.signal_sets import campaign_signals, chosen, user_signals, with_signals
from bidloop.features.view import CategoryFeature, FeatureView
from bidloop.features.views import campaign_view

NOW = datetime(2026, 4, 3, 12, tzinfo=UTC)
VIEW = chosen(
    with_signals(campaign_view("Europe/Berlin"), campaign_signals("EUR"), user_signals()),
    ["cpc_7d", "market_price_p50", "campaign_age", "user_page_views_7d", "user_recency"],
)


@pytest.fixture(scope="module")
def redis_project(redis_server: RedisServer) -> Iterator[tuple[str, str]]:
    """Address of the shared Redis, and the beginning of the names of Feast projects that are removed in the end."""
    prefix = f"test{secrets.token_hex(8)}"
    yield redis_server.url, prefix
    with closing(redis.Redis.from_url(redis_server.url)) as client:
        for key in client.scan_iter(match=f"*{prefix}*"):
            client.delete(key)


@pytest.fixture(params=["sqlite", "redis"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> FeastRepository:
    """An empty repository."""
    if request.param == "sqlite":
        return FeastRepository(tmp_path / "feast")
    url, prefix = request.getfixturevalue("redis_project")
    project = f"{prefix}{secrets.token_hex(4)}"
    return FeastRepository(tmp_path / "feast", online="redis", redis_url=url, project=project)


@pytest.fixture
def local(tmp_path: Path) -> FeastRepository:
    """An empty repository, for what does not depend on the online store."""
    return FeastRepository(tmp_path / "feast")


def asked(at: datetime = NOW, **change: object) -> Opportunity:
    cell = {"campaign_id": "shoes", "keyword": "buy", "device": "mobile", "user_id": "p.anna", **change}
    return Opportunity(opportunity_id="o", at=at, **cell)


def shown(*at: datetime, **change: object) -> Observations:
    n = len(at)
    return Observations(
        at=np.array([one.replace(tzinfo=None) for one in at], dtype="datetime64[us]"),
        opportunities=[asked(one, **change) for one in at],
        impressions=np.full(n, 100.0),
        clicks=np.full(n, 5.0),
        conversions=np.ones(n),
        value=np.zeros(n),
        cost=np.full(n, 9.0),
        further={"market_price": np.full(n, 2.0)},
    )


def pages(*at: datetime, user_id: str = "p.anna") -> list[tuple[int, Event]]:
    return [(i, PageViewed(event_id=str(i), at=one, user_id=user_id)) for i, one in enumerate(at, start=1)]


def ago(**past: float) -> datetime:
    return NOW - timedelta(**past)


def value(store: FeastStore, name: str, at: datetime = NOW, **change: object) -> float | None:
    return store.read([asked(at, **change)]).row(0).numeric[name]


def test_a_view_is_described_in_feast_as_it_is_in_bidloop(local: FeastRepository) -> None:
    local.apply(VIEW)
    values = local.store.get_on_demand_feature_view(values_name(VIEW))
    assert values.tags["bidloop_version"] == VIEW.version
    fields = {field.name: field for field in values.features}
    assert set(VIEW.numeric_names) <= set(fields)
    assert "\ncpc_7d: Cost per click, over 7d. Unit: EUR, at least 0.\n" in values.description
    [kept] = [one for one in local.store.registry.proto().on_demand_feature_views if one.spec.name == values.name]
    [cpc] = [one for one in kept.spec.features if one.name == "cpc_7d"]
    assert (cpc.description, dict(cpc.tags)) == (
        "Cost per click, over 7d.",
        {"unit": "EUR", "range": "at least 0", "owner": "bidloop"},
    )
    # Of a category that is a join key by the same name nobody need be told.
    assert {"hour", "weekday"} < set(fields)
    assert "device" not in fields

    keyword = local.store.get_feature_view(f"{values_name(VIEW)}_keyword")
    assert keyword.join_keys == ["campaign_id", "ad_group_id", "keyword"]
    types = {field.name: field.dtype for field in keyword.features}
    assert types["keyword_sum_clicks_7d"] == types["keyword_sum_clicks_halving_14d"] == Float64
    assert types["keyword_bins_market_price_7d"] == Array(Float64)
    assert types["keyword_as_of_us"] == Int64
    assert local.store.get_feature_view(f"{values_name(VIEW)}_account").join_keys == ["account"]
    assert local.store.get_entity("bidloop_campaign_id").join_key == "campaign_id"


def test_applying_a_view_again_changes_nothing(repository: FeastRepository) -> None:
    store = FeastStore(VIEW, repository, clock=ManualClock(NOW))
    store.observe(shown(ago(days=1)))
    before = value(store, "cell_ctr")
    names = [one.name for one in repository.store.list_all_feature_views()]
    repository.apply(VIEW)
    assert [one.name for one in repository.store.list_all_feature_views()] == names
    assert value(store, "cell_ctr") == before


def test_an_old_version_of_a_view_stays_readable_beside_the_new_one(repository: FeastRepository) -> None:
    old, new = VIEW, replace(VIEW, base_ctr=0.5)
    FeastStore(old, repository, clock=ManualClock(NOW)).observe(shown(ago(days=1)))
    FeastStore(new, repository, clock=ManualClock(NOW)).observe(shown(ago(days=2), ago(days=1)))
    impressions = [repository.online(view, [asked()]).numeric["cell_impressions"][0] for view in (old, new)]
    assert impressions == pytest.approx([100 * 2 ** (-1 / 14), 100 * 2 ** (-1 / 14) + 100 * 2 ** (-2 / 14)], rel=1e-6)


def test_whoever_has_the_registry_reads_values_with_feast_alone(repository: FeastRepository) -> None:
    store = FeastStore(VIEW, repository, clock=ManualClock(NOW))
    store.observe(shown(ago(hours=1)), pages(ago(hours=2)))
    theirs = feast.FeatureStore(config=repository.store.config)
    answer = theirs.get_online_features(
        features=[f"{values_name(VIEW)}:cell_ctr", f"{values_name(VIEW)}:user_recency"],
        entity_rows=entity_rows(VIEW, [asked()]),
    ).to_dict()
    assert answer["cell_ctr"] == [value(store, "cell_ctr")]
    assert answer["user_recency"] == pytest.approx([2 / 24])


def test_late_facts_count_and_planned_ones_wait_until_they_are_due(repository: FeastRepository) -> None:
    store = FeastStore(VIEW, repository, clock=ManualClock(NOW))
    store.observe(shown(ago(hours=1), NOW + timedelta(hours=1)))
    store.observe(shown(ago(days=3)))
    store.observe(events=pages(NOW + timedelta(minutes=1), ago(minutes=1)))
    late = 100 * 2 ** (-3 / 14)
    assert value(store, "cell_impressions") == pytest.approx(late + 100 * 2 ** (-1 / 24 / 14))
    assert value(store, "user_page_views_7d") == pytest.approx(1.0, abs=1e-3)
    # Nothing is published in between: the row itself knows what is to come.
    then = NOW + timedelta(minutes=1, microseconds=1)
    assert value(store, "user_page_views_7d", then - timedelta(microseconds=1)) == pytest.approx(1.0, abs=1e-3)
    assert value(store, "user_page_views_7d", then) == pytest.approx(2.0, abs=1e-3)
    assert value(store, "cell_impressions", NOW + timedelta(hours=2)) > 280


def test_a_read_a_minute_late_is_exact_and_a_later_one_is_refused(repository: FeastRepository) -> None:
    store = FeastStore(VIEW, repository, clock=ManualClock(NOW), keep_seconds=60)
    store.observe(events=pages(ago(seconds=90), ago(seconds=30)))
    assert value(store, "user_page_views_7d", ago(seconds=30)) == pytest.approx(1.0, abs=1e-4)
    assert value(store, "user_page_views_7d", ago(seconds=29)) == pytest.approx(2.0, abs=1e-3)
    with pytest.raises(InvalidInput, match="Read the further past with FeastRepository") as caught:
        value(store, "user_page_views_7d", ago(seconds=91))
    assert caught.value.path == "at"


def test_a_clock_that_is_put_back_loses_nothing(repository: FeastRepository) -> None:
    clock = ManualClock(NOW)
    store = FeastStore(VIEW, repository, clock=clock)
    store.observe(events=pages(ago(hours=2)))
    clock.set(ago(hours=3))
    store.observe(events=pages(ago(hours=1)))
    assert value(store, "user_page_views_7d") == pytest.approx(2.0, rel=0.02)


def test_settling_frees_the_past_and_changes_no_value(repository: FeastRepository) -> None:
    store = FeastStore(VIEW, repository, clock=ManualClock(NOW))
    store.observe(shown(ago(days=2), ago(days=1)))
    before = store.read([asked()]).row(0)
    store.observe(events=pages(ago(days=2)))
    store.settle(ago(hours=1))
    store.observe(events=pages(ago(days=1)))  # late
    assert value(store, "user_recency") == pytest.approx(1.0)
    after = store.read([asked()]).row(0)
    assert after.numeric["cell_ctr"] == pytest.approx(before.numeric["cell_ctr"], rel=1e-12)
    with pytest.raises(InvalidInput, match="an instant from 2026-04-03T11:59:00"):
        value(store, "user_recency", ago(hours=2))


def test_while_a_log_is_read_anew_nobody_sees_half_of_it(repository: FeastRepository) -> None:
    FeastStore(VIEW, repository, clock=ManualClock(NOW)).observe(shown(ago(days=2), ago(days=1)))
    whole = repository.online(VIEW, [asked()]).numeric["cell_impressions"][0]
    restarted = FeastStore(VIEW, repository, clock=ManualClock(NOW))
    with restarted.rebuilding():
        restarted.observe(shown(ago(days=2)))
        assert value(restarted, "cell_impressions") == whole
        restarted.observe(shown(ago(days=1)))
    assert value(restarted, "cell_impressions") == whole


def test_a_redis_that_does_not_answer_is_unavailable_and_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis.retry.sleep", lambda seconds: None)  # it tries again for seconds
    server = RedisServer.for_tests().start()
    try:
        repository = FeastRepository(tmp_path, online="redis", redis_url=server.url)
        store = FeastStore(VIEW, repository, clock=ManualClock(NOW))
        store.observe(events=pages(ago(hours=2)))
    finally:
        server.stop()
    with caplog.at_level(logging.WARNING, "bidloop.feast"):
        store.observe(events=pages(ago(hours=1)))
    assert "published later" in caplog.text
    for call in (store.publish, lambda: store.read([asked()]), lambda: repository.forget("p.anna")):
        with pytest.raises(Unavailable, match="does not answer"):
            call()


def test_a_forgotten_person_is_gone_online_and_from_every_file(repository: FeastRepository) -> None:
    store = FeastStore(VIEW, repository, clock=ManualClock(NOW))
    facts = [*pages(ago(hours=2)), *pages(ago(hours=2), user_id="p.ben")]
    store.observe(shown(ago(hours=1)), facts)
    plan = plan_of(VIEW)
    repository.write_history(VIEW, [contributions(plan, shown(ago(hours=1)), facts)])
    assert store.forget("p.anna") == 1
    assert value(store, "user_page_views_7d") == 0.0
    assert repository.historical(VIEW, [asked()]).numeric["user_page_views_7d"][0] == 0.0
    assert value(store, "user_page_views_7d", user_id="p.ben") > 0.9
    assert repository.historical(VIEW, [asked(user_id="p.ben")]).numeric["user_page_views_7d"][0] > 0.9
    assert value(store, "cell_impressions") > 90  # what is known of ads names nobody
    assert pq.read_table(history_path(repository.folder, VIEW, "user"))["user_id"].to_pylist() == ["p.ben"]
    assert store.forget("p.anna") == 0
    store.publish()
    assert value(store, "user_page_views_7d") == 0.0
    with pytest.raises(InvalidInput):
        repository.forget("")


def test_nothing_is_written_outside_the_folder_and_nobody_is_called(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "feast", tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = f"""
from pathlib import Path
from datetime import UTC, datetime
import socket
def refuse(self, address):
    raise AssertionError(f"Feast calls {{address}}")
socket.socket.connect = refuse
from bidloop.adapters.feast.repository import FeastRepository
from bidloop.core.opportunity import Opportunity
from bidloop.features.views import campaign_view
import os, prometheus_client
repository = FeastRepository(Path({str(folder)!r}))
repository.apply(campaign_view())
now = datetime(2026, 4, 3, tzinfo=UTC)
repository.materialize(campaign_view(), now)
asked = [Opportunity(opportunity_id="o", at=now, campaign_id="c")]
assert len(repository.online(campaign_view(), asked)) == 1
assert prometheus_client.values.ValueClass.__name__ == "MutexValue", "Feast changed how metrics are kept"
assert not [name for name in os.environ if name.startswith("PROMETHEUS")]
print(len(repository.historical(campaign_view(), asked)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=elsewhere, env={"HOME": str(elsewhere), "TMPDIR": str(elsewhere), "PATH": ""}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.stdout.endswith("1\n"), done.stderr
    assert list(elsewhere.iterdir()) == []  # what Feast put into the temporary folder is gone with the process


def test_feasts_own_store_of_files_joins_the_same_values(local: FeastRepository) -> None:
    plan = plan_of(VIEW)
    local.apply(VIEW)
    facts = (shown(*(ago(hours=7 * i) for i in range(20))), pages(*(ago(hours=5 * i) for i in range(20))))
    local.write_history(VIEW, [contributions(plan, *facts)])
    # It leaves out who asks before the first row of an entity, so nobody does here.
    asking = [asked(ago(hours=3 * i)) for i in range(30)]
    rows = pd.DataFrame({**entity_rows(VIEW, asking), "event_timestamp": [one.at for one in asking]})
    config = local.store.config
    theirs = feast.FeatureStore(
        config=feast.RepoConfig(
            project=config.project,
            provider="local",
            registry=str(local.folder / "registry.db"),
            online_store=config.online_store,
            offline_store=DaskOfflineStoreConfig(),
            entity_key_serialization_version=3,
        )
    )
    assert isinstance(theirs.provider.offline_store, DaskOfflineStore)
    names = ["cell_ctr", "cpc_7d", "market_price_p50", "user_recency"]
    found = theirs.get_historical_features(rows, [f"{values_name(VIEW)}:{name}" for name in names]).to_df()
    ours = local.historical(VIEW, asking[::-1])
    for name in names:
        np.testing.assert_allclose(found.sort_values("event_timestamp")[name], ours.numeric[name], rtol=1e-12)


TEAM_AT = [ago(days=3), ago(days=1), ago(days=1), ago(hours=1)]


@pytest.fixture
def team(repository: FeastRepository) -> FeastRepository:
    """A repository in which a team has a view of creatives of its own, written by pandas as pandas likes it."""
    frame = pd.DataFrame(
        {
            "creative": [7, 7, 7, 8],
            "event_timestamp": pd.to_datetime(TEAM_AT, utc=True).as_unit("ns"),
            "created": pd.to_datetime([ago(days=3), ago(days=1), ago(hours=20), ago(hours=1)], utc=True),
            "age_days": [1.0, 2.0, 3.0, 9.0],
            "format": ["square", "wide", "tall", "tall"],
            "vector": [[1.0], [1.0], [1.0], [1.0]],
        }
    )
    path = repository.folder / "creatives.parquet"
    pq.write_table(pa.Table.from_pandas(frame), path)
    creative = feast.Entity(name="creative", join_keys=["creative"], value_type=feast.ValueType.INT64)
    view = feast.FeatureView(
        name="creatives",
        entities=[creative],
        ttl=timedelta(days=30),
        schema=[
            feast.Field(name="creative", dtype=Int64),
            feast.Field(name="age_days", dtype=Float64),
            feast.Field(name="format", dtype=String),
            feast.Field(name="vector", dtype=Array(Float64)),
        ],
        source=feast.data_source.PushSource(
            name="creatives_push",
            batch_source=feast.FileSource(
                path=str(path), timestamp_field="event_timestamp", created_timestamp_column="created"
            ),
        ),
    )
    repository.store.apply([creative, view])
    repository.store.push("creatives_push", frame.drop(columns="vector").assign(vector=[[1.0]] * 4), to=PushMode.ONLINE)
    return repository


TEAM = ["creatives:age_days", "creatives:format"]
WHERE = {"creative": "attributes.creative"}


def creative(at: datetime, number: str) -> Opportunity:
    return Opportunity(opportunity_id="o", at=at, campaign_id="shoes", attributes={"creative": number})


def test_a_teams_own_features_stand_beside_ours(team: FeastRepository) -> None:
    team.apply(VIEW)
    opportunities = [creative(NOW, "7"), creative(NOW, "8"), creative(NOW, "9"), creative(NOW, "x")]
    ours = team.online(VIEW, opportunities)
    both = team.with_team_features(ours, opportunities, TEAM, WHERE)
    assert set(both.numeric) == {*ours.numeric, "creatives__age_days"}
    np.testing.assert_array_equal(both.numeric["creatives__age_days"], [3.0, 9.0, np.nan, np.nan])
    assert both.categorical["creatives__format"].tolist() == ["tall", "tall", "", ""]
    assert both.view != ours.view
    assert len(team.with_team_features(team.online(VIEW, []), [], TEAM, WHERE)) == 0


def test_a_teams_own_features_are_read_as_of_the_past(team: FeastRepository) -> None:
    instants = [ago(days=4), TEAM_AT[0], ago(days=2), ago(hours=22), ago(hours=1)]
    opportunities = [creative(at, "7") for at in instants] + [creative(NOW + timedelta(days=31), "7")]
    team.apply(VIEW)
    table = team.with_team_features(team.historical(VIEW, opportunities), opportunities, TEAM, WHERE, historical=True)
    # Of two rows of one instant that which was written last; after 30 days none is young enough.
    np.testing.assert_array_equal(table.numeric["creatives__age_days"], [np.nan, 1.0, 1.0, 3.0, 3.0, np.nan])
    assert table.categorical["creatives__format"].tolist() == ["", "square", "square", "tall", "tall", ""]


def test_an_unknown_feature_of_a_team_is_an_error_with_the_closest_name(team: FeastRepository) -> None:
    table = team.online(VIEW, [])
    with pytest.raises(ConfigurationError, match="Did you mean 'creatives:age_days'") as caught:
        team.with_team_features(table, [], ["creatives:age_day"])
    assert "'creatives:age_day'" in caught.value.found
    with pytest.raises(ConfigurationError, match="a number, a truth value or a text"):
        team.with_team_features(table, [], ["creatives:vector"])
    with pytest.raises(ConfigurationError, match="source 'creative'"):
        team.with_team_features(table, [], TEAM)


def test_what_a_team_keeps_of_a_person_stays_theirs(repository: FeastRepository) -> None:
    frame = pd.DataFrame({"user_id": ["p.anna"], "event_timestamp": [ago(hours=1)], "tier": [3.0]})
    path = repository.folder / "tiers.parquet"
    pq.write_table(pa.Table.from_pandas(frame), path)
    user = feast.Entity(name="user", join_keys=["user_id"], value_type=feast.ValueType.STRING)
    source = feast.FileSource(path=str(path), timestamp_field="event_timestamp")
    schema = [feast.Field(name="user_id", dtype=String), feast.Field(name="tier", dtype=Float64)]
    tiers = feast.FeatureView(name="tiers", entities=[user], ttl=timedelta(0), schema=schema, source=source)
    repository.store.apply([user, tiers])
    repository.store.write_to_online_store("tiers", frame)
    store = FeastStore(VIEW, repository, clock=ManualClock(NOW))
    store.observe(events=pages(ago(hours=1)))
    assert store.forget("p.anna") == 1
    table = repository.with_team_features(store.read([asked()]), [asked()], ["tiers:tier"])
    assert table.numeric["user_page_views_7d"].tolist() == [0.0]
    assert table.numeric["tiers__tier"].tolist() == [3.0]


def test_names_that_feast_could_not_tell_apart_are_refused(tmp_path: Path) -> None:
    def of(view: FeatureView, *key: str) -> FeatureView:
        cell = view.rates[-1]
        return replace(view, rates=(*view.rates[:-1], replace(cell, key=key)))

    with pytest.raises(ConfigurationError, match="both 'attributes_a_b'"):
        feast_objects(of(campaign_view(), "attributes.a_b", "attributes.a b"), tmp_path)
    category = CategoryFeature(name="campaign_id", source="device")
    with pytest.raises(ConfigurationError, match="the name of a join key"):
        feast_objects(replace(campaign_view(), categories=(category,)), tmp_path)


@pytest.mark.parametrize("url", ["", "localhost:6379", "http://localhost", "redis://:a%2Cb@localhost"])
def test_an_address_that_is_none_of_a_redis_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="redis://localhost:6379/0"):
        FeastRepository(tmp_path, online="redis", redis_url=url)


def test_user_and_password_of_a_redis_reach_feast(tmp_path: Path) -> None:
    repository = FeastRepository(tmp_path, online="redis", redis_url="rediss://bid:12%23@cache:7000/3")
    told = repository.store.config.online_store.connection_string
    assert told == 'cache:7000,db=3,username="bid",password="12#",ssl=true'


def test_what_is_asked_of_feast_names_each_feature_of_the_view_once() -> None:
    asked_for = references(VIEW)
    assert len(asked_for) == len(set(asked_for))
    entities = plan_of(VIEW).entities
    assert len({states_name(VIEW, entity) for entity in entities}) == len(entities)
