"""What was bought, and what it was good for."""

from __future__ import annotations

import msgspec


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Totals of one policy over a stretch of auctions.

    Parameters
    ----------
    auctions
        Auctions met, weights included.
    impressions, clicks, conversions
        Won, weights included.
    value, spend
        Account currency, or for a log that prices in another unit, that unit.
    expected
        What the predictions expected of the impressions won, in the objective of the budget: less noisy than the count
        itself, and only as good as the predictions.

    Examples
    --------
    >>> tally = Tally(auctions=1000, impressions=100, clicks=10, conversions=2, value=50, spend=20)
    >>> tally.cpa, tally.roas, tally.win_rate
    (10.0, 2.5, 0.1)
    >>> (tally + tally).clicks
    20
    """

    auctions: float = 0.0
    impressions: float = 0.0
    clicks: float = 0.0
    conversions: float = 0.0
    value: float = 0.0
    spend: float = 0.0
    expected: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})

    @property
    def win_rate(self) -> float | None:
        """Share of the auctions that were won; `None` without auctions."""
        return self.impressions / self.auctions if self.auctions else None

    @property
    def cpc(self) -> float | None:
        """Spend per click; `None` without clicks."""
        return self.spend / self.clicks if self.clicks else None

    @property
    def cpa(self) -> float | None:
        """Spend per conversion; `None` without conversions."""
        return self.spend / self.conversions if self.conversions else None

    @property
    def roas(self) -> float | None:
        """Value per unit of spend; `None` without spend."""
        return self.value / self.spend if self.spend else None
