"""Why a bid is what it is: the logarithm of the bid as an exact sum over its stages."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bidloop.core.decision import BidStage
from bidloop.core.money import MICROS


def amount(micros: float, currency: str) -> str:
    """An amount for a sentence, with more decimals the smaller it is.

    >>> amount(1_500_000, "USD"), amount(800_000, "USD"), amount(12_340, "USD")
    ('1.50 USD', '0.800 USD', '0.01234 USD')
    """
    value = micros / MICROS
    if value >= 1 or value == 0:
        return f"{value:.2f} {currency}"
    return f"{value:.3f} {currency}" if value >= 0.1 else f"{value:.4g} {currency}"


def rate(probability: float) -> str:
    """A rate for a sentence, in per cent with three significant figures.

    >>> rate(0.0007215), rate(0.05)
    ('0.0722%', '5%')
    """
    return f"{probability * 100:.3g}%"


def decompose(stages: Sequence[BidStage]) -> list[tuple[str, float]]:
    """The natural logarithm of the bid in account currency, as one term per stage.

    The first term is the logarithm of the value, each further one that of the factor by which its stage changed the
    bid; they add up to the logarithm of the final bid. A bid of zero has no logarithm: the list is empty.

    Examples
    --------
    >>> value = BidStage(name="value", before=0, after=2_000_000, code="target_cpa", sentence="")
    >>> pacing = BidStage(name="pacing", before=2_000_000, after=1_000_000, code="paced", sentence="")
    >>> [(name, round(term, 3)) for name, term in decompose([value, pacing])]
    [('value', 0.693), ('pacing', -0.693)]
    """
    if not stages or stages[-1].after <= 0:
        return []
    first, *rest = stages
    terms = [(first.name, math.log(first.after / MICROS))]
    terms += [
        (stage.name, math.log(stage.after / stage.before) if stage.after != stage.before else 0.0) for stage in rest
    ]
    return terms


def reasons(stages: Sequence[BidStage], currency: str, unit: str) -> tuple[str, ...]:
    """Sentences for a person: the value, each stage that changed the bid with its factor, and the sum.

    Parameters
    ----------
    unit
        What the bid is the price of, such as ``click``.

    Examples
    --------
    >>> value = BidStage(name="value", before=0, after=2_000_000, code="target_cpa", sentence="A click: 2.00 USD.")
    >>> pacing = BidStage(name="pacing", before=2_000_000, after=1_000_000, code="paced", sentence="For the budget.")
    >>> for sentence in reasons([value, pacing], "USD", "click"):
    ...     print(sentence)
    A click: 2.00 USD.
    For the budget. (pacing: ×0.5)
    The bid is 1.00 USD per click: log 0.000 = value +0.693, pacing -0.693.
    """
    final = stages[-1].after
    if final <= 0:
        ended = next(stage for stage in stages if stage.after <= 0)
        return (stages[0].sentence, ended.sentence) if ended is not stages[0] else (ended.sentence,)
    sentences = [stages[0].sentence]
    total = math.log(final / MICROS)
    terms = []
    for name, term in decompose(stages):
        if name == stages[0].name or term != 0.0:
            terms.append(f"{name} {term:+.3f}")
    for stage in stages[1:]:
        if stage.after != stage.before:
            sentences.append(f"{stage.sentence} ({stage.name}: ×{stage.after / stage.before:.3g})")
    sentences.append(f"The bid is {amount(final, currency)} per {unit}: log {total:.3f} = {', '.join(terms)}.")
    return tuple(sentences)
