"""What one win is worth under the objective, in the unit of the charge."""

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
        The objective, or ``hold`` and ``nothing_known`` where no value could be told.
    sentence
        The same for a person.
    held
        Whether this is the current bid, kept because nothing better is known; shading, pacing and exploration leave it.
    """

    micros: int
    code: str
    sentence: str
    held: bool = False


def worth(settings: BiddingSettings, opportunity: Opportunity, prediction: Prediction, state: BidState) -> Worth:
    """What one win is worth under the objective.

    Per click: pCVR × target CPA; pCVR × E[order value] / target ROAS; the value of a click; pCVR × the value of a
    conversion; pCVR × E[order value]. Per mille it is that × pCTR × 1000.

    A prediction that knows nothing of the cell (``no_history``), a rate that is no probability, or an objective whose
    order value is unknown keeps the current bid: the platform's where the caller states it, else our last one. Where
    there is no bid to keep either, the weak prior's value is used if it can be told, and otherwise we do not take part.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from bidloop.core.prediction import Interval
    >>> cell = Opportunity(opportunity_id="o1", at=datetime(2026, 1, 1, tzinfo=UTC), campaign_id="brand")
    >>> expected = Prediction(ctr=0.03, conversion_rate=0.05, ctr_interval=Interval(0.02, 0.04, 0.95), order_value=None,
    ...     model_version="v1", support=1e4)
    >>> worth(BiddingSettings(objective=Objective.TARGET_CPA, target_cpa=40.0), cell, expected, BidState()).sentence
    'A click is worth 2.00 USD: conversion rate 5% × target CPA 40.00 USD.'
    """
    per_mille = opportunity.charge is Charge.PER_MILLE
    if not 0 <= prediction.conversion_rate <= 1 or not 0 <= prediction.ctr <= 1:
        return _hold(opportunity, state, "the predicted rates are no probabilities") or _nothing("usable prediction")
    if "no_history" in prediction.degraded and (held := _hold(opportunity, state, "nothing is known of this cell")):
        return held
    click, formula = _click(settings, prediction, opportunity.currency)
    if click is None:
        return _hold(opportunity, state, f"the {formula} is not known") or _nothing(formula)
    value = click * prediction.ctr * 1000 if per_mille else click
    if not math.isfinite(value) or value < 0:
        return _hold(opportunity, state, "its value is negative or not finite") or _nothing("finite value")
    micros = round(min(LARGEST, value * MICROS))
    text = amount(micros, opportunity.currency)
    if per_mille:
        sentence = f"A thousand impressions are worth {text}: CTR {rate(prediction.ctr)} × 1000 × {formula}."
    else:
        sentence = f"A click is worth {text}: {formula}."
    return Worth(micros, settings.objective.value, sentence)


def _click(settings: BiddingSettings, prediction: Prediction, currency: str) -> tuple[float | None, str]:
    """Value of a click in account currency with its formula, or `None` with the name of what is missing."""
    cvr = prediction.conversion_rate
    objective = settings.objective
    if objective is Objective.MAXIMIZE_CLICKS and settings.click_value is not None:
        return settings.click_value, f"the value of a click {amount(settings.click_value * MICROS, currency)}"
    if objective is Objective.TARGET_CPA and settings.target_cpa is not None:
        text = amount(settings.target_cpa * MICROS, currency)
        return cvr * settings.target_cpa, f"conversion rate {rate(cvr)} × target CPA {text}"
    if objective is Objective.MAXIMIZE_CONVERSIONS and settings.conversion_value is not None:
        text = amount(settings.conversion_value * MICROS, currency)
        return cvr * settings.conversion_value, f"conversion rate {rate(cvr)} × the value of a conversion {text}"
    order = settings.conversion_value if prediction.order_value is None else prediction.order_value.amount
    if order is None:
        return None, "order value"
    text = amount(order * MICROS, currency)
    if objective is Objective.TARGET_ROAS and settings.target_roas is not None:
        target = settings.target_roas
        return cvr * order / target, f"conversion rate {rate(cvr)} × order value {text} / target ROAS {target:g}"
    return cvr * order, f"conversion rate {rate(cvr)} × order value {text}"


def _hold(opportunity: Opportunity, state: BidState, why: str) -> Worth | None:
    current = opportunity.current_bid or state.previous_bid
    if current is None or current.micros <= 0:
        return None
    text = amount(current.micros, opportunity.currency)
    return Worth(min(LARGEST, current.micros), "hold", f"The current bid {text} is kept: {why}.", held=True)


def _nothing(missing: str) -> Worth:
    return Worth(0, "nothing_known", f"No bid: there is no {missing} and no current bid to keep.", held=True)
