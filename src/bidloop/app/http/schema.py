"""The JSON types of the API: what a caller sends and what comes back.

Field names and units are those of the specification's ``CampaignData`` and ``PredictionResponse``. Amounts are decimals
in the account's currency; rates are shares from 0 to 1. The OpenAPI document is made from these types, so that a limit
stands here once.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, field

from bidloop.core.opportunity import Auction, Charge

MAX_TEXT = 512
MAX_VALUE_TEXT = 2048
MAX_FACTS = 64
MAX_AMOUNT = 1e12
"""Keeps every amount, in micros, well inside 64 bits."""
MAX_COUNT = 10**15

# `$` of a Python pattern also matches before a last line feed, which the lookahead rules out.
NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$(?!\n)"
"""Text without control characters."""

Name: TypeAlias = Annotated[str, Meta(max_length=MAX_TEXT, pattern=NO_CONTROLS)]
Amount: TypeAlias = Annotated[float, Meta(ge=0, le=MAX_AMOUNT)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Rate: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
FactName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64, pattern=NO_CONTROLS)]
FactText: TypeAlias = Annotated[str, Meta(max_length=MAX_VALUE_TEXT, pattern=NO_CONTROLS)]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Base of what comes in: unknown fields are refused, so that a misspelt one is not silently ignored."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what goes out: every field is always there."""


class HistoricalMetrics(Request, frozen=True, kw_only=True):
    """What you know of this cell's past; used where Bidloop itself has seen nothing of it."""

    ctr: Annotated[Rate, Meta(description="Clicks per impression.", examples=[0.042])]
    conversion_rate: Annotated[Rate, Meta(description="Conversions per click.", examples=[0.061])]
    spend: Annotated[Amount, Meta(description="Spend so far, account currency.", examples=[1250.0])]
    impressions: Annotated[Count, Meta(description="Impressions so far.", examples=[25000])]
    clicks: Annotated[Count, Meta(description="Clicks so far; at most the impressions.", examples=[1050])]


class CampaignData(Request, frozen=True, kw_only=True):
    """One cell of a campaign at an hour of today."""

    campaign_id: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=MAX_TEXT,
            pattern=NO_CONTROLS,
            description="The campaign.",
            examples=["spring-shoes"],
        ),
    ]
    ad_group_id: Annotated[
        Name, Meta(description="The ad group; empty where the platform has none.", examples=["running"])
    ]
    keyword: Annotated[
        Name, Meta(description="The keyword; empty where the platform has none.", examples=["trail running shoes"])
    ]
    device: Annotated[Name, Meta(description="The kind of device.", examples=["mobile"])]
    location: Annotated[Name, Meta(description="The place, as your platform names it.", examples=["US-CA"])]
    time_of_day: Annotated[
        int,
        Meta(ge=0, le=23, description="Hour of today in the account's timezone, 0 to 23.", examples=[14]),
    ]
    budget: Annotated[Amount, Meta(description="The campaign's budget for today, account currency.", examples=[500.0])]
    current_bid: Annotated[
        Amount,
        Meta(description="The bid now in force, account currency; 0 where there is none yet.", examples=[1.25]),
    ]
    historical_metrics: Annotated[HistoricalMetrics, Meta(description="What you know of this cell's past.")]
    auction: Annotated[Auction, Meta(description="How the winner pays.")] = Auction.SECOND_PRICE
    charge: Annotated[Charge, Meta(description="What a bid is the price of: one click, or a thousand impressions.")] = (
        Charge.PER_CLICK
    )
    floor: Annotated[
        Annotated[float, Meta(ge=0, le=MAX_AMOUNT)] | None,
        Meta(description="The least bid that the auction takes, in the unit of the charge."),
    ] = None
    attributes: Annotated[
        dict[FactName, FactText],
        Meta(max_length=MAX_FACTS, description="Further categorical facts, such as slot, domain, creative."),
    ] = {}
    measures: Annotated[
        dict[FactName, float],
        Meta(
            max_length=MAX_FACTS, description="Further numeric facts, such as quality score; leave out what is missing."
        ),
    ] = {}
    user_id: Annotated[
        Name,
        Meta(description="Who will see the ad, where it is known; replaced by a pseudonym before anything is kept."),
    ] = ""
    consent: Annotated[
        bool | None,
        Meta(description="Whether the person agreed to being recognised; without it the user counts as unknown."),
    ] = None


class ConfidenceInterval(Answer, frozen=True, kw_only=True):
    """Where the realised CTR of this cell's coming impressions will lie, at `confidenceLevel`."""

    lower: Annotated[Rate, Meta(description="Lower bound of the CTR.", examples=[0.033])]
    upper: Annotated[Rate, Meta(description="Upper bound of the CTR.", examples=[0.054])]


