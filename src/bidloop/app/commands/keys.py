"""`bidloop keys`: who may use the API."""

from __future__ import annotations

from typing import Annotated

import typer

from bidloop.app.commands.options import Config, Home, Json, settings_of

app = typer.Typer(no_args_is_help=True, help="Who may use the API, and for what.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, in words.")],
    scope: Annotated[
        list[str],
        typer.Option(help="'ingest' to tell events, 'predict' to ask for bids, 'admin' for all; may be repeated."),
    ],
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make a key. Its token is shown once, and kept nowhere."""
    from bidloop.app.terminal import err, out, print_json
    from bidloop.app.wiring import open_house
    from bidloop.core.api_key import new_key

    house = open_house(settings_of(config, home))
    key, token = new_key(name, scope, house.clock.now())
    house.keys.add(key)
    if as_json:
        print_json({"id": key.key_id, "name": key.name, "scopes": key.scopes, "token": token})
        return
    out.print(token, markup=False, soft_wrap=True)
    err.print(
        f"The token of key {key.key_id} ({', '.join(key.scopes)}). It is shown this once; put it in a safe place."
    )


@app.command(name="list")
def list_(home: Home = None, config: Config = None, as_json: Json = False) -> None:
    """Show the keys, without their tokens, which nobody has but their owners."""
    from bidloop.app.terminal import print_json, print_table
    from bidloop.app.wiring import open_house

    rows = [
        {
            "id": key.key_id,
            "name": key.name,
            "scopes": ", ".join(key.scopes),
            "created": key.created_at.isoformat(timespec="seconds"),
            "revoked": key.revoked_at.isoformat(timespec="seconds") if key.revoked_at else "",
        }
        for key in open_house(settings_of(config, home)).keys.list()
    ]
    if as_json:
        print_json(rows)
    else:
        print_table("API keys", rows)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `bidloop keys list` shows it.")],
    home: Home = None,
    config: Config = None,
) -> None:
    """Have a key open nothing any more. Running servers know it within seconds."""
    from bidloop.app.terminal import err
    from bidloop.app.wiring import open_house

    house = open_house(settings_of(config, home))
    key = house.keys.revoke(key_id, house.clock.now())
    err.print(f"Key {key.key_id} of {key.name!r} opens nothing any more.", markup=False)
