"""Money at hand: slices of budgets that are leased, held from, settled and given back."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidloop.adapters.memory.ledger import MemoryLedger
from bidloop.bidding.ledger.balance import Charge
from bidloop.bidding.ledger.leases import Leases
from bidloop.bidding.ledger.settings import LedgerSettings
from bidloop.bidding.ledger.window import ACCOUNT, Window, Windows, of_campaign
from bidloop.core.clock import ManualClock
from bidloop.core.errors import ConfigurationError, Unavailable

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = Window("campaign:brand", "day:2026-03-01")
SETTINGS = LedgerSettings(
    lease_share=0.1, lease_seconds=60, hold_seconds=300, click_hold_seconds=300, return_seconds=600
)


class Telephone(MemoryLedger):
    """A ledger that counts how often it is asked, and can be cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.cut = 0, False

    def _rings(self) -> None:
        self.calls += 1
        if self.cut:
            raise Unavailable("cut off")

    def reserve(self, *args: object, **more: object):  # type: ignore[no-untyped-def, override]
        self._rings()
        return super().reserve(*args, **more)  # type: ignore[arg-type]

    def resize(self, *args: object):  # type: ignore[no-untyped-def, override]
        self._rings()
        return super().resize(*args)  # type: ignore[arg-type]

    def balances(self, windows: object):  # type: ignore[no-untyped-def, override]
        self._rings()
        return super().balances(windows)  # type: ignore[arg-type]


def daily(micros: int | None):  # type: ignore[no-untyped-def]
    return lambda campaign, day: {Window(of_campaign(campaign), f"day:{day}"): micros}


def leases(ledger: MemoryLedger, clock: ManualClock, micros: int | None = 1_000_000, **changed: float) -> Leases:
    chosen = {name: getattr(SETTINGS, name) for name in SETTINGS.__struct_fields__} | changed
    return Leases(ledger, daily(micros), "UTC", LedgerSettings(**chosen), clock)


def stands(ledger: MemoryLedger, window: Window = DAY) -> tuple[int, int]:
    [balance] = ledger.balances([window])
    return balance.spent, balance.reserved


def test_bids_hold_from_a_slice_without_asking_the_database_each_time() -> None:
    ledger = Telephone()
    mine = leases(ledger, ManualClock(NOON))
    assert mine.available("brand", NOON) == 100_000
    asked = ledger.calls
    for i in range(50):
        assert mine.available("brand", NOON) is not None
        mine.hold(f"d{i}", "brand", NOON, 1_000, 300)
    assert mine.available("brand", NOON) == 50_000
    assert ledger.calls == asked


def test_a_campaign_without_any_budget_is_not_limited() -> None:
    mine = leases(MemoryLedger(), ManualClock(NOON), None)
    assert mine.available("brand", NOON) is None
    mine.hold("d", "brand", NOON, 10**12, 300)
    assert mine.available("brand", NOON) is None


def test_a_bid_that_wants_more_than_the_slice_has_gets_it_where_the_budget_has_it() -> None:
    ledger = MemoryLedger()
    mine = leases(ledger, ManualClock(NOON))
    assert mine.available("brand", NOON, wanted=400_000) == 400_000
    assert mine.available("brand", NOON, wanted=2_000_000) == 1_000_000


def test_what_a_bid_was_charged_leaves_the_slice_and_what_lost_comes_back() -> None:
    ledger, clock = MemoryLedger(), ManualClock(NOON)
    mine = leases(ledger, clock)
    mine.available("brand", NOON)
    mine.hold("won", "brand", NOON, 30_000, 300)
    mine.hold("lost", "brand", NOON, 20_000, 300)
    assert mine.available("brand", NOON) == 50_000
    mine.ledger.book("log", 1, [Charge(1, mine.windows.of("brand", NOON), 30_000)])
    mine.settle([("won", 30_000), ("lost", 0), ("of another process", 5)])
    assert mine.available("brand", NOON) == 70_000
    assert stands(ledger) == (30_000, 100_000), "until the next renewal the charge is counted twice, never not at all"
    mine.renew()
    assert stands(ledger) == (30_000, mine.available("brand", NOON))


