"""What every event stream must do, on every adapter."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from bidloop.adapters.memory.event_stream import MemoryEventStream
from bidloop.adapters.redis.event_stream import RedisEventStream
from bidloop.events.ports import Delivery, EventStream, Lag, Parcel
from bidloop.events.settings import StreamSettings

OpenStream = Callable[[], EventStream]


def parcel(name: str, content: str = "") -> Parcel:
    return Parcel(f"{name}{content}".encode(), name.encode(), len(content))


def lines(deliveries: list[Delivery]) -> list[str]:
    return [line.decode() for delivery in deliveries for line in delivery.lines.split(b"\n")]


def take(stream: EventStream, limit: int = 100) -> list[Delivery]:
    return stream.take("me", limit, 0)


def finish(stream: EventStream, deliveries: list[Delivery]) -> None:
    stream.done([delivery.entry for delivery in deliveries])


@pytest.fixture(params=["memory", "redis"])
def open_stream(request: pytest.FixtureRequest) -> Iterator[OpenStream]:
    """Opens the same stream again and again."""
    if request.param == "memory":
        one = MemoryEventStream()
        yield lambda: one
        return
    settings = StreamSettings(
        url=request.getfixturevalue("redis_url"), name=request.getfixturevalue("stream_name"), recent_seconds=60
    )
    opened: list[RedisEventStream] = []

    def open_redis() -> EventStream:
        opened.append(RedisEventStream.open(settings))
        return opened[-1]

    yield open_redis
    for stream in opened:
        stream.close()


def test_what_is_published_is_handed_out_once_in_its_order(open_stream: OpenStream) -> None:
    open_stream().publish([parcel("a"), parcel("b")])
    open_stream().publish([parcel("c")])
    assert lines(take(open_stream())) == ["a", "b", "c"]
    assert take(open_stream()) == []


def test_a_parcel_that_is_known_of_late_is_not_written_again(open_stream: OpenStream) -> None:
    stream = open_stream()
    assert stream.publish([parcel("a"), parcel("b"), parcel("a")]) == ["fresh", "fresh", "known"]
    assert open_stream().publish([parcel("b"), parcel("c")]) == ["known", "fresh"]
    assert lines(take(stream)) == ["a", "b", "c"]


def test_a_parcel_with_another_content_is_written_and_the_first_one_stays_known(open_stream: OpenStream) -> None:
    stream = open_stream()
    stream.publish([parcel("a")])
    assert stream.publish([parcel("a", "!")]) == ["changed"]
    assert stream.publish([parcel("a"), parcel("a", "!")]) == ["known", "changed"]
    assert lines(take(stream)) == ["a", "a!", "a!"]


def test_rejected_rows_have_no_key_and_are_always_written(open_stream: OpenStream) -> None:
    stream = open_stream()
    assert stream.publish([Parcel(b"bad"), Parcel(b"bad")]) == ["fresh", "fresh"]
    assert lines(take(stream)) == ["bad", "bad"]


def test_a_publication_of_nothing_is_nothing(open_stream: OpenStream) -> None:
    stream = open_stream()
    assert stream.publish([]) == []
    assert (stream.latest(), stream.lag().entries) == ("", 0)


def test_a_large_publication_makes_several_entries_and_loses_none(open_stream: OpenStream) -> None:
    stream = open_stream()
    many = [parcel(f"event-{i}") for i in range(2_500)]
    assert stream.publish(many) == ["fresh"] * 2_500
    assert (stream.lag().entries, stream.lag().items) == (3, 2_500)
    taken = [*take(stream, 1), *take(stream, 1), *take(stream, 1)]
    assert lines(taken) == [parcel.line.decode() for parcel in many]


def test_an_entry_is_behind_until_it_is_done(open_stream: OpenStream) -> None:
    stream = open_stream()
    for names in ("ab", "cde", "f"):
        stream.publish([parcel(name) for name in names])
    taken = take(stream, 2)
    assert (stream.lag().entries, stream.lag().items) == (3, 6)
    finish(stream, taken[:1])
    assert (open_stream().lag().entries, open_stream().lag().items) == (2, 4)
    finish(open_stream(), taken)  # by an object that did not take it, and the first one twice
    assert (stream.lag().entries, stream.lag().items) == (1, 1)
    finish(stream, take(stream))
    assert stream.lag() == Lag(0, 0, 0)


def test_the_age_of_the_oldest_unfinished_entry_grows(open_stream: OpenStream) -> None:
    stream = open_stream()
    stream.publish([parcel("a")])
    waiting = stream.lag().oldest_seconds
    stream.take("me", 10, 0)
    threading.Event().wait(0.05)
    assert stream.lag().oldest_seconds >= waiting + 0.04


def test_an_entry_that_was_taken_and_not_finished_is_reclaimed(open_stream: OpenStream) -> None:
    stream = open_stream()
    stream.publish([parcel("a")])
    stream.publish([parcel("b")])
    first, _ = stream.take("dead", 10, 0)
    assert first.attempts == 1
    assert stream.reclaim("me", 10, idle_seconds=60) == []
    again = open_stream().reclaim("me", 1, idle_seconds=0)
    assert (lines(again), again[0].attempts) == (["a"], 2)
    both = stream.reclaim("me", 10, idle_seconds=0)
    assert [(delivery.entry == first.entry, delivery.attempts) for delivery in both] == [(True, 3), (False, 2)]
    finish(stream, both)
    assert stream.reclaim("me", 10, idle_seconds=0) == []


def test_more_entries_than_are_asked_for_are_reclaimed_bit_by_bit(open_stream: OpenStream) -> None:
    stream = open_stream()
    for i in range(50):
        stream.publish([parcel(str(i))])
    finish(stream, stream.take("dead", 100, 0)[::2])
    found: list[Delivery] = []
    while some := stream.reclaim("me", 7, idle_seconds=0):
        assert len(some) <= 7
        found += some
        finish(stream, some)
    assert lines(found) == [str(i) for i in range(1, 50, 2)]


def test_consumers_share_the_entries(open_stream: OpenStream) -> None:
    stream = open_stream()
    for i in range(4):
        stream.publish([parcel(str(i))])
    assert lines(stream.take("one", 2, 0)) == ["0", "1"]
    assert lines(stream.take("two", 2, 0)) == ["2", "3"]


def test_whoever_waits_gets_what_is_published_meanwhile(open_stream: OpenStream) -> None:
    stream, publisher = open_stream(), open_stream()
    later = threading.Timer(0.05, lambda: publisher.publish([parcel("a")]))
    later.start()
    taken: list[Delivery] = []
    while not taken:
        taken = stream.take("me", 10, 5)
    later.join()
    assert lines(taken) == ["a"]


def test_a_buried_entry_is_finished_and_stays_with_the_dead_letters(open_stream: OpenStream) -> None:
    stream = open_stream()
    stream.publish([parcel("a"), parcel("b")])
    stream.publish([parcel("c")])
    stream.publish([parcel("d")])
    first, second = take(stream, 2)
    stream.bury(first, "nobody can read it")
    stream.bury(second, "nor this")
    stream.bury(second, "nor this, said twice")
    assert open_stream().dead(10) == [(second, "nor this"), (first, "nobody can read it")]
    assert open_stream().dead(1) == [(second, "nor this")]
    assert (stream.lag().entries, stream.lag().items) == (1, 1)
    assert stream.reclaim("me", 10, idle_seconds=0) == []


def test_trimming_drops_what_is_stored_and_nothing_else(open_stream: OpenStream) -> None:
    stream = open_stream()
    for i in range(6):
        stream.publish([parcel(str(i))])
    taken = take(stream, 4)
    assert stream.trim() == 0
    finish(stream, taken[:2])
    assert stream.trim() == 2
    finish(stream, taken[2:])
    assert stream.trim() == 2
    assert stream.trim() == 0
    assert lines(take(stream)) == ["4", "5"]


def test_the_latest_id_grows_and_outlives_trimming(open_stream: OpenStream) -> None:
    stream = open_stream()
    stream.publish([parcel("a")])
    first = stream.latest()
    stream.publish([parcel("b")])
    taken = take(stream)
    assert [delivery.entry for delivery in taken] == [first, stream.latest()]
    finish(stream, taken)
    stream.trim()
    assert open_stream().latest() == taken[1].entry


def test_publishers_and_consumers_at_once_lose_nothing_and_get_nothing_twice(open_stream: OpenStream) -> None:
    taken: list[str] = []
    published = threading.Event()

    def publish(part: int) -> None:
        stream = open_stream()
        for i in range(100 * part, 100 * part + 150):  # the last fifty overlap with the next publisher's
            stream.publish([parcel(f"{i}"), parcel(f"{i}'")])

    def consume(name: str) -> None:
        stream = open_stream()
        while (some := stream.take(name, 7, 0.05)) or not published.is_set():
            taken.extend(lines(some) if some else [])
            finish(stream, some)

    publishers = [threading.Thread(target=publish, args=(part,)) for part in range(3)]
    consumers = [threading.Thread(target=consume, args=(name,)) for name in ("one", "two")]
    for thread in publishers + consumers:
        thread.start()
    for thread in publishers:
        thread.join()
    published.set()
    for thread in consumers:
        thread.join()
    assert sorted(taken) == sorted(f"{i}{mark}" for i in range(350) for mark in ("", "'"))
    assert open_stream().lag().items == 0
