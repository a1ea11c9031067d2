"""Why a bid is what it is: the logarithm of the bid as an exact sum over rates, values and stages."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bidloop.core.decision import BidStage
from bidloop.core.money import MICROS

LEAST = 0.0005
"""Terms that a sentence with three decimals would show as zero are left out of it."""

HELD = ("stopped", "pinned", "off", "preview", "awaiting_approval")
"""Codes of the control stage that are worth a sentence even where they leave the bid as it is."""


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


def decompose(value: Sequence[tuple[str, float]], stages: Sequence[BidStage]) -> tuple[tuple[str, float], ...]:
    """The natural logarithm of the bid in account currency, as one term per factor of the value and one per further stage.

    A stage's term is the logarithm of the factor by which it changed the bid. The terms add up to the logarithm of the final bid.
    A stage that makes a bid where there was none (a pin) starts the sum anew with its bid. A bid of zero has no logarithm, and so
    no terms.

    Parameters
    ----------
    value
        The terms of the logarithm of the first stage's bid, as `value.Worth.terms` has them.

    Examples
    --------
    >>> stages = [BidStage(name="value", before=0, after=2_000_000, code="target_cpa", sentence=""),
    ...     BidStage(name="pacing", before=2_000_000, after=1_000_000, code="paced", sentence="")]
    >>> terms = decompose([("conversion_rate", math.log(0.05)), ("target_cpa", math.log(40))], stages)
    >>> [(name, round(term, 3)) for name, term in terms]
    [('conversion_rate', -2.996), ('target_cpa', 3.689), ('pacing', -0.693)]
    """
    if not stages or stages[-1].after <= 0:
        return ()
    terms: list[tuple[str, float]] = list(value)
    for stage in stages[1:]:
        if stage.before > 0 and stage.after > 0:
            terms.append((stage.name, math.log(stage.after / stage.before)))
        elif stage.after > 0:
            terms = [(stage.name, math.log(stage.after / MICROS))]
    return tuple(terms)


def reasons(
    stages: Sequence[BidStage], terms: Sequence[tuple[str, float]], binding: str, currency: str, unit: str
) -> tuple[str, ...]:
    """Sentences for a person: the value, each stage that changed or held the bid with its factor, what binds, and the sum.

    Parameters
    ----------
    terms
        What `decompose` gave.
    binding
        What would have been bid without the binding stage, or nothing.
    unit
        What the bid is the price of, such as ``click``.

    Examples
    --------
    >>> value = BidStage(name="value", before=0, after=2_000_000, code="target_cpa", sentence="A click: 2.00 USD.")
    >>> pacing = BidStage(name="pacing", before=2_000_000, after=1_000_000, code="paced", sentence="For the budget.")
    >>> for sentence in reasons([value, pacing], [("value", 0.6931), ("pacing", -0.6931)], "", "USD", "click"):
    ...     print(sentence)
    A click: 2.00 USD.
    For the budget. (pacing: ×0.5)
    The bid is 1.00 USD per click: log 0.000 = value +0.693, pacing -0.693.
    """
    sentences = [stages[0].sentence]
    for stage in stages[1:]:
        if stage.after == stage.before:
            if stage.name == "control" and stage.code in HELD:
                sentences.append(stage.sentence)
        elif stage.after > 0 and stage.before > 0:
            sentences.append(f"{stage.sentence} ({stage.name}: ×{stage.after / stage.before:.3g})")
        else:
            sentences.append(stage.sentence)
    if binding:
        sentences.append(binding)
    final = stages[-1].after
    if final > 0:
        told = ", ".join(f"{name} {term:+.3f}" for name, term in terms if abs(term) >= LEAST)
        total = math.log(final / MICROS)
        sentences.append(f"The bid is {amount(final, currency)} per {unit}: log {total:.3f} = {told or '0.000'}.")
    return tuple(sentences)
