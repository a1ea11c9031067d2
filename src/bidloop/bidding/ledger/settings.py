"""The hard caps, and how long money is leased and held."""

from __future__ import annotations

import math

import msgspec

from bidloop.bidding.ranges import positive, require


class LedgerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hard caps beside the daily budgets, and how money is leased. Amounts are in account currency.

    Parameters
    ----------
    monthly_budgets, total_budgets
        Cap by campaign id on a calendar month of the account's timezone, and on all that the campaign ever spends.
    account_daily_budget, account_monthly_budget, account_total_budget
        Caps on all campaigns together.
    lease_seconds
        How long a process may bid from a slice of a budget without hearing from the database. When the database does not
        answer for longer, nothing is bid.
    lease_share
        The part of what is left of a budget that one process leases at once, in (0, 1]. Smaller slices let more processes share
        the last of a budget; larger ones ask the database less often.
    hold_seconds
        How long one impression's worst cost is held for it when nothing is told of the auction.
    click_hold_seconds
        The same for a bid per click: how long after the decision its click is waited for. A click that is charged later was not
        held.
    return_seconds
        How long after the end of its lease the money of a process that vanished goes back to the budget: as long as what it bid may
        still be charged. Longer costs delivery after a crash, shorter may cost money.
    """

    monthly_budgets: dict[str, float] = {}
    total_budgets: dict[str, float] = {}
    account_daily_budget: float | None = None
    account_monthly_budget: float | None = None
    account_total_budget: float | None = None
    lease_seconds: float = 60.0
    lease_share: float = 0.1
    hold_seconds: float = 300.0
    click_hold_seconds: float = 1800.0
    return_seconds: float = 3600.0

    def __post_init__(self) -> None:
        for name in ("account_daily_budget", "account_monthly_budget", "account_total_budget"):
            positive(f"ledger.{name}", getattr(self, name))
        for name in ("monthly_budgets", "total_budgets"):
            for campaign, budget in getattr(self, name).items():
                require(
                    math.isfinite(budget) and budget >= 0,
                    f"ledger.{name}.{campaign}",
                    budget,
                    "a finite number, not negative",
                )
        for name in ("lease_seconds", "hold_seconds", "click_hold_seconds", "return_seconds"):
            positive(f"ledger.{name}", getattr(self, name))
        require(0 < self.lease_share <= 1, "ledger.lease_share", self.lease_share, "a share above 0, up to 1")
        longest = max(self.hold_seconds, self.click_hold_seconds)
        require(
            self.return_seconds >= longest,
            "ledger.return_seconds",
            self.return_seconds,
            f"at least as long as money is held for one bid ({longest:g} s)",
        )
