"""The bid as a pipeline of seven logged stages, in a fixed order."""

from __future__ import annotations

import math

import msgspec

from bidloop.bidding.expectation import expect
from bidloop.bidding.exploration import Choice, choices, choose
from bidloop.bidding.guardrails import Limits, limits
from bidloop.bidding.reasons import amount, reasons
from bidloop.bidding.settings import BiddingSettings
from bidloop.bidding.shading import best_first_price_bid, usable
from bidloop.bidding.value import LARGEST, Worth, worth
from bidloop.core.decision import BidStage, BidState, Expectation
from bidloop.core.errors import InvalidInput
from bidloop.core.landscape import Landscape
from bidloop.core.money import MICROS, Money
from bidloop.core.opportunity import Auction, Charge, Opportunity
from bidloop.core.prediction import Prediction

STAGES = ("value", "shading", "pacing", "exploration", "step_limit", "cap_and_floor", "budget")
"""The stages, in the order in which they are passed."""


class Bid(msgspec.Struct, frozen=True, kw_only=True):
    """One bid and all that a decision records of it.

    Parameters
    ----------
    stages
        All seven, in the order of `STAGES`; each begins where the one before ended.
    amount
        The bid to send, in the unit of the opportunity's charge. Zero means: do not take part.
    propensity
        Probability, in (0, 1], of sending exactly this bid, over every draw that exploration could have got.
    expectation
        What the auction is expected to bring at this bid.
    reasons
        Sentences for a person, with the bid's logarithm as a sum over the stages.
    """

    stages: tuple[BidStage, ...]
    amount: Money
    propensity: float
    expectation: Expectation
    reasons: tuple[str, ...]


class Bidder:
    """Turns a prediction into a bid: value → shading → pacing → exploration → step limit → cap and floor → budget.

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
    >>> print(bid.amount, bid.propensity)
    1.10 USD 1.0
    >>> for sentence in bid.reasons:
    ...     print(sentence)
    A click is worth 2.00 USD: conversion rate 5% × target CPA 40.00 USD.
    ×0.6 of the value makes the budget last. (pacing: ×0.6)
    Lowered to the cap 1.10 USD. (cap_and_floor: ×0.917)
    The bid is 1.10 USD per click: log 0.095 = value +0.693, pacing -0.511, cap_and_floor -0.087.
    """

    def __init__(self, settings: BiddingSettings) -> None:
        self.settings = settings
        self.policy = settings.version
        self._choices = choices(settings)

    def bid(
        self, opportunity: Opportunity, prediction: Prediction, landscape: Landscape | None, state: BidState
    ) -> Bid:
        """One bid, with its stages, propensity, expectation and reasons.

        Parameters
        ----------
        landscape
            What a bid wins and costs, or `None`. One that holds numbers that are not finite is left aside.
        state
            Multiplier, remaining budget, last bid and draw at the moment of the decision.

        Raises
        ------
        InvalidInput
            When an amount is in another currency than the settings.
        """
        self._check_currencies(opportunity, prediction, state)
        if landscape is not None and not usable(landscape):
            landscape = None
        currency = opportunity.currency
        value = worth(self.settings, opportunity, prediction, state)
        stages = [BidStage(name="value", before=0, after=value.micros, code=value.code, sentence=value.sentence)]
        shaded = self._shade(stages, opportunity, landscape, value)
        paced = self._pace(stages, opportunity, landscape, value, shaded, state.multiplier)
        bounds = limits(self.settings, opportunity, state)
        options = (Choice(1.0, 1.0),) if value.held or paced <= 0 else self._choices
        choice = choose(options, state.draw)
        _explore(stages, paced, choice, options)
        final = _guard(stages, bounds, currency)
        propensity = 1.0
        if len(options) > 1:
            propensity = math.fsum(p for factor, p in options if bounds.land(_scaled(paced, factor)) == final)
        sent = Money(final, currency)
        unit = "mille" if opportunity.charge is Charge.PER_MILLE else "click"
        return Bid(
            stages=tuple(stages),
            amount=sent,
            propensity=min(1.0, propensity),
            expectation=expect(opportunity, prediction, landscape, sent),
            reasons=reasons(stages, currency, unit),
        )

    def _check_currencies(self, opportunity: Opportunity, prediction: Prediction, state: BidState) -> None:
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
        ):
            if money is not None and money.currency != currency:
                raise InvalidInput(f"an amount in {money.currency}", path=name, expected=f"an amount in {currency}")

    def _shades(self, opportunity: Opportunity, landscape: Landscape | None, value: Worth) -> bool:
        return (
            self.settings.shading
            and opportunity.auction is Auction.FIRST_PRICE
            and landscape is not None
            and not value.held
            and value.micros > 0
        )

    def _shade(
        self, stages: list[BidStage], opportunity: Opportunity, landscape: Landscape | None, value: Worth
    ) -> int:
        after = value.micros
        if value.micros <= 0:
            code, sentence = "no_bid", "No bid to shade."
        elif value.held:
            code, sentence = "held", "A bid that is kept is not shaded."
        elif opportunity.auction is Auction.SECOND_PRICE:
            code, sentence = "second_price", "Under second price the value itself is the best bid."
        elif not self.settings.shading:
            code, sentence = "off", "Shading is switched off."
        elif landscape is None:
            code, sentence = "no_landscape", "Not shaded: no bid landscape is known."
        else:
            after = _shaded(landscape, opportunity, value.micros)
            text = amount(after, opportunity.currency)
            code, sentence = "shaded", f"Under first price {text} makes most of value and chance of winning."
        stages.append(BidStage(name="shading", before=value.micros, after=after, code=code, sentence=sentence))
        return after

    def _pace(
        self,
        stages: list[BidStage],
        opportunity: Opportunity,
        landscape: Landscape | None,
        value: Worth,
        before: int,
        multiplier: float,
    ) -> int:
        after = before
        if before <= 0:
            code, sentence = "no_bid", "No bid to pace."
        elif not (math.isfinite(multiplier) and multiplier > 0):
            after, code = 0, "invalid_multiplier"
            sentence = f"No bid: the pacing multiplier {multiplier} is not a number above zero."
        elif value.held:
            code, sentence = "held", "A bid that is kept is not paced."
        elif multiplier >= 1:
            code, sentence = "unpaced", "The budget does not bind."
        else:
            if landscape is not None and self._shades(opportunity, landscape, value):
                # The dual prices money, so it scales the value before the optimum is sought: the best bid for the
                # scaled value, which is above the scaled best bid.
                after = min(before, _shaded(landscape, opportunity, value.micros * multiplier))
            else:
                after = _scaled(before, multiplier)
            code, sentence = "paced", f"×{multiplier:.3g} of the value makes the budget last."
        stages.append(BidStage(name="pacing", before=before, after=after, code=code, sentence=sentence))
        return after


