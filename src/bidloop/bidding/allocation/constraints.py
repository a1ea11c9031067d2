"""What an allocation must keep to: bounds of campaigns and of groups of campaigns, each with a name a person knows it by."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from bidloop.bidding.allocation.response import ResponseCurve
from bidloop.bidding.ranges import require
from bidloop.core.errors import ConfigurationError, closest
from bidloop.core.money import MICROS, Money


class CampaignBounds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of one campaign.

    Parameters
    ----------
    min, max
        Least and most spend per day, account currency.
    max_change
        Largest change against today's spend, as a share of it: 0.3 allows from 70 % to 130 %.
    """

    min: float | None = None
    max: float | None = None
    max_change: float | None = None

    def __post_init__(self) -> None:
        for name in ("min", "max", "max_change"):
            _not_negative(f"allocation.campaigns.{name}", getattr(self, name))


class GroupBounds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of several campaigns together.

    Parameters
    ----------
    campaigns
        Their ids.
    min, max
        Least and most spend per day, account currency.
    min_share, max_share
        The same as shares of the budget.
    """

    campaigns: tuple[str, ...]
    min: float | None = None
    max: float | None = None
    min_share: float | None = None
    max_share: float | None = None

    def __post_init__(self) -> None:
        for name in ("min", "max", "min_share", "max_share"):
            _not_negative(f"allocation.groups.{name}", getattr(self, name))
        for name in ("min_share", "max_share"):
            share = getattr(self, name)
            require(share is None or share <= 1, f"allocation.groups.{name}", share, "a share in [0, 1]")


class Constraints(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that the user demands of an allocation.

    Parameters
    ----------
    max_change
        Largest change of every campaign against today, as a share, where its own bounds do not say otherwise.
    campaigns
        Bounds by campaign id.
    groups
        Bounds of groups, by a name of your own.

    Examples
    --------
    >>> Constraints(campaigns={"brand": CampaignBounds(min=100.0, max=400.0)}).campaigns["brand"].max
    400.0
    """

    max_change: float | None = None
    campaigns: dict[str, CampaignBounds] = {}
    groups: dict[str, GroupBounds] = {}

    def __post_init__(self) -> None:
        _not_negative("allocation.max_change", self.max_change)

    def change_of(self, campaign: str) -> float | None:
        """The largest change that a campaign may make."""
        own = self.campaigns.get(campaign, CampaignBounds()).max_change
        return self.max_change if own is None else own


@dataclass(frozen=True)
class Limit:
    """One linear constraint: the spends of some campaigns together are at most, or at least, an amount.

    Parameters
    ----------
    name
        What a person calls it, such as ``the maximum of 'brand' (400.00 USD)``.
    word
        The same where it stands beside the campaign: ``its maximum``; empty of what concerns several campaigns.
    campaigns
        Whose spends add up.
    side
        ``most`` or ``least``.
    amount
        The amount.
    """

    name: str
    campaigns: tuple[str, ...]
    side: Literal["most", "least"]
    amount: Money
    word: str = ""


def limits_of(
    constraints: Constraints,
    curves: Sequence[ResponseCurve],
    today: Mapping[str, Money],
    budget: Money,
    *,
    spend_all: bool = True,
) -> list[Limit]:
    """All constraints as a flat list: the budget, what the data reach to, and what the user demands.

    Raises
    ------
    ConfigurationError
        When a constraint names a campaign that there is none of.
    """
    known = tuple(curve.campaign for curve in curves)
    for place, names in (
        ("allocation.campaigns", constraints.campaigns),
        *((f"allocation.groups.{name}.campaigns", group.campaigns) for name, group in constraints.groups.items()),
    ):
        for name in names:
            if name not in known:
                raise ConfigurationError(
                    f"{place} names {name!r}",
                    expected=f"one of {', '.join(map(repr, known[:20]))}",
                    remedy=closest(name, known),
                )
    limits = [Limit(f"the budget ({_told(budget)})", known, "most", budget)]
    if spend_all:
        limits.append(Limit(f"that all of the budget is spent ({_told(budget)})", known, "least", budget))
    for curve in curves:
        limits += _of_campaign(curve, constraints, today[curve.campaign], budget.currency)
    for name, group in constraints.groups.items():
        limits += _of_group(name, group, budget)
    return limits


def _of_campaign(curve: ResponseCurve, constraints: Constraints, now: Money, currency: str) -> Iterator[Limit]:
    name, only = curve.campaign, (curve.campaign,)
    own = constraints.campaigns.get(name, CampaignBounds())
    if own.min is not None:
        amount = Money.of(own.min, currency)
        yield Limit(f"the minimum of {name!r} ({_told(amount)})", only, "least", amount, "its minimum")
    if own.max is not None:
        amount = Money.of(own.max, currency)
        yield Limit(f"the maximum of {name!r} ({_told(amount)})", only, "most", amount, "its maximum")
    change = constraints.change_of(name)
    if change is not None:
        # Rounded towards today, so that the change is never above what was allowed.
        low, high = now.micros * max(0.0, 1 - change), now.micros * (1 + change)
        least, most = Money(math.ceil(low - 1e-6), currency), Money(math.floor(high + 1e-6), currency)
        word = "its largest change"
        percent = f"{100 * change:g} % against {_told(now)} today"
        yield Limit(f"the largest change of {name!r} ({percent}: at least {_told(least)})", only, "least", least, word)
        yield Limit(f"the largest change of {name!r} ({percent}: at most {_told(most)})", only, "most", most, word)
    reach = Money(math.floor(curve.limit * MICROS), currency)
    yield Limit(f"what the data of {name!r} reach to ({_told(reach)})", only, "most", reach, "what its data reach to")


def _of_group(name: str, group: GroupBounds, budget: Money) -> Iterator[Limit]:
    currency = budget.currency
    if group.min is not None:
        amount = Money.of(group.min, currency)
        yield Limit(f"the minimum of group {name!r} ({_told(amount)})", group.campaigns, "least", amount)
    if group.max is not None:
        amount = Money.of(group.max, currency)
        yield Limit(f"the maximum of group {name!r} ({_told(amount)})", group.campaigns, "most", amount)
    if group.min_share is not None:
        amount = Money(math.ceil(group.min_share * budget.micros - 1e-6), currency)
        told = f"{100 * group.min_share:g} % of the budget, {_told(amount)}"
        yield Limit(f"the minimum share of group {name!r} ({told})", group.campaigns, "least", amount)
    if group.max_share is not None:
        amount = Money(math.floor(group.max_share * budget.micros + 1e-6), currency)
        told = f"{100 * group.max_share:g} % of the budget, {_told(amount)}"
        yield Limit(f"the maximum share of group {name!r} ({told})", group.campaigns, "most", amount)


def _told(money: Money) -> str:
    """An amount for a person: in hundredths, or as exact as it must be to be seen at all."""
    return f"{money.amount:,.2f} {money.currency}" if abs(money.amount) >= 1 or not money.micros else str(money)


def _not_negative(name: str, value: float | None) -> None:
    if value is not None:
        require(math.isfinite(value) and value >= 0, name, value, "a finite number, not negative")