class RateInterval(Answer, frozen=True, kw_only=True):
    """Where the true rate of this cell lies."""

    lower: Annotated[Rate, Meta(description="Lower bound of the rate.", examples=[0.038])]
    upper: Annotated[Rate, Meta(description="Upper bound of the rate.", examples=[0.049])]
    level: Annotated[Rate, Meta(description="The stated probability that it covers.", examples=[0.95])]
    measured_coverage: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(
            description="Share of held-out counts that it and the luck of so many trials together covered; null where that "
            "was not measured, or the counts were too few to tell."
        ),
    ]


class Stage(Answer, frozen=True, kw_only=True):
    """One stage of the bid: what came in, what went out, and why. Amounts in the unit of the charge."""

    name: Annotated[str, Meta(description="The stage's name.", examples=["value"])]
    before: Annotated[float, Meta(description="The bid before it; 0 for the first stage.", examples=[0.0])]
    after: Annotated[float, Meta(description="The bid after it.", examples=[1.4])]
    code: Annotated[str, Meta(description="Short stable word for what happened.", examples=["target_cpa"])]
    sentence: Annotated[str, Meta(description="The same as a sentence, with the figures.")]


class AmountInterval(Answer, frozen=True, kw_only=True):
    """Between which amounts something lies, at `confidenceLevel`; account currency."""

    lower: Annotated[float, Meta(description="Lower bound.", examples=[48.2])]
    upper: Annotated[float, Meta(description="Upper bound.", examples=[71.9])]


class PredictionResponse(Answer, frozen=True, kw_only=True):
    """What is expected of the cell, the bid that follows from it, and why."""

    predicted_ctr: Annotated[Rate, Meta(description="P(click | impression).", examples=[0.0431])] = field(
        name="predictedCTR"
    )
    predicted_conversion_rate: Annotated[Rate, Meta(description="P(conversion | click).", examples=[0.058])]
    confidence_interval: Annotated[
        ConfidenceInterval, Meta(description="Where the realised CTR of the coming impressions will lie.")
    ]
    credible_interval: Annotated[
        RateInterval | None, Meta(description="Where the true CTR lies: without the luck of the coming impressions.")
    ]
    conversion_rate_interval: Annotated[RateInterval | None, Meta(description="Where the true conversion rate lies.")]
    confidence: Annotated[
        Rate,
        Meta(
            description="How much the CTR can be leaned on: more for a narrower interval and for more data; 0 where nothing "
            "is known.",
            examples=[0.87],
        ),
    ]
    recommended_bid: Annotated[
        Amount,
        Meta(
            description="The bid, account currency, in the unit of the charge; 0 means: do not take part.",
            examples=[1.4],
        ),
    ]
    expected_roas: Annotated[
        float | None,
        Meta(
            description="Expected conversion value per unit of expected cost; null where no order value is known.",
            examples=[3.2],
        ),
    ] = field(name="expectedROAS")
    model_version: Annotated[
        str, Meta(description="The model that predicted; 'pooled' where there was none.", examples=["v4f1d2c9a0b73"])
    ]
    inference_time_ms: Annotated[
        float,
        Meta(
            ge=0,
            description="Measured milliseconds from the request's last byte to the answer's first.",
            examples=[1.3],
        ),
    ]
    reasoning: Annotated[list[str], Meta(description="What drove the bid and the prediction, in sentences.")]
    decision_id: Annotated[str, Meta(description="Ask /v1/decisions/{id} for the whole record.")]
    confidence_level: Annotated[
        Rate, Meta(description="The stated probability that the interval covers.", examples=[0.95])
    ]
    measured_coverage: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(
            description="Share that `confidenceInterval` covered when last measured on held-out data; null before that."
        ),
    ]
    bid_stages: Annotated[list[Stage], Meta(description="The stages of the bid, in their order.")]
    degraded: Annotated[list[str], Meta(description="Why this is less than it should be; empty when nothing is wrong.")]


class Facts(Answer, frozen=True, kw_only=True):
    """What a decision was about, as it was understood. Amounts in account currency."""

    opportunity_id: str
    at: Annotated[datetime, Meta(description="The instant that was bid for, UTC.")]
    campaign_id: str
    ad_group_id: str
    keyword: str
    device: str
    location: str
    attributes: dict[str, str]
    measures: dict[str, float | None]
    auction: Auction
    charge: Charge
    currency: str
    floor: float | None
    current_bid: float | None
    budget: float | None
    historical_metrics: HistoricalMetrics | None


