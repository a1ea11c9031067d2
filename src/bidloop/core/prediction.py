"""What is expected of an opportunity."""

from __future__ import annotations

import msgspec

from bidloop.core.money import Money

POOLED = "pooled"
"""Model version of an answer that no model gave: pooled rates, and declared as degraded."""


class Interval(msgspec.Struct, frozen=True):
    """An interval of a rate, inside [0, 1].

    Parameters
    ----------
    lower, upper
        The bounds; ``0 <= lower <= upper <= 1``.
    level
        The stated probability of covering, such as 0.95.
    measured_coverage
        The share covered when this was last measured on held-out data; `None` before any measurement.
    """

    lower: float
    upper: float
    level: float
    measured_coverage: float | None = None


class Attribution(msgspec.Struct, frozen=True):
    """How much one feature moved the predicted log odds of a click, against that feature being unknown."""

    feature: str
    value: str
    log_odds: float


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """Predicted rates of one opportunity.

    Parameters
    ----------
    ctr
        P(click | impression), in (0, 1).
    conversion_rate
        P(conversion | click), in (0, 1).
    ctr_interval
        Where the realised CTR of this cell's coming impressions will lie.
    order_value
        E[value | conversion], or `None` where no conversion carried a value.
    model_version
        Version of the bundle that predicted, or `POOLED` when there was none.
    support
        Effective number of past impressions behind the cell's rate.
    degraded
        Why the answer is less than it should be; empty when nothing is wrong.
    """

    ctr: float
    conversion_rate: float
    ctr_interval: Interval
    order_value: Money | None
    model_version: str
    support: float
    degraded: tuple[str, ...] = ()
