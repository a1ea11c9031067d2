"""Options that many commands share, and the settings that follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bidloop.app.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Home = Annotated[
    Path | None, typer.Option("--home", help="Folder for database, history, models, reports. [default: .bidloop]")
]
Config = Annotated[Path | None, typer.Option("--config", help="Settings file. [default: bidloop.toml if there is one]")]


def settings_of(config: Path | None, home: Path | None, **overrides: object) -> Settings:
    """The settings that the options ask for."""
    from bidloop.app.settings import load_settings

    if home is not None:
        overrides["home"] = str(home)
    return load_settings(config, overrides=overrides)