def test_a_bid_of_which_nothing_is_told_is_given_up_in_time_and_charged_all_the_same_if_it_comes() -> None:
    ledger, clock = MemoryLedger(), ManualClock(NOON)
    mine = leases(ledger, clock)
    mine.available("brand", NOON)
    mine.hold("silent", "brand", NOON, 30_000, 30)
    clock.set(NOON + timedelta(seconds=31))
    mine.renew()
    free = mine.available("brand", NOON)
    assert free is not None
    mine.settle([("silent", 7_000)])
    assert mine.available("brand", NOON) == free - 7_000


def test_as_long_as_nobody_follows_the_log_no_money_is_bid_twice() -> None:
    ledger, clock = MemoryLedger(), ManualClock(NOON)
    mine = leases(ledger, clock, 100_000, lease_share=1.0)
    for minutes in range(0, 60, 10):  # each time the holds of before are long over
        clock.set(NOON + timedelta(minutes=minutes))
        if free := mine.available("brand", clock.now(), wanted=40_000):
            mine.hold(f"d{minutes}", "brand", clock.now(), min(free, 40_000), 300)
    assert stands(ledger) == (0, 100_000)
    assert mine.available("brand", clock.now()) == 0
    mine.renew()
    clock.set(clock.now() + timedelta(seconds=60))
    assert mine.available("brand", clock.now()) == 100_000


def test_an_impression_is_charged_once_and_a_click_as_often_as_it_comes() -> None:
    mine = leases(MemoryLedger(), ManualClock(NOON))
    mine.available("brand", NOON)
    mine.hold("impression", "brand", NOON, 10_000, 300)
    mine.hold("click", "brand", NOON, 10_000, 300, repeats=True)
    mine.settle([("impression", 6_000), ("impression", 6_000), ("click", 4_000), ("click", 5_000)])
    assert mine.available("brand", NOON) == 100_000 - 6_000 - 9_000


def test_nothing_is_bid_from_a_lease_that_is_over_and_it_goes_back_only_after_what_was_bid_can_be_charged() -> None:
    ledger, clock = Telephone(), ManualClock(NOON)
    mine, other = leases(ledger, clock), leases(ledger, clock, lease_share=1.0)
    mine.available("brand", NOON)
    mine.hold("d", "brand", NOON, 60_000, 300)
    ledger.cut = True
    clock.set(NOON + timedelta(seconds=53))
    assert mine.available("brand", NOON) == 40_000, "what is leased may still be used"
    clock.set(NOON + timedelta(seconds=55))
    assert mine.available("brand", NOON) == 0
    ledger.cut = False
    assert other.available("brand", NOON) == 900_000
    other.close()
    clock.set(NOON + timedelta(seconds=60 + 599))
    other.renew()
    assert stands(ledger)[1] == 100_000
    clock.set(NOON + timedelta(seconds=60 + 600 + 31))
    other.renew()
    assert stands(ledger)[1] == 0


def test_a_spent_budget_is_not_asked_for_at_every_bid_but_again_and_again() -> None:
    ledger, clock = Telephone(), ManualClock(NOON)
    mine = leases(ledger, clock)
    mine.ledger.book("log", 1, [Charge(1, (DAY,), 1_000_000)])
    assert mine.available("brand", NOON) == 0
    asked = ledger.calls
    for _ in range(20):
        assert mine.available("brand", NOON) == 0
    assert ledger.calls == asked
    mine.change({DAY: 3_000_000})
    clock.set(NOON + timedelta(seconds=2))
    assert mine.available("brand", NOON) == 200_000


def test_a_limit_that_is_set_later_holds_from_then_on() -> None:
    ledger, clock = MemoryLedger(), ManualClock(NOON)
    mine = leases(ledger, clock, None)
    assert mine.available("brand", NOON) is None
    mine.change({DAY: 50})
    assert mine.available("brand", NOON) == 5
    total = Window(ACCOUNT, "total")
    mine.change({total: 3})
    mine.renew()
    assert mine.available("brand", NOON) == 1
    assert mine.available("brand", NOON, wanted=4) == 3


