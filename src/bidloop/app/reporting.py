"""From what a demo played to what its report says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidloop.app.contest import ALL_KNOWING, contest
from bidloop.app.evidence import click_rows, conversion_rows, coverage_rows, reliability_rows
from bidloop.app.report.content import (
    CalibrationPoint,
    Curve,
    Lean,
    PolicyRow,
    Report,
    SampleDecision,
)
from bidloop.core.decision import Decision
from bidloop.core.money import MICROS
from bidloop.core.opportunity import Charge
from bidloop.events.intake import Receipt
from bidloop.experiments.auctions import Auctions, Objective
from bidloop.experiments.periods import campaign_days
from bidloop.experiments.replay import Purchases, tally
from bidloop.loop import Loop
from bidloop.outcomes.delay import DAY, DelayModel
from bidloop.retraining.evidence import Renewal
from bidloop.simulation.auction_market import AuctionMarket

OURS = "ours"
POINTS = 160
"""Points of a curve over time: as many as a chart can show."""
MOST_CURVES = 6
"""Campaigns whose maturity curve is drawn: more lines cannot be told apart."""
SAMPLED = 80
"""Decisions over which the report averages what the model leans on."""


@dataclass(frozen=True)
class Played:
    """A loop that went through a market, and what is needed to tell of it.

    Parameters
    ----------
    rehearsal
        Earlier auctions on which the other policies are tuned.
    budgets
        Daily budget by campaign, account currency.
    goal
        What the budgets were spent for.
    truth
        The market's auctions with the true rates as predictions, where it knows them.
    """

    loop: Loop
    renewal: Renewal
    receipt: Receipt
    market: AuctionMarket
    rehearsal: Auctions
    budgets: dict[str, float]
    goal: Objective
    timezone: str
    truth: Auctions | None = None


def compile_report(played: Played, *, title: str, subtitle: str, notes: Sequence[str]) -> Report:
    """Everything that the report says, with the other policies' results on the same auctions."""
    loop, renewal, market = played.loop, played.renewal, played.market
    auctions = market.auctions()
    bought = contest(auctions, played.rehearsal, played.budgets, played.goal, played.timezone, played.truth)
    ours = Purchases(market.won, market.spend)
    ceilings = {name: bought.pop(name) for name in ("hindsight optimum", ALL_KNOWING)}
    bought |= {OURS: ours, **ceilings}
    drawn = {name: what for name, what in bought.items() if name != ALL_KNOWING}  # it would dwarf the rest
    full = sum(played.budgets[campaign] for campaign in campaign_days(auctions, played.timezone).campaign)
    decisions = loop.decisions.recent(2000)
    return Report(
        title=title,
        subtitle=subtitle,
        made_at=loop.clock.now(),
        currency=decisions[0].opportunity.currency,
        bid_unit=f"{decisions[0].opportunity.currency} {decisions[0].opportunity.charge.value.replace('_', ' ')}",
        model_version=renewal.version,
        confidence_level=renewal.coverage.level if renewal.coverage else 0.95,
        measured_coverage=renewal.coverage.covered if renewal.coverage else None,
        policies=tuple(_policy_row(name, auctions, what, full) for name, what in bought.items()),
        models=tuple(click_rows(renewal)),
        conversion_models=tuple(conversion_rows(renewal)),
        calibration=tuple(
            CalibrationPoint(predicted=b.predicted, observed=b.observed, lower=b.lower, upper=b.upper)
            for b in renewal.best.clicks.curve
        ),
        reliability=tuple(reliability_rows(renewal)),
        coverage=tuple(coverage_rows(renewal.coverage)),
        conversion_coverage=tuple(coverage_rows(renewal.conversion_coverage, "clicks")),
        maturity=_maturity(renewal.delays),
        landscape=_landscapes(loop, decisions),
        spend=_curves(auctions, {name: (what.won, what.spend) for name, what in drawn.items()}),
        clicks=_curves(auctions, {name: (what.won, auctions.click * auctions.weight) for name, what in drawn.items()}),
        value=_curves(auctions, {name: (what.won, auctions.value * auctions.weight) for name, what in drawn.items()})
        if auctions.value.any()
        else (),
        leans_on=_leans(loop, decisions),
        decisions=tuple(_sample(decision) for decision in _telling(decisions)),
        intake={
            "accepted": played.receipt.accepted,
            "already known": played.receipt.duplicates,
            **{f"kept aside: {code}": count for code, count in sorted(played.receipt.rejected.items())},
        },
        notes=tuple(notes),
    )


