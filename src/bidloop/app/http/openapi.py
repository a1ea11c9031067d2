"""The OpenAPI 3.1 description of the API, made from the JSON types and the kinds of problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from bidloop.app.http import problems, schema
from bidloop.app.http.problems import Kind

PREDICT = "/v1/predict"
BATCH = "/v1/predict/batch"
DECISION = "/v1/decisions/{id}"

JSON = "application/json"

EXAMPLE_CELL: dict[str, Any] = {
    "campaignId": "spring-shoes",
    "adGroupId": "running",
    "keyword": "trail running shoes",
    "device": "mobile",
    "location": "US-CA",
    "timeOfDay": 14,
    "budget": 500.0,
    "currentBid": 1.25,
    "historicalMetrics": {"ctr": 0.042, "conversionRate": 0.061, "spend": 1250.0, "impressions": 25000, "clicks": 1050},
}
EXAMPLE_BANNER: dict[str, Any] = {
    **EXAMPLE_CELL,
    "keyword": "",
    "timeOfDay": 20,
    "currentBid": 0,
    "auction": "first_price",
    "charge": "per_mille",
    "floor": 0.4,
    "attributes": {"domain": "news.example", "slot_size": "300x250"},
    "measures": {"slot_floor": 0.4},
}
EXAMPLE_ANSWER: dict[str, Any] = {
    "predictedCTR": 0.0431,
    "predictedConversionRate": 0.058,
    "confidenceInterval": {"lower": 0.0334, "upper": 0.0541},
    "recommendedBid": 1.3,
    "expectedROAS": 3.2,
    "modelVersion": "v4f1d2c9a0b73",
    "inferenceTimeMs": 1.312,
    "reasoning": ["The value of a click is 1.74 USD.", "device = mobile raises the predicted odds of a click by 50%."],
    "decisionId": "019ab3d0c2f4a1b2c3d4e5f60718293a",
    "confidenceLevel": 0.95,
    "measuredCoverage": 0.948,
    "bidStages": [
        {
            "name": "value",
            "before": 0.0,
            "after": 1.74,
            "code": "target_cpa",
            "sentence": "A click is worth 5.8% of 30 USD.",
        },
        {
            "name": "pacing",
            "before": 1.74,
            "after": 1.3,
            "code": "paced",
            "sentence": "The budget lets 75% of it through.",
        },
    ],
    "degraded": [],
}
EXAMPLE_PROBLEM: dict[str, Any] = {
    "type": "/docs#wrong-fields",
    "title": "The request has wrong fields",
    "status": 422,
    "detail": "2 things are wrong. The first: budget: found -5, expected a number from 0 to 1000000000000. "
    "Mend the fields named in `errors` and send again.",
    "instance": PREDICT,
    "errors": [
        {"path": "budget", "found": "-5", "expected": "a number from 0 to 1000000000000"},
        {"path": "historicalMetrics.ctr", "found": "1.7", "expected": "a number from 0 to 1"},
    ],
}


@dataclass(frozen=True)
class Operation:
    """One address with its method, what it takes and gives, and which problems it may answer with."""

    method: str
    path: str
    name: str
    summary: str
    description: str
    answer: Any
    takes: Any = None
    examples: tuple[tuple[str, Any], ...] = ()
    answer_example: Any = None
    media_type: str = JSON
    problems: tuple[Kind, ...] = ()


OPERATIONS = (
    Operation(
        "post",
        PREDICT,
        "predict",
        "Predict one cell and recommend its bid",
        "Every answer is a recorded decision. Without a model, or without any history, it comes from pooled rates and "
        "says so in `degraded`.",
        schema.PredictionResponse,
        schema.CampaignData,
        (("cell", EXAMPLE_CELL), ("banner", EXAMPLE_BANNER)),
        EXAMPLE_ANSWER,
        problems=(
            problems.WRONG_FIELDS,
            problems.NOT_JSON,
            problems.WRONG_MEDIA_TYPE,
            problems.TOO_LARGE,
            problems.UNAVAILABLE,
        ),
    ),
    Operation(
        "post",
        BATCH,
        "predictBatch",
        "Predict many cells",
        "Answers stand in the order of the cells, with `inferenceTimeMs` of the whole batch. `reasoning` leaves out "
        "what the model leaned on; the record tells it. If one cell is wrong, none is decided, and the path of each "
        "error begins with the row: `[3].historicalMetrics.ctr`.",
        list[schema.PredictionResponse],
        list[schema.CampaignData],
        (("cells", [EXAMPLE_CELL, EXAMPLE_BANNER]),),
        [EXAMPLE_ANSWER],
        problems=(
            problems.WRONG_FIELDS,
            problems.NOT_JSON,
            problems.WRONG_MEDIA_TYPE,
            problems.TOO_LARGE,
            problems.UNAVAILABLE,
        ),
    ),
    Operation(
        "get",
        DECISION,
        "decision",
        "Read the record of a decision",
        "What it was about, the features, the model, each stage of the bid and the propensity of the bid sent.",
        schema.DecisionRecord,
        problems=(problems.UNKNOWN_DECISION,),
    ),
    Operation("get", "/healthz", "health", "Whether the process is up", "For liveness probes.", schema.Health),
    Operation(
        "get",
        "/readyz",
        "readiness",
        "Whether decisions can be made and recorded",
        "For readiness probes. Without a model it is ready and `degraded`.",
        schema.Readiness,
        problems=(problems.UNAVAILABLE,),
    ),
    Operation(
        "get",
        "/metrics",
        "metrics",
        "Figures for Prometheus",
        "Requests, durations, decisions, degraded answers by reason, and the model that serves.",
        str,
        media_type="text/plain",
    ),
    Operation("get", "/openapi.json", "openapi", "This description", "OpenAPI 3.1.", dict[str, Any]),
    Operation("get", "/docs", "docs", "This description as a page", "For people.", str, media_type="text/html"),
)


def description(version: str, *, max_batch: int, max_body_bytes: int) -> dict[str, Any]:
    """The OpenAPI 3.1 document.

    Parameters
    ----------
    version
        Version of the package.
    max_batch, max_body_bytes
        The limits in force.

    Examples
    --------
    >>> sorted(description("1.0", max_batch=1000, max_body_bytes=2_000_000)["paths"])[-2:]
    ['/v1/predict', '/v1/predict/batch']
    """
    types = [kind for operation in OPERATIONS for kind in (operation.takes, operation.answer) if kind is not None]
    types.append(schema.Problem)
    shapes, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    shape = dict(zip(map(repr, types), shapes, strict=True))
    cells = {**shape[repr(list[schema.CampaignData])], "maxItems": max_batch}
    shape[repr(list[schema.CampaignData])] = cells
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, shape)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bidloop prediction API",
            "version": version,
            "description": "Click and conversion rates with intervals, and the bids that follow from them. Amounts are "
            f"decimals in the account's currency. A body has at most {max_body_bytes} bytes.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(operation: Operation, shape: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"schema": shape[repr(operation.answer)]}
    if operation.answer_example is not None:
        answer["example"] = operation.answer_example
    told: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.description,
        "responses": {
            "200": {"description": "The answer.", "content": {operation.media_type: answer}},
            **_problem_responses(operation.problems, shape[repr(schema.Problem)]),
        },
    }
    if operation.takes is not None:
        examples = {name: {"value": value} for name, value in operation.examples}
        told["requestBody"] = {
            "required": True,
            "content": {JSON: {"schema": shape[repr(operation.takes)], "examples": examples}},
        }
    if "{id}" in operation.path:
        told["parameters"] = [
            {
                "name": "id",
                "in": "path",
                "required": True,
                "description": "The `decisionId` of an answer.",
                "schema": {"type": "string"},
            }
        ]
    return told


def _problem_responses(kinds: Sequence[Kind], shape: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for kind in kinds:
        content: dict[str, Any] = {"schema": shape}
        if kind.status == problems.WRONG_FIELDS.status:
            content["example"] = EXAMPLE_PROBLEM
        before = responses.get(str(kind.status))
        title = f"{before['description'].removesuffix('.')}, or: {kind.title}." if before else f"{kind.title}."
        responses[str(kind.status)] = {"description": title, "content": {problems.MEDIA_TYPE: content}}
    return responses
