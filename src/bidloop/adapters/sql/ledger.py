"""Budgets in SQL tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, select, tuple_, update

from bidloop.adapters.sql.database import answering, insert_new, writing
from bidloop.adapters.sql.tables import budgets, offsets, reservations
from bidloop.bidding.ledger.balance import Balance, Charge, Reservation, Reserved
from bidloop.bidding.ledger.window import Window
from bidloop.core.errors import InvalidInput, NotFound
from bidloop.outcomes.epoch import epoch_us, from_epoch_us

_EXPIRED_AT_ONCE = 500
_WINDOWS_AT_ONCE = 1_000
"""A statement has a limited number of parameters: SQLite's is 32,766, PostgreSQL's 65,535."""
_windows = msgspec.json.Decoder(tuple[Window, ...])
_window = msgspec.json.Decoder(Window)


class SqlLedger:
    """Budgets that processes and machines share; implements `bidloop.bidding.ledger.ports.Ledger`.

    SQLite writes one transaction at a time. PostgreSQL locks rows: that of the reservation or of the log first, then those of the
    budgets in the order of their names, so that no two transactions wait for each other. Rows of budgets that nobody has named yet
    are made beforehand, in a transaction of their own: one that makes some and then waits for others would be in the way of one
    that has locked those and wants the new ones.

    Parameters
    ----------
    engine
        From `open_database`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine)

    def limit(self, limits: Mapping[Window, int | None]) -> None:
        """Set limits, in micros; `None` lifts one."""
        ordered = sorted(limits)
        self._make(ordered)
        with answering(self._engine), self._writing.begin() as connection:
            for window in ordered:
                connection.execute(update(budgets).where(_is(window)).values(limit_micros=limits[window]))

    def configure(self, limits: Mapping[Window, int | None]) -> None:
        """Set the limits that the settings ask for, where they ask for another one than they did last."""
        ordered = sorted(limits)
        with answering(self._engine), self._engine.connect() as connection:
            asked = {window: row.configured for window, row in _rows(connection, ordered).items()}
        changed = [window for window in ordered if asked.get(window) != limits[window]]
        if not changed:
            return
        self._make(changed)
        with answering(self._engine), self._writing.begin() as connection:
            for window in changed:
                asks = limits[window]
                # Who comes second finds that the settings have asked for it already, and leaves what was set since.
                another = budgets.c.configured.is_distinct_from(asks)
                new = update(budgets).where(_is(window) & another).values(limit_micros=asks, configured=asks)
                connection.execute(new)

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
        self._make(ordered)
        with answering(self._engine), self._writing.begin() as connection:
            new = insert_new(connection, reservations).values(
                id=id,
                windows=msgspec.json.encode(ordered).decode(),
                amount=0,
                until_us=epoch_us(until),
                returns_us=epoch_us(returns_at),
                state="open",
            )
            # Who makes the row holds its lock: the same reservation told twice at once is made by one and read by the other.
            new = new.on_conflict_do_nothing(index_elements=["id"])
            if connection.execute(new.returning(reservations.c.id)).first() is None:
                return _answer(_locked(connection, id))
            room, binds = _room(connection, ordered)
            held = amount if room is None else min(amount, room)
            if held < (amount if least is None else least):
                held = 0
            _hold(connection, ordered, held)
            binding = None if held == amount else binds
            change = {"amount": held, "binds": None if binding is None else msgspec.json.encode(binding).decode()}
            if held == 0:
                change["state"] = "released"
            connection.execute(update(reservations).where(reservations.c.id == id).values(**change))
            return Reserved(id=id, amount=held, binds=binding, closed=held == 0)

    def resize(self, id: str, amount: int, until: datetime, returns_at: datetime) -> Reserved:
        """Make an open reservation as large as this, or as it can be, and let it run on."""
        with answering(self._engine), self._writing.begin() as connection:
            found = _locked(connection, id)
            if found.state != "open":
                return _answer(found)
            windows, binds = _windows.decode(found.windows), None
            held = max(0, amount)
            if held > found.amount:
                room, binds = _room(connection, windows)
                if room is not None and held - found.amount > room:
                    held = found.amount + room
                else:
                    binds = None
            elif held < found.amount:
                _locks(connection, windows)
            _hold(connection, windows, held - found.amount)
            connection.execute(
                update(reservations)
                .where(reservations.c.id == id)
                .values(amount=held, until_us=epoch_us(until), returns_us=epoch_us(returns_at))
            )
            return Reserved(id=id, amount=held, binds=binds)

    def commit(self, id: str, amount: int) -> Reserved:
        """Spend this much of a reservation; the rest goes back."""
        if amount < 0:
            raise InvalidInput(f"a commit of {amount} micros", path="amount", expected="zero or more")
        with answering(self._engine), self._writing.begin() as connection:
            found = _locked(connection, id)
            if found.state == "committed":
                if found.committed != amount:
                    raise InvalidInput(
                        f"a second commit of {id!r}, with {amount} micros",
                        path="amount",
                        expected=f"{found.committed}, as it was committed before",
                    )
                return Reserved(id=id, amount=0, closed=True)
            windows = _windows.decode(found.windows)
            _locks(connection, windows)
            connection.execute(
                update(budgets)
                .where(_among(windows))
                .values(spent=budgets.c.spent + amount, reserved=budgets.c.reserved - found.amount)
            )
            connection.execute(
                update(reservations)
                .where(reservations.c.id == id)
                .values(amount=0, state="committed", committed=amount)
            )
            return Reserved(id=id, amount=0, closed=True)

    def release(self, id: str) -> None:
        """Give a reservation back."""
        with answering(self._engine), self._writing.begin() as connection:
            found = connection.execute(select(reservations).where(reservations.c.id == id).with_for_update()).first()
            if found is not None and found.state == "open":
                _close(connection, found, "released")

    def expire(self, now: datetime) -> int:
        """Give back what reservations hold whose time has come."""
        due = (reservations.c.state == "open") & (reservations.c.returns_us <= epoch_us(now))
        with answering(self._engine), self._engine.connect() as connection:
            names = connection.scalars(select(reservations.c.id).where(due).limit(_EXPIRED_AT_ONCE)).all()
        expired = 0
        for name in names:  # each by itself, so that no transaction holds two reservations
            with answering(self._engine), self._writing.begin() as connection:
                chosen = select(reservations).where(due & (reservations.c.id == name)).with_for_update()
                found = connection.execute(chosen).first()
                if found is not None:
                    _close(connection, found, "expired")
                    expired += 1
        return expired

    def book(self, source: str, position: int, charges: Sequence[Charge]) -> bool:
        """Spend what a log tells, once."""
        self._make(sorted({window for charge in charges for window in charge.windows}))
        with answering(self._engine), self._writing.begin() as connection:
            connection.execute(
                insert_new(connection, offsets)
                .values(source=_source(source), position="0")
                .on_conflict_do_nothing(index_elements=["source"])
            )
            mine = offsets.c.source == _source(source)
            known = int(connection.execute(select(offsets.c.position).where(mine).with_for_update()).scalar_one())
            if position <= known:
                return False
            spent: Counter[Window] = Counter()
            for charge in charges:
                if known < charge.position <= position:
                    for window in charge.windows:
                        spent[window] += charge.micros
            for some in _batches(sorted(spent)):
                rows = [
                    {"owner": owner, "spell": spell, "spent": spent[Window(owner, spell)], "reserved": 0}
                    for owner, spell in some
                ]
                new = insert_new(connection, budgets).values(rows)
                more = {"spent": budgets.c.spent + new.excluded.spent}
                connection.execute(new.on_conflict_do_update(index_elements=["owner", "spell"], set_=more))
            connection.execute(update(offsets).where(mine).values(position=str(position)))
            return True

    def position(self, source: str) -> int:
        """Up to where a log was booked."""
        with answering(self._engine), self._engine.connect() as connection:
            found = connection.execute(select(offsets.c.position).where(offsets.c.source == _source(source))).scalar()
        return int(found or 0)

    def balances(self, windows: Sequence[Window]) -> list[Balance]:
        """What stands in windows, in their order."""
        with answering(self._engine), self._engine.connect() as connection:
            found = _rows(connection, windows)
        return [_balance(window, found.get(window)) for window in windows]

    def reservations(self) -> list[Reservation]:
        """The open reservations, by id."""
        chosen = select(reservations).where(reservations.c.state == "open").order_by(reservations.c.id)
        with answering(self._engine), self._engine.connect() as connection:
            rows = connection.execute(chosen).all()
        return [
            Reservation(
                id=row.id,
                windows=_windows.decode(row.windows),
                amount=row.amount,
                until=from_epoch_us(row.until_us),
                returns_at=from_epoch_us(row.returns_us),
            )
            for row in rows
        ]

    def _make(self, windows: Sequence[Window]) -> None:
        """Make the rows of sorted windows that nobody has named yet: what is reserved is counted also where there is no limit."""
        with answering(self._engine), self._engine.connect() as connection:
            named = _rows(connection, windows)
        for some in _batches([window for window in windows if window not in named]):
            rows = [{"owner": owner, "spell": spell, "spent": 0, "reserved": 0} for owner, spell in some]
            with answering(self._engine), self._writing.begin() as connection:
                new = insert_new(connection, budgets).values(rows)
                connection.execute(new.on_conflict_do_nothing(index_elements=["owner", "spell"]))


