"""Budgets in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bidloop.bidding.ledger.balance import Balance, Charge, Reservation, Reserved
from bidloop.bidding.ledger.window import Window
from bidloop.core.errors import InvalidInput, NotFound


@dataclass(slots=True)
class _Budget:
    limit: int | None = None
    configured: int | None = None
    spent: int = 0
    reserved: int = 0

    @property
    def left(self) -> int | None:
        return None if self.limit is None else max(0, self.limit - self.spent - self.reserved)


@dataclass(slots=True)
class _Held:
    windows: tuple[Window, ...]
    amount: int
    until: datetime
    returns_at: datetime
    state: str = "open"
    committed: int | None = None
    binds: Window | None = None


class MemoryLedger:
    """Budgets of one process, gone with it; implements `bidloop.bidding.ledger.ports.Ledger`.

    Examples
    --------
    >>> from datetime import UTC, timedelta
    >>> ledger, total = MemoryLedger(), Window("account", "total")
    >>> ledger.limit({total: 100})
    >>> now = datetime(2026, 3, 1, tzinfo=UTC)
    >>> ledger.reserve("a", [total], 70, now, now).amount
    70
    >>> refused = ledger.reserve("b", [total], 70, now, now)
    >>> refused.amount, str(refused.binds)
    (0, 'account total')
    """

    def __init__(self) -> None:
        self._budgets: dict[Window, _Budget] = {}
        self._held: dict[str, _Held] = {}
        self._positions: dict[str, int] = {}
        self._lock = threading.Lock()

    def limit(self, limits: Mapping[Window, int | None]) -> None:
        """Set limits, in micros; `None` lifts one."""
        with self._lock:
            for window, limit in limits.items():
                self._budgets.setdefault(window, _Budget()).limit = limit

    def configure(self, limits: Mapping[Window, int | None]) -> None:
        """Set the limits that the settings ask for, where they ask for another one than they did last."""
        with self._lock:
            for window, limit in limits.items():
                budget = self._budgets.setdefault(window, _Budget())
                if budget.configured != limit:
                    budget.limit = budget.configured = limit

    def reserve(
        self,
        id: str,
        windows: Sequence[Window],
        amount: int,
        until: datetime,
        returns_at: datetime,
        *,
        least: int | None = None,
    ) -> Reserved:
        """Hold money in every window at once, or nothing."""
        if amount < 0:
            raise InvalidInput(f"a reservation of {amount} micros", path="amount", expected="zero or more")
        ordered = tuple(sorted(set(windows)))
        with self._lock:
            if id in self._held:
                return self._answer(id)
            room, binds = self._room(ordered)
            held = amount if room is None else min(amount, room)
            if held < (amount if least is None else least):
                held = 0
            self._hold(ordered, held)
            binding = None if held == amount else binds
            state = "open" if held else "released"
            self._held[id] = _Held(ordered, held, until, returns_at, state, None, binding)
            return self._answer(id)

    def resize(self, id: str, amount: int, until: datetime, returns_at: datetime) -> Reserved:
        """Make an open reservation as large as this, or as it can be, and let it run on."""
        with self._lock:
            found = self._found(id)
            if found.state != "open":
                return self._answer(id)
            held, binds = max(0, amount), None
            if held > found.amount:
                room, tightest = self._room(found.windows)
                if room is not None and held - found.amount > room:
                    held, binds = found.amount + room, tightest
            self._hold(found.windows, held - found.amount)
            found.amount, found.until, found.returns_at = held, until, returns_at
            return Reserved(id=id, amount=held, binds=binds)

    def commit(self, id: str, amount: int) -> Reserved:
        """Spend this much of a reservation; the rest goes back."""
        if amount < 0:
            raise InvalidInput(f"a commit of {amount} micros", path="amount", expected="zero or more")
        with self._lock:
            found = self._found(id)
            if found.state == "committed":
                if found.committed != amount:
                    raise InvalidInput(
                        f"a second commit of {id!r}, with {amount} micros",
                        path="amount",
                        expected=f"{found.committed}, as it was committed before",
                    )
            else:
                self._hold(found.windows, -found.amount)
                for window in found.windows:
                    self._budgets.setdefault(window, _Budget()).spent += amount
                found.amount, found.state, found.committed = 0, "committed", amount
            return Reserved(id=id, amount=0, closed=True)

    def release(self, id: str) -> None:
        """Give a reservation back."""
        with self._lock:
            if (found := self._held.get(id)) is not None and found.state == "open":
                self._close(found, "released")

    def expire(self, now: datetime) -> int:
        """Give back what reservations hold whose time has come."""
        with self._lock:
            due = [held for held in self._held.values() if held.state == "open" and held.returns_at <= now]
            for held in due:
                self._close(held, "expired")
            return len(due)

    def book(self, source: str, position: int, charges: Sequence[Charge]) -> bool:
        """Spend what a log tells, once."""
        with self._lock:
            known = self._positions.get(source, 0)
            if position <= known:
                return False
            for charge in charges:
                if known < charge.position <= position:
                    for window in charge.windows:
                        self._budgets.setdefault(window, _Budget()).spent += charge.micros
            self._positions[source] = position
            return True

    def position(self, source: str) -> int:
        """Up to where a log was booked."""
        return self._positions.get(source, 0)

    def balances(self, windows: Sequence[Window]) -> list[Balance]:
        """What stands in windows, in their order."""
        with self._lock:
            found = [self._budgets.get(window, _Budget()) for window in windows]
            return [
                Balance(window=window, limit=one.limit, spent=one.spent, reserved=one.reserved)
                for window, one in zip(windows, found, strict=True)
            ]

    def reservations(self) -> list[Reservation]:
        """The open reservations, by id."""
        with self._lock:
            return [
                Reservation(id=id, windows=one.windows, amount=one.amount, until=one.until, returns_at=one.returns_at)
                for id, one in sorted(self._held.items())
                if one.state == "open"
            ]

    def _found(self, id: str) -> _Held:
        if id not in self._held:
            raise NotFound(f"no reservation {id!r}", expected="one that was made", remedy="Reserve before committing.")
        return self._held[id]

    def _answer(self, id: str) -> Reserved:
        found = self._held[id]
        return Reserved(id=id, amount=found.amount, binds=found.binds, closed=found.state != "open")

    def _room(self, windows: Sequence[Window]) -> tuple[int | None, Window | None]:
        limited = [(left, w) for w in windows if w in self._budgets and (left := self._budgets[w].left) is not None]
        return min(limited) if limited else (None, None)

    def _hold(self, windows: Sequence[Window], more: int) -> None:
        for window in windows:
            self._budgets.setdefault(window, _Budget()).reserved += more

    def _close(self, found: _Held, state: str) -> None:
        self._hold(found.windows, -found.amount)
        found.amount, found.state = 0, state
