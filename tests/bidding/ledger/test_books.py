"""The ledger follows the event log: charges are spent once, and what was held for them is let go only afterwards."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from bidloop.adapters.memory.ledger import MemoryLedger
from bidloop.bidding.ledger.balance import Charge
from bidloop.bidding.ledger.books import LOG, Books
from bidloop.bidding.ledger.leases import Leases
from bidloop.bidding.ledger.settings import LedgerSettings
from bidloop.bidding.ledger.window import Window
from bidloop.core.clock import ManualClock
from bidloop.core.errors import Unavailable
from bidloop.core.event import BidLost, ClickReceived, Event, ImpressionServed
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Observations

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = Window("campaign:brand", "day:2026-03-01")


class Watched(MemoryLedger):
    """A ledger that can be cut off, or stopped in the middle of a booking."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = False
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.told: list[str] = []

    def book(self, source: str, position: int, charges: Sequence[Charge]) -> bool:
        if self.cut:
            raise Unavailable("cut off")
        self.entered.set()
        assert self.go_on.wait(10)
        self.told.append("booked")
        return super().book(source, position, charges)


class Kept(Leases):
    """Leases that tell when they settle and renew."""

    def settle(self, charged):  # type: ignore[no-untyped-def]
        self.ledger.told.append("settled")  # type: ignore[attr-defined]
        super().settle(charged)

    def renew(self) -> None:
        self.ledger.told.append("renewed")  # type: ignore[attr-defined]
        super().renew()


def a_house() -> tuple[Watched, Leases, Books, ManualClock]:
    ledger, clock = Watched(), ManualClock(NOON)
    leases = Kept(ledger, lambda campaign, day: {DAY: 1_000_000}, "UTC", LedgerSettings(), clock)
    return ledger, leases, Books(leases, clock), clock


def observed(*costs: float, first: int = 1) -> Observations:
    n = len(costs)
    about = Opportunity(opportunity_id="o", at=NOON, campaign_id="brand")
    none = np.zeros(n)
    at = np.full(n, np.datetime64("2026-03-01T12:00:00", "us"))
    position = np.arange(first, first + n)
    return Observations(at, [about] * n, none, none, none, none, np.array(costs), position=position)


def spent(ledger: MemoryLedger) -> int:
    return ledger.balances([DAY])[0].spent


def test_charges_are_booked_first_and_let_go_afterwards() -> None:
    ledger, leases, books, _ = a_house()
    leases.available("brand", NOON)
    assert leases.hold("won", "brand", NOON, 50_000, 300)
    served: list[Event] = [ImpressionServed(event_id="e", at=NOON, impression_id="won", price=Money(40_000))]
    books.note(observed(0.04), served, 1)
    books.keep()
    assert ledger.told == ["booked", "settled", "renewed"]
    assert spent(ledger) == 40_000
    assert ledger.position(LOG) == 1


def test_what_lost_is_let_go_and_what_tells_no_price_stays_held() -> None:
    ledger, leases, books, _ = a_house()
    leases.available("brand", NOON)
    for name in ("lost", "shown", "clicked"):
        assert leases.hold(name, "brand", NOON, 20_000, 300, repeats=name == "clicked")
    events: list[Event] = [
        BidLost(event_id="1", at=NOON, impression_id="lost"),
        ImpressionServed(event_id="2", at=NOON, impression_id="shown"),
        ClickReceived(event_id="3", at=NOON, impression_id="clicked", price=Money(15_000)),
    ]
    books.note(observed(0.015), events, 3)
    books.keep()
    [reservation] = ledger.reservations()
    assert leases.available("brand", NOON) == reservation.amount - 20_000 - 15_000 > 0


def test_charges_wait_for_a_ledger_that_does_not_answer_and_nothing_held_is_let_go() -> None:
    ledger, leases, books, clock = a_house()
    leases.available("brand", NOON)
    assert leases.hold("silent", "brand", NOON, 50_000, 1)
    ledger.cut = True
    books.note(observed(0.01), [], 1)
    clock.set(NOON + timedelta(seconds=5))
    books.keep()
    assert ledger.told == []
    assert leases.available("brand", NOON) == 50_000
    books.note(observed(0.02, first=2), [], 2)
    ledger.cut = False
    books.keep()
    assert spent(ledger) == 30_000


def test_what_one_thread_takes_down_while_another_books_is_not_lost() -> None:
    ledger, _, books, _ = a_house()
    books.note(observed(0.01), [], 1)
    ledger.go_on.clear()
    booking = threading.Thread(target=books.keep)
    booking.start()
    assert ledger.entered.wait(10)
    books.note(observed(0.02, first=2), [], 2)
    second = threading.Thread(target=books.keep)
    second.start()
    ledger.go_on.set()
    booking.join()
    second.join()
    assert spent(ledger) == 30_000


def test_after_a_start_only_what_the_ledger_does_not_know_is_booked() -> None:
    ledger, leases, books, clock = a_house()
    books.note(observed(0.01, 0.02), [], 2)
    books.keep()
    again = Books(leases, clock)
    again.start(observed(0.01, 0.02, 0.03), 3)
    assert spent(ledger) == 60_000
    again.start(observed(0.01, 0.02, 0.03), 3)
    assert spent(ledger) == 60_000
