"""What the settings allow a campaign to spend in each of its windows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from bidloop.bidding.ledger.window import ACCOUNT, Window, of_campaign
from bidloop.bidding.settings import BiddingSettings
from bidloop.core.money import MICROS


class SettingsCaps:
    """The limits that bidding settings ask for, by campaign and day; a `bidloop.bidding.ledger.leases.Caps`.

    Examples
    --------
    >>> from bidloop.bidding.ledger.settings import LedgerSettings
    >>> settings = BiddingSettings(daily_budget=50.0, ledger=LedgerSettings(account_total_budget=900.0))
    >>> for window, limit in SettingsCaps(settings)("brand", date(2026, 3, 1)).items():
    ...     print(window, limit)
    campaign:brand day:2026-03-01 50000000
    account total 900000000
    """

    def __init__(self, settings: BiddingSettings) -> None:
        self._settings = settings

    def __call__(self, campaign_id: str, day: date) -> Mapping[Window, int | None]:
        """Limits in micros; a window without one is not named."""
        settings, ledger = self._settings, self._settings.ledger
        own = of_campaign(campaign_id)
        amounts = {
            Window(own, f"day:{day}"): settings.budget_of(campaign_id),
            Window(own, f"month:{day:%Y-%m}"): ledger.monthly_budgets.get(campaign_id),
            Window(own, "total"): ledger.total_budgets.get(campaign_id),
            Window(ACCOUNT, f"day:{day}"): ledger.account_daily_budget,
            Window(ACCOUNT, f"month:{day:%Y-%m}"): ledger.account_monthly_budget,
            Window(ACCOUNT, "total"): ledger.account_total_budget,
        }
        return {window: round(amount * MICROS) for window, amount in amounts.items() if amount is not None}
