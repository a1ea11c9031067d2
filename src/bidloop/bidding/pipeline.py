"""The bid as a pipeline of eight logged stages, in a fixed order."""

from __future__ import annotations

import msgspec

from bidloop.bidding.binding import binding
from bidloop.bidding.expectation import expect
from bidloop.bidding.exploration import Exploration
from bidloop.bidding.reasons import decompose, reasons
from bidloop.bidding.settings import BiddingSettings
from bidloop.bidding.shading import usable
from bidloop.bidding.stages import STAGES, Walk
from bidloop.core.decision import BidStage, BidState, Expectation
from bidloop.core.errors import InvalidInput
from bidloop.core.landscape import Landscape
from bidloop.core.money import Money
from bidloop.core.opportunity import Charge, Opportunity
from bidloop.core.prediction import Prediction

_PACED = STAGES.index("pacing")


class Bid(msgspec.Struct, frozen=True, kw_only=True):
    """One bid and all that a decision records of it.

    Parameters
    ----------
    stages
        All eight, in the order of `stages.STAGES`; each begins where the one before ended.
    amount
        The bid to send, in the unit of the opportunity's charge. Zero means: do not take part.
    propensity
        Probability, in (0, 1], of sending exactly this bid, over every draw that exploration could have got.
    expectation
        What the auction is expected to bring at this bid.
    reasons
        Sentences for a person, with the bid's logarithm as a sum over rates, values and stages.
    terms
        That sum: the natural logarithm of the bid in account currency, term by term; empty for no bid.
    binding
        The stage without which the bid would differ most, or empty where no single one changes it.
    """

    stages: tuple[BidStage, ...]
    amount: Money
    propensity: float
    expectation: Expectation
    reasons: tuple[str, ...]
    terms: tuple[tuple[str, float], ...]
    binding: str


