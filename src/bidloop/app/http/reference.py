"""The API's description as one page for people: no script, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from bidloop.app.http.examples import EXAMPLE_CELL, EXAMPLE_EVENT
from bidloop.app.http.openapi import OPERATIONS, Operation
from bidloop.app.http.problems import KINDS

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h3 { margin-top: 2rem; }
code, pre { font: 14px/1.4 ui-monospace, monospace; }
pre { overflow-x: auto; padding: 0.75rem; border: 1px solid #8886; border-radius: 4px; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.75rem 0.3rem 0; border-bottom: 1px solid #8884; }
td span { opacity: 0.7; font-size: 0.85em; }
dt:target, h3:target { outline: 2px solid currentColor; outline-offset: 4px; }
"""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def page(document: dict[str, Any]) -> str:
    """The reference page of an OpenAPI document, as HTML."""
    environment = Environment(
        loader=PackageLoader("bidloop.app.http", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["marked"] = marked
    return environment.get_template("reference.html").render(
        info=document["info"],
        style=STYLE,
        example=json.dumps(EXAMPLE_CELL),
        event=json.dumps(EXAMPLE_EVENT),
        operations=[_operation(document, operation) for operation in OPERATIONS],
        types=[
            (name, _type(shape))
            for name, shape in document["components"]["schemas"].items()
            if "properties" in shape or "oneOf" in shape
        ],
        kinds=KINDS,
    )


def marked(text: str) -> Markup:
    """Text with what stands between backticks set as code.

    >>> print(marked("`a < b` & c"))
    <code>a &lt; b</code> &amp; c
    """
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _operation(document: dict[str, Any], operation: Operation) -> dict[str, Any]:
    told = document["paths"][operation.path][operation.method]
    takes = told.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    gives = told["responses"]["200"]["content"].get("application/json", {}).get("schema")
    return {
        "method": operation.method,
        "path": operation.path,
        "summary": told["summary"],
        "description": told["description"],
        "takes": takes and words(takes),
        "gives": gives and words(gives),
        "parameters": [(one["name"], one["description"]) for one in told.get("parameters", [])],
        "scope": operation.scope,
        "problems": operation.all_problems,
    }


def _type(shape: dict[str, Any]) -> dict[str, Any]:
    required = shape.get("required", [])
    fields = [
        {"name": name, "type": words(field), "description": field.get("description", ""), "required": name in required}
        for name, field in shape.get("properties", {}).items()
    ]
    kinds = [words(one) for one in shape.get("oneOf", [])]
    return {"description": shape.get("description", ""), "fields": fields, "kinds": kinds}


def words(shape: dict[str, Any]) -> str:
    """A JSON schema in few words.

    >>> words({"type": "array", "items": {"$ref": "#/components/schemas/Stage"}, "maxItems": 3})
    'list of Stage, at most 3'
    >>> words({"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "null"}]})
    'number from 0 to 1, or null'
    """
    if "$ref" in shape:
        return str(shape["$ref"]).rpartition("/")[2]
    if alternatives := shape.get("anyOf") or shape.get("oneOf"):
        return ", or ".join(words(part) for part in alternatives)
    if "enum" in shape:
        return " or ".join(json.dumps(value) for value in shape["enum"])
    kind = str(shape.get("type", "value"))
    if kind == "array":
        most = f", at most {shape['maxItems']}" if "maxItems" in shape else ""
        return f"list of {words(shape['items'])}{most}"
    if kind == "object":
        return (
            f"object of {words(shape['additionalProperties'])}"
            if isinstance(shape.get("additionalProperties"), dict)
            else kind
        )
    if "minimum" in shape and "maximum" in shape:
        return f"{kind} from {shape['minimum']} to {shape['maximum']:.0f}"
    return (
        f"text of at most {shape['maxLength']} characters" if "maxLength" in shape else kind.replace("string", "text")
    )
