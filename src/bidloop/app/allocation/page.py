"""The page of an allocation: one HTML file that needs nothing beside itself, and no script."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from bidloop.app.allocation.content import Advice
from bidloop.app.allocation.drawing import chart
from bidloop.app.terminal import figure

DRAWN = 24
"""Campaigns whose curve is drawn: those with the largest change of spend. All are in the table."""


def render(advice: Advice) -> str:
    """The page as HTML."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["figure"] = figure
    environment.filters["percent"] = percent
    largest = sorted(advice.campaigns, key=lambda one: -abs(one.allocated.micros - one.today.micros))[:DRAWN]
    names = {one.campaign for one in largest}
    drawn = [one for one in advice.campaigns if one.campaign in names]
    outcome = "value" if advice.objective == "value" else advice.objective
    return environment.from_string(_read("page.html")).render(
        advice=advice,
        outcome=outcome,
        charts=[(one, chart(one, outcome)) for one in drawn],
        style=Markup(_read("page.css")),
    )


def write(advice: Advice, path: Path) -> Path:
    """Write the page, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(render(advice), encoding="utf-8")
    os.replace(temporary, path)
    return path


def percent(change: float | None) -> str:
    """A relative change in percent.

    >>> percent(0.253), percent(-0.5), percent(-0.001), percent(None)
    ('+25 %', '−50 %', '0 %', 'new')
    """
    if change is None:
        return "new"
    return "0 %" if abs(change) < 0.005 else f"{100 * change:+.0f} %".replace("-", "−")


def _read(name: str) -> str:
    return resources.files("bidloop.app.allocation").joinpath(name).read_text(encoding="utf-8")
