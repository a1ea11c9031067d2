"""What stands in a budget, and what was asked of it."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec

from bidloop.bidding.ledger.window import Window


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in one window, in micros.

    Parameters
    ----------
    limit
        What may be spent; `None` where nothing limits it.
    spent
        What was charged, refunds taken off.
    reserved
        What open reservations may still cost.

    Examples
    --------
    >>> balance = Balance(window=Window("account", "total"), limit=100, spent=70, reserved=20)
    >>> balance.left, balance.over
    (10, 0)
    """

    window: Window
    limit: int | None
    spent: int
    reserved: int

    @property
    def left(self) -> int | None:
        """What can still be reserved; `None` without a limit."""
        return None if self.limit is None else max(0, self.limit - self.spent - self.reserved)

    @property
    def over(self) -> int:
        """By how much was charged more than the limit: 0, unless the limit was lowered or a charge came that nothing held."""
        return 0 if self.limit is None else max(0, self.spent - self.limit)


class Reserved(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a reservation.

    Parameters
    ----------
    amount
        What is held, in micros; 0 when it was refused.
    binds
        The window that kept it from being all that was asked for, or `None`.
    closed
        Whether the reservation was committed, released or has run out, so that it holds nothing any more.
    """

    id: str
    amount: int
    binds: Window | None = None
    closed: bool = False


class Charge(NamedTuple):
    """One cost, as a log tells it: where in the log, the windows it falls into, and how much in micros (a refund is negative)."""

    position: int
    windows: tuple[Window, ...]
    micros: int


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """Money that is held: what it may still cost, since when nothing new is bid from it, and when it goes back by itself."""

    id: str
    windows: tuple[Window, ...]
    amount: int
    until: datetime
    returns_at: datetime
