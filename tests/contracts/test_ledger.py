"""What every ledger must do, on every adapter."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bidloop.adapters.memory.ledger import MemoryLedger
from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.ledger import SqlLedger
from bidloop.bidding.ledger.balance import Charge
from bidloop.bidding.ledger.ports import Ledger
from bidloop.bidding.ledger.window import Window
from bidloop.core.errors import InvalidInput, NotFound

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
BACK = NOW + timedelta(hours=1)
DAY, TOTAL, ACCOUNT = (
    Window("campaign:brand", "day:2026-03-01"),
    Window("campaign:brand", "total"),
    Window("account", "total"),
)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    if request.param == "memory":
        yield MemoryLedger()
        return
    engine = open_database(
        tmp_path / "bidloop.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    )
    yield SqlLedger(engine)
    engine.dispose()


def stands(ledger: Ledger, window: Window) -> tuple[int | None, int, int]:
    [balance] = ledger.balances([window])
    return balance.limit, balance.spent, balance.reserved


def test_money_is_reserved_in_every_window_or_in_none(ledger: Ledger) -> None:
    ledger.limit({DAY: 100, TOTAL: 150})
    assert ledger.reserve("a", [DAY, TOTAL], 80, LATER, BACK).amount == 80
    refused = ledger.reserve("b", [TOTAL, DAY], 30, LATER, BACK)
    assert (refused.amount, refused.binds, refused.closed) == (0, DAY, True)
    assert stands(ledger, DAY) == (100, 0, 80)
    assert stands(ledger, TOTAL) == (150, 0, 80)


def test_where_less_is_left_that_much_is_reserved_if_it_is_enough(ledger: Ledger) -> None:
    ledger.limit({DAY: 100})
    held = ledger.reserve("a", [DAY], 130, LATER, BACK, least=1)
    assert (held.amount, held.binds) == (100, DAY)
    assert ledger.reserve("b", [DAY], 10, LATER, BACK, least=1).amount == 0


def test_a_reservation_told_twice_is_made_once_and_answered_as_it_stands(ledger: Ledger) -> None:
    ledger.limit({DAY: 100})
    first = ledger.reserve("a", [DAY], 60, LATER, BACK)
    assert ledger.reserve("a", [DAY], 60, LATER, BACK) == first
    assert stands(ledger, DAY)[2] == 60
    ledger.commit("a", 50)
    again = ledger.reserve("a", [DAY], 60, LATER, BACK)
    assert (again.amount, again.closed) == (0, True)
    assert stands(ledger, DAY) == (100, 50, 0)


def test_a_commit_spends_and_gives_the_rest_back_once(ledger: Ledger) -> None:
    ledger.limit({DAY: 100})
    ledger.reserve("a", [DAY], 60, LATER, BACK)
    ledger.commit("a", 45)
    ledger.commit("a", 45)
    assert stands(ledger, DAY) == (100, 45, 0)
    with pytest.raises(InvalidInput, match="second commit"):
        ledger.commit("a", 44)
    with pytest.raises(InvalidInput, match="-1 micros"):
        ledger.commit("a", -1)
    with pytest.raises(NotFound):
        ledger.commit("nobody", 1)
    assert stands(ledger, DAY) == (100, 45, 0)


def test_a_charge_beyond_what_was_held_is_spent_and_seen(ledger: Ledger) -> None:
    ledger.limit({DAY: 100})
    ledger.reserve("a", [DAY], 100, LATER, BACK)
    ledger.commit("a", 130)
    [balance] = ledger.balances([DAY])
    assert (balance.spent, balance.over, balance.left) == (130, 30, 0)


def test_what_is_released_or_has_run_out_goes_back_once(ledger: Ledger) -> None:
    ledger.limit({DAY: 100})
    ledger.reserve("a", [DAY], 40, LATER, BACK)
    ledger.reserve("b", [DAY], 50, LATER, BACK)
    ledger.release("a")
    ledger.release("a")
    ledger.release("nobody")
    assert stands(ledger, DAY)[2] == 50
    assert ledger.expire(BACK - timedelta(microseconds=1)) == 0
    assert ledger.expire(BACK) == 1
    assert ledger.expire(BACK) == 0
    assert stands(ledger, DAY) == (100, 0, 0)
    ledger.commit("b", 20)
    assert stands(ledger, DAY) == (100, 20, 0), "money that was charged too late is gone all the same"


def test_a_lease_grows_into_what_is_left_shrinks_and_runs_on(ledger: Ledger) -> None:
    ledger.limit({DAY: 100, TOTAL: 1000})
    ledger.reserve("other", [DAY], 30, LATER, BACK)
    ledger.reserve("a", [DAY, TOTAL], 20, LATER, BACK)
    grown = ledger.resize("a", 90, LATER, BACK)
    assert (grown.amount, grown.binds) == (70, DAY)
    assert ledger.resize("a", 5, BACK, BACK + timedelta(hours=1)).amount == 5
    assert stands(ledger, TOTAL) == (1000, 0, 5)
    assert ledger.expire(BACK) == 1, "the other one alone"
    [left] = ledger.reservations()
    assert (left.id, left.amount, left.windows, left.until) == ("a", 5, (DAY, TOTAL), BACK)
    ledger.release("a")
    assert ledger.resize("a", 50, LATER, BACK).closed
    with pytest.raises(NotFound):
        ledger.resize("nobody", 1, LATER, BACK)


def test_a_lowered_limit_refuses_what_comes_and_takes_nothing_back(ledger: Ledger) -> None:
    ledger.limit({DAY: 100})
    ledger.reserve("a", [DAY], 60, LATER, BACK)
    ledger.limit({DAY: 50})
    assert ledger.reserve("b", [DAY], 1, LATER, BACK).amount == 0
    assert ledger.resize("a", 70, LATER, BACK).amount == 60
    assert ledger.resize("a", 40, LATER, BACK).amount == 40
    assert ledger.resize("a", 55, LATER, BACK).amount == 50
    ledger.limit({DAY: None})
    assert ledger.reserve("c", [DAY], 10**15, LATER, BACK).amount == 10**15
    assert ledger.balances([DAY])[0].left is None


def test_a_limit_that_comes_after_reservations_counts_them(ledger: Ledger) -> None:
    assert ledger.reserve("a", [DAY], 60, LATER, BACK).amount == 60
    ledger.limit({DAY: 100})
    assert ledger.reserve("b", [DAY], 60, LATER, BACK).amount == 0
    ledger.release("a")
    assert stands(ledger, DAY) == (100, 0, 0)


def test_a_log_is_booked_once_whoever_tells_it_and_however_often(ledger: Ledger) -> None:
    ledger.limit({DAY: 100})
    page = [Charge(1, (DAY, TOTAL), 30), Charge(2, (DAY, TOTAL), 5), Charge(3, (TOTAL,), -7)]
    assert ledger.position("log") == 0
    assert ledger.book("log", 2, page[:2])
    assert not ledger.book("log", 2, page[:2])
    assert ledger.book("log", 5, page), "what overlaps is left out"
    assert not ledger.book("log", 4, [Charge(4, (DAY,), 50)])
    assert ledger.book("other log", 1, [Charge(1, (DAY,), 1)])
    assert stands(ledger, DAY) == (100, 36, 0)
    assert stands(ledger, TOTAL) == (None, 28, 0)
    assert ledger.position("log") == 5


def test_what_was_told_last_holds_a_changed_setting_or_a_limit_that_was_set_since(ledger: Ledger) -> None:
    ledger.configure({DAY: 100, TOTAL: None})
    assert stands(ledger, DAY)[0] == 100
    ledger.limit({DAY: 70, TOTAL: 500})
    ledger.configure({DAY: 100, TOTAL: None})
    assert (stands(ledger, DAY)[0], stands(ledger, TOTAL)[0]) == (70, 500)
    ledger.configure({DAY: 120, TOTAL: 400})
    assert (stands(ledger, DAY)[0], stands(ledger, TOTAL)[0]) == (120, 400)
    ledger.configure({DAY: None})
    assert stands(ledger, DAY)[0] is None
    ledger.configure({})


def test_what_nobody_named_is_empty(ledger: Ledger) -> None:
    assert stands(ledger, ACCOUNT) == (None, 0, 0)
    assert ledger.balances([]) == []
    assert ledger.reservations() == []
    with pytest.raises(InvalidInput, match="-5"):
        ledger.reserve("a", [DAY], -5, LATER, BACK)


def test_racing_threads_never_reserve_more_than_there_is(ledger: Ledger) -> None:
    ledger.limit({DAY: 1000, ACCOUNT: 700})
    other, held = Window("campaign:other", "total"), list[int]()

    def race(number: int) -> None:
        for i in range(8):
            windows = [ACCOUNT, DAY] if (number + i) % 2 else [other, ACCOUNT]
            held.append(ledger.reserve(f"{number}-{i}", windows, 37, LATER, BACK).amount)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(held) == 37 * (700 // 37)
    assert stands(ledger, ACCOUNT) == (700, 0, sum(held))


steps = st.one_of(
    st.tuples(st.just("reserve"), st.integers(0, 5), st.integers(0, 90), st.sampled_from([None, 0, 1])),
    st.tuples(st.just("resize"), st.integers(0, 5), st.integers(0, 90)),
    st.tuples(st.just("commit"), st.integers(0, 5), st.integers(0, 90)),
    st.tuples(st.just("release"), st.integers(0, 5)),
    st.tuples(st.just("limit"), st.sampled_from([DAY, TOTAL]), st.one_of(st.none(), st.integers(0, 150))),
    st.tuples(st.just("book"), st.integers(0, 9), st.integers(-20, 40)),
    st.tuples(st.just("expire"), st.booleans()),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(steps, max_size=25), name=st.integers())
def test_every_story_ends_on_every_ledger_as_in_memory(
    ledger: Ledger, story: list[tuple[object, ...]], name: int
) -> None:
    told = MemoryLedger()
    # Examples share the database: each has windows and names of its own.
    mark = f"{name}-{id(story)}-{len(told_before)}"
    told_before.append(mark)
    windows = {one: Window(f"{one.owner}-{mark}", one.spell) for one in (DAY, TOTAL)}
    before = told.balances(list(windows.values()))
    for step in story:
        answers = [_take(one, step, mark, windows) for one in (ledger, told)]
        assert answers[0] == answers[1], step
        after = told.balances(list(windows.values()))
        for earlier, now in zip(before, after, strict=True):
            assert now.reserved == sum(held.amount for held in told.reservations() if now.window in held.windows)
            if now.reserved > earlier.reserved:
                assert now.limit is None or now.spent + now.reserved <= now.limit, step
        before = after
    assert ledger.balances(list(windows.values())) == before
    for held in ledger.reservations():
        ledger.release(held.id)


told_before: list[str] = []


def _take(ledger: Ledger, step: tuple[object, ...], mark: str, windows: dict[Window, Window]) -> object:
    match step:
        case ("reserve", int(number), int(amount), least):
            chosen = list(windows.values())[: 1 + number % 2]
            answer = ledger.reserve(f"{mark}/{number}", chosen, amount, LATER, BACK, least=least)  # type: ignore[arg-type]
        case ("resize" | "commit", int(number), int(amount)):
            try:
                if step[0] == "resize":
                    answer = ledger.resize(f"{mark}/{number}", amount, LATER, BACK)
                else:
                    answer = ledger.commit(f"{mark}/{number}", amount)
            except (NotFound, InvalidInput) as error:
                return type(error)
        case ("release", int(number)):
            return ledger.release(f"{mark}/{number}")
        case ("limit", Window() as window, limit):
            return ledger.limit({windows[window]: limit})  # type: ignore[dict-item]
        case ("book", int(position), int(micros)):
            return ledger.book(mark, position, [Charge(position, tuple(windows.values()), micros)])
        case ("expire", late):
            return ledger.expire(BACK if late else LATER)
        case _:
            raise AssertionError(step)
    return answer.amount, answer.closed, answer.binds