def _policy_row(name: str, auctions: Auctions, bought: Purchases, budget: float) -> PolicyRow:
    total = tally(auctions, bought)
    return PolicyRow(
        policy=name,
        impressions=total.impressions,
        clicks=total.clicks,
        conversions=total.conversions,
        value=total.value if auctions.value.any() else None,
        spend=total.spend,
        cpa=total.cpa,
        roas=total.roas if auctions.value.any() else None,
        budget_used=total.spend / budget if budget > 0 else None,
    )


def _curves(
    auctions: Auctions, by_policy: dict[str, tuple[NDArray[np.bool_], NDArray[np.float64]]]
) -> tuple[Curve, ...]:
    """Cumulative sums over the won auctions, at evenly spaced times."""
    seconds = auctions.at.astype("datetime64[s]").astype(np.int64).astype(np.float64)
    grid = np.linspace(seconds[0], seconds[-1], POINTS)
    upto = np.searchsorted(seconds, grid, side="right")
    curves = []
    for name, (won, amount) in by_policy.items():
        total = np.concatenate([[0.0], np.cumsum(np.where(won, amount, 0.0))])
        curves.append(Curve(name=name, x=tuple(grid.tolist()), y=tuple(np.round(total[upto], 4).tolist())))
    return tuple(curves)


def _landscapes(loop: Loop, decisions: Sequence[Decision]) -> tuple[Curve, ...]:
    """One opportunity per campaign."""
    chosen = list({decision.opportunity.campaign_id: decision for decision in decisions}.values())[:5]
    opportunities = [decision.opportunity for decision in chosen]
    found = loop.predictor.landscapes(opportunities, loop.features.read(opportunities))
    return tuple(
        Curve(
            name=about.campaign_id,
            x=tuple(landscape.bids.tolist()),
            y=tuple(landscape.win_probability.tolist()),
        )
        for about, landscape in zip(opportunities, found, strict=True)
        if landscape is not None
    )


def _leans(loop: Loop, decisions: Sequence[Decision]) -> tuple[Lean, ...]:
    """Mean absolute attribution of each feature over sampled decisions, the longest first."""
    sample = decisions[:: max(1, len(decisions) // SAMPLED)][:SAMPLED]
    totals: dict[str, float] = {}
    for decision in sample:
        for attribution in loop.attributions(decision, top=50):
            totals[attribution.feature] = totals.get(attribution.feature, 0.0) + abs(attribution.log_odds)
    ranked = sorted(totals.items(), key=lambda item: -item[1])[:12]
    return tuple(Lean(feature=name, mean_absolute_log_odds=total / len(sample)) for name, total in ranked if total > 0)


def _telling(decisions: Sequence[Decision]) -> list[Decision]:
    """A few decisions whose stages tell different stories."""
    told: dict[tuple[str, ...], Decision] = {}
    for decision in decisions:
        if decision.bid.micros > 0:
            told.setdefault(tuple(stage.code for stage in decision.stages), decision)
    return list(told.values())[:3]


def _sample(decision: Decision) -> SampleDecision:
    about = decision.opportunity
    unit = "per mille" if about.charge is Charge.PER_MILLE else "per click"
    cell = " · ".join(filter(None, (about.campaign_id, about.keyword, about.device, about.location)))
    return SampleDecision(
        decision_id=decision.decision_id,
        title=f"{decision.bid} {unit} for {cell}, {about.at:%Y-%m-%d %H:%M} UTC",
        stages=tuple((stage.name, stage.after / MICROS, stage.sentence) for stage in decision.stages),
        reasons=decision.reasons,
    )


def _maturity(delays: DelayModel | None) -> tuple[Curve, ...]:
    """The pool, and each campaign that tells of it."""
    if delays is None:
        return ()
    curves = {"all": delays.curve(None)} | {name: delays.curve(name) for name in list(delays.campaigns)[:MOST_CURVES]}
    return tuple(
        Curve(name=name, x=tuple(age / DAY for age in curve.ages), y=curve.shares) for name, curve in curves.items()
    )
