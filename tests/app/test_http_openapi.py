"""The OpenAPI description tells the truth: about what is taken, what is given, and its own examples."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest

from bidloop.app.http.openapi import OPERATIONS, description
from bidloop.events.told import TOLD_TYPES

DOCUMENT = description("0", max_batch=50, max_body_bytes=50_000, max_events=10_000)


def violations(value: Any, schema: dict[str, Any], document: dict[str, Any], path: str = "$") -> list[str]:
    """Where a value breaks a JSON schema; of the 2020-12 vocabulary as much as the description uses."""
    known = {"$ref", "anyOf", "type", "enum", "title", "description", "examples", "default", "properties", "required"}
    known |= {"additionalProperties", "propertyNames", "maxProperties", "items", "maxItems", "minimum", "maximum"}
    known |= {"exclusiveMinimum", "minLength", "maxLength", "pattern", "format", "oneOf", "discriminator"}
    assert schema.keys() <= known, f"the test does not know {schema.keys() - known}"
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].removeprefix("#/components/schemas/")]
        return violations(value, schema, document, path)
    if "anyOf" in schema:
        tried = [violations(value, one, document, path) for one in schema["anyOf"]]
        return [] if any(not one for one in tried) else [line for one in tried for line in one]
    if "oneOf" in schema:
        tried = [violations(value, one, document, path) for one in schema["oneOf"]]
        fitting = sum(not one for one in tried)
        return [] if fitting == 1 else [f"{path}: fits {fitting} of the alternatives"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{path}: {value!r} is none of {schema['enum']}"]
    if "type" in schema and not is_of(value, schema["type"]):
        return [f"{path}: {value!r} is no {schema['type']}"]
    found = []
    if isinstance(value, dict):
        properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        found += [f"{path}: {name} is missing" for name in schema.get("required", []) if name not in value]
        found += [f"{path}: too many"] if len(value) > schema.get("maxProperties", math.inf) else []
        for name, inner in value.items():
            here = properties.get(name, more)
            if here is False:
                found.append(f"{path}: {name} is not described")
            elif isinstance(here, dict):
                found += violations(inner, here, document, f"{path}.{name}")
            found += violations(name, schema.get("propertyNames", {}), document, f"{path}.{name}")
    if isinstance(value, list):
        found += [f"{path}: too many"] if len(value) > schema.get("maxItems", math.inf) else []
        for i, item in enumerate(value):
            found += violations(item, schema.get("items", {}), document, f"{path}[{i}]")
    if isinstance(value, int | float) and not isinstance(value, bool):
        inside = schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf)
        found += (
            [] if inside and value > schema.get("exclusiveMinimum", -math.inf) else [f"{path}: {value} is out of range"]
        )
    if isinstance(value, str):
        fits = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf)
        found += [] if fits and re.search(schema.get("pattern", ""), value) else [f"{path}: {value!r} does not fit"]
        if schema.get("format") == "date-time":
            found += [] if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value) else [f"{path}: no time"]
    return found


def is_of(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    kinds = {"object": dict, "array": list, "string": str, "null": type(None), "integer": int, "number": (int, float)}
    return kind in kinds and isinstance(value, kinds[kind])


def closed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with answers held to the fields that it names."""
    shut = json.loads(json.dumps(document))
    for shape in shut["components"]["schemas"].values():
        if "properties" in shape:
            shape.setdefault("additionalProperties", False)
    return shut


def schema_of(document: dict[str, Any], path: str, method: str, status: str = "200") -> dict[str, Any]:
    [content] = document["paths"][path][method]["responses"][status]["content"].values()
    return content["schema"]


def test_the_served_description_is_openapi_3_1_of_every_address_that_is_served(api):
    document = api.client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    served = {(path, method) for path, item in document["paths"].items() for method in item}
    assert served == {(operation.path, operation.method) for operation in OPERATIONS}
    for path, method in served:
        answer = api.client.request(method.upper(), path)
        assert answer.status_code not in (404, 405) or answer.json()["type"] == "/docs#unknown-decision"


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.examples], ids=lambda o: o.name)
def test_example_requests_fit_the_description_and_are_answered_as_described(api, operation):
    content = DOCUMENT["paths"][operation.path][operation.method]["requestBody"]["content"]["application/json"]
    for example in content["examples"].values():
        assert violations(example["value"], content["schema"], DOCUMENT) == []
        answer = api.client.post(operation.path, json=example["value"])
        assert answer.status_code == 200
        assert violations(answer.json(), schema_of(DOCUMENT, operation.path, operation.method), closed(DOCUMENT)) == []


