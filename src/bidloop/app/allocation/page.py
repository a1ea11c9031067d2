"""The page of an allocation, with no script."""

from __future__ import annotations

from pathlib import Path

from bidloop.app import page
from bidloop.app.allocation.content import Advice
from bidloop.app.allocation.drawing import chart
from bidloop.app.terminal import percent

DRAWN = 24
"""Campaigns whose curve is drawn: those with the largest change of spend. All are in the table."""


def render(advice: Advice) -> str:
    """The page as HTML."""
    largest = sorted(advice.campaigns, key=lambda one: -abs(one.allocated.micros - one.today.micros))[:DRAWN]
    names = {one.campaign for one in largest}
    drawn = [one for one in advice.campaigns if one.campaign in names]
    return page.fill(
        "bidloop.app.allocation",
        "page.html",
        ("page.css",),
        advice=advice,
        outcome=advice.objective,
        percent=percent,
        charts=[(one, chart(one, advice.objective)) for one in drawn],
    )


def write(advice: Advice, path: Path) -> Path:
    """Write the page, whole or not at all."""
    return page.write(render(advice), path)
