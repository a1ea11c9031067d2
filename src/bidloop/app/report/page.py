"""A report as one HTML file that needs nothing beside itself: no server, no network."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

import msgspec
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from bidloop.app.report.content import Report
from bidloop.app.terminal import figure


def render(report: Report) -> str:
    """The report as HTML; scripts, styles and data are inside it."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["figure"] = figure
    template = environment.from_string(_read("report.html"))
    # "</" inside a JSON string would end the script element.
    data = msgspec.json.encode(report).decode().replace("</", "<\\/")
    return template.render(
        report=report,
        data=Markup(data),
        style=Markup(_read("vendor/uplot/uPlot.min.css") + _read("report.css")),
        script=Markup(_read("vendor/uplot/uPlot.iife.min.js") + "\n" + _read("report.js")),
    )


def write(report: Report, path: Path) -> Path:
    """Write the report, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(render(report), encoding="utf-8")
    os.replace(temporary, path)
    return path


def _read(name: str) -> str:
    return resources.files("bidloop.app.report").joinpath(name).read_text(encoding="utf-8")