def test_what_is_told_at_run_time_is_not_undone_by_the_settings() -> None:
    ledger = MemoryLedger()
    assert leases(ledger, ManualClock(NOON)).available("brand", NOON) == 100_000
    ledger.limit({DAY: 500_000})
    assert leases(ledger, ManualClock(NOON)).available("brand", NOON) == 40_000


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_a_limit_that_another_process_lowers_takes_back_what_is_free(share: float) -> None:
    ledger, clock = MemoryLedger(), ManualClock(NOON)
    mine = leases(ledger, clock, lease_share=share)
    mine.available("brand", NOON)
    mine.hold("d", "brand", NOON, 10_000, 300)
    ledger.limit({DAY: 30_000})
    mine.renew()
    free = mine.available("brand", NOON)
    assert free is not None
    assert 0 < free <= 20_000
    ledger.limit({DAY: 5_000})
    mine.renew()
    assert mine.available("brand", NOON) == 0
    assert stands(ledger) == (0, 10_000), "what was bid may still be charged"


def test_bids_do_not_wait_one_after_the_other_for_a_ledger_that_does_not_answer() -> None:
    ledger, clock = Telephone(), ManualClock(NOON)
    mine = leases(ledger, clock)
    mine.available("brand", NOON)
    ledger.cut = True
    clock.set(NOON + timedelta(seconds=100))
    asked = ledger.calls
    assert [mine.available("brand", NOON) for _ in range(20)] == [0] * 20
    assert ledger.calls == asked + 1
    ledger.cut = False
    mine.renew()
    assert mine.available("brand", NOON) == 100_000


def test_a_reservation_of_which_nobody_knows_whether_it_was_made_goes_back() -> None:
    class Breaks(MemoryLedger):
        broken = False

        def reserve(self, *args: object, **more: object):  # type: ignore[no-untyped-def, override]
            answer = super().reserve(*args, **more)  # type: ignore[arg-type]
            if not self.broken:
                self.broken = True
                raise Unavailable("made, but the line broke before it was told")
            return answer

    ledger = Breaks()
    mine = leases(ledger, ManualClock(NOON))
    assert mine.available("brand", NOON) == 0
    assert stands(ledger)[1] == 100_000
    mine.renew()
    assert mine.available("brand", NOON) == stands(ledger)[1] == 100_000


def test_an_idle_slice_leaves_the_database_alone_and_days_that_are_over_are_forgotten() -> None:
    for budget in (None, 0, 1_000_000):
        ledger, clock = Telephone(), ManualClock(NOON)
        mine = leases(ledger, clock, budget)
        for day in range(5):
            clock.set(NOON + timedelta(days=day))
            mine.available("brand", clock.now())
            mine.renew()
            mine.renew()
        clock.set(clock.now() + timedelta(seconds=1))
        mine.renew()
        asked = ledger.calls
        mine.renew()
        assert ledger.calls - asked <= 1, "looks, and changes nothing"
        assert stands(ledger, Window(of_campaign("brand"), f"day:{clock.now().date()}")) == (0, 0)


def test_an_idle_slice_shrinks_and_a_day_that_is_over_gives_all_back() -> None:
    ledger, clock = MemoryLedger(), ManualClock(NOON)
    mine = leases(ledger, clock)
    mine.available("brand", NOON)
    mine.hold("d", "brand", NOON, 10_000, 300)
    mine.renew()
    mine.renew()
    assert stands(ledger)[1] == 10_000
    for minutes in (60 * 12 + 1, 60 * 12 + 2):
        clock.set(NOON + timedelta(minutes=minutes))
        mine.renew()
    assert stands(ledger)[1] == 0
    assert ledger.reservations() == []


def test_a_slice_that_shrinks_is_smaller_for_its_holder_before_it_is_in_the_ledger() -> None:
    ledger, held = Telephone(), list[bool]()
    mine = leases(ledger, ManualClock(NOON))
    assert mine.available("brand", NOON, wanted=400_000) == 400_000
    resize = ledger.resize

    def bidding_meanwhile(*asked: object):  # type: ignore[no-untyped-def]
        held.append(mine.hold("meanwhile", "brand", NOON, 400_000, 300))
        return resize(*asked)

    ledger.resize = bidding_meanwhile  # type: ignore[method-assign]
    mine.renew()
    assert held == [False]


def test_closing_keeps_only_what_is_underway() -> None:
    ledger = MemoryLedger()
    mine = leases(ledger, ManualClock(NOON))
    mine.available("brand", NOON)
    mine.hold("d", "brand", NOON, 10_000, 300)
    mine.close()
    assert stands(ledger)[1] == 10_000
    assert mine.available("brand", NOON) is not None


