"""From the stream into the log: each event once, whatever fails on the way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bidloop.adapters.memory.event_log import MemoryEventLog
from bidloop.adapters.memory.event_stream import MemoryEventStream
from bidloop.core.clock import ManualClock
from bidloop.core.errors import Unavailable
from bidloop.core.event import ClickReceived, Event
from bidloop.events.absorber import Absorbed, Absorber
from bidloop.events.intake import Receipt
from bidloop.events.packing import Item, pack, unpack
from bidloop.events.ports import Appended, Delivery, Lag, Offset, Parcel
from bidloop.events.publisher import Publisher
from bidloop.events.rejected import Rejected
from bidloop.events.sealing import Seal
from bidloop.events.settings import EventSettings, StreamSettings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SEAL = Seal(bytes(32))
AT_ONCE = StreamSettings(reclaim_seconds=0.0, max_attempts=3)


def click(number: int, impression: str = "i") -> ClickReceived:
    return ClickReceived(event_id=f"click-{number}", at=NOW, impression_id=impression)


def publish(stream: MemoryEventStream, *items: Item) -> None:
    Publisher(stream, SEAL).take(items)


def absorber(stream: MemoryEventStream, log: MemoryEventLog, *, seal: Seal = SEAL, **options: object) -> Absorber:
    return Absorber(stream, log, seal, ManualClock(NOW), **{"consumer": "me", "settings": AT_ONCE, **options})


def absorb(stream: MemoryEventStream, log: MemoryEventLog, **options: object) -> Absorbed:
    return absorber(stream, log, **options).run(threading.Event(), until_empty=True)


def ids(log: MemoryEventLog) -> list[str]:
    return [event.event_id for _, event in log.read()]


class FallibleLog(MemoryEventLog):
    """A log whose every append first does what the test says: with the events at hand, it may raise."""

    def __init__(self, before: Callable[[Sequence[Event]], None], after: Callable[[], None] = lambda: None) -> None:
        super().__init__(ManualClock(NOW))
        self.before, self.after = before, after

    def append(
        self, events: Sequence[Event], *, rejected: Sequence[Rejected] = (), offset: Offset | None = None
    ) -> Appended:
        self.before(events)
        appended = super().append(events, rejected=rejected, offset=offset)
        self.after()
        return appended


def failing(times: int) -> Callable[..., None]:
    left = [times]

    def fail(*_: object) -> None:
        if left[0]:
            left[0] -= 1
            raise Unavailable("no log")

    return fail


def indigestible(*names: str) -> Callable[[Sequence[Event]], None]:
    def refuse(events: Sequence[Event]) -> None:
        if any(event.event_id in names for event in events):
            raise ValueError("indigestible\n[parameters: a row that may name someone]")

    return refuse


def test_what_waits_in_the_stream_is_stored_and_finished() -> None:
    stream, log = MemoryEventStream(), MemoryEventLog()
    publish(stream, click(1), click(2))
    publish(stream, click(3))
    assert absorb(stream, log) == Absorbed(Receipt(accepted=3), entries=2)
    assert ids(log) == ["click-1", "click-2", "click-3"]
    assert stream.lag() == Lag(0, 0, 0)
    assert stream.trim() == 0


def test_the_log_keeps_how_far_the_consumer_has_come() -> None:
    stream, log = MemoryEventStream(), MemoryEventLog()
    publish(stream, click(1))
    publish(stream, click(2))
    absorb(stream, log)
    assert log.offset("bidloop:events/me") == stream.latest()


def test_an_old_entry_that_is_taken_over_late_does_not_set_the_consumer_back() -> None:
    now = [0.0]
    stream, log = MemoryEventStream(monotonic=lambda: now[0]), MemoryEventLog()
    publish(stream, click(1))
    stream.take("dead", 10, 0)
    publish(stream, click(2))
    later = msgspec.structs.replace(AT_ONCE, reclaim_seconds=10.0)
    absorb(stream, log, settings=later, on_progress=lambda _: now.__setitem__(0, 20.0))
    assert ids(log) == ["click-2", "click-1"]
    assert log.offset("bidloop:events/me") == stream.latest()


def test_each_event_is_checked_again_and_what_makes_no_sense_is_kept_aside() -> None:
    stream, log = MemoryEventStream(), MemoryEventLog()
    future = msgspec.structs.replace(click(2), at=NOW + timedelta(days=3))
    rejected = Rejected(source="api", code="not_json", reason="no JSON", raw=b"{anna", form="told")
    publish(stream, click(1), future, rejected)
    stream.publish([Parcel(b'{"type": "from_the_future"}')])
    done = absorb(stream, log)
    assert done.receipt == Receipt(1, 0, {"future_date": 1, "not_json": 1, "unreadable_entry": 1})
    kept = {kept.row.code: kept.row for kept in log.quarantine.list()}
    assert kept["not_json"] == msgspec.structs.replace(rejected, at=NOW)
    assert kept["unreadable_entry"].raw == b'{"type": "from_the_future"}'
    assert {row.at for row in kept.values()} == {NOW}


def test_what_the_stream_has_forgotten_the_log_still_knows() -> None:
    stream, log = MemoryEventStream(StreamSettings(recent_seconds=0)), MemoryEventLog()
    publish(stream, click(1))
    absorb(stream, log)
    publish(stream, click(1), click(1, "another"))
    assert absorb(stream, log).receipt == Receipt(0, 1, {"changed_event": 1})
    assert ids(log) == ["click-1"]


def test_a_log_that_is_away_is_waited_for_and_nothing_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    stream, log = MemoryEventStream(), FallibleLog(failing(3))
    publish(stream, click(1), click(2))
    with caplog.at_level(logging.INFO, "bidloop.absorb"):
        done = absorb(stream, log)
    assert done.receipt == Receipt(accepted=2)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_an_append_whose_answer_was_lost_is_made_again_without_effect() -> None:
    stream, log = MemoryEventStream(), FallibleLog(lambda _: None, after=failing(1))
    publish(stream, click(1), click(2))
    assert absorb(stream, log).receipt == Receipt(duplicates=2)
    assert ids(log) == ["click-1", "click-2"]


def test_nothing_is_finished_before_it_is_stored() -> None:
    stream = MemoryEventStream()
    waiting: list[int] = []
    log = FallibleLog(lambda _: waiting.append(stream.lag().items), after=lambda: waiting.append(stream.lag().items))
    publish(stream, click(1), click(2))
    absorb(stream, log)
    assert waiting == [2, 2]


class FallibleStream(MemoryEventStream):
    """A stream that is away for a while, both when it is asked for entries and when it is told that they are stored."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.fail = failing(times)

    def take(self, consumer: str, limit: int, wait_seconds: float) -> list[Delivery]:
        self.fail()
        return super().take(consumer, limit, wait_seconds)

    def done(self, entries: Sequence[str]) -> None:
        self.fail()
        super().done(entries)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_stream_that_is_away_is_waited_for(times: int) -> None:
    stream, log = FallibleStream(0), MemoryEventLog()
    publish(stream, click(1), click(2))
    stream.fail = failing(times)
    assert absorb(stream, log) == Absorbed(Receipt(accepted=2), entries=1)


