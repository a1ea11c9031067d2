"""How a budget's multiplier moves."""

from __future__ import annotations

import math

import msgspec

from bidloop.bidding.ranges import positive, require


class PacingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the budget's multiplier moves through the day. Times are shares of the day's traffic, not of the clock.

    Parameters
    ----------
    initial_multiplier
        Where a campaign starts that has no history and no warm start, in (0, 1].
    min_multiplier
        The multiplier never falls below it, in (0, 1).
    window
        How far back the spend rate is measured: 0.15 is about three and a half hours of an even day. Longer is calmer,
        shorter is quicker to follow a price shift or a day that is not shaped as expected.
    update_every
        The multiplier moves each time this share of the day's traffic has passed, or of the budget was spent.
    max_step
        Largest change of the multiplier's natural logarithm in one move.
    elasticity
        By how many per cent spend is taken to rise when the multiplier rises by one per cent. A value above the true
        one makes the pacer slower, one far below it makes it swing.
    settle_events
        Charged events (impressions or clicks) whose evidence weighs as much as the belief that spend is on target;
        keeps a campaign of a few clicks a day from jumping at each of them.
    start_weight
        How much a multiplier from a warm start or the day before is believed to spend the budget in a day: as much as
        this share of a day's traffic in which it did. 0 believes only what is measured.
    finish_early
        Share of the day's traffic before whose end the budget is to be spent.
    """

    initial_multiplier: float = 1.0
    min_multiplier: float = 1e-4
    window: float = 0.15
    update_every: float = 0.0025
    max_step: float = 0.5
    elasticity: float = 2.0
    settle_events: float = 2.0
    start_weight: float = 0.15
    finish_early: float = 0.005

    def __post_init__(self) -> None:
        for name in ("window", "update_every", "max_step", "elasticity", "settle_events"):
            positive(f"pacing.{name}", getattr(self, name))
        require(0 < self.min_multiplier < 1, "pacing.min_multiplier", self.min_multiplier, "a number in (0, 1)")
        require(
            self.min_multiplier <= self.initial_multiplier <= 1,
            "pacing.initial_multiplier",
            self.initial_multiplier,
            f"a number from min_multiplier ({self.min_multiplier}) to 1",
        )
        require(
            math.isfinite(self.start_weight) and self.start_weight >= 0,
            "pacing.start_weight",
            self.start_weight,
            "a share of zero or more",
        )
        require(0 <= self.finish_early < 0.5, "pacing.finish_early", self.finish_early, "a share from 0 to below 0.5")
