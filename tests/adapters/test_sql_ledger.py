"""What only a database can get wrong: locks that wait for each other, too much in one statement, a process that dies in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine

from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.ledger import SqlLedger
from bidloop.bidding.ledger.balance import Charge, Reserved
from bidloop.bidding.ledger.window import Window

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BACK = NOW + timedelta(hours=1)
TOTAL = Window("account", "total")


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(
        tmp_path / "bidloop.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    )
    yield engine
    engine.dispose()


def together(*works: Callable[[], object]) -> list[object]:
    """Do several things at once; says what each answered or raised."""
    gate, answers = threading.Barrier(len(works)), [object()] * len(works)

    def do(number: int) -> None:
        gate.wait()
        try:
            answers[number] = works[number]()
        except Exception as error:
            answers[number] = error

    threads = [threading.Thread(target=do, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_a_day_that_begins_in_many_processes_at_once_lets_none_wait_for_another_for_ever(engine: Engine) -> None:
    ledger = SqlLedger(engine)
    ledger.limit({TOTAL: 10**9})
    for day in range(15):
        windows = [TOTAL, Window("campaign:brand", f"day:{day}"), Window("campaign:other", f"day:{day}")]
        charges = [Charge(day + 1, tuple(windows), 1)]
        answers = together(
            partial(ledger.reserve, f"a {day}", windows, 1, NOW, BACK),
            partial(ledger.reserve, f"b {day}", windows, 1, NOW, BACK),
            partial(ledger.book, "log", day + 1, charges),
            partial(ledger.book, "other log", day + 1, charges),
            partial(ledger.limit, dict.fromkeys(windows, 10**9)),
        )
        assert answers == [Reserved(id=f"a {day}", amount=1), Reserved(id=f"b {day}", amount=1), True, True, None]
    [balance] = ledger.balances([TOTAL])
    assert (balance.spent, balance.reserved) == (30, 30)


def test_the_same_reservation_told_at_once_is_made_once(engine: Engine) -> None:
    ledger = SqlLedger(engine)
    ledger.limit({TOTAL: 100})
    answers = together(*[partial(ledger.reserve, "a", [TOTAL], 60, NOW, BACK)] * 4)
    assert answers == [ledger.reserve("a", [TOTAL], 60, NOW, BACK)] * 4
    assert ledger.balances([TOTAL])[0].reserved == 60


def test_a_log_that_several_processes_read_is_booked_once(engine: Engine) -> None:
    ledger = SqlLedger(engine)
    pages = [[Charge(i, (TOTAL,), i) for i in range(1, last + 1)] for last in (3, 5, 5, 8)]
    together(*[partial(ledger.book, "log", page[-1].position, page) for page in pages])
    assert ledger.balances([TOTAL])[0].spent == sum(range(1, 9))
    assert ledger.position("log") == 8


def test_a_whole_history_is_booked_at_once(engine: Engine) -> None:
    """As when a ledger is first put beside a log of years: more windows than a statement may have parameters."""
    ledger = SqlLedger(engine)
    windows = [Window(f"campaign:{i % 200}", f"day:{i // 200}") for i in range(17_000)]
    assert ledger.book("log", len(windows), [Charge(i + 1, (TOTAL, one), 1) for i, one in enumerate(windows)])
    assert ledger.balances([TOTAL])[0].spent == len(windows)
    assert [balance.spent for balance in ledger.balances(windows)] == [1] * len(windows)


DIES = """
import os, signal, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from sqlalchemy import event
from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.ledger import SqlLedger
from bidloop.bidding.ledger.balance import Charge
from bidloop.bidding.ledger.window import Window

place, verb, after = sys.argv[1], sys.argv[2], int(sys.argv[3])
engine = open_database(place if "://" in place else Path(place))
total, now = Window("account", "total"), datetime(2026, 3, 1, 12, tzinfo=UTC)
changed = 0

@event.listens_for(engine, "after_cursor_execute")
def die(connection, cursor, statement, *more):
    global changed
    changed += statement.startswith(("INSERT", "UPDATE"))
    if changed == after:
        os.kill(os.getpid(), signal.SIGKILL)

ledger = SqlLedger(engine)
if verb == "reserve":
    ledger.reserve("a", [total], 60, now, now + timedelta(hours=1))
else:
    ledger.book("log", 1, [Charge(1, (total,), 60)])
"""


@pytest.mark.parametrize("verb", ["reserve", "book"])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_process_that_is_killed_in_between_leaves_nothing_half_done(engine: Engine, verb: str, after: int) -> None:
    ledger = SqlLedger(engine)
    ledger.limit({TOTAL: 100})
    place = engine.url.database if engine.dialect.name == "sqlite" else engine.url.set(drivername="postgresql")
    shown = place if isinstance(place, str) else place.render_as_string(hide_password=False)  # type: ignore[union-attr]
    ended = subprocess.run([sys.executable, "-c", DIES, shown, verb, str(after)], env=os.environ, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    [balance] = ledger.balances([TOTAL])
    assert (balance.spent, balance.reserved) == (0, 0)
    # The same again, by whoever goes on, is made as if nothing had been.
    if verb == "reserve":
        assert ledger.reserve("a", [TOTAL], 60, NOW, BACK).amount == 60
    else:
        assert ledger.book("log", 1, [Charge(1, (TOTAL,), 60)])
    [balance] = ledger.balances([TOTAL])
    assert balance.spent + balance.reserved == 60


def test_no_more_can_go_back_than_was_held(engine: Engine) -> None:
    """The table itself refuses what no code should ever do."""
    SqlLedger(engine).limit({TOTAL: 100})
    with pytest.raises(Exception, match=r"(?i)check"), engine.begin() as connection:
        connection.execute(text("UPDATE budgets SET reserved = -1"))