def test_entries_that_a_dead_consumer_left_behind_are_taken_over() -> None:
    stream, log = MemoryEventStream(), MemoryEventLog()
    publish(stream, click(1))
    stream.take("dead", 10, 0)
    publish(stream, click(2))
    assert absorb(stream, log).receipt == Receipt(accepted=2)


def test_what_it_holds_itself_does_not_look_abandoned_however_long_the_log_takes() -> None:
    looked = threading.Semaphore(0)

    class Watched(MemoryEventStream):
        def take(self, consumer: str, limit: int, wait_seconds: float) -> list[Delivery]:
            looked.release()  # it has looked for abandoned entries before
            return super().take(consumer, limit, wait_seconds)

    def slow(_: Sequence[Event]) -> None:
        for _ in range(3):  # to fill the first batch, to see that it is full, and for the second one
            assert looked.acquire(timeout=10)

    stream, log = Watched(), FallibleLog(slow)
    publish(stream, click(1))
    assert absorb(stream, log) == Absorbed(Receipt(accepted=1), entries=1)


def test_an_entry_that_fails_again_and_again_does_not_hold_up_the_others_and_is_kept_whole() -> None:
    stream, log = MemoryEventStream(), FallibleLog(indigestible("click-2"))
    for number in (1, 2, 3):
        publish(stream, click(number), click(10 * number))
    done = absorb(stream, log)
    assert done == Absorbed(Receipt(4, 0, {"undigestible_entry": 1}), entries=3, buried=1)
    assert sorted(ids(log)) == ["click-1", "click-10", "click-3", "click-30"]
    [kept] = log.quarantine.list()
    assert (kept.row.form, kept.row.reason) == ("entry", "ValueError: indigestible")
    assert unpack(kept.row.raw, SEAL, source="quarantine") == [click(2), click(20)]
    [(letter, reason)] = stream.dead()
    assert (letter.lines, letter.attempts, reason) == (kept.row.raw, 3, kept.row.reason)


