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
        The share covered when this was last measured on held-out data; `None` before any measurement. A true rate is never
        seen: of its interval this is the share of counts that it and the luck of so many trials together covered.
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
        Where the realised CTR of this cell's coming impressions will lie: the prediction interval.
    order_value
        E[value | conversion], or `None` where no conversion carried a value.
    model_version
        Version of the bundle that predicted, or `POOLED` when there was none.
    support
        Effective number of past impressions behind the cell's rate.
    degraded
        Why the answer is less than it should be; empty when nothing is wrong.
    ctr_credible_interval
        Where the true CTR of the cell lies: narrower, since the luck of the coming impressions is no part of it.
    conversion_rate_interval
        Where the true conversion rate of the cell lies.
    confidence
        How much the predicted CTR can be leaned on, in [0, 1]; 0 where nothing is known. See
        `bidloop.prediction.confidence`.

    order_value_interval
        Where E[value | conversion] lies, at the level of the other intervals; `None` where that cannot be said.

    Notes
    -----
    The last four are missing in records of decisions that were made before there were such fields: `None` and 0.
    """

    ctr: float
    conversion_rate: float
    ctr_interval: Interval
    order_value: Money | None
    model_version: str
    support: float
    degraded: tuple[str, ...] = ()
    ctr_credible_interval: Interval | None = None
    conversion_rate_interval: Interval | None = None
    confidence: float = 0.0
    order_value_interval: tuple[Money, Money] | None = None
