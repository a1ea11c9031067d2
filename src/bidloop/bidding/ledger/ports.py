"""What a database of budgets must do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from bidloop.bidding.ledger.balance import Balance, Charge, Reservation, Reserved
from bidloop.bidding.ledger.window import Window


class Ledger(Protocol):
    """Budgets that several processes spend from at the same time.

    It holds at every moment, whoever is killed when: what is reserved in a window was granted only as long as spent, reserved and
    the new amount together stayed within the limit. Each method is one transaction, on the disk when it returns, and may be
    repeated when nobody knows whether it came through: the same id, the same position, the same limit have their effect once.

    Every method raises `Unavailable` when the database does not answer.
    """

    def limit(self, limits: Mapping[Window, int | None]) -> None:
        """Set limits, in micros; `None` lifts one. A limit below what is spent refuses what comes, and takes nothing back."""
        ...

    def configure(self, limits: Mapping[Window, int | None]) -> None:
        """Set the limits that the settings ask for, where they ask for another one than they did last.

        So what was told last holds: a setting that was changed, or a limit that was set since.
        """
        ...

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
        """Hold up to `amount` micros in every window at once: as much as the tightest has, or nothing if that is below `least`.

        Parameters
        ----------
        id
            Names the reservation for ever. Told again, it is answered as it stands, and nothing is reserved anew.
        windows
            One without a limit holds nothing back.
        until, returns_at
            After `until` the holder bids nothing new from it; at `returns_at` `expire` gives back what is left, since by then
            what was bid can no longer be charged.
        least
            By default all of `amount`.
        """
        ...

    def resize(self, id: str, amount: int, until: datetime, returns_at: datetime) -> Reserved:
        """Make an open reservation as large as this, or as large as it can be, and let it run on. Never smaller than asked for.

        Raises
        ------
        NotFound
            When there was never one of this id.
        """
        ...

    def commit(self, id: str, amount: int) -> Reserved:
        """Spend this much of a reservation; the rest goes back, and it is closed.

        A charge that is larger than what was held, or comes after it ran out, is spent all the same: the money is gone, and
        `Balance.over` shows it where it does not fit.

        Raises
        ------
        NotFound
            When there was never one of this id.
        InvalidInput
            For a negative amount, or when it was committed with another one before.
        """
        ...

    def release(self, id: str) -> None:
        """Give a reservation back. One that is closed, or was never made, changes nothing."""
        ...

    def expire(self, now: datetime) -> int:
        """Give back what reservations hold whose `returns_at` has come; says how many."""
        ...

    def book(self, source: str, position: int, charges: Sequence[Charge]) -> bool:
        """Spend what a log tells, once, whoever tells it: charges up to the position that is known are left out.

        Parameters
        ----------
        source
            Which log.
        position
            Up to where `charges` tells all.

        Returns
        -------
        bool
            Whether anything behind what was known was told.
        """
        ...

    def position(self, source: str) -> int:
        """Up to where a log was booked; 0 at first."""
        ...

    def balances(self, windows: Sequence[Window]) -> list[Balance]:
        """What stands in windows, in their order; one that nobody ever named is empty and has no limit."""
        ...

    def reservations(self) -> list[Reservation]:
        """The open reservations, by id."""
        ...
