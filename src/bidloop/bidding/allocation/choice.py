"""How much each shape of response curve is believed, by how well it tells days that it was not learned from.

The days of a campaign seldom tell one shape from another, and which one is right matters for what moving money does. So all have a
part in the draws: a shape's weight is its likelihood on held-out days (pseudo-Bayesian model averaging; Yao et al. 2018,
arXiv 1704.02030, without their bootstrap).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from bidloop.bidding.allocation.days import CampaignDays
from bidloop.bidding.allocation.fit import fit_responses
from bidloop.bidding.allocation.response import ResponseCurve, mixed
from bidloop.bidding.allocation.settings import Family, ResponseSettings
from bidloop.core.errors import InsufficientData

Floats = NDArray[np.float64]

FOLDS = 3


@dataclass(frozen=True)
class Learned:
    """The response curves of all campaigns, and how much each shape is believed.

    Parameters
    ----------
    curves
        One per campaign that ever spent, in alphabetical order.
    weights
        By shape, its share of the draws; they add up to 1.
    held_out
        By shape, the mean squared error of held-out days over one expected variance for all. Empty where the shape was given, or
        the history is too short to compare.
    """

    curves: tuple[ResponseCurve, ...]
    weights: dict[Family, float]
    held_out: dict[Family, float]


def learn_responses(days: CampaignDays, settings: ResponseSettings, *, until: np.datetime64 | None = None) -> Learned:
    """Learn response curves in the shape that is asked for, or in all, each weighted by how well it predicts.

    Raises
    ------
    InsufficientData
        When there are too few days.
    """
    last = days.last if until is None else until
    if settings.family is not None:
        return Learned(tuple(fit_responses(days, settings.family, settings, until=last)), {settings.family: 1.0}, {})
    held_out, count = compare_families(days.between(None, last + np.timedelta64(1, "D")), settings)
    errors = np.array([held_out.get(family, 0.0) for family in Family])
    likelihood = np.exp(-0.5 * count * (errors - errors.min()))
    ends = np.round(settings.draws * np.cumsum(likelihood) / likelihood.sum()).astype(int)
    counts = np.diff(ends, prepend=0).tolist()
    fits = [
        fit_responses(days, family, msgspec.structs.replace(settings, seed=settings.seed + i), until=last)
        for i, family in enumerate(Family)
    ]
    return Learned(
        tuple(mixed(curves, counts) for curves in zip(*fits, strict=True)),
        {family: count / settings.draws for family, count in zip(Family, counts, strict=True)},
        held_out,
    )


def compare_families(days: CampaignDays, settings: ResponseSettings) -> tuple[dict[Family, float], int]:
    """Mean squared error of held-out days over their expected variance, by shape, and how many days there were.

    Up to three blocks of `settings.held_out_days` at the end of the history are each predicted from what was before them. A
    campaign's level in the block is left free: it drifts, and the shapes are to be told apart by how outcomes differ
    between days of more and of less spend.
    """
    quick = msgspec.structs.replace(settings, draws=50)
    errors: list[Floats] = []
    for fold in range(FOLDS):
        end = days.last - np.timedelta64(fold * settings.held_out_days - 1, "D")
        start = end - np.timedelta64(settings.held_out_days, "D")
        block, before = days.between(start, end), days.between(None, start)
        try:
            fits = [fit_responses(before, family, quick, until=start - np.timedelta64(1, "D")) for family in Family]
        except InsufficientData:
            break
        errors += [squared_errors(curves, block) for curves in zip(*fits, strict=True)]
    told = np.concatenate(errors, axis=1) if errors else np.zeros((len(Family), 0))
    count = told.shape[1]
    return (dict(zip(Family, told.mean(axis=1).tolist(), strict=True)) if count else {}), count


def squared_errors(curves: Sequence[ResponseCurve], days: CampaignDays) -> Floats:
    """Squared errors of one campaign's days under each of its k curves, over one expected variance: shape (k, days).

    Days whose spend lies outside what was seen are left out: there the curves are not what was learned.
    """
    mine = (
        (days.campaign == curves[0].campaign) & (days.spend >= curves[0].seen_low) & (days.spend <= curves[0].seen_high)
    )
    outcome, reported = days.outcome[mine], 1.0 if days.reported is None else days.reported[mine]
    if len(outcome) < 2 or not outcome.any():
        return np.zeros((len(curves), 0))
    expected = np.array([np.exp(np.log(curve.outcome(days.spend[mine])).mean(axis=-1)) * reported for curve in curves])
    expected *= outcome.sum() / expected.sum(axis=1, keepdims=True)
    # One variance for all: a shape that fits badly must not be excused by the scatter that it finds.
    mean, spread = expected.mean(axis=0), np.mean([curve.spread for curve in curves])
    return np.asarray((outcome - expected) ** 2 / (days.grain * mean + (spread * mean) ** 2))
