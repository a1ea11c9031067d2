"""Money at hand: a process leases slices of budgets and holds money from them in memory, so that no bid waits for the database."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import chain
from logging import getLogger
from math import ceil

from bidloop.bidding.ledger.ports import Ledger
from bidloop.bidding.ledger.settings import LedgerSettings
from bidloop.bidding.ledger.window import Window, Windows
from bidloop.core.clock import Clock
from bidloop.core.errors import Unavailable

MARGIN = 0.1
"""Part of a lease before whose end nothing new is bid from it: what is decided by then is sent in time."""
SEVERAL = 4
"""So many of the largest bids are leased at least, where the budget has them."""
ASK_AGAIN_S, AT_THE_LATEST_S = 1.0, 30.0
"""Seconds after which a bid asks again for a budget that had not enough left, or a database that did not answer: twice as long each
time, up to the latter."""
EXPIRE_EVERY = timedelta(seconds=30)
"""How often a process looks for reservations of others that have run out."""
REMEMBERED = 100_000
"""Held bids per slice whose time is over that are remembered, for charges that come late."""

Caps = Callable[[str, date], Mapping[Window, int | None]]
"""The limits that the settings ask for in a campaign's windows on a day of the account, in micros."""

_log = getLogger(__name__)


@dataclass(slots=True)
class _Slice:
    """What one process leases for a campaign's day; money in micros.

    `told` is what the database holds for us, `granted` what of it is ours: smaller by what was charged since, never larger. `held`
    is what the bids that are underway may cost, `largest` the most that one did. `until` is when we stop bidding from it, and
    `ask_from` when a budget that had not enough is asked again, after `patience` seconds. `bids` are by how long they are held, so
    that of those held equally long the oldest ends first; `lapsed` are bids whose time is over, which may still be charged.
    `doubtful` is a reservation of which nobody knows whether it was made.
    """

    campaign: str
    day: date
    id: str = ""
    doubtful: str = ""
    told: int = 0
    granted: int = 0
    held: int = 0
    largest: int = 0
    until: float = 0.0
    ask_from: float = 0.0
    patience: float = 0.0
    limited: bool = True
    bids: dict[float, OrderedDict[str, tuple[int, float, bool]]] = field(default_factory=dict)
    lapsed: OrderedDict[str, bool] = field(default_factory=OrderedDict)
    used: bool = False

    @property
    def free(self) -> int:
        return max(0, self.granted - self.held)

    def taken(self, decision_id: str) -> tuple[int, float, bool] | None:
        """Take a bid that is underway out, with what is held for it, until when, and whether it may be charged again."""
        for held in self.bids.values():
            if (bid := held.pop(decision_id, None)) is not None:
                self.held -= bid[0]
                return bid
        return None


