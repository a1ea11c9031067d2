"""The immutable record of one answer: inputs, prediction, bid stages, propensity, reasons."""

from __future__ import annotations

from datetime import datetime

import msgspec

from bidloop.core.feature_table import FeatureVector
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.core.prediction import Prediction


class BidState(msgspec.Struct, frozen=True, kw_only=True):
    """What the bid depends on beside the opportunity and its prediction, frozen at the moment of the decision.

    Parameters
    ----------
    multiplier
        What the budget's dual makes of the value, above 0. Above 1 it has an effect only under a target that is kept on average.
    target_multiplier
        What the dual of a CPA or ROAS target makes of it, from 1 on; 1 where each win must keep the target.
    remaining
        What the ledger has at hand for this bid, over all windows of the campaign, or `None` without any budget.
    previous_bid
        The cell's last bid, which the step limit starts from; `None` for the first.
    draw
        The random number in [0, 1) that exploration used.
    mode
        ``apply``; ``preview``, which only says what would have been bid; or ``off``. Any other word counts as ``off``.
    stopped
        Why nothing may be bid (a kill switch, a breaker); empty when nothing stops it.
    pinned
        A bid that a person fixed, `None` when nobody did.
    approved
        A bid for this cell that a person has approved.
    daily_spend
        What the cell spent per day lately, for the approval limit; `None` when that is not known.

    Notes
    -----
    Records of decisions that were made before there was a field read as its default.
    """

    multiplier: float = 1.0
    target_multiplier: float = 1.0
    remaining: Money | None = None
    previous_bid: Money | None = None
    draw: float = 0.0
    mode: str = "apply"
    stopped: str = ""
    pinned: Money | None = None
    approved: Money | None = None
    daily_spend: Money | None = None


class BidStage(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of the bid pipeline.

    Parameters
    ----------
    name
        ``value``, ``shading``, ``pacing``, ``exploration``, ``step_limit``, ``cap_and_floor``, ``control``, ``ledger``. In records
        of before there was a ledger the last one is ``budget``, and ``control`` is missing.
    before, after
        The bid before and after, in micros, in the unit of the opportunity's charge; `before` is 0 for the first stage.
    code
        Short stable word for what happened, such as ``target_cpa`` or ``capped``.
    sentence
        The same for a person, with the numbers.
    """

    name: str
    before: int
    after: int
    code: str
    sentence: str


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """What is expected to come of one auction at the final bid; money in account currency.

    `win_probability` is `None` where no landscape is known, and then the cost per win is the bid itself.
    `roas` is expected conversion value over expected cost; `None` where no order value is known.
    """

    win_probability: float | None
    cost_per_win: float
    roas: float | None
    extrapolated: bool = False


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, complete enough to be recomputed to the last bit.

    Parameters
    ----------
    decision_id
        Unique and sortable by time.
    at
        When it was made, UTC.
    features
        The feature values used, with the version of their view.
    policy
        Version (hash) of the bidding settings in force.
    state
        Everything else that the bid depended on.
    stages
        The ordered bid stages.
    bid
        The final bid, in the unit of the opportunity's charge. Zero means: do not take part.
    propensity
        Probability, in (0, 1], with which the policy sends exactly this bid for these inputs, counted after the guardrails.
    binding
        The stage without which the bid would differ most; empty where none changes it, and in records of before it was told.
    arm
        Experiment arm, or empty outside an experiment.
    timings_us
        Microseconds per step.
    """

    decision_id: str
    at: datetime
    opportunity: Opportunity
    features: FeatureVector
    prediction: Prediction
    policy: str
    state: BidState
    stages: tuple[BidStage, ...]
    bid: Money
    propensity: float
    expectation: Expectation
    reasons: tuple[str, ...]
    binding: str = ""
    arm: str = ""
    timings_us: dict[str, float] = {}

    @property
    def degraded(self) -> tuple[str, ...]:
        """Why the answer is less than it should be; empty when nothing is wrong."""
        return self.prediction.degraded