def test_example_answers_fit_the_description():
    checked = 0
    for operation in OPERATIONS:
        for response in DOCUMENT["paths"][operation.path][operation.method]["responses"].values():
            [content] = response["content"].values()
            if "example" in content:
                assert violations(content["example"], content["schema"], closed(DOCUMENT)) == []
                checked += 1
    assert checked >= 4


def test_a_decision_and_the_probes_are_told_as_described(api):
    decision_id = api.predict().json()["decisionId"]
    for address, path in [
        (f"/v1/decisions/{decision_id}", "/v1/decisions/{id}"),
        ("/healthz", "/healthz"),
        ("/readyz", "/readyz"),
        ("/openapi.json", "/openapi.json"),
    ]:
        answer = api.client.get(address)
        assert answer.status_code == 200
        assert violations(answer.json(), schema_of(DOCUMENT, path, "get"), closed(DOCUMENT)) == []


def test_problems_are_told_as_described_and_like_the_example(api, cell):
    metrics = cell["historicalMetrics"] | {"ctr": 1.7}
    told = api.predict(budget=-5, historicalMetrics=metrics)
    answers = [
        ("/v1/predict", "post", told),
        ("/v1/predict", "post", api.send(b"{")),
        ("/v1/predict", "post", api.send(b" " * 60_000)),
        ("/v1/predict", "post", api.client.post("/v1/predict", content=b"{}")),
        ("/v1/decisions/{id}", "get", api.client.get("/v1/decisions/nosuch")),
        ("/v1/events", "post", api.send(b"[", "/v1/events")),
        ("/v1/events", "post", api.client.post("/v1/events", content=b"{}")),
        ("/v1/events", "post", api.tell({}, **{"Content-Encoding": "gzip"})),
    ]
    for path, method, answer in answers:
        schema = schema_of(DOCUMENT, path, method, str(answer.status_code))
        assert violations(answer.json(), schema, closed(DOCUMENT)) == []
    rejected = api.tell({"type": "click_received"}, {"type": "clck"})
    assert violations(rejected.json(), schema_of(DOCUMENT, "/v1/events", "post"), closed(DOCUMENT)) == []
    example = DOCUMENT["paths"]["/v1/predict"]["post"]["responses"]["422"]["content"]["application/problem+json"][
        "example"
    ]
    assert told.json() == example


def test_every_event_type_is_described_and_told_apart_by_its_name(api, click):
    event = DOCUMENT["components"]["schemas"]["Event"]
    named = event["discriminator"]["mapping"]
    assert named.keys() == TOLD_TYPES.keys()
    assert {one["$ref"] for one in event["oneOf"]} == set(named.values())
    for name, reference in named.items():
        shape = DOCUMENT["components"]["schemas"][reference.removeprefix("#/components/schemas/")]
        assert shape["properties"]["type"]["enum"] == [name]
    assert violations(click("e"), event, DOCUMENT) == []
    assert violations(click("e", impressionId=5), event, DOCUMENT)
    assert violations(click("e", type="click"), event, DOCUMENT)


@pytest.mark.parametrize(
    "change",
    [
        {"budget": -1},
        {"timeOfDay": 24},
        {"campaignId": ""},
        {"device": "a\nb"},
        {"other": 1},
        {"auction": "x"},
        {"keyword": "x" * 513},
    ],
)
def test_what_the_description_forbids_the_server_refuses(api, cell, change):
    schema = DOCUMENT["paths"]["/v1/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert violations(cell | change, schema, DOCUMENT)
    assert api.predict(**change).status_code == 422


def test_the_reference_page_tells_every_address_and_loads_nothing(api):
    answer = api.client.get("/docs")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    for operation in OPERATIONS:
        assert operation.path in answer.text
    assert not re.search(r"<script|<link|<img|src=|https?://(?!localhost)", answer.text)


def test_the_reference_pages_style_is_the_one_its_policy_allows(api):
    import base64
    import hashlib

    answer = api.client.get("/docs")
    [style] = re.findall(r"<style>(.*?)</style>", answer.text, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in answer.headers["Content-Security-Policy"]