class Leases:
    """Holds money for bids, from slices of budgets that are leased from a ledger.

    `available` and `hold` touch memory alone as long as the slice suffices and is fresh; `renew` keeps it so. What is held for a
    bid is given back by `settle` once it is known what came of it, or when its time is over and the log up to then is known: as
    long as nobody can say what was charged, nothing is bid twice.

    A slice is leased until an instant. After it, and a margin before, nothing is bid from it; the money goes back to the budget
    only `return_seconds` later, when what was bid can no longer be charged. So a process that is killed, stopped or cut off costs
    delivery, not money. What can still overspend is a platform that charges later than that, or more than was bid: `Balance.over`
    shows it.

    Safe to call from several threads.

    Parameters
    ----------
    ledger
        Where the budgets stand.
    caps
        Says the limits of a campaign's windows on a day; asked when a slice of that day is first leased.
    timezone
        IANA name of the account's timezone.
    clock
        Tells the time; leases run by it.

    Examples
    --------
    >>> from bidloop.adapters.memory.ledger import MemoryLedger
    >>> from bidloop.core.clock import ManualClock
    >>> from datetime import UTC
    >>> noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    >>> daily = lambda campaign, day: {Window(f"campaign:{campaign}", f"day:{day}"): 10_000_000}
    >>> leases = Leases(MemoryLedger(), daily, "UTC", LedgerSettings(lease_share=0.5), ManualClock(noon))
    >>> leases.available("brand", noon)
    5000000
    >>> leases.hold("decision 1", "brand", noon, 2_000_000, 300)
    True
    >>> leases.available("brand", noon)
    3000000
    """

    def __init__(self, ledger: Ledger, caps: Caps, timezone: str, settings: LedgerSettings, clock: Clock) -> None:
        self.ledger = ledger
        self.settings = settings
        self.windows = Windows(timezone)
        self._caps = caps
        self._clock = clock
        self._slices: dict[tuple[str, date], _Slice] = {}
        self._of_bid: dict[str, _Slice] = {}
        self._lock = threading.RLock()
        self._turn = threading.Lock()
        self._expired_at: datetime | None = None
        self._silent = False
        self._ask_from = self._patience = 0.0
        self._followed_until = 0.0

    def available(self, campaign_id: str, at: datetime, wanted: int = 1) -> int | None:
        """What a bid may cost at most, in micros; `None` where no budget limits the campaign.

        Asks the database only where the slice is stale or has less than is wanted, and seldom where it did not answer. 0 where the
        budget is spent, or the slice is stale.
        """
        slice_ = self._slice(campaign_id, self.windows.day(at))
        with self._lock:
            slice_.used = True
            enough, now = not slice_.limited or slice_.free >= wanted, self._clock.now().timestamp()
            if now < self._ask_from or (self._fresh(slice_) and (enough or now < slice_.ask_from)):
                return self._at_hand(slice_)
        self._try(lambda: self._renew(slice_, self._clock.now(), wanted))
        with self._lock:
            slice_.used = True  # also for the next renewal, which would take an unused slice back
            if slice_.limited and slice_.free < wanted:  # a spent budget is not asked at every bid
                slice_.patience = min(max(2 * slice_.patience, ASK_AGAIN_S), AT_THE_LATEST_S)
                slice_.ask_from = self._clock.now().timestamp() + slice_.patience
            else:
                slice_.patience = 0.0
            return self._at_hand(slice_)

    def hold(
        self, decision_id: str, campaign_id: str, at: datetime, micros: int, seconds: float, *, repeats: bool = False
    ) -> bool:
        """Hold what a bid may cost for so long; says whether there was enough.

        Seldom there is less than `available` said a moment ago: the slice was renewed in between. Then nothing is held, and
        nothing may be bid.

        Parameters
        ----------
        repeats
            Whether it may be charged more than once, as clicks are.
        """
        slice_ = self._slice(campaign_id, self.windows.day(at))
        with self._lock:
            if micros <= 0 or not slice_.limited:
                return True
            if micros > slice_.free or not self._fresh(slice_):
                return False
            slice_.held += micros
            slice_.largest = max(micros, slice_.largest)
            alike = slice_.bids.setdefault(seconds, OrderedDict())
            alike[decision_id] = (micros, self._clock.now().timestamp() + seconds, repeats)
            self._of_bid[decision_id] = slice_
            return True

    def settle(self, charged: Iterable[tuple[str, int]]) -> None:
        """Take in what came of bids: what each was charged, in micros, 0 for one that lost. Others' bids are passed over.

        To be told after the charges were booked in the ledger, never before.
        """
        with self._lock:
            for decision_id, micros in charged:
                slice_ = self._of_bid.get(decision_id)
                if slice_ is None:
                    continue
                bid = slice_.taken(decision_id)
                repeats = slice_.lapsed.get(decision_id, False) if bid is None else bid[2]
                # The database counts it as spent from now on; the slice must not let it be bid once more.
                slice_.granted -= micros
                if micros and repeats:
                    self._lapse(slice_, decision_id, repeats)
                else:
                    self._of_bid.pop(decision_id, None)
                    slice_.lapsed.pop(decision_id, None)

    def change(self, limits: Mapping[Window, int | None]) -> None:
        """Set limits from now on. What slices have free beyond them goes back at their next renewal; bids underway stay."""
        self.ledger.limit(limits)
        with self._lock:
            self._ask_from = self._patience = 0.0
            for slice_ in self._slices.values():
                if not slice_.limited and not limits.keys().isdisjoint(self.windows.on(slice_.campaign, slice_.day)):
                    slice_.until = 0.0
                slice_.ask_from = slice_.patience = 0.0

    def renew(self) -> None:
        """Bring all slices up to date: to be called about every second, each time the log was followed, booked and settled.

        Only then are bids given up whose time is over: what the log tells of them would be known.

        A slice is enlarged before it runs short, made smaller where it is not used, prolonged, and given back when its day is over
        and all its bids are settled. A database that does not answer is asked again the next time.
        """
        now = self._clock.now()
        self._followed_until = now.timestamp()
        with self._lock:
            slices = list(self._slices.values())
        for slice_ in slices:
            if not self._try(lambda slice_=slice_: self._renew(slice_, now)):  # type: ignore[misc]
                return
        if self._expired_at is None or now - self._expired_at >= EXPIRE_EVERY:
            self._expired_at = now
            self._try(lambda: self.ledger.expire(now))

    def close(self) -> None:
        """Give back what nothing is held from. What is held stays in the ledger until it can no longer be charged."""
        now = self._clock.now()
        with self._turn:
            for slice_ in list(self._slices.values()):
                if slice_.id:
                    self._try(lambda slice_=slice_: self._resize(slice_, slice_.held, now))  # type: ignore[misc]
            with self._lock:
                self._slices.clear()
                self._of_bid.clear()

    def _slice(self, campaign_id: str, day: date) -> _Slice:
        key = (campaign_id, day)
        slice_ = self._slices.get(key)
        if slice_ is None:
            with self._lock:
                slice_ = self._slices.setdefault(key, _Slice(campaign_id, day))
        return slice_

    def _fresh(self, slice_: _Slice) -> bool:
        return self._clock.now().timestamp() < slice_.until

    def _at_hand(self, slice_: _Slice) -> int | None:
        if not self._fresh(slice_):
            return 0
        return slice_.free if slice_.limited else None

    def _try(self, work: Callable[[], object]) -> bool:
        try:
            work()
        except Unavailable as error:
            if not self._silent:
                _log.warning("The ledger does not answer; bids go on from what is leased, and end with it: %s", error)
            self._silent = True
            # Bids must not wait one after the other for a database that does not answer.
            self._patience = min(max(2 * self._patience, ASK_AGAIN_S), AT_THE_LATEST_S)
            self._ask_from = self._clock.now().timestamp() + self._patience
            return False
        self._silent = False
        self._ask_from = self._patience = 0.0
        return True

    def _renew(self, slice_: _Slice, now: datetime, wanted: int = 0) -> None:
        with self._turn:  # one at a time: two would both enlarge a slice for the same lack
            seconds = now.timestamp()
            self._let_lapse(slice_)
            half_over = slice_.until - seconds < self.settings.lease_seconds / 2
            used, slice_.used = slice_.used, False
            if self.windows.day(now) > slice_.day and not used:
                self._wind_up(slice_, now, half_over)
                return
            if not slice_.id:
                if wanted or half_over:
                    self._open(slice_, now, wanted)
                return
            most = self._most(slice_)
            working = self._working(slice_, most, wanted) if used or wanted else 0
            charged = slice_.told - slice_.granted  # which the database counts twice until it is told
            if (
                half_over
                or slice_.free < wanted
                or charged >= max(1, working / 4)
                or not working / 2 <= slice_.free <= 2 * working
                or (most is not None and slice_.free > most)  # a limit was lowered
            ):
                self._resize(slice_, slice_.held + working, now)

    def _wind_up(self, slice_: _Slice, now: datetime, half_over: bool) -> None:
        """A day that is over: the slice lasts only for what is still held."""
        if slice_.held:
            if half_over or slice_.free:
                self._resize(slice_, slice_.held, now)
            return
        if slice_.id:
            self.ledger.release(slice_.id)
        with self._lock:
            self._slices.pop((slice_.campaign, slice_.day), None)
            for decision_id in slice_.lapsed:
                self._of_bid.pop(decision_id, None)

    def _open(self, slice_: _Slice, now: datetime, wanted: int) -> None:
        """Lease for the first time, once the ledger knows what the settings ask for."""
        windows = self.windows.on(slice_.campaign, slice_.day)
        caps = self._caps(slice_.campaign, slice_.day)
        self.ledger.configure({window: caps.get(window) for window in windows})
        if slice_.doubtful:
            self.ledger.release(slice_.doubtful)
            slice_.doubtful = ""
        most = self._most(slice_)
        until, returns_at = self._times(now)
        with self._lock:
            slice_.limited = most is not None
            if most is None or most == 0:
                slice_.until = self._bid_until(now)
                return
        name = slice_.doubtful = f"{slice_.campaign}/{slice_.day}/{secrets.token_hex(8)}"
        working = self._working(slice_, most, wanted)
        answer = self.ledger.reserve(name, windows, working, until, returns_at, least=1)
        with self._lock:
            slice_.id, slice_.doubtful = "" if answer.closed else name, ""
            slice_.told = slice_.granted = answer.amount
            slice_.until = self._bid_until(now)

    def _resize(self, slice_: _Slice, amount: int, now: datetime) -> None:
        """Make the slice as large as this, or as it can be. It gets smaller for us before it does for others, and larger after."""
        with self._lock:
            asked = max(amount, slice_.held)
            slice_.granted = had = min(slice_.granted, asked)
        until, returns_at = self._times(now)
        answer = self.ledger.resize(slice_.id, asked, until, returns_at)
        with self._lock:
            if answer.closed:  # it ran out while we were away: what was underway can no longer be charged
                for decision_id in chain.from_iterable(slice_.bids.values()):
                    self._of_bid.pop(decision_id, None)
                slice_.bids.clear()
                slice_.id, slice_.told, slice_.granted, slice_.held, slice_.until = "", 0, 0, 0, 0.0
                return
            # What was charged while the database was asked has been taken off already, and stays so.
            slice_.granted += answer.amount - had
            slice_.told = answer.amount
            slice_.until = self._bid_until(now)

    def _most(self, slice_: _Slice) -> int | None:
        """How much could be free to bid if the slice took all that is left, or `None` where nothing is limited.

        Where a limit was lowered below what is spent and reserved, that is less than is free, and the slice has to give back.
        """
        balances = self.ledger.balances(self.windows.on(slice_.campaign, slice_.day))
        limited = (one.limit - one.spent - one.reserved for one in balances if one.limit is not None)
        left = min(limited, default=None)
        return None if left is None else max(0, left + slice_.told - slice_.held)

    def _working(self, slice_: _Slice, most: int | None, wanted: int) -> int:
        """How much should be free to bid: a share of what is left, and a few of the largest bids at least."""
        if most is None:  # its limits were lifted
            return max(slice_.free, wanted)
        return min(most, max(ceil(most * self.settings.lease_share), SEVERAL * slice_.largest, wanted))

    def _times(self, now: datetime) -> tuple[datetime, datetime]:
        until = now + timedelta(seconds=self.settings.lease_seconds)
        return until, until + timedelta(seconds=self.settings.return_seconds)

    def _bid_until(self, now: datetime) -> float:
        return now.timestamp() + self.settings.lease_seconds * (1 - MARGIN)

    def _let_lapse(self, slice_: _Slice) -> None:
        """Give up on bids of which nothing was told in time; a charge that comes later is still known to be ours."""
        with self._lock:
            for held in slice_.bids.values():
                while held:
                    name, (micros, until, repeats) = next(iter(held.items()))
                    if until > self._followed_until:
                        break
                    del held[name]
                    slice_.held -= micros
                    self._lapse(slice_, name, repeats)

    def _lapse(self, slice_: _Slice, decision_id: str, repeats: bool) -> None:
        slice_.lapsed[decision_id] = repeats
        if len(slice_.lapsed) > REMEMBERED:
            oldest, _ = slice_.lapsed.popitem(last=False)
            if not any(oldest in held for held in slice_.bids.values()):
                self._of_bid.pop(oldest, None)