class Bidder:
    """Turns a prediction into a bid: value → shading → pacing → exploration → step limit → cap and floor → control → ledger.

    `bid` is a pure function of its arguments and the settings: no clock, no random source, no memory. The same
    arguments give the same bid to the last bit, which is how a recorded decision is checked.

    Parameters
    ----------
    settings
        Objective, targets and limits.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from bidloop.bidding.settings import Objective
    >>> from bidloop.core.prediction import Interval
    >>> bidder = Bidder(BiddingSettings(objective=Objective.TARGET_CPA, target_cpa=40.0, max_bid=1.1))
    >>> cell = Opportunity(opportunity_id="o1", at=datetime(2026, 1, 1, tzinfo=UTC), campaign_id="brand")
    >>> prediction = Prediction(ctr=0.03, conversion_rate=0.05, ctr_interval=Interval(0.02, 0.04, 0.95),
    ...     order_value=None, model_version="v1", support=1e4)
    >>> bid = bidder.bid(cell, prediction, None, BidState(multiplier=0.6, remaining=Money.of(25)))
    >>> print(bid.amount, bid.propensity, bid.binding)
    1.10 USD 1.0 cap_and_floor
    >>> for sentence in bid.reasons:
    ...     print(sentence)
    A click is worth 2.00 USD: conversion rate 5% × target CPA 40.00 USD.
    ×0.6 of the value makes the budget last. (pacing: ×0.6)
    Lowered to the cap 1.10 USD. (cap_and_floor: ×0.917)
    The cap binds; without it 1.20 USD would have been bid.
    The bid is 1.10 USD per click: log 0.095 = conversion_rate -2.996, target_cpa +3.689, pacing -0.511, cap_and_floor -0.087.
    """

    def __init__(self, settings: BiddingSettings) -> None:
        self.settings = settings
        self.policy = settings.version
        self._exploration = Exploration(settings) if settings.exploration_rate > 0 else None

    def bid(
        self, opportunity: Opportunity, prediction: Prediction, landscape: Landscape | None, state: BidState
    ) -> Bid:
        """One bid, with its stages, propensity, expectation and reasons.

        Parameters
        ----------
        landscape
            What a bid wins and costs, or `None`. One that holds numbers that are not finite is left aside.
        state
            All that changes from one decision to the next, at the moment of the decision.

        Raises
        ------
        InvalidInput
            When an amount is in another currency than the settings.
        """
        if landscape is not None and not usable(landscape):
            landscape = None
        walk = self._walk(opportunity, prediction, landscape, state)
        stages = walk.stages()
        sent = Money(stages[-1].after, opportunity.currency)
        terms = decompose(walk.value.terms, stages)
        stage, sentence = binding(walk, stages, opportunity.currency)
        unit = "mille" if opportunity.charge is Charge.PER_MILLE else "click"
        return Bid(
            stages=tuple(stages),
            amount=sent,
            propensity=1.0 if self._exploration is None else walk.landings(stages[_PACED].after)[sent.micros],
            expectation=expect(opportunity, prediction, landscape, sent),
            reasons=reasons(stages, terms, sentence, opportunity.currency, unit),
            terms=terms,
            binding=stage,
        )

    def distribution(
        self, opportunity: Opportunity, prediction: Prediction, landscape: Landscape | None, state: BidState
    ) -> list[tuple[Money, float]]:
        """Every bid that may be sent for these inputs, lowest first, with its probability over all draws.

        Counted after all stages: where several bids that may be tried end at the same cap, their probabilities add up. The
        probabilities are in (0, 1] and add up to 1; `state.draw` plays no part. A log that another policy made is judged with it.

        Parameters
        ----------
        landscape, state
            As in `bid`.

        Raises
        ------
        InvalidInput
            When an amount is in another currency than the settings.

        Examples
        --------
        >>> from datetime import UTC, datetime
        >>> from bidloop.bidding.settings import Objective
        >>> from bidloop.core.prediction import Interval
        >>> bidder = Bidder(BiddingSettings(objective=Objective.MAXIMIZE_CLICKS, click_value=1.0, max_bid=1.15,
        ...     exploration_rate=0.1))
        >>> cell = Opportunity(opportunity_id="o1", at=datetime(2026, 1, 1, tzinfo=UTC), campaign_id="brand")
        >>> prediction = Prediction(ctr=0.03, conversion_rate=0.05, ctr_interval=Interval(0.02, 0.04, 0.95),
        ...     order_value=None, model_version="v1", support=1e4)
        >>> for bid, probability in bidder.distribution(cell, prediction, None, BidState()):
        ...     print(bid, round(probability, 3))
        0.830145 USD 0.025
        0.91316 USD 0.025
        1.004475 USD 0.9
        1.104923 USD 0.025
        1.15 USD 0.025
        """
        if landscape is not None and not usable(landscape):
            landscape = None
        walk = self._walk(opportunity, prediction, landscape, state)
        landings = walk.landings(walk.pace(walk.shade(walk.value.micros)[0])[0])
        return [(Money(bid, opportunity.currency), landings[bid]) for bid in sorted(landings)]

    def _walk(
        self, opportunity: Opportunity, prediction: Prediction, landscape: Landscape | None, state: BidState
    ) -> Walk:
        currency = self.settings.currency
        if opportunity.currency != currency:
            raise InvalidInput(
                f"an opportunity in {opportunity.currency}",
                path="currency",
                expected=f"{currency}, the currency of the bidding settings",
                remedy="Set bidding.currency, or convert at the border.",
            )
        for name, money in (
            ("floor", opportunity.floor),
            ("current_bid", opportunity.current_bid),
            ("order_value", prediction.order_value),
            ("remaining", state.remaining),
            ("previous_bid", state.previous_bid),
            ("pinned", state.pinned),
            ("approved", state.approved),
            ("daily_spend", state.daily_spend),
        ):
            if money is not None and money.currency != currency:
                raise InvalidInput(f"an amount in {money.currency}", path=name, expected=f"an amount in {currency}")
        return Walk(self.settings, self._exploration, opportunity, prediction, landscape, state)
