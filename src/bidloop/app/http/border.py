"""From the JSON types to the core's words and back: decimals to money, the hour of day to an instant."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from bidloop.app.http.schema import (
    AmountInterval,
    CampaignData,
    ConfidenceInterval,
    DecisionRecord,
    Driver,
    Facts,
    FieldError,
    HistoricalMetrics,
    PredictionResponse,
    RateInterval,
    Stage,
    State,
)
from bidloop.core.decision import BidStage, Decision
from bidloop.core.money import MICROS, Money
from bidloop.core.opportunity import History, Opportunity
from bidloop.core.prediction import Attribution, Interval
from bidloop.events.privacy import Privacy


def opportunity_of(
    data: CampaignData, *, now: datetime, timezone: ZoneInfo, currency: str, privacy: Privacy
) -> Opportunity:
    """What a request asks to bid for.

    Parameters
    ----------
    now
        The present instant, UTC; the hour of day is an hour of this day.
    timezone, currency
        The account's.
    privacy
        What takes people out: a user is a pseudonym from here on.

    Notes
    -----
    The present hour means this very moment, so that nothing that is already known is left out; any other hour means its
    beginning. A current bid of 0 means that there is none: a step limit could never leave it.
    """
    metrics = data.historical_metrics
    return Opportunity(
        opportunity_id=secrets.token_hex(16),
        at=instant(data.time_of_day, now, timezone),
        campaign_id=data.campaign_id,
        ad_group_id=data.ad_group_id,
        keyword=data.keyword,
        device=data.device,
        location=data.location,
        attributes=data.attributes,
        measures=data.measures,
        user_id=privacy.user(data.user_id, data.consent),
        auction=data.auction,
        charge=data.charge,
        currency=currency,
        floor=None if data.floor is None else Money.of(data.floor, currency),
        current_bid=Money.of(data.current_bid, currency) if data.current_bid > 0 else None,
        budget=Money.of(data.budget, currency),
        history=History(
            ctr=metrics.ctr,
            conversion_rate=metrics.conversion_rate,
            spend=Money.of(metrics.spend, currency),
            impressions=metrics.impressions,
            clicks=metrics.clicks,
        ),
    )


def instant(hour: int, now: datetime, timezone: ZoneInfo) -> datetime:
    """The instant that an hour of today means, in UTC.

    Examples
    --------
    >>> now = datetime(2026, 6, 1, 20, 30, tzinfo=UTC)
    >>> instant(9, now, ZoneInfo("Asia/Shanghai")).isoformat()  # there it is 04:30 on 2 June
    '2026-06-02T01:00:00+00:00'
    >>> instant(4, now, ZoneInfo("Asia/Shanghai")) == now
    True
    """
    local = now.astimezone(timezone)
    if local.hour == hour:
        return now
    return local.replace(hour=hour, minute=0, second=0, microsecond=0).astimezone(UTC)


def too_early(data: CampaignData, *, now: datetime, timezone: ZoneInfo, earliest: datetime | None) -> FieldError | None:
    """What is wrong with an hour of today of which the features are no longer kept; `None` where nothing is."""
    if earliest is None or instant(data.time_of_day, now, timezone) >= earliest:
        return None
    return FieldError(
        path="timeOfDay",
        found=str(data.time_of_day),
        expected=f"the present hour, {now.astimezone(timezone).hour}, or a later one: features that processes share are not "
        "kept for longer than features.keep_seconds",
    )


def answer_of(decision: Decision, *, milliseconds: float, drivers: Sequence[Attribution] = ()) -> PredictionResponse:
    """The answer that a decision makes.

    Parameters
    ----------
    milliseconds
        Measured time that the answer took.
    drivers
        What the model leaned on; told after the reasons of the bid.
    """
    prediction = decision.prediction
    interval = prediction.ctr_interval
    return PredictionResponse(
        predicted_ctr=prediction.ctr,
        predicted_conversion_rate=prediction.conversion_rate,
        confidence_interval=ConfidenceInterval(lower=interval.lower, upper=interval.upper),
        credible_interval=_true(prediction.ctr_credible_interval),
        conversion_rate_interval=_true(prediction.conversion_rate_interval),
        confidence=prediction.confidence,
        recommended_bid=decision.bid.amount,
        expected_roas=_finite(decision.expectation.roas),
        model_version=prediction.model_version,
        inference_time_ms=round(milliseconds, 3),
        reasoning=[*decision.reasons, *map(sentence, drivers)],
        decision_id=decision.decision_id,
        confidence_level=interval.level,
        measured_coverage=interval.measured_coverage,
        bid_stages=[_stage(stage) for stage in decision.stages],
        degraded=list(decision.degraded),
    )


def record_of(decision: Decision, drivers: Sequence[Attribution]) -> DecisionRecord:
    """The record of a decision, as the API tells it."""
    prediction, interval, state, expectation = (
        decision.prediction,
        decision.prediction.ctr_interval,
        decision.state,
        decision.expectation,
    )
    return DecisionRecord(
        decision_id=decision.decision_id,
        at=decision.at,
        cell=_facts(decision.opportunity),
        predicted_ctr=prediction.ctr,
        predicted_conversion_rate=prediction.conversion_rate,
        confidence_interval=ConfidenceInterval(lower=interval.lower, upper=interval.upper),
        credible_interval=_true(prediction.ctr_credible_interval),
        conversion_rate_interval=_true(prediction.conversion_rate_interval),
        confidence=prediction.confidence,
        confidence_level=interval.level,
        measured_coverage=interval.measured_coverage,
        order_value=_amount(prediction.order_value),
        order_value_interval=_amounts(prediction.order_value_interval),
        support=prediction.support,
        model_version=prediction.model_version,
        feature_view=decision.features.view,
        features={**decision.features.categorical, **decision.features.numeric},
        drivers=[Driver(feature=d.feature, value=d.value, log_odds=d.log_odds) for d in drivers],
        policy=decision.policy,
        state=State(
            pacing_multiplier=state.multiplier,
            target_multiplier=state.target_multiplier,
            remaining_budget=_amount(state.remaining),
            previous_bid=_amount(state.previous_bid),
            exploration_draw=state.draw,
            mode=state.mode,
            stopped=state.stopped,
            pinned=_amount(state.pinned),
            approved=_amount(state.approved),
            daily_spend=_amount(state.daily_spend),
        ),
        bid_stages=[_stage(stage) for stage in decision.stages],
        recommended_bid=decision.bid.amount,
        propensity=decision.propensity,
        win_probability=expectation.win_probability,
        cost_per_win=expectation.cost_per_win,
        expected_roas=_finite(expectation.roas),
        extrapolated=expectation.extrapolated,
        reasoning=list(decision.reasons),
        binding=decision.binding,
        degraded=list(decision.degraded),
        arm=decision.arm,
        timings_us=decision.timings_us,
    )


def sentence(driver: Attribution) -> str:
    """What one feature did to the prediction, as a sentence.

    >>> sentence(Attribution("device", "mobile", 0.405))
    'device = mobile raises the predicted odds of a click by 50%.'
    """
    change = math.expm1(driver.log_odds)
    what = f"{driver.feature} = {driver.value}" if driver.value else f"{driver.feature} (unknown)"
    verb = "raises" if change >= 0 else "lowers"
    return f"{what} {verb} the predicted odds of a click by {abs(change):.0%}."


def _facts(about: Opportunity) -> Facts:
    history = about.history
    return Facts(
        opportunity_id=about.opportunity_id,
        at=about.at,
        campaign_id=about.campaign_id,
        ad_group_id=about.ad_group_id,
        keyword=about.keyword,
        device=about.device,
        location=about.location,
        attributes=about.attributes,
        measures={name: _finite(measure) for name, measure in about.measures.items()},
        auction=about.auction,
        charge=about.charge,
        currency=about.currency,
        floor=_amount(about.floor),
        current_bid=_amount(about.current_bid),
        budget=_amount(about.budget),
        historical_metrics=None
        if history is None
        else HistoricalMetrics(
            ctr=history.ctr,
            conversion_rate=history.conversion_rate,
            spend=history.spend.amount,
            impressions=history.impressions,
            clicks=history.clicks,
        ),
    )


def _stage(stage: BidStage) -> Stage:
    return Stage(
        name=stage.name,
        before=stage.before / MICROS,
        after=stage.after / MICROS,
        code=stage.code,
        sentence=stage.sentence,
    )


def _amounts(around: tuple[Money, Money] | None) -> AmountInterval | None:
    return None if around is None else AmountInterval(lower=around[0].amount, upper=around[1].amount)


def _true(interval: Interval | None) -> RateInterval | None:
    if interval is None:
        return None
    return RateInterval(
        lower=interval.lower, upper=interval.upper, level=interval.level, measured_coverage=interval.measured_coverage
    )


def _amount(money: Money | None) -> float | None:
    return None if money is None else money.amount


def _finite(number: float | None) -> float | None:
    """JSON has no NaN and no infinity; neither is a return that one could expect."""
    return None if number is None or not math.isfinite(number) else number
