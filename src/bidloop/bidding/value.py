"""What one win is worth under the objective and its targets, in the unit of the charge."""

from __future__ import annotations

import math
from typing import NamedTuple

from bidloop.bidding.reasons import amount, rate
from bidloop.bidding.settings import BiddingSettings, Objective
from bidloop.core.decision import BidState
from bidloop.core.money import MICROS
from bidloop.core.opportunity import Charge, Opportunity
from bidloop.core.prediction import Prediction

LARGEST = 1 << 53
"""Largest bid in micros (about 9 billion in account currency): beyond it a float no longer holds every whole micro."""


class Worth(NamedTuple):
    """What one win is worth.

    Parameters
    ----------
    micros
        Per click or per mille, not negative.
    code
        The objective or target that says so, or ``hold`` and ``nothing_known`` where no value could be told.
    sentence
        The same for a person.
    terms
        The natural logarithm of `micros` in account currency as a sum over what was multiplied; empty for nothing.
    most
        The most that the objective itself lets a win be worth, in micros: nothing that is saved under a target buys above it.
    held
        Whether this is the current bid, kept because nothing better is known; shading, pacing and exploration leave it.
    """

    micros: int
    code: str
    sentence: str
    terms: tuple[tuple[str, float], ...] = ()
    most: int = LARGEST
    held: bool = False


class _Claim(NamedTuple):
    """What the objective, or one target, says that a click is worth: the product of its factors, each with the power 1 or -1."""

    code: str
    factors: tuple[tuple[str, float, int], ...]

    @property
    def click(self) -> float:
        value = 1.0
        for _, number, power in self.factors:
            value = value * number if power > 0 else value / number
        return value

    def formula(self, currency: str) -> str:
        text = ""
        for name, number, power in self.factors:
            told = f"{number:g}" if power < 0 else amount(number * MICROS, currency)
            if name == "conversion_rate":
                told = rate(number)
            text += f"{' / ' if power < 0 else ' × ' if text else ''}{_NAMES[name]} {told}"
        return text


_NAMES = {
    "conversion_rate": "conversion rate",
    "order_value": "order value",
    "conversion_value": "the value of a conversion",
    "click_value": "the value of a click",
    "target_cpa": "target CPA",
    "target_roas": "target ROAS",
}


def worth(settings: BiddingSettings, opportunity: Opportunity, prediction: Prediction, state: BidState) -> Worth:
    """What one win is worth under the objective and its targets: the lowest of what each of them says.

    ======================== ================================ ===================================================
    objective or target      a click is worth                 bid under second price, with the duals
    ======================== ================================ ===================================================
    ``maximize_clicks``      the value of a click             v / (1 + μ): Balseiro and Gur 2019, a budget's dual
    ``maximize_conversions`` pCVR × the value of a conversion the same
    ``maximize_value``       pCVR × E[order value]            the same
    ``target_cpa``           pCVR × target CPA                w (1 + λ) / λ: Aggarwal, Badanidiyuru and Mehta 2019
    ``target_roas``          pCVR × E[order value] / τ        the same
    a target and a budget    the lowest                       v (1 + λ) / (μ + τ λ): arXiv 2302.08530
    ======================== ================================ ===================================================

    Per mille it is that × pCTR × 1000. A CPC cap is no value but a bound: see `guardrails.Limits.bound`.

    The last line is one multiple of ``w = v / τ`` too: ``w (1 + λ) / (μ' + λ)`` with ``μ' = μ / τ``. The budget alone
    (λ = 0) allows ``w / μ'``, the target alone (μ = 0) ``w (1 + λ) / λ``. Spend rises with the multiple, and beyond 1 each
    further win costs more than it is worth at the target; so a multiple keeps both exactly if it is at most the lower of
    the two. That is min-pacing, and the paced bid is `micros` × min(multiplier, target multiplier). Where objective and
    target are no multiples of each other (clicks under a target CPA) the lower of both is the unit: then both
    constraints still hold, but the optimum is only approximated.

    A prediction that knows nothing of the cell (``no_history``), a rate that is no probability, or an order value that is
    needed and unknown keeps the current bid: the platform's where the caller states it, else our last one. Where there is
    no bid to keep either, the weak prior's value is used if it can be told, and otherwise we do not take part.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from bidloop.core.prediction import Interval
    >>> cell = Opportunity(opportunity_id="o1", at=datetime(2026, 1, 1, tzinfo=UTC), campaign_id="brand")
    >>> expected = Prediction(ctr=0.03, conversion_rate=0.05, ctr_interval=Interval(0.02, 0.04, 0.95), order_value=None,
    ...     model_version="v1", support=1e4)
    >>> both = BiddingSettings(objective=Objective.MAXIMIZE_CONVERSIONS, conversion_value=90.0, target_cpa=40.0)
    >>> worth(both, cell, expected, BidState()).sentence
    'A click is worth 2.00 USD: conversion rate 5% × target CPA 40.00 USD (maximize_conversions says 4.50 USD).'
    """
    ctr, currency = prediction.ctr, opportunity.currency
    if not 0 <= prediction.conversion_rate <= 1 or not 0 <= ctr <= 1:
        return _hold(opportunity, state, "the predicted rates are no probabilities") or _nothing("usable prediction")
    if "no_history" in prediction.degraded and (held := _hold(opportunity, state, "nothing is known of this cell")):
        return held
    claims = _claims(settings, prediction)
    if claims is None:
        return _hold(opportunity, state, "the order value is not known") or _nothing("order value")
    per_mille = opportunity.charge is Charge.PER_MILLE
    unit = ctr * 1000 if per_mille else 1.0
    lowest = claims[0] if len(claims) == 1 else min(claims, key=lambda claim: claim.click)
    value = lowest.click * unit
    if not math.isfinite(value) or value < 0:
        return _hold(opportunity, state, "its value is negative or not finite") or _nothing("finite value")
    micros = _micros(value)
    text = amount(micros, currency)
    if per_mille:
        sentence = f"A thousand impressions are worth {text}: CTR {rate(ctr)} × 1000 × {lowest.formula(currency)}"
    else:
        sentence = f"A click is worth {text}: {lowest.formula(currency)}"
    others = [f"{one.code} says {amount(_micros(one.click * unit), currency)}" for one in claims if one is not lowest]
    sentence += f" ({', '.join(others)})." if others else "."
    most = LARGEST if claims[0].code in _TARGETS else _micros(claims[0].click * unit)
    return Worth(micros, lowest.code, sentence, _terms(micros, lowest, ctr if per_mille else None), most)