def test_an_entry_that_kills_whoever_takes_it_is_kept_whole_and_not_taken_again() -> None:
    stream, log = MemoryEventStream(), MemoryEventLog()
    publish(stream, click(1))
    stream.take("dies", 1, 0)
    for _ in range(AT_ONCE.max_attempts - 1):
        [delivery] = stream.reclaim("dies", 1, 0)
    assert delivery.attempts == AT_ONCE.max_attempts
    publish(stream, click(2))
    absorbed = absorb(stream, log)
    assert (absorbed.buried, ids(log)) == (1, ["click-2"])
    [kept] = log.quarantine.list()
    assert (kept.row.code, kept.row.form) == ("undigestible_entry", "entry")
    assert unpack(kept.row.raw, SEAL, source="") == [click(1)]
    assert "never finished" in stream.dead()[0][1]


def test_an_entry_that_only_another_key_opens_is_kept_whole_as_well() -> None:
    stream, log = MemoryEventStream(), MemoryEventLog()
    stream.publish([pack(Rejected(source="api", code="not_json", reason="why", raw=b"{"), Seal(b"1" * 32))])
    publish(stream, click(1))
    assert absorb(stream, log) == Absorbed(Receipt(1, 0, {"undigestible_entry": 1}), entries=2, buried=1)


def test_an_entry_that_cannot_even_be_kept_aside_stays_in_the_stream() -> None:
    stream = MemoryEventStream()
    attempts: list[int] = []
    stop = threading.Event()

    def refuse(events: Sequence[Event]) -> None:
        attempts.append(len(events))
        if attempts.count(0) == 2:  # twice it was to be kept aside: the append without events
            stop.set()
        raise ValueError("a table is missing")

    publish(stream, click(1))
    done = absorber(stream, FallibleLog(refuse)).run(stop)
    assert (done.buried, stream.dead(), stream.lag().items) == (0, [], 1)


def test_a_batch_gathers_many_small_entries() -> None:
    stream, sizes = MemoryEventStream(), []
    log = FallibleLog(lambda events: sizes.append(len(events)))
    for number in range(450):
        publish(stream, click(number))
    absorb(stream, log, events=EventSettings(chunk=200))
    assert sum(sizes) == 450
    assert max(sizes) == 200


def test_it_stops_after_what_it_holds() -> None:
    stream, stop = MemoryEventStream(), threading.Event()
    log = FallibleLog(lambda _: stop.set())
    for number in range(3):
        publish(stream, click(number))
    done = absorber(stream, log).run(stop)
    assert done == Absorbed(Receipt(accepted=3), entries=3)
    assert stream.lag().entries == 0


def test_told_to_stop_while_the_log_is_away_it_leaves_everything_in_the_stream() -> None:
    stream, stop = MemoryEventStream(), threading.Event()

    def away(_: Sequence[Event]) -> None:
        stop.set()
        raise Unavailable("no log")

    publish(stream, click(1))
    assert absorber(stream, FallibleLog(away)).run(stop) == Absorbed()
    log = MemoryEventLog()
    assert absorb(stream, log).receipt == Receipt(accepted=1)


