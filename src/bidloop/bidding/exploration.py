"""Trying other bids on purpose, seldom and with a known probability, so that the log can tell what they bring."""

from __future__ import annotations

from typing import NamedTuple

from bidloop.bidding.settings import BiddingSettings


class Choice(NamedTuple):
    """One factor on the bid and the probability with which it is taken."""

    factor: float
    probability: float


def choices(settings: BiddingSettings) -> tuple[Choice, ...]:
    """Every factor that may be taken, the plain bid first; the probabilities add up to 1.

    >>> choices(BiddingSettings(exploration_rate=0.1, exploration_factors=(0.8, 1.25)))
    (Choice(factor=1.0, probability=0.9), Choice(factor=0.8, probability=0.05), Choice(factor=1.25, probability=0.05))
    """
    share = settings.exploration_rate
    if share <= 0:
        return (Choice(1.0, 1.0),)
    factors = settings.exploration_factors
    return (Choice(1.0, 1.0 - share), *(Choice(factor, share / len(factors)) for factor in factors))


def choose(options: tuple[Choice, ...], draw: float) -> Choice:
    """The choice that a draw from [0, 1) falls on; the plain bid for a draw that is none.

    >>> options = choices(BiddingSettings(exploration_rate=0.1, exploration_factors=(0.8, 1.25)))
    >>> [choose(options, draw).factor for draw in (0.0, 0.92, 0.97, float("nan"))]
    [1.0, 0.8, 1.25, 1.0]
    """
    if not 0 <= draw < 1:
        return options[0]
    passed = 0.0
    for option in options:
        passed += option.probability
        if draw < passed:
            return option
    return options[-1]
