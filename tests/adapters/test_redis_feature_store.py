"""What only a store on Redis does; what all stores do is in tests/contracts/test_online_store.py."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import redis
from msgspec.structs import replace

from benchmarks.servers import RedisServer
from bidloop.adapters.redis import feature_server
from bidloop.adapters.redis.feature_blob import FeatureBlob
from bidloop.adapters.redis.feature_store import RedisFeatureStore, digest_of
from bidloop.core.clock import ManualClock
from bidloop.core.errors import ConfigurationError, CorruptArtifact, InvalidInput, Unavailable
from bidloop.core.event import PageViewed, PlatformChanged
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Observations
from bidloop.features.planning import plan_of
from bidloop.features.signal_sets import user_signals, with_signals
from bidloop.features.view import FeatureView
from bidloop.features.views import campaign_view

NOW = datetime(2025, 4, 3, 12, tzinfo=UTC)  # past on any server: the past is settled by the earlier of two clocks
VIEW = replace(with_signals(campaign_view(half_life_days=3.0), user_signals()), resolution_seconds=1.0)
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A server of these tests' own, whose commands are counted and which may be killed."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def open_store(server: RedisServer, client: redis.Redis) -> Iterator[Callable[..., RedisFeatureStore]]:
    opened: list[RedisFeatureStore] = []

    def open_store(view: FeatureView = VIEW, **settings: object) -> RedisFeatureStore:
        # A read that waits longer than on a machine that is busy with other tests.
        settings = {"clock": ManualClock(NOW), "answer_seconds": 10.0, **settings}
        opened.append(RedisFeatureStore(view, server.url, **settings))
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


def asked(at: datetime = NOW, **change: object) -> Opportunity:
    cell = {"campaign_id": "shoes", "ad_group_id": "red", "keyword": "buy", "device": "mobile", "user_id": "p.anna"}
    return Opportunity(opportunity_id="o", at=at, **{**cell, **change})


def shown(*opportunities: Opportunity, position: int = 0) -> Observations:
    n = len(opportunities)
    return Observations(
        at=np.array([opportunity.at.replace(tzinfo=None) for opportunity in opportunities], dtype="datetime64[us]"),
        opportunities=list(opportunities),
        impressions=np.full(n, 100.0),
        clicks=np.full(n, 7.0),
        conversions=np.full(n, 1.0),
        value=np.zeros(n),
        cost=np.zeros(n),
        position=np.arange(position, position + n) if position else None,
    )


def impressions(store: RedisFeatureStore, at: datetime = NOW) -> float | None:
    return store.read([asked(at)]).row(0).numeric["cell_impressions"]


def commands(client: redis.Redis, call: Callable[[], object]) -> dict[str, int]:
    """How often the server was asked for what while something was done."""
    client.config_resetstat()
    call()
    told = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in client.info("commandstats").items()}
    return {name: calls for name, calls in told.items() if name not in ("config|resetstat", "info")}


def only_key(client: redis.Redis, pattern: str) -> bytes:
    [key] = client.scan_iter(match=pattern, count=1000)
    return key


def test_a_read_of_a_hundred_candidates_is_one_command_and_so_is_one_of_one(open_store, client) -> None:
    store = open_store()
    many = [asked(NOW + i * SECOND, keyword=f"k{i}", campaign_id=f"c{i % 7}") for i in range(100)]
    store.observe(shown(*(replace(one, at=NOW - SECOND) for one in many[::2])))
    store.read(many)
    assert commands(client, lambda: store.read(many)) == {"mget": 1}
    assert commands(client, lambda: store.read(many[:1])) == {"mget": 1}
    assert commands(client, lambda: store.read([])) == {}


def test_a_page_is_read_once_and_written_at_once(open_store, client) -> None:
    store = open_store()
    many = [asked(NOW - SECOND, keyword=f"k{i}") for i in range(100)]
    store.observe(shown(*many, position=1))
    found = commands(client, lambda: store.observe(shown(*many, position=101)))
    # The scripts themselves look at the position, and at 100 keywords and cells, an ad group, a campaign, a user and the account.
    assert found == {"get": 3, "mget": 1, "time": 1, "evalsha": 2, "getrange": 204, "set": 206}


def test_a_page_that_is_in_already_is_told_by_one_look(open_store, client) -> None:
    store = open_store()
    page = shown(*(asked(NOW - SECOND, keyword=f"k{i}") for i in range(100)), position=1)
    store.observe(page)
    assert commands(client, lambda: store.observe(page)) == {"get": 1}


def test_scripts_that_the_server_forgot_are_sent_again(open_store, client) -> None:
    store = open_store()
    client.script_flush()
    store.observe(shown(asked(NOW - SECOND), position=1))
    assert (impressions(store) or 0) > 99
    assert store.position == 1


def test_a_read_before_what_is_settled_says_from_when_on_it_can_be(open_store) -> None:
    store = open_store(replace(VIEW, lag_seconds=5.0), keep_seconds=60.0)
    store.observe(shown(asked(NOW - timedelta(days=1))))
    assert (impressions(store, NOW - 60 * SECOND) or 0) > 50
    with pytest.raises(
        InvalidInput, match=r"as of 2025-04-03T11:58:50.*from 2025-04-03T11:58:59\.000000Z on"
    ) as refused:
        store.read([asked(), asked(NOW - 70 * SECOND)])
    assert "point_in_time" in refused.value.remedy
    # Of what nothing is known, nothing was known at any time.
    nobody = FeatureView(name="other", rates=VIEW.rates)
    open_store(nobody).read([asked(NOW - timedelta(days=400))])


@pytest.mark.parametrize("keep", [1.0, 60.0, 3600.0])
def test_the_past_can_be_asked_for_as_long_as_it_is_kept(open_store, keep: float) -> None:
    store = open_store(keep_seconds=keep)
    store.observe(shown(asked(NOW - timedelta(days=1)), asked(NOW - SECOND)))
    assert (impressions(store, NOW - keep * SECOND) or 0) < 101
    assert (impressions(store) or 0) > 150
    with pytest.raises(InvalidInput, match=f"keeps {keep:g} s"):
        impressions(store, NOW - (1.1 * keep + 1) * SECOND)


def test_a_process_whose_clock_is_behind_does_not_open_the_settled_past_again(open_store) -> None:
    store, behind = open_store(), open_store(clock=ManualClock(NOW - timedelta(hours=1)))
    store.observe(shown(asked(NOW - timedelta(minutes=20))))
    behind.observe(shown(asked(NOW - timedelta(minutes=40))))
    with pytest.raises(InvalidInput):
        impressions(store, NOW - timedelta(minutes=30))
    assert impressions(store) == pytest.approx(200, rel=1e-2)


def test_a_store_that_keeps_no_past_tells_the_present(open_store) -> None:
    store = open_store(keep_seconds=0.0)
    store.observe(shown(asked(NOW - SECOND), asked(NOW)))
    assert impressions(store) == pytest.approx(100, rel=1e-4)
    assert impressions(store, NOW + SECOND) == pytest.approx(200, rel=1e-4)
    with pytest.raises(InvalidInput):
        impressions(store, NOW - SECOND)


def test_what_is_new_takes_no_more_room_than_the_steps_that_are_kept(open_store, client) -> None:
    clock = ManualClock(NOW)
    store = open_store(clock=clock, keep_seconds=60.0)
    account = plan_of(VIEW).entities[0]
    bare, step = 8 * (4 + account.width), 8 * (1 + len(account.inputs))
    lengths = []
    for second in range(0, 300, 2):
        clock.set(NOW + second * SECOND)
        store.observe(shown(*(asked(NOW + (second - i / 10) * SECOND) for i in range(30))))
        lengths.append((client.strlen(only_key(client, "*:e:account:")) - bare) / step)
    assert 60 <= max(lengths) <= 68
    assert (impressions(store, clock.now()) or 0) == pytest.approx(150 * 3000, rel=2e-3)
    clock.set(NOW + timedelta(hours=1))
    store.observe(shown(asked(NOW)))
    assert client.strlen(only_key(client, "*:e:account:")) == bare


def test_a_state_that_nobody_writes_to_is_told_from_its_old_base(open_store) -> None:
    store = open_store()
    store.observe(shown(asked(NOW - SECOND), asked(NOW + SECOND)))
    assert impressions(store, NOW + timedelta(days=3)) == pytest.approx(100, rel=1e-5)


def test_each_entity_of_each_version_has_a_key_that_tells_what_it_is(open_store, client) -> None:
    other = replace(VIEW, timezone="Europe/Berlin")
    for view in (VIEW, other):
        open_store(view, prefix="shop:a[b]").observe(shown(asked(NOW - SECOND), position=4))
    keys = sorted(key.decode() for key in client.scan_iter(match="*", count=1000) if VIEW.version in key.decode())
    assert keys[:4] == [
        f"{{shop:a[b]}}:{VIEW.version}:e:account:",
        f"{{shop:a[b]}}:{VIEW.version}:e:ad_group:shoes\x1fred",
        f"{{shop:a[b]}}:{VIEW.version}:e:campaign:shoes",
        f"{{shop:a[b]}}:{VIEW.version}:e:cell:shoes\x1fred\x1fbuy\x1fmobile\x1f",
    ]
    assert keys[-2:] == [f"{{shop:a[b]}}:{VIEW.version}:position", f"{{shop:a[b]}}:{VIEW.version}:told"]
    assert client.dbsize() == 16
    assert not [key for key in client.scan_iter(match="*", count=1000) if b"anna" in key]


def test_a_person_is_forgotten_in_all_versions_of_the_view_and_under_no_other_prefix(open_store, client) -> None:
    page = [(1, PageViewed(event_id="e", at=NOW - SECOND, user_id="p.anna"))]
    versions = [VIEW, replace(VIEW, timezone="Europe/Berlin"), replace(VIEW, lag_seconds=1.0)]
    for view in versions:
        for prefix in ("shop[1]", "shop1"):
            open_store(view, prefix=prefix).observe(events=page)
    assert open_store(prefix="shop[1]").forget("p.anna") == 3
    assert open_store(prefix="shop1").forget("p.anna") == 3
    assert not list(client.scan_iter(match="*:p:*", count=1000))


@pytest.mark.parametrize("days", [0.0, 2.0])
def test_what_nothing_happens_to_is_dropped_after_so_many_days(open_store, client, days: float) -> None:
    store = open_store(expire_days=days)
    store.observe(shown(asked(NOW - SECOND), position=1))
    times = {client.ttl(key) for key in client.scan_iter(match="*:[ep]:*", count=1000)}
    assert all(days * 86_400 - 60 < left <= days * 86_400 for left in times) if days else times == {-1}
    assert client.ttl(only_key(client, "*:position")) == -1


@pytest.mark.parametrize(
    "damage", [b"", b"short", bytes(1000), lambda value: value[:-8], lambda value: value + bytes(16)]
)
def test_a_value_that_is_none_of_ours_is_never_read_as_one(open_store, client, damage) -> None:
    store = open_store()
    store.observe(shown(asked(NOW - timedelta(days=1))))
    key = only_key(client, "*:e:cell:*")
    client.set(key, damage(client.get(key)) if callable(damage) else damage)
    for call in (lambda: store.read([asked()]), lambda: store.observe(shown(asked(NOW - SECOND)))):
        with pytest.raises(CorruptArtifact, match=r"a 'cell' is kept.*clear the store") as refused:
            call()
        assert "shoes" not in str(refused.value)
    store.clear()
    assert impressions(store) is None


def test_a_state_of_the_right_length_that_is_no_state_is_refused_as_well(open_store, client) -> None:
    store = open_store()
    store.observe(shown(asked(NOW - timedelta(days=1))))
    key = only_key(client, "*:e:cell:*")
    client.set(key, bytes(client.strlen(key)))
    with pytest.raises(CorruptArtifact, match="no state of these features"):
        store.read([asked()])


def test_a_server_that_is_down_is_unavailable_and_then_the_same_again_is_right() -> None:
    with RedisServer() as server:
        store = RedisFeatureStore(VIEW, server.url, clock=ManualClock(NOW), answer_seconds=10.0)
        store.observe(shown(asked(NOW - SECOND), position=1))
        server.kill()
        page = shown(asked(NOW - SECOND), asked(NOW - SECOND), position=1)
        for call in (
            lambda: store.observe(page),
            lambda: store.read([asked()]),
            lambda: store.position,
            lambda: store.forget("p.anna"),
            store.clear,
        ):
            with pytest.raises(Unavailable, match=r"features\.redis_url"):
                call()
        server.start()
        store.observe(page)
        assert impressions(store) == pytest.approx(200, rel=1e-4)
        assert store.position == 2
        store.close()


class SnapshotServer(RedisServer):
    """A Redis as it comes: after a crash it has what it had when it was last saved."""

    def _command(self) -> list[str]:
        return [*super()._command(), "--appendonly", "no"]


def crash(server: RedisServer, client: redis.Redis) -> None:
    server.kill()
    server.start()


def flush(server: RedisServer, client: redis.Redis) -> None:
    client.flushall()


@pytest.mark.parametrize("lose", [crash, flush])
def test_a_server_that_lost_something_is_unavailable_until_one_that_starts_anew_has_filled_it(lose) -> None:
    pages = [shown(asked(NOW - SECOND), position=position) for position in (1, 2, 3)]
    with SnapshotServer() as server, redis.Redis.from_url(server.url) as client:
        running, anew = (
            RedisFeatureStore(VIEW, server.url, clock=ManualClock(NOW), answer_seconds=10.0) for _ in range(2)
        )
        running.observe(pages[0])
        client.save()
        running.observe(pages[1])
        lose(server, client)
        left = client.dbsize()
        with pytest.raises(Unavailable, match=r"Redis has lost what it knew.*Start one process anew"):
            running.read([asked()])
        with pytest.raises(Unavailable, match="Redis has lost what it knew"):
            running.observe(pages[2])
        assert client.dbsize() == left
        anew.observe(pages[0])
        with pytest.raises(Unavailable, match="Redis has lost what it knew"):
            running.read([asked()])
        for page in pages[1:]:
            anew.observe(page)
        running.observe(pages[2])
        for store in (running, anew):
            assert impressions(store) == pytest.approx(300, rel=1e-4)
            assert store.position == 3
            store.close()


def test_one_that_only_reads_notices_a_loss_as_well(open_store, client) -> None:
    store, reader = open_store(), open_store()
    store.observe(shown(asked(NOW - SECOND), position=1))
    assert impressions(reader) == pytest.approx(100, rel=1e-4)
    client.flushall()
    with pytest.raises(Unavailable, match="Redis has lost what it knew"):
        reader.read([asked()])
    assert impressions(open_store()) is None  # it knows of no loss, and is the one that fills the store


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_loss_in_the_middle_of_a_page_is_noticed_before_anything_is_written(
    open_store, client, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    store = open_store()
    store.observe(shown(asked(NOW - SECOND), position=1))
    write = store._write

    def lost(*words: object) -> object:
        if when == "before":
            client.flushall()
            return write(*words)
        changed = write(*words)
        client.flushall()
        return changed

    monkeypatch.setattr(store, "_write", lost)
    with pytest.raises(Unavailable, match="Redis has lost what it knew"):
        store.observe(shown(asked(NOW - SECOND), position=2))
    assert client.dbsize() == 0


def test_a_page_that_adds_nothing_moves_the_position_too(open_store) -> None:
    store, other = open_store(), open_store()
    store.observe(events=[(7, PlatformChanged(event_id="e", at=NOW - SECOND, platform="ours", change="it"))])
    assert (store.position, other.position) == (7, 7)


def test_a_loss_is_healed_where_the_log_has_grown_meanwhile(open_store, client) -> None:
    running = open_store()
    running.observe(shown(asked(NOW - SECOND), position=1))
    client.flushall()
    anew = open_store()
    anew.observe(shown(asked(NOW - SECOND), asked(NOW - SECOND), position=1))
    assert impressions(running) == pytest.approx(200, rel=1e-4)
    running.observe(shown(asked(NOW - SECOND), asked(NOW - SECOND), position=2))
    assert impressions(anew) == pytest.approx(300, rel=1e-4)


def test_a_cleared_store_has_lost_nothing(open_store) -> None:
    store = open_store()
    store.observe(shown(asked(NOW - SECOND), position=5))
    store.clear()
    assert impressions(store) is None
    store.observe(shown(asked(NOW - SECOND), position=1))
    assert (impressions(store) or 0) > 99


def test_a_read_waits_for_a_server_that_hangs_a_moment_and_then_not_at_all(
    open_store, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(feature_server, "monotonic", lambda: now[0])
    store = open_store(answer_seconds=0.25)
    store.observe(shown(asked(NOW - SECOND)))
    os.kill(server.pid, signal.SIGSTOP)
    goes_on = threading.Timer(4.0, os.kill, (server.pid, signal.SIGCONT))  # before a page would be given up
    goes_on.start()
    try:
        with pytest.raises(Unavailable, match="takes no commands"):
            store.read([asked()])
        with pytest.raises(Unavailable, match=r"a moment ago.*features\.redis_url"):
            store.read([asked()])
    finally:
        goes_on.cancel()
        os.kill(server.pid, signal.SIGCONT)
    # Though it is back, nobody asks before the second is over.
    now[0] += 0.99
    with pytest.raises(Unavailable, match="a moment ago"):
        store.read([asked()])
    now[0] += 0.02
    assert open_store().read([asked()]).row(0) == store.read([asked()]).row(0)


def test_a_page_waits_for_a_server_that_hangs_longer_than_a_read_does(open_store, server: RedisServer) -> None:
    store = open_store(answer_seconds=0.05)
    os.kill(server.pid, signal.SIGSTOP)
    goes_on = threading.Timer(0.4, os.kill, (server.pid, signal.SIGCONT))
    goes_on.start()
    store.observe(shown(asked(NOW - SECOND), position=1))
    goes_on.join()
    assert store.position == 1


def test_a_process_whose_clock_is_ahead_settles_the_past_for_nobody(open_store) -> None:
    now = datetime.now(UTC)
    store, ahead = open_store(clock=ManualClock(now)), open_store(clock=ManualClock(now + timedelta(hours=1)))
    ahead.observe(shown(asked(now - timedelta(days=1)), asked(now - SECOND)))
    assert (impressions(store, now) or 0) > 150
    with pytest.raises(InvalidInput, match="keeps 15 s"):
        impressions(store, now - timedelta(minutes=1))


def test_the_store_says_which_event_it_was_told_last(open_store) -> None:
    def viewed(*positions: int) -> list[tuple[int, PageViewed]]:
        return [(one, PageViewed(event_id=f"e{one}", at=NOW - SECOND, user_id="p.anna")) for one in positions]

    store, other = open_store(), open_store()
    assert store.told == (0, "")
    store.observe(events=viewed(3, 4))
    other.observe(events=viewed(1, 2))
    assert store.told == other.told == (4, digest_of("e4"))
    other.observe(shown(asked(NOW - SECOND), position=6), viewed(5, 6))
    assert store.told == (6, digest_of("e6"))
    other.observe(shown(asked(NOW - SECOND), position=7))
    assert store.told == (7, "")
    store.clear()
    assert other.told == (0, "")


def test_the_earliest_instant_is_the_one_from_which_on_it_can_be_asked(open_store) -> None:
    store = open_store(replace(VIEW, lag_seconds=5.0), keep_seconds=60.0)
    store.observe(shown(asked(NOW - timedelta(days=1))))
    assert store.earliest == NOW - 60 * SECOND
    store.settle(NOW)
    assert (impressions(store, store.earliest) or 0) > 50


def test_a_value_of_a_release_that_keeps_other_columns_is_never_read_as_one() -> None:
    plan = plan_of(VIEW)
    account = plan.entities[0]
    blob = FeatureBlob(account, plan.amounts)
    values = blob.packed(blob.unpacked([None]))
    assert len(FeatureBlob(account, plan.amounts).unpacked(values).base) == 1
    others = [
        (dataclasses.replace(account, sum_input=account.sum_input[::-1]), plan.amounts),
        (dataclasses.replace(account, inputs=account.inputs[::-1]), plan.amounts),
        (account, plan.amounts[::-1]),
    ]
    for entity, amounts in others:
        with pytest.raises(CorruptArtifact, match="another release"):
            FeatureBlob(entity, amounts).unpacked(values)


def test_a_server_that_drops_keys_is_warned_of_once(open_store, client, caplog: pytest.LogCaptureFixture) -> None:
    page = shown(asked(NOW - SECOND), position=1)
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        open_store().observe(page)  # which may drop keys, but has no limit
        client.config_set("maxmemory", "1gb")
        with caplog.at_level(logging.WARNING, logger=feature_server.__name__):
            assert caplog.messages == []
            store = open_store()
            store.observe(page)
            store.observe(page)
        [told] = caplog.messages
        assert "allkeys-lru" in told
        client.config_set("maxmemory-policy", "noeviction")
        open_store().observe(page)
        assert len(caplog.messages) == 1
    finally:
        client.config_set("maxmemory", "0")
        client.config_set("maxmemory-policy", "noeviction")


@pytest.mark.parametrize("url", ["", "localhost", "http://localhost"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"features\.redis_url"):
        RedisFeatureStore(VIEW, url)


@pytest.mark.parametrize("span", [{"keep_seconds": -1.0}, {"expire_days": float("nan")}, {"answer_seconds": 0.0}])
def test_a_span_below_zero_is_refused(span: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(span))):
        RedisFeatureStore(VIEW, "redis://localhost", **span)
