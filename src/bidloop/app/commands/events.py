"""`bidloop events`: what can be told, and how long it stays."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bidloop.app.commands.options import Config, Home, Json, settings_of

app = typer.Typer(no_args_is_help=True, help="What can be told, what was told, and how long it stays.")


@app.command()
def schema(
    name: Annotated[str, typer.Argument(metavar="[TYPE]", help="An event type. [default: all]")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write one file per type to, in place of printing.")
    ] = None,
) -> None:
    """Print the JSON Schema of an event type, or of all."""
    import msgspec

    from bidloop.events.json_schema import json_schema
    from bidloop.events.told import TOLD_TYPES

    schemas = {kind: json_schema(kind) for kind in ([name] if name else TOLD_TYPES)}
    if output is None:
        shown = schemas[name] if name else schemas
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode() + "\n")
        return
    output.mkdir(parents=True, exist_ok=True)
    for kind, one in schemas.items():
        (output / f"{kind}.json").write_bytes(msgspec.json.format(msgspec.json.encode(one), indent=2) + b"\n")


@app.command()
def counts(home: Home = None, config: Config = None, as_json: Json = False) -> None:
    """Count the events in the log by type, and the rows in the quarantine by code."""
    from bidloop.app.terminal import print_json, print_table
    from bidloop.app.wiring import open_house

    house = open_house(settings_of(config, home))
    told, kept = house.log.counts(), house.quarantine.counts()
    if as_json:
        print_json({"events": told, "quarantine": kept})
        return
    print_table("Events", [{"type": kind, "events": count} for kind, count in told.items()])
    print_table("Quarantine", [{"code": code, "rows": count} for code, count in kept.items()])


@app.command()
def prune(
    days: Annotated[
        int | None, typer.Option(min=1, help="Days to keep, counted from writing. [default: events.retention_days]")
    ] = None,
    home: Home = None,
    config: Config = None,
) -> None:
    """Drop events that were written longer ago than retention keeps them; their ids stay known, so none comes back."""
    from bidloop.app import upkeep
    from bidloop.app.terminal import out
    from bidloop.app.wiring import open_house
    from bidloop.core.errors import ConfigurationError

    settings = settings_of(config, home)
    keep = days or settings.events.retention_days
    if not keep:
        raise ConfigurationError(
            "no retention", expected="events.retention_days in the settings, or --days", remedy="Say how long to keep."
        )
    dropped = upkeep.prune(open_house(settings), keep)
    out.print(f"{dropped:,} events of more than {keep} days ago dropped from the database.")