def test_more_than_is_available_is_not_held() -> None:
    clock = ManualClock(NOON)
    mine = leases(MemoryLedger(), clock)
    mine.available("brand", NOON)
    assert not mine.hold("d", "brand", NOON, 100_001, 300)
    assert mine.available("brand", NOON) == 100_000
    clock.set(NOON + timedelta(seconds=55))
    assert not mine.hold("d", "brand", NOON, 1_000, 300), "the lease is over"


def test_money_is_held_at_least_until_it_can_no_longer_be_charged() -> None:
    with pytest.raises(ConfigurationError, match="return_seconds"):
        LedgerSettings(return_seconds=10)
    with pytest.raises(ConfigurationError, match="lease_share"):
        LedgerSettings(lease_share=0)
    with pytest.raises(ConfigurationError, match=r"total_budgets\.brand"):
        LedgerSettings(total_budgets={"brand": float("nan")})


def test_a_month_and_a_day_begin_in_the_account_s_timezone() -> None:
    windows = Windows("America/New_York")
    assert windows.day(datetime(2026, 3, 1, 4, 59, tzinfo=UTC)) == date(2026, 2, 28)
    assert Window("campaign:brand", "month:2026-02") in windows.of("brand", datetime(2026, 3, 1, 4, 59, tzinfo=UTC))


def test_threads_that_race_for_one_slice_never_hold_more_than_there_is() -> None:
    ledger, clock = MemoryLedger(), ManualClock(NOON)
    mine = leases(ledger, clock, 100_000, lease_share=0.3)
    held, lock = list[int](), threading.Lock()

    def race(number: int) -> None:
        for i in range(200):
            with lock:  # the loop asks and holds under its own lock; renewals come in between from elsewhere
                free = mine.available("brand", NOON, wanted=700)
                amount = min(700, free or 0)
                if mine.hold(f"{number}-{i}", "brand", NOON, amount, 300):
                    held.append(amount)
            if i % 7 == 0:
                mine.renew()

    threads = [threading.Thread(target=race, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(held) <= 100_000
    assert stands(ledger)[1] >= sum(held)


moves = st.lists(
    st.tuples(
        st.sampled_from(["bid", "charge", "lose", "renew", "crash", "wait", "cut", "mend"]),
        st.integers(0, 2),
        st.integers(1, 400),
    ),
    max_size=60,
)


@settings(max_examples=60)
@given(moves=moves, share=st.sampled_from([0.05, 0.3, 1.0]))
def test_whatever_happens_to_three_processes_no_more_is_charged_than_the_budget(
    moves: list[tuple[str, int, int]], share: float
) -> None:
    ledger, clock, budget = Telephone(), ManualClock(NOON), 1_000
    processes = [leases(ledger, clock, budget, lease_share=share) for _ in range(3)]
    underway: list[tuple[int, str, int, datetime]] = []
    charged = position = decisions = 0
    for what, who, amount in moves:
        mine = processes[who]
        if what == "bid":
            free = mine.available("brand", NOON, wanted=amount) or 0
            if bid := min(amount, free):
                decisions += 1
                assert mine.hold(f"d{decisions}", "brand", NOON, bid, 300)
                underway.append((who, f"d{decisions}", bid, clock.now() + timedelta(seconds=300)))
        elif what == "charge" and underway:
            whose, name, bid, until = underway.pop(amount % len(underway))
            if clock.now() < until:
                cost = 1 + amount % bid
                charged += cost
                position += 1
                mine.ledger.book("log", position, [Charge(position, mine.windows.of("brand", NOON), cost)])
                processes[whose].settle([(name, cost)])
        elif what == "lose" and underway:
            whose, name, _, _ = underway.pop(amount % len(underway))
            processes[whose].settle([(name, 0)])
        elif what == "renew":
            mine.renew()
        elif what == "crash":
            processes[who] = leases(ledger, clock, budget, lease_share=share)
        elif what == "wait":
            clock.set(clock.now() + timedelta(seconds=amount))
        elif what in ("cut", "mend"):
            ledger.cut = what == "cut"
        assert charged <= budget