_TARGETS = ("target_cpa", "target_roas")


def _claims(settings: BiddingSettings, prediction: Prediction) -> list[_Claim] | None:
    """The objective's claim and each target's, in this order; `None` where one needs an order value that is not known."""
    objective = settings.objective
    cvr = ("conversion_rate", prediction.conversion_rate, 1)
    order: tuple[str, float, int] | None = None
    if prediction.order_value is not None:
        order = ("order_value", prediction.order_value.amount, 1)
    elif settings.conversion_value is not None:
        order = ("conversion_value", settings.conversion_value, 1)
    claims = []
    if objective is Objective.MAXIMIZE_CLICKS and settings.click_value is not None:
        claims.append(_Claim(objective.value, (("click_value", settings.click_value, 1),)))
    elif objective is Objective.MAXIMIZE_CONVERSIONS and settings.conversion_value is not None:
        claims.append(_Claim(objective.value, (cvr, ("conversion_value", settings.conversion_value, 1))))
    elif objective is Objective.MAXIMIZE_VALUE:
        if order is None:
            return None
        claims.append(_Claim(objective.value, (cvr, order)))
    if settings.target_cpa is not None:
        claims.append(_Claim("target_cpa", (cvr, ("target_cpa", settings.target_cpa, 1))))
    if settings.target_roas is not None:
        if order is None:
            return None
        claims.append(_Claim("target_roas", (cvr, order, ("target_roas", settings.target_roas, -1))))
    return claims


def _micros(value: float) -> int:
    return round(min(LARGEST, value * MICROS))


def _terms(micros: int, claim: _Claim, ctr: float | None) -> tuple[tuple[str, float], ...]:
    """The logarithm of the value as a sum. What rounding to whole micros adds, and `LARGEST` takes, is a term of its own."""
    if micros <= 0:
        return ()
    terms = [] if ctr is None else [("ctr", math.log(ctr)), ("mille", math.log(1000))]
    terms += [(name, power * math.log(number)) for name, number, power in claim.factors]
    rounding = math.log(micros / MICROS) - math.fsum(term for _, term in terms)
    return (*terms, ("rounding", rounding))


def _hold(opportunity: Opportunity, state: BidState, why: str) -> Worth | None:
    current = opportunity.current_bid or state.previous_bid
    if current is None or current.micros <= 0:
        return None
    micros = min(LARGEST, current.micros)
    text = amount(current.micros, opportunity.currency)
    terms = (("current_bid", math.log(micros / MICROS)),)
    return Worth(micros, "hold", f"The current bid {text} is kept: {why}.", terms, held=True)


def _nothing(missing: str) -> Worth:
    return Worth(0, "nothing_known", f"No bid: there is no {missing} and no current bid to keep.", held=True)
