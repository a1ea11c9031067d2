"""Money: whole micros of a currency, never a float."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

import msgspec

from bidloop.core.errors import InvalidInput

MICROS = 1_000_000


class Money(msgspec.Struct, frozen=True, order=True, gc=False):
    """An amount of money.

    Parameters
    ----------
    micros
        Millionths of one unit of the currency; may be negative (a refund).
    currency
        ISO 4217 code, such as ``"USD"``.

    Raises
    ------
    InvalidInput
        When two amounts of different currencies are added, or a decimal cannot be read.

    Examples
    --------
    >>> Money.of("1.25", "USD") + Money.of("0.75", "USD")
    Money(micros=2000000, currency='USD')
    >>> str(Money.of("0.3", "CNY"))
    '0.30 CNY'
    """

    micros: int
    currency: str = "USD"

    @classmethod
    def of(cls, amount: str | int | float | Decimal, currency: str = "USD") -> Money:
        """The money that a decimal amount in account currency stands for, rounded half to even to one micro."""
        try:
            micros = (Decimal(str(amount)) * MICROS).to_integral_value(ROUND_HALF_EVEN)
            return cls(int(micros), currency)
        except (InvalidOperation, ValueError, OverflowError) as error:
            raise InvalidInput(f"{amount!r} as an amount of money", expected="a finite decimal number") from error

    @property
    def amount(self) -> float:
        """The amount in account currency, for display and for models. Never add these up: add the money."""
        return self.micros / MICROS

    def _same_currency(self, other: Money) -> None:
        if other.currency != self.currency:
            raise InvalidInput(
                f"{self.currency} and {other.currency} in one sum",
                expected="one currency",
                remedy="Convert at the border first.",
            )

    def __add__(self, other: Money) -> Money:
        self._same_currency(other)
        return Money(self.micros + other.micros, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same_currency(other)
        return Money(self.micros - other.micros, self.currency)

    def __str__(self) -> str:
        text = f"{Decimal(self.micros) / MICROS:.6f}".rstrip("0")
        whole, _, fraction = text.partition(".")
        return f"{whole}.{fraction.ljust(2, '0')} {self.currency}"
