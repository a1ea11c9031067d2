"""One HTML file that needs nothing beside itself: no server, no network."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from bidloop.app.terminal import figure


def fill(room: str, template: str, styles: tuple[str, ...], **facts: object) -> str:
    """A page as HTML, in the house's style and its own.

    Parameters
    ----------
    room
        The package that has the template and the styles.
    facts
        What the template names. All but `markupsafe.Markup` is escaped.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["figure"] = figure
    style = "".join((text("bidloop.app", "page.css"), *(text(room, name) for name in styles)))
    return environment.from_string(text(room, template)).render(style=Markup(style), **facts)


def write(html: str, path: Path) -> Path:
    """Write a page, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(html, encoding="utf-8")
    os.replace(temporary, path)
    return path


def text(room: str, name: str) -> str:
    """A text file of a package."""
    return resources.files(room).joinpath(name).read_text(encoding="utf-8")
