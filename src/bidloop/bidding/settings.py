"""What the advertiser wants of the bids: objective, targets, budgets and limits."""

from __future__ import annotations

import hashlib
import math
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from bidloop.bidding.ledger.settings import LedgerSettings
from bidloop.bidding.pacing.settings import PacingSettings
from bidloop.bidding.ranges import positive, require
from bidloop.core.errors import ConfigurationError

PIPELINE = 2
"""Revision of the stages' arithmetic. It goes into the policy's version, so that decisions show a change of code."""

MOST = 1e9
"""Largest least bid, in account currency."""


class Objective(StrEnum):
    """What the bids are to achieve."""

    MAXIMIZE_CLICKS = "maximize_clicks"
    MAXIMIZE_CONVERSIONS = "maximize_conversions"
    MAXIMIZE_VALUE = "maximize_value"
    TARGET_CPA = "target_cpa"
    TARGET_ROAS = "target_roas"


class TargetScope(StrEnum):
    """Over what a CPA or ROAS target is to be kept."""

    AVERAGE = "average"
    """Over all wins together: what cheap ones save buys dearer ones."""
    EACH_WIN = "each_win"
    """In each single win: none is bought that is expected to miss the target."""


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
        What one conversion may cost; needed by the objective ``target_cpa``, and a constraint beside any other.
    target_roas
        Conversion value per unit of cost, such as 4.0; needed by the objective ``target_roas``, and a constraint beside any other.
        Where several targets and the objective say different values, the lowest is bid.
    target_scope
        Whether the targets are to be kept on average or in each win.
    max_cpc
        What one click may cost at most. It bounds a bid per click, and a bid per mille at pCTR × 1000 times it.
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
        Probability in [0, 1) with which another bid than the plain one is tried. At 0 bids are not put on the grid either.
    exploration_ratio
        Ratio of two neighbours of the grid of bids, from 1.01 to 2.
    exploration_steps
        How many points of the grid on each side of the plain bid are tried, with equal probability.
    exploration_floor
        Least probability of each bid that may be tried; a rate that gives less to each is refused. One over it bounds the
        weights of an off-policy estimate.
    approve_above
        Expected change of a cell's daily spend, in account currency, beyond which a bid waits for a person. `None` asks nobody.
    shading
        Whether bids in first-price auctions are shaded below the value.
    pacing
        How the budget's multiplier moves.
    ledger
        Hard caps beside the daily budgets, and how money is leased.

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
    target_scope: TargetScope = TargetScope.AVERAGE
    max_cpc: float | None = None
    daily_budget: float | None = None
    budgets: dict[str, float] = {}
    max_bid: float | None = None
    min_bid: float | None = None
    max_step: float | None = None
    exploration_rate: float = 0.0
    exploration_ratio: float = 1.1
    exploration_steps: int = 2
    exploration_floor: float = 0.001
    shading: bool = True
    approve_above: float | None = None
    pacing: PacingSettings = PacingSettings()
    ledger: LedgerSettings = LedgerSettings()

    def __post_init__(self) -> None:
        for name in (
            "target_cpa",
            "target_roas",
            "click_value",
            "conversion_value",
            "max_cpc",
            "daily_budget",
            "max_bid",
            "min_bid",
            "max_step",
            "approve_above",
        ):
            positive(name, getattr(self, name))
        for campaign, budget in self.budgets.items():
            require(
                math.isfinite(budget) and budget >= 0, f"budgets.{campaign}", budget, "a finite number, not negative"
            )
        self._check_exploration()
        if self.min_bid is not None:
            most = min(MOST, self.max_bid or MOST)
            require(self.min_bid <= most, "min_bid", self.min_bid, f"at most max_bid = {most:g}")
        self._check_objective()
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ConfigurationError(
                f"bidding.timezone = {self.timezone!r}", expected="an IANA name such as 'Europe/Berlin'"
            ) from error

    def _check_exploration(self) -> None:
        rate, steps, floor = self.exploration_rate, self.exploration_steps, self.exploration_floor
        require(0 <= rate < 1, "exploration_rate", rate, "a probability in [0, 1)")
        ratio = self.exploration_ratio
        require(1.01 <= ratio <= 2, "exploration_ratio", ratio, "a ratio from 1.01 to 2")
        require(1 <= steps <= 20, "exploration_steps", steps, "from 1 to 20 points on each side")
        require(0 < floor < 1, "exploration_floor", floor, "a probability in (0, 1)")
        if rate > 0:
            least = min(rate / (2 * steps), 1 - rate)
            require(
                least >= floor,
                "exploration_floor",
                floor,
                f"at most {least:.3g}, the least that exploration_rate = {rate:g} gives to one of {2 * steps + 1} bids",
                "Explore more often, try fewer steps, or lower the floor.",
            )

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
