"""The report of a run as a page."""

from __future__ import annotations

from pathlib import Path

import msgspec
from markupsafe import Markup

from bidloop.app import page
from bidloop.app.report.content import Report

_ROOM = "bidloop.app.report"


def render(report: Report) -> str:
    """The report as HTML; scripts, styles and data are inside it."""
    # "</" inside a JSON string would end the script element.
    data = msgspec.json.encode(report).decode().replace("</", "<\\/")
    return page.fill(
        _ROOM,
        "report.html",
        ("vendor/uplot/uPlot.min.css", "report.css"),
        report=report,
        data=Markup(data),
        script=Markup(page.text(_ROOM, "vendor/uplot/uPlot.iife.min.js") + "\n" + page.text(_ROOM, "report.js")),
    )


def write(report: Report, path: Path) -> Path:
    """Write the report, whole or not at all."""
    return page.write(render(report), path)
