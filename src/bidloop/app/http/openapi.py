"""The OpenAPI 3.1 description of the API, made from the JSON types and the kinds of problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from bidloop.app.http import event_schema, problems, schema
from bidloop.app.http.examples import (
    EXAMPLE_ANSWER,
    EXAMPLE_BANNER,
    EXAMPLE_CELL,
    EXAMPLE_EVENT,
    EXAMPLE_PROBLEM,
    EXAMPLE_TAKEN,
    EXAMPLE_VIEW,
)
from bidloop.app.http.incoming import JSON, LINES
from bidloop.app.http.problems import Kind
from bidloop.core.api_key import Scope

PREDICT = "/v1/predict"
BATCH = "/v1/predict/batch"
DECISION = "/v1/decisions/{id}"
EVENTS = "/v1/events"
PIXEL = "/v1/pixel.gif"

KEY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The token of an API key; needed where keys are."},
    "query": {"type": "apiKey", "in": "query", "name": "key", "description": "The same in the address of a pixel."},
}


@dataclass(frozen=True)
class Parameter:
    """One word in the query of an address, or all words of any name."""

    name: str
    description: str
    schema: dict[str, Any]


_OF_KEYS = (problems.NO_KEY, problems.WRONG_SCOPE, problems.TOO_FAST, problems.KEYS_UNREAD)


@dataclass(frozen=True)
class Operation:
    """One address with its method, what it takes and gives, who may ask, and which problems it may answer with."""

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
    parameters: tuple[Parameter, ...] = ()
    scope: Scope | None = None

    @property
    def all_problems(self) -> tuple[Kind, ...]:
        """Its problems, with those that every address has that asks for a key."""
        return (
            *self.problems,
            *(_OF_KEYS if self.scope else ()),
        )


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
        scope="predict",
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
        scope="predict",
    ),
    Operation(
        "get",
        DECISION,
        "decision",
        "Read the record of a decision",
        "What it was about, the features, the model, each stage of the bid and the propensity of the bid sent.",
        schema.DecisionRecord,
        problems=(problems.UNKNOWN_DECISION,),
        scope="predict",
    ),
    Operation(
        "post",
        EVENTS,
        "events",
        "Tell what happened",
        "One event, a list of them, or one a line (`application/x-ndjson`), as they are or with `Content-Encoding: gzip`. Each "
        "is answered for itself: a bad one costs no other. What is `accepted` is on the disk, and has its effect once, however "
        "often it is sent. `Prefer: return=minimal` is the same as `verbose=false`.",
        event_schema.EventsAnswer,
        event_schema.ToldEvent,
        (("event", EXAMPLE_EVENT), ("events", [EXAMPLE_EVENT, EXAMPLE_VIEW])),
        EXAMPLE_TAKEN,
        problems=(
            problems.WRONG_FIELDS,
            problems.NOT_JSON,
            problems.NOT_GZIP,
            problems.WRONG_MEDIA_TYPE,
            problems.TOO_LARGE,
            problems.BEHIND,
            problems.EVENTS_UNAVAILABLE,
        ),
        parameters=(
            Parameter(
                "verbose", "Whether the answer names every event, or the rejected ones alone.", {"type": "boolean"}
            ),
        ),
        scope="ingest",
    ),
    Operation(
        "get",
        PIXEL,
        "pixel",
        "Tell what happened by an image",
        "For pages and e-mails without a script. The answer is always the same transparent image; its header `X-Bidloop` says "
        "what became of the event. Type, id, time and page are filled in where the query does not tell them.",
        str,
        media_type="image/gif",
        parameters=(
            Parameter("type", "The event's type; `page_viewed` if left out.", {"type": "string"}),
            Parameter("key", "The token of a key for `ingest`, where keys are required.", {"type": "string"}),
            Parameter(
                "fields",
                "Any further fields of that type, by their names.",
                {"type": "object", "additionalProperties": {"type": "string"}},
            ),
        ),
    ),
    Operation("get", "/healthz", "health", "Whether the process is up", "For liveness probes.", schema.Health),
    Operation(
        "get",
        "/readyz",
        "readiness",
        "Whether decisions can be made and recorded",
        "For readiness probes. Without a model it is ready and `degraded`; `takesEvents` says whether events are taken in.",
        schema.Readiness,
        problems=(problems.UNAVAILABLE,),
    ),
    Operation(
        "get",
        "/metrics",
        "metrics",
        "Figures for Prometheus",
        "Requests, durations, decisions, degraded answers by reason, events, and the model that serves. It asks for a key "
        'where `http.keys` is "required", and where keys are asked for and the server is reached from other machines.',
        str,
        media_type="text/plain",
        scope="admin",
    ),
    Operation("get", "/openapi.json", "openapi", "This description", "OpenAPI 3.1.", dict[str, Any]),
    Operation("get", "/docs", "docs", "This description as a page", "For people.", str, media_type="text/html"),
)


def description(version: str, *, max_batch: int, max_body_bytes: int, max_events: int) -> dict[str, Any]:
    """The OpenAPI 3.1 document.

    Parameters
    ----------
    version
        Version of the package.
    max_batch, max_body_bytes, max_events
        The limits in force.

    Examples
    --------
    >>> document = description("1.0", max_batch=1000, max_body_bytes=2_000_000, max_events=10_000)
    >>> [path for path in document["paths"] if "predict" in path]
    ['/v1/predict', '/v1/predict/batch']
    """
    types = [kind for operation in OPERATIONS for kind in (operation.takes, operation.answer) if kind is not None]
    types.append(schema.Problem)
    shapes, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    shape = dict(zip(map(repr, types), shapes, strict=True))
    cells = {**shape[repr(list[schema.CampaignData])], "maxItems": max_batch}
    shape[repr(list[schema.CampaignData])] = cells
    event = shape[repr(event_schema.ToldEvent)]
    components["Event"] = {"oneOf": event["anyOf"], "discriminator": event["discriminator"]}
    one = {"$ref": "#/components/schemas/Event"}
    many = {"type": "array", "items": one, "maxItems": max_events}
    shape[repr(event_schema.ToldEvent)] = {"oneOf": [one, many]}
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, shape)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bidloop API",
            "version": version,
            "description": "Tell what happened; ask for click and conversion rates with intervals, and the bids that follow "
            "from them. Amounts are decimals in the account's currency. A request for predictions has at most "
            f"{max_body_bytes:,} bytes, one with events at most {max_events:,} of them.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": KEY_SCHEMES},
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
            **_problem_responses(operation, shape[repr(schema.Problem)]),
        },
    }
    if operation.takes is not None:
        examples = {name: {"value": value} for name, value in operation.examples}
        content: dict[str, Any] = {JSON: {"schema": shape[repr(operation.takes)], "examples": examples}}
        if operation.takes is event_schema.ToldEvent:
            content[LINES] = {"schema": {"type": "string", "description": "One Event a line."}}
        told["requestBody"] = {"required": True, "content": content}
    if parameters := _parameters(operation):
        told["parameters"] = parameters
    if operation.scope:
        told["security"] = [{}, {"bearer": []}]
    elif operation.path == PIXEL:
        told["security"] = [{}, {"bearer": []}, {"query": []}]
    return told


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": one.name, "in": "query", "description": one.description, "schema": one.schema}
        for one in operation.parameters
    ]
    if "{id}" in operation.path:
        told = "The `decisionId` of an answer."
        parameters.append(
            {"name": "id", "in": "path", "required": True, "description": told, "schema": {"type": "string"}}
        )
    return parameters


def _problem_responses(operation: Operation, shape: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for kind in operation.all_problems:
        content: dict[str, Any] = {"schema": shape}
        if kind.status == problems.WRONG_FIELDS.status and operation.scope == "predict":
            content["example"] = EXAMPLE_PROBLEM
        before = responses.get(str(kind.status))
        title = f"{before['description'].removesuffix('.')}, or: {kind.title}." if before else f"{kind.title}."
        responses[str(kind.status)] = {"description": title, "content": {problems.MEDIA_TYPE: content}}
    return responses
