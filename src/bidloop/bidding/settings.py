"""What the advertiser wants of the bids: objective, targets, budgets and limits."""

from __future__ import annotations

import hashlib
import math
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from bidloop.bidding.pacing.settings import PacingSettings
from bidloop.bidding.ranges import positive, require
from bidloop.core.errors import ConfigurationError

PIPELINE = 1
"""Revision of the stages' arithmetic. It goes into the policy's version, so that decisions show a change of code."""


class Objective(StrEnum):
    """What the bids are to achieve."""

    MAXIMIZE_CLICKS = "maximize_clicks"
    MAXIMIZE_CONVERSIONS = "maximize_conversions"
    MAXIMIZE_VALUE = "maximize_value"
    TARGET_CPA = "target_cpa"
    TARGET_ROAS = "target_roas"


class BiddingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Objective, targets, budgets and limits.

    Amounts are in account currency; bids in the unit of the charge (CPC or CPM).

    Parameters
    ----------
    objective
        What the bids are to achieve.
    currency
        ISO 4217 code of every amount here. An opportunity in another currency is refused.
    timezone
        IANA name of the account's timezone, in which the budget's day begins.
    target_cpa
        What one conversion may cost; needed by ``target_cpa``.
    target_roas
        Conversion value per unit of cost that every further win must still bring, such as 4.0; needed by
        ``target_roas``.
    click_value, conversion_value
        The most that one click, or one conversion, is worth; needed by ``maximize_clicks`` and
        ``maximize_conversions``. A budget lowers the bid from there, never raises it. `conversion_value` also stands
        in for an order value that is not known.
    daily_budget
        Budget of each campaign for one day in the account's timezone; `None` is no budget.
    budgets
        Budget by campaign id, where it differs from `daily_budget`.
    max_bid, min_bid
        Cap and least bid. A bid under `min_bid` is raised to it; a decision not to take part stays one.
    max_step
        Largest relative change against the cell's last bid: 0.2 allows from 80 % to 120 % of it. `None` is no limit.
    exploration_rate
        Probability in [0, 1) with which a factor other than 1 is tried on the bid.
    exploration_factors
        The factors tried, with equal probability.
    shading
        Whether bids in first-price auctions are shaded below the value.
    pacing
        How the budget's multiplier moves.

    Raises
    ------
    ConfigurationError
        When a number is out of its range, or the objective lacks what it needs.

    Examples
    --------
    >>> settings = BiddingSettings(objective=Objective.TARGET_CPA, target_cpa=40.0, daily_budget=250.0, max_bid=5.0)
    >>> settings.budget_of("brand")
    250.0
    >>> BiddingSettings(objective=Objective.TARGET_CPA)
    Traceback (most recent call last):
    ...
    bidloop.core.errors.ConfigurationError: bidding.target_cpa = None; expected what one conversion may cost. Set \
bidding.target_cpa, or choose another objective.
    """

    objective: Objective = Objective.MAXIMIZE_VALUE
    currency: str = "USD"
    timezone: str = "UTC"
    target_cpa: float | None = None
    target_roas: float | None = None
    click_value: float | None = None
    conversion_value: float | None = None
    daily_budget: float | None = None
    budgets: dict[str, float] = {}
    max_bid: float | None = None
    min_bid: float | None = None
    max_step: float | None = None
    exploration_rate: float = 0.0
    exploration_factors: tuple[float, ...] = (0.7, 0.85, 1.15, 1.3)
    shading: bool = True
    pacing: PacingSettings = PacingSettings()

    def __post_init__(self) -> None:
        for name in (
            "target_cpa",
            "target_roas",
            "click_value",
            "conversion_value",
            "daily_budget",
            "max_bid",
            "min_bid",
            "max_step",
        ):
            positive(name, getattr(self, name))
        for campaign, budget in self.budgets.items():
            require(
                math.isfinite(budget) and budget >= 0, f"budgets.{campaign}", budget, "a finite number, not negative"
            )
        for factor in self.exploration_factors:
            positive("exploration_factors", factor)
        require(0 <= self.exploration_rate < 1, "exploration_rate", self.exploration_rate, "a probability in [0, 1)")
        if self.exploration_rate > 0:
            require(bool(self.exploration_factors), "exploration_factors", (), "at least one factor to try")
        if self.min_bid is not None and self.max_bid is not None:
            require(self.min_bid <= self.max_bid, "min_bid", self.min_bid, f"at most max_bid = {self.max_bid}")
        self._check_objective()
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ConfigurationError(
                f"bidding.timezone = {self.timezone!r}", expected="an IANA name such as 'Europe/Berlin'"
            ) from error

    def _check_objective(self) -> None:
        needed = {
            Objective.TARGET_CPA: ("target_cpa", "what one conversion may cost"),
            Objective.TARGET_ROAS: ("target_roas", "conversion value per unit of cost"),
            Objective.MAXIMIZE_CLICKS: ("click_value", "the most that a click is worth"),
            Objective.MAXIMIZE_CONVERSIONS: ("conversion_value", "the most that a conversion is worth"),
        }.get(self.objective)
        if needed and getattr(self, needed[0]) is None:
            require(False, needed[0], None, needed[1], f"Set bidding.{needed[0]}, or choose another objective.")

    @property
    def version(self) -> str:
        """Hash of the settings and of the stages' revision, 12 hexadecimal digits: the policy that a decision names."""
        definition = msgspec.json.encode([PIPELINE, self], order="deterministic")
        return hashlib.sha256(definition).hexdigest()[:12]

    def budget_of(self, campaign_id: str) -> float | None:
        """Budget of a campaign for one day in account currency, or `None` without one."""
        return self.budgets.get(campaign_id, self.daily_budget)
