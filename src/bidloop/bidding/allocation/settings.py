"""How response curves are learned, and what an allocation is asked for."""

from __future__ import annotations

import math
from enum import StrEnum

import msgspec

from bidloop.bidding.ranges import positive, require


class Family(StrEnum):
    """The shape of a response curve: how the outcome grows with the spend. All are concave."""

    POWER = "power"
    LOGARITHM = "logarithm"
    SATURATION = "saturation"


class ResponseSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a campaign's response to its spend is learned.

    Parameters
    ----------
    family
        The shape; `None` takes all, each with a weight by how well it tells held-out days.
    window_days
        Only the last so many days are learned from.
    held_out_days
        How many of the last days the shapes are compared on.
    horizon_days
        For how many coming days the allocation is to hold: a campaign's level drifts in that time.
    draws
        How many curves of each campaign stand for what is not known.
    reach
        A campaign may be given at most so many times the most that it was seen to spend on a day (its 95 % quantile).
    seed
        Makes the draws repeatable.

    Raises
    ------
    ConfigurationError
        When a number is out of its range.
    """

    family: Family | None = None
    window_days: int = 120
    held_out_days: int = 14
    horizon_days: int = 30
    draws: int = 400
    reach: float = 1.5
    seed: int = 42

    def __post_init__(self) -> None:
        for name in ("window_days", "held_out_days", "horizon_days"):
            require(
                getattr(self, name) >= 1, f"allocation.response.{name}", getattr(self, name), "a whole number from 1 on"
            )
        require(self.draws >= 50, "allocation.response.draws", self.draws, "at least 50")
        require(
            math.isfinite(self.reach) and self.reach >= 1,
            "allocation.response.reach",
            self.reach,
            "a number from 1 on",
        )


class AllocationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the allocation is to be good at.

    Parameters
    ----------
    risk
        Risk level α in (0, 1]: the mean outcome in the worst share α of the curves counts beside the mean of all.
        `None` looks at the mean of all alone.
    aversion
        How much the worst share counts, in [0, 1]: the objective is (1 − aversion) × mean + aversion × mean of the
        worst share.
    min_marginal
        Outcome that one more unit of money must still bring; money that would bring less stays unspent. `None` spends
        all.
    level
        Of the intervals that are told.

    Raises
    ------
    ConfigurationError
        When a number is out of its range.

    Examples
    --------
    >>> AllocationSettings(risk=1.5)
    Traceback (most recent call last):
    ...
    bidloop.core.errors.ConfigurationError: bidding.allocation.risk = 1.5; expected a share in (0, 1]
    """

    risk: float | None = None
    aversion: float = 0.5
    min_marginal: float | None = None
    level: float = 0.9

    def __post_init__(self) -> None:
        if self.risk is not None:
            require(0 < self.risk <= 1, "allocation.risk", self.risk, "a share in (0, 1]")
        require(0 <= self.aversion <= 1, "allocation.aversion", self.aversion, "a share in [0, 1]")
        require(0 < self.level < 1, "allocation.level", self.level, "a probability in (0, 1)")
        positive("allocation.min_marginal", self.min_marginal)