def _shaded(landscape: Landscape, opportunity: Opportunity, value: float) -> int:
    floor = 0.0 if opportunity.floor is None else max(0.0, opportunity.floor.micros / MICROS)
    return min(int(value), round(best_first_price_bid(landscape, value / MICROS, floor) * MICROS))


def _scaled(bid: int, factor: float) -> int:
    return round(min(LARGEST, bid * factor))


def _explore(stages: list[BidStage], before: int, choice: Choice, options: tuple[Choice, ...]) -> None:
    after = before if choice.factor == 1.0 else _scaled(before, choice.factor)
    if len(options) == 1:
        code, sentence = "off", "Nothing is tried out here."
    elif choice is options[0]:
        code, sentence = "plain", f"The plain bid, as in {choice.probability:.3g} of all cases."
    else:
        code = "explored"
        sentence = f"×{choice.factor:g} is tried, as in {choice.probability:.3g} of all cases."
    stages.append(BidStage(name="exploration", before=before, after=after, code=code, sentence=sentence))


def _guard(stages: list[BidStage], bounds: Limits, currency: str) -> int:
    bid = stages[-1].after
    for name, rail in (("step_limit", bounds.step), ("cap_and_floor", bounds.bound), ("budget", bounds.afford)):
        before = bid
        bid, code = rail(before)
        sentence = _SENTENCES[code].format(bid=amount(bid, currency), floor=amount(bounds.floor, currency))
        stages.append(BidStage(name=name, before=before, after=bid, code=code, sentence=sentence))
    return bid


_SENTENCES = {
    "no_bid": "No bid.",
    "within": "Within the limits.",
    "rise_limited": "The step limit lets the last bid rise to {bid} at most.",
    "fall_limited": "The step limit lets the last bid fall to {bid} at most.",
    "capped": "Lowered to the cap {bid}.",
    "raised_to_minimum": "Raised to the least bid {bid}.",
    "below_floor": "No bid: it would be below the auction's floor {floor}.",
    "no_budget": "No budget is set.",
    "affordable": "The rest of the budget pays for a win.",
    "budget_spent": "No bid: the budget of the day is spent.",
    "budget_below_floor": "No bid: what is left of the budget does not reach the floor.",
    "lowered_to_budget": "Lowered to {bid}, which the rest of the budget still pays for.",
}