def _source(log: str) -> str:
    return f"ledger:{log}"


def _is(window: Window) -> ColumnElement[bool]:
    return and_(budgets.c.owner == window.owner, budgets.c.spell == window.spell)


def _among(windows: Sequence[Window]) -> ColumnElement[bool]:
    return tuple_(budgets.c.owner, budgets.c.spell).in_(windows)


def _locked(connection: Connection, id: str) -> Row[Any]:
    found = connection.execute(select(reservations).where(reservations.c.id == id).with_for_update()).first()
    if found is None:
        raise NotFound(f"no reservation {id!r}", expected="one that was made", remedy="Reserve before committing.")
    return found


def _rows(connection: Connection, windows: Sequence[Window]) -> dict[Window, Row[Any]]:
    """What stands in windows; those that nobody has named are left out."""
    found = {}
    for some in _batches(windows):
        for row in connection.execute(select(budgets).where(_among(some))):
            found[Window(row.owner, row.spell)] = row
    return found


def _batches(windows: Sequence[Window]) -> Iterator[Sequence[Window]]:
    return (windows[start : start + _WINDOWS_AT_ONCE] for start in range(0, len(windows), _WINDOWS_AT_ONCE))


def _locks(connection: Connection, windows: Sequence[Window]) -> list[Balance]:
    """Lock the rows of windows, in the order in which Python sorts them; says what stands in them."""
    order: list[ColumnElement[str]] = [budgets.c.owner, budgets.c.spell]
    if connection.dialect.name == "postgresql":  # a database may sort by the rules of a language
        order = [column.collate("C") for column in order]
    rows = connection.execute(select(budgets).where(_among(windows)).order_by(*order).with_for_update()).all()
    return [_balance(Window(row.owner, row.spell), row) for row in rows]


