"""`bidloop privacy`: what is known of a person, and forgetting them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bidloop.app.commands.options import Config, Home, Json, settings_of

app = typer.Typer(no_args_is_help=True, help="What is known of a person, and forgetting them.")

User = Annotated[str, typer.Argument(help="The user's id as your systems know it; a file or a log never sees it.")]
Device = Annotated[bool, typer.Option("--device", help="USER is a device's id.")]


@app.command()
def export(
    user: User,
    device: Device = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write to. [default: standard output]")
    ] = None,
    home: Home = None,
    config: Config = None,
) -> None:
    """Write all that is known of a person as NDJSON: their events, those of their linked devices, their decisions."""
    from bidloop.app.forgetting import export_person
    from bidloop.app.terminal import err
    from bidloop.app.wiring import open_house

    lines = export_person(open_house(settings_of(config, home)), user, "device_id" if device else "user_id")
    if output is None:
        sys.stdout.buffer.writelines(line + b"\n" for line in lines)
    else:
        output.write_bytes(b"".join(line + b"\n" for line in lines))
    err.print(f"Records: {len(lines):,}")


@app.command()
def erase(
    user: User,
    device: Device = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Forget a person: what they did is deleted, and they are left out of what happened to ads. There is no way back."""
    from bidloop.app.forgetting import erase_person
    from bidloop.app.terminal import print_json, print_table
    from bidloop.app.wiring import open_house

    if not yes:
        typer.confirm("This deletes what is known of this person for good. Go on?", abort=True)
    erased = erase_person(open_house(settings_of(config, home)), user, "device_id" if device else "user_id")
    if as_json:
        print_json(erased)
        return
    print_table("Erased", [{"where": where, "records": count} for where, count in erased.items()])


@app.command("new-key")
def new_key(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Go on with the present key file, although the database was written with another one.

    From then on the same people get other pseudonyms, and what the old key sealed stays shut.
    """
    from bidloop.app.terminal import out
    from bidloop.app.wiring import open_house

    if not yes:
        typer.confirm("People who are known will not be recognised any more. Go on?", abort=True)
    open_house(settings_of(config, home), new_key=True)
    out.print("The present key holds from now on.")