def test_several_absorbers_side_by_side_store_everything_once() -> None:
    stream, log = MemoryEventStream(), MemoryEventLog()
    for start in range(0, 2_000, 20):
        publish(stream, *(click(number) for number in range(start, start + 25)))  # the last five come again
    patient = msgspec.structs.replace(AT_ONCE, reclaim_seconds=60.0)
    done: list[Absorbed] = []

    def work(name: str) -> None:
        done.append(absorb(stream, log, consumer=name, settings=patient, events=EventSettings(chunk=50)))

    threads = [threading.Thread(target=work, args=(f"consumer-{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum((each.receipt for each in done), Receipt()) == Receipt(accepted=2_005)
    assert sorted(ids(log)) == sorted(f"click-{number}" for number in range(2_005))


def test_a_log_that_is_ahead_of_the_stream_says_that_the_stream_lost_entries(caplog: pytest.LogCaptureFixture) -> None:
    stream, log = MemoryEventStream(), MemoryEventLog()
    publish(stream, click(1))
    publish(stream, click(2))
    absorb(stream, log)
    assert not caplog.records
    emptied = MemoryEventStream()
    publish(emptied, click(3))
    absorb(emptied, log)
    assert "lost entries" in caplog.text
    caplog.clear()
    absorb(emptied, log)
    assert not caplog.records


def test_progress_is_told_after_every_batch() -> None:
    stream, told = MemoryEventStream(), []
    publish(stream, click(1))
    done = absorb(stream, MemoryEventLog(), on_progress=told.append)
    assert told[0].receipt == Receipt(accepted=1)
    assert told[-1] == done


def test_an_error_of_whoever_is_told_of_progress_is_not_taken_for_the_end() -> None:
    def fail(_: Absorbed) -> None:
        raise Unavailable("a display")

    stream = MemoryEventStream()
    publish(stream, click(1))
    with pytest.raises(Unavailable):
        absorb(stream, MemoryEventLog(), on_progress=fail)


class Tellings(RuleBasedStateMachine):
    """Whatever is told, repeated, lost and taken over in whatever order: the log has each id once, as first told."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = MemoryEventStream(msgspec.structs.replace(AT_ONCE, recent_seconds=0))
        self.log = FallibleLog(lambda _: None)
        self.told: dict[str, set[str]] = {}

    @rule(numbers=st.lists(st.integers(0, 8), min_size=1, max_size=6), impression=st.sampled_from("ij"))
    def tell(self, numbers: list[int], impression: str) -> None:
        publish(self.stream, *(click(number, impression) for number in numbers))
        for number in numbers:
            self.told.setdefault(f"click-{number}", set()).add(impression)

    @rule()
    def a_consumer_takes_and_dies(self) -> None:
        self.stream.take("dead", 2, 0)

    @rule()
    def a_consumer_stores_and_dies_before_it_says_so(self) -> None:
        for delivery in self.stream.take("dead", 1, 0):
            self.log.append(unpack(delivery.lines, SEAL, source="stream"))

    @rule(lost_answers=st.integers(0, 1))
    def a_consumer_absorbs(self, lost_answers: int) -> None:
        self.log.after = failing(lost_answers)
        absorb(self.stream, self.log)
        assert self.stream.lag().entries == 0

    @invariant()
    def each_is_there_once(self) -> None:
        assert len(ids(self.log)) == len(set(ids(self.log)))

    def teardown(self) -> None:
        absorb(self.stream, self.log)
        kept = {event.event_id: event for _, event in self.log.read()}
        assert kept.keys() == self.told.keys()
        for name, impressions in self.told.items():
            changed = [k for k in self.log.quarantine.list(1_000) if name.encode() + b'"' in k.row.raw]
            assert kept[name].impression_id in impressions
            assert len(changed) == len(impressions) - 1


TestEachTellingHasItsEffectOnce = Tellings.TestCase
TestEachTellingHasItsEffectOnce.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
