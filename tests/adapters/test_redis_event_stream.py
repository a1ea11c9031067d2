"""What only a real Redis can show: crashes, several groups, what others do to its keys."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator

import pytest
import redis
from redis.crc import key_slot

from benchmarks.servers import RedisServer
from bidloop.adapters.redis import event_stream
from bidloop.adapters.redis.event_stream import PARCELS_PER_CALL, RedisEventStream
from bidloop.core.errors import ConfigurationError, InvalidInput, Unavailable
from bidloop.events.packing import unpack
from bidloop.events.ports import Delivery, Parcel
from bidloop.events.sealing import Seal
from bidloop.events.settings import StreamSettings


def parcel(name: str) -> Parcel:
    return Parcel(name.encode(), name.encode(), 1)


def lines(deliveries: list[Delivery]) -> list[str]:
    return [line.decode() for delivery in deliveries for line in delivery.lines.split(b"\n")]


def finish(stream: RedisEventStream, deliveries: list[Delivery]) -> None:
    stream.done([delivery.entry for delivery in deliveries])


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of the test's own, to be killed and misconfigured."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def open_stream() -> Iterator[Callable[..., RedisEventStream]]:
    opened: list[RedisEventStream] = []

    def open_stream(url: str, **settings: object) -> RedisEventStream:
        opened.append(RedisEventStream(StreamSettings(url=url, **settings)))
        return opened[-1]

    yield open_stream
    for stream in opened:
        stream.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def admin(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        yield client


def test_what_was_acknowledged_survives_a_crash_and_the_same_object_goes_on(server: RedisServer, open_stream) -> None:
    stream = open_stream(server.url)
    for i in range(5):
        stream.publish([parcel(f"{i}a"), parcel(f"{i}b")])
        server.kill()
        with pytest.raises(Unavailable):
            stream.publish([parcel("never acknowledged")])
        with pytest.raises(Unavailable):
            stream.take("me", 10, 0)
        server.start()
        assert stream.publish([parcel(f"{i}a")]) == ["known"]
    server.kill()
    server.start()
    taken = stream.take("me", 10, 0)  # at once, on a connection that died unnoticed
    assert lines(taken) == [f"{i}{letter}" for i in range(5) for letter in "ab"]
    server.kill()
    server.start()
    assert lines(stream.reclaim("another", 10, 0)) == lines(taken)
    assert (stream.lag().entries, stream.lag().items) == (5, 10)
    finish(stream, taken)
    server.kill()
    server.start()
    assert (stream.lag().items, stream.take("me", 10, 0), stream.reclaim("me", 10, 0)) == (0, [], [])


def test_scripts_that_the_server_forgot_are_sent_again(redis_url: str, stream_name: str, client, open_stream) -> None:
    stream = open_stream(redis_url, name=stream_name)
    stream.publish([parcel("a")])
    client.script_flush()
    assert stream.publish([parcel("a")]) == ["known"]
    client.script_flush()
    assert stream.lag().items == 1


def test_a_server_that_hangs_is_not_waited_for_for_ever(
    server: RedisServer, open_stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "_ANSWER_S", 0.2)
    stream = open_stream(server.url)
    stream.publish([parcel("a")])
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable):
            stream.publish([parcel("b")])
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert stream.publish([parcel("b"), parcel("c")])[1] == "fresh"  # the first may have got through after all
    assert lines(stream.take("me", 10, 0)) == ["a", "b", "c"]


def test_a_full_server_says_so_and_takes_nothing(server: RedisServer, admin: redis.Redis, open_stream) -> None:
    stream = open_stream(server.url)
    stream.publish([parcel("a")])
    admin.config_set("maxmemory", "1mb")
    with pytest.raises(Unavailable, match="memory"):
        stream.publish([parcel("b"), Parcel(b"c" * 100)])
    admin.config_set("maxmemory", 0)
    assert stream.publish([parcel("b")]) == ["fresh"]
    assert lines(stream.take("me", 10, 0)) == ["a", "b"]


def test_wrong_credentials_are_a_matter_of_settings_and_never_repeated(
    server: RedisServer, admin: redis.Redis, open_stream
) -> None:
    url = server.url
    admin.config_set("requirepass", "right")
    try:
        stream = open_stream(url.replace("//", "//:sesame@"))
        with pytest.raises(ConfigurationError) as refused:
            stream.publish([parcel("a")])
        assert "sesame" not in str(refused.value)
        assert url in str(refused.value)
    finally:
        admin.config_set("requirepass", "")


@pytest.mark.parametrize("url", ["", "localhost", "http://localhost", "redis://host:port"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"stream\.url"):
        RedisEventStream(StreamSettings(url=url))


def test_opening_says_where_what_was_acknowledged_may_be_lost(
    server: RedisServer, admin: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    settings = StreamSettings(url=server.url)
    with caplog.at_level(logging.WARNING, "bidloop.stream"):
        RedisEventStream.open(settings).close()
        assert not caplog.records
        admin.config_set("appendonly", "no")
        admin.config_set("maxmemory", "1gb")
        admin.config_set("maxmemory-policy", "allkeys-lru")
        RedisEventStream.open(settings).close()
    assert ["appendonly yes" in record.getMessage() for record in caplog.records] == [True, False]
    assert "noeviction" in caplog.text


def test_opening_where_nobody_answers_says_so(server: RedisServer) -> None:
    settings = StreamSettings(url=server.url)
    server.kill()
    with pytest.raises(Unavailable, match="takes no commands"):
        RedisEventStream.open(settings)


def test_with_two_groups_only_what_both_have_finished_is_dropped(redis_url: str, stream_name: str, open_stream) -> None:
    ours = open_stream(redis_url, name=stream_name)
    theirs = open_stream(redis_url, name=stream_name, group="archive")
    for name in "abcd":
        ours.publish([parcel(name)])
    assert theirs.lag().items == 4
    finish(ours, ours.take("me", 10, 0))
    assert ours.trim() == 0
    first, *others = theirs.take("them", 3, 0)
    finish(theirs, others)
    assert ours.trim() == 0
    finish(theirs, [first])
    assert ours.trim() == 3
    assert (ours.lag().items, theirs.lag().items) == (0, 1)
    assert lines(theirs.take("them", 10, 0)) == ["d"]


def test_a_group_that_comes_late_is_behind_with_what_is_left_only(
    redis_url: str, stream_name: str, open_stream
) -> None:
    ours = open_stream(redis_url, name=stream_name)
    for name in "abc":
        ours.publish([parcel(name), parcel(f"{name}'")])
    finish(ours, ours.take("me", 1, 0))
    ours.trim()
    theirs = open_stream(redis_url, name=stream_name, group="archive")
    assert (theirs.lag().entries, theirs.lag().items) == (2, 4)


def test_a_group_that_somebody_destroyed_is_made_again_and_gets_what_is_there(
    redis_url: str, stream_name: str, client: redis.Redis, open_stream
) -> None:
    stream = open_stream(redis_url, name=stream_name)
    stream.publish([parcel("a")])
    finish(stream, stream.take("me", 10, 0))
    stream.publish([parcel("b")])
    client.xgroup_destroy(stream_name, "absorb")
    assert lines(stream.take("me", 10, 0)) == ["a", "b"]
    client.xgroup_destroy(stream_name, "absorb")
    assert stream.reclaim("me", 10, 0) == []
    client.xgroup_destroy(stream_name, "absorb")
    assert stream.lag().items == 2
    client.delete(stream_name)
    assert (stream.latest(), stream.trim(), stream.lag().items) == ("", 0, 0)


def test_an_entry_that_somebody_deleted_is_not_waited_for(
    redis_url: str, stream_name: str, client: redis.Redis, open_stream
) -> None:
    stream = open_stream(redis_url, name=stream_name)
    for name in "abc":
        stream.publish([parcel(name)])
    first, *others = stream.take("me", 10, 0)
    client.xdel(stream_name, first.entry)
    assert lines(stream.reclaim("me", 10, 0)) == ["b", "c"]
    finish(stream, others)
    assert stream.trim() == 2
    stream.publish([parcel("d")])
    assert (stream.lag().entries, stream.lag().items) == (1, 1)


def test_what_somebody_else_wrote_into_the_stream_is_kept_aside_as_unreadable(
    redis_url: str, stream_name: str, client: redis.Redis, open_stream
) -> None:
    stream = open_stream(redis_url, name=stream_name)
    assert stream.lag().entries == 0
    client.xadd(stream_name, {"n": "many", "hello": "world"})
    assert stream.lag().entries == 1
    [delivery] = stream.take("me", 10, 0)
    [item] = unpack(delivery.lines, Seal(bytes(32)), source="stream")
    assert item.code == "unreadable_entry"
    assert b"world" in item.raw
    finish(stream, [delivery])
    assert stream.lag().items == 0


def test_large_events_make_more_entries(redis_url: str, stream_name: str, client: redis.Redis, open_stream) -> None:
    stream = open_stream(redis_url, name=stream_name)
    many = [Parcel(bytes([97 + i]) * 400_000, bytes([i]), i) for i in range(5)]
    stream.publish([*many, Parcel(b"z" * 1_500_000)])
    taken = stream.take("me", 10, 0)
    assert [len(delivery.lines) for delivery in taken] == [800_001, 800_001, 400_000, 1_500_000]


def test_more_than_the_server_takes_at_once_is_refused(redis_url: str, stream_name: str, open_stream) -> None:
    with pytest.raises(InvalidInput, match="several calls"):
        open_stream(redis_url, name=stream_name).publish([Parcel(b"a")] * (PARCELS_PER_CALL + 1))


def test_an_event_is_remembered_as_long_as_the_settings_say(
    redis_url: str, stream_name: str, client: redis.Redis, open_stream
) -> None:
    stream = open_stream(redis_url, name=stream_name, recent_seconds=77)
    stream.publish([parcel("a")])
    [key] = client.scan_iter(match=f"*{stream_name}*:recent:*")
    assert 70 <= client.ttl(key) <= 77
    client.delete(key)
    assert stream.publish([parcel("a")]) == ["fresh"]


def test_all_keys_of_a_stream_lie_on_one_node_of_a_cluster(
    redis_url: str, stream_name: str, client: redis.Redis, open_stream
) -> None:
    stream = open_stream(redis_url, name=stream_name)
    stream.publish([parcel("a"), parcel("b")])
    [delivery] = stream.take("me", 10, 0)
    stream.bury(delivery, "why")
    keys = list(client.scan_iter(match=f"*{stream_name}*"))
    assert len(keys) == 6
    assert len({key_slot(key) for key in keys}) == 1
