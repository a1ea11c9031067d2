"""Whose money, and over which spell: the windows that one cost falls into."""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

ACCOUNT = "account"
"""Whose money it is where all campaigns share it."""


class Window(NamedTuple):
    """One budget: whose money, and over which spell.

    Parameters
    ----------
    owner
        ``account``, or ``campaign:`` and the campaign's id.
    spell
        ``day:2026-03-01`` and ``month:2026-03`` in the account's timezone, or ``total``.
    """

    owner: str
    spell: str

    def __str__(self) -> str:
        return f"{self.owner} {self.spell}"


def of_campaign(campaign_id: str) -> str:
    """The owner of a campaign's own budgets.

    >>> of_campaign("brand")
    'campaign:brand'
    """
    return f"campaign:{campaign_id}"


class Windows:
    """Tells which windows a campaign's cost falls into.

    Parameters
    ----------
    timezone
        IANA name of the account's timezone, in which days and months begin.

    Examples
    --------
    >>> from datetime import UTC
    >>> for window in Windows("Europe/Berlin").of("brand", datetime(2026, 2, 28, 23, 30, tzinfo=UTC)):
    ...     print(window)
    account day:2026-03-01
    account month:2026-03
    account total
    campaign:brand day:2026-03-01
    campaign:brand month:2026-03
    campaign:brand total
    """

    def __init__(self, timezone: str = "UTC") -> None:
        self._zone = ZoneInfo(timezone)
        self._known: dict[tuple[str, date], tuple[Window, ...]] = {}

    def day(self, at: datetime) -> date:
        """The account's day."""
        return at.astimezone(self._zone).date()

    def of(self, campaign_id: str, at: datetime) -> tuple[Window, ...]:
        """The windows, in the order in which they are locked; each wider than the one before it of the same owner."""
        return self.on(campaign_id, self.day(at))

    def on(self, campaign_id: str, day: date) -> tuple[Window, ...]:
        """The same for a day of the account."""
        found = self._known.get((campaign_id, day))
        if found is None:
            if len(self._known) > 10_000:  # days pass
                self._known.clear()
            spells = (f"day:{day}", f"month:{day:%Y-%m}", "total")
            owners = (ACCOUNT, of_campaign(campaign_id))
            found = tuple(sorted(Window(owner, spell) for owner in owners for spell in spells))
            self._known[campaign_id, day] = found
        return found
