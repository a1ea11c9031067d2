"""A budget over campaigns: from a history or report files to advice that can be printed, drawn and acted on."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np

from bidloop.app.allocation.content import Advice, CampaignAdvice, CurveDrawn
from bidloop.app.allocation.source import Source
from bidloop.bidding.allocation.allocation import Allocation, Share, allocate
from bidloop.bidding.allocation.choice import Learned, learn_responses
from bidloop.bidding.allocation.constraints import Constraints
from bidloop.bidding.allocation.days import CampaignDays
from bidloop.bidding.allocation.response import ResponseCurve
from bidloop.bidding.allocation.sentences import bindings_told, gain_told
from bidloop.bidding.allocation.settings import AllocationSettings, ResponseSettings
from bidloop.core.errors import ConfigurationError, InsufficientData, NotFound
from bidloop.core.money import Money

RECENT_DAYS = 7
"""Today's spend is the mean over so many last days."""


def advise(
    source: Source,
    *,
    objective: str,
    budget: Money | None = None,
    until: date | None = None,
    constraints: Constraints = Constraints(),  # noqa: B008  immutable
    settings: AllocationSettings = AllocationSettings(),  # noqa: B008  immutable
    response: ResponseSettings = ResponseSettings(),  # noqa: B008  immutable
    made_at: datetime,
) -> Advice:
    """Learn the response curves and divide the budget.

    Parameters
    ----------
    source
        What is known.
    objective
        What is maximised, for the sentences.
    budget
        Per day; by default what all campaigns spend today.
    until
        The last day that counts as known; by default the last one that is told.
    made_at
        Now.

    Raises
    ------
    InsufficientData
        When there are too few days, or nothing ran of late.
    ConfigurationError
        When the constraints contradict each other.
    """
    days = source.days if until is None else source.days.between(None, np.datetime64(until + timedelta(days=1), "D"))
    if not len(days):
        raise InsufficientData(f"no day until {until}", expected="days before it")
    learned = learn_responses(days, response)
    recent = days.today(recent_days=RECENT_DAYS)
    named = {*constraints.campaigns, *(name for group in constraints.groups.values() for name in group.campaigns)}
    curves = [curve for curve in learned.curves if recent[curve.campaign] > 0 or curve.campaign in named]
    if not curves:
        raise InsufficientData("no campaign that spent of late", expected=f"spend in the last {RECENT_DAYS} days")
    today = {curve.campaign: Money.of(round(recent[curve.campaign], 6), source.currency) for curve in curves}
    if budget is None:
        budget = Money(sum(money.micros for money in today.values()), source.currency)
    told = allocate(curves, budget, today, constraints, settings)
    stopped = sorted({curve.campaign for curve in learned.curves} - set(today))
    notes = list(source.notes)
    if stopped:
        notes.append(
            f"Spent nothing in the last {RECENT_DAYS} days and got nothing: {', '.join(stopped)}. One that the constraints name "
            "takes part."
        )
    return _advice(told, curves, learned, days, settings, objective, tuple(notes), made_at)


def read_constraints(path: Path) -> Constraints:
    """The constraints in a TOML file.

    Raises
    ------
    NotFound
        When there is no such file.
    ConfigurationError
        When it is no TOML, or a key is unknown.
    """
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Constraints)
    except OSError as error:
        raise NotFound(f"no constraints {str(path)!r}", expected="a TOML file", remedy="Check the path.") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"constraints {str(path)!r}: {error}",
            expected="max_change, [campaigns.ID] with min, max, max_change, and [groups.NAME] with campaigns, min, max, "
            "min_share, max_share",
        ) from error


def _advice(
    told: Allocation,
    curves: Iterable[ResponseCurve],
    learned: Learned,
    days: CampaignDays,
    settings: AllocationSettings,
    objective: str,
    notes: tuple[str, ...],
    made_at: datetime,
) -> Advice:
    drawn = {curve.campaign: curve for curve in curves}
    outcome = f"{told.budget.currency} of value" if objective == "value" else objective
    return Advice(
        objective=objective,
        currency=told.budget.currency,
        made_at=made_at,
        first=str(days.day.min()),
        until=str(days.last),
        level=settings.level,
        risk=settings.risk,
        aversion=settings.aversion if settings.risk is not None else None,
        shapes={family.value: weight for family, weight in learned.weights.items()},
        held_out={family.value: error for family, error in learned.held_out.items()},
        budget=told.budget,
        unspent=told.unspent,
        today=Money(sum(share.today.micros for share in told.shares), told.budget.currency),
        gain=told.gain,
        gain_of_split=told.gain_of_split,
        better=told.better,
        headline=gain_told(told, settings, outcome),
        bindings=tuple(bindings_told(told, settings, outcome)),
        campaigns=tuple(
            _campaign(share, drawn[share.campaign], settings.level)
            for share in sorted(told.shares, key=lambda share: -share.allocated.micros)
        ),
        notes=notes,
    )


def _campaign(share: Share, curve: ResponseCurve, level: float) -> CampaignAdvice:
    top = 1.05 * min(curve.limit, max(curve.seen_high, share.today.amount, share.allocated.amount) * 1.15)
    spends = np.linspace(0.0, top, 61)
    outcomes = curve.outcome(spends)
    low, high = np.quantile(outcomes, [(1 - level) / 2, (1 + level) / 2], axis=1)
    elasticity = np.quantile(curve.elasticity, [(1 - level) / 2, 0.5, (1 + level) / 2])
    return CampaignAdvice(
        campaign=share.campaign,
        today=share.today,
        allocated=share.allocated,
        outcome_today=share.outcome_today,
        outcome=share.outcome,
        marginal=share.marginal,
        elasticity=(float(elasticity[0]), float(elasticity[1]), float(elasticity[2])),
        extrapolated=share.extrapolated,
        binds=share.binds,
        days=curve.days,
        curve=CurveDrawn(
            spend=tuple(spends.tolist()),
            mean=tuple(outcomes.mean(axis=1).tolist()),
            low=tuple(low.tolist()),
            high=tuple(high.tolist()),
            seen=(curve.seen_low, curve.seen_high),
        ),
    )