class State(Answer, frozen=True, kw_only=True):
    """What the bid depended on beside the cell and its prediction. Amounts in account currency."""

    pacing_multiplier: float
    target_multiplier: Annotated[
        float, Meta(description="What the average of a CPA or ROAS target allows; 1 where each win keeps it.")
    ]
    remaining_budget: Annotated[float | None, Meta(description="What the budgets had at hand; null without any.")]
    previous_bid: float | None
    exploration_draw: Annotated[float, Meta(description="The number in [0, 1) that exploration drew.")]
    mode: Annotated[str, Meta(description="apply, preview or off.")]
    stopped: Annotated[str, Meta(description="Why nothing might be bid, or empty.")]
    pinned: Annotated[float | None, Meta(description="The bid that a person fixed, or null.")]
    approved: Annotated[float | None, Meta(description="The bid that a person approved, or null.")]
    daily_spend: Annotated[
        float | None, Meta(description="What the cell spent per day lately; null where that is not known.")
    ]


class Driver(Answer, frozen=True, kw_only=True):
    """How much one feature moved the predicted log odds of a click, against that feature being unknown."""

    feature: str
    value: str
    log_odds: float


class DecisionRecord(Answer, frozen=True, kw_only=True):
    """A decision as it was recorded: complete enough to be made again to the last bit (`bidloop explain ID`)."""

    decision_id: str
    at: Annotated[datetime, Meta(description="When it was made, UTC.")]
    cell: Facts
    predicted_ctr: Rate = field(name="predictedCTR")
    predicted_conversion_rate: Rate
    confidence_interval: ConfidenceInterval
    credible_interval: Annotated[
        RateInterval | None, Meta(description="Null in records of before there was one, as the next.")
    ]
    conversion_rate_interval: RateInterval | None
    confidence: Annotated[Rate, Meta(description="0 in records of before it was told.")]
    confidence_level: Rate
    measured_coverage: Annotated[float, Meta(ge=0, le=1)] | None
    order_value: Annotated[
        float | None, Meta(description="Expected value of a conversion; null where none carried one.")
    ]
    order_value_interval: Annotated[
        AmountInterval | None, Meta(description="Where that expected value lies; null where it cannot be said.")
    ]
    support: Annotated[float, Meta(description="Effective number of past impressions behind the cell's rate.")]
    model_version: str
    feature_view: Annotated[str, Meta(description="Version of the definition of the features.")]
    features: Annotated[
        dict[str, float | str | None], Meta(description="The feature values used; null or empty where one was missing.")
    ]
    drivers: Annotated[list[Driver], Meta(description="What the model leaned on, strongest first.")]
    policy: Annotated[str, Meta(description="Version of the bidding settings in force.")]
    state: State
    bid_stages: list[Stage]
    recommended_bid: Amount
    propensity: Annotated[
        float,
        Meta(gt=0, le=1, description="Probability with which the policy sends exactly this bid for these inputs."),
    ]
    win_probability: Annotated[float | None, Meta(description="P(win | bid); null where no landscape is known.")]
    cost_per_win: float
    expected_roas: float | None = field(name="expectedROAS")
    extrapolated: Annotated[bool, Meta(description="Whether the bid lies beyond the bids that the landscape has seen.")]
    reasoning: list[str]
    binding: Annotated[str, Meta(description="The stage without which the bid would differ most, or empty.")]
    degraded: list[str]
    arm: Annotated[str, Meta(description="Experiment arm, or empty.")]
    timings_us: Annotated[dict[str, float], Meta(description="Microseconds per step.")]


class Health(Answer, frozen=True, kw_only=True):
    """The process is up."""

    status: Annotated[str, Meta(examples=["up"])]


class Readiness(Answer, frozen=True, kw_only=True):
    """The process can answer and record decisions."""

    status: Annotated[str, Meta(examples=["ready"])]
    model_version: Annotated[str, Meta(description="The model that serves; 'pooled' before the first training.")]
    degraded: Annotated[bool, Meta(description="Whether answers come from pooled rates because no model serves.")]
    takes_events: Annotated[bool, Meta(description="Whether events are taken in at the moment.")]


class FieldError(Answer, frozen=True, kw_only=True):
    """One thing that is wrong."""

    path: Annotated[
        str,
        Meta(
            description="Where: a field such as `historicalMetrics.ctr`, with its row in a batch (`[3].device`); "
            "`$` is the whole body; otherwise the name of a header, `method` or `path`."
        ),
    ]
    found: Annotated[str, Meta(description="What was there.", examples=["1.7"])]
    expected: Annotated[str, Meta(description="What would have been right.", examples=["a number from 0 to 1"])]


class Problem(Answer, frozen=True, kw_only=True):
    """A problem document (RFC 9457, media type `application/problem+json`)."""

    type: Annotated[
        str, Meta(description="Which kind of problem; leads to its description.", examples=["/docs#wrong-fields"])
    ]
    title: Annotated[str, Meta(description="The kind of problem in words.")]
    status: Annotated[int, Meta(ge=400, le=599, description="The HTTP status.")]
    detail: Annotated[str, Meta(description="What happened this time, and what to do.")]
    instance: Annotated[str, Meta(description="The address that was asked.")]
    errors: Annotated[list[FieldError], Meta(description="Everything that is wrong; at most the first 100 of it.")]