def _room(connection: Connection, windows: Sequence[Window]) -> tuple[int | None, Window | None]:
    """What the tightest of the windows has left, and which that is; `None` where none is limited."""
    limited = [(left, balance.window) for balance in _locks(connection, windows) if (left := balance.left) is not None]
    return min(limited) if limited else (None, None)


def _hold(connection: Connection, windows: Sequence[Window], more: int) -> None:
    """Reserve more, or less, in windows whose rows are locked."""
    if more:
        connection.execute(update(budgets).where(_among(windows)).values(reserved=budgets.c.reserved + more))


def _close(connection: Connection, found: Row[Any], state: str) -> None:
    windows = _windows.decode(found.windows)
    _locks(connection, windows)
    _hold(connection, windows, -found.amount)
    connection.execute(update(reservations).where(reservations.c.id == found.id).values(amount=0, state=state))


def _answer(found: Row[Any]) -> Reserved:
    binds = None if found.binds is None else _window.decode(found.binds)
    return Reserved(id=found.id, amount=found.amount, binds=binds, closed=found.state != "open")


def _balance(window: Window, row: Row[Any] | None) -> Balance:
    if row is None:
        return Balance(window=window, limit=None, spent=0, reserved=0)
    return Balance(window=window, limit=row.limit_micros, spent=row.spent, reserved=row.reserved)
