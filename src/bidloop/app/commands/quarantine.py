"""`bidloop quarantine`: what made no sense, why, and what can be done about it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bidloop.app.commands.options import Config, Home, Json, settings_of

app = typer.Typer(no_args_is_help=True, help="What made no sense, why, and what became of it.")

Code = Annotated[str, typer.Option(help="Only rows of this code, such as 'wrong_currency'.")]


@app.command("list")
def list_rows(
    code: Code = "",
    limit: Annotated[int, typer.Option(min=1, help="Most rows shown, newest first.")] = 50,
    replayed: Annotated[bool, typer.Option("--all", help="Also rows that wait no longer.")] = False,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List the rows that wait, newest first, and count them by code."""
    from bidloop.app.terminal import out, print_json, print_table
    from bidloop.app.wiring import open_house

    quarantine = open_house(settings_of(config, home)).quarantine
    rows = quarantine.list(limit, code=code, state=None if replayed else "waiting")
    counts = quarantine.counts()
    listed = [
        {
            "id": kept.id,
            "code": kept.row.code,
            "reason": kept.row.reason,
            "source": kept.row.source + (f":{kept.row.position}" if kept.row.position else ""),
            "at": kept.row.at.isoformat(timespec="seconds") if kept.row.at else "",
            "state": kept.state,
        }
        for kept in rows
    ]
    if as_json:
        print_json({"counts": counts, "rows": listed})
        return
    if not counts and not listed:
        out.print("Nothing waits in the quarantine.")
        return
    print_table("Waiting", [{"code": name, "rows": count} for name, count in counts.items()])
    print_table(f"The newest {len(listed)}", [{**row, "id": row["id"][:12]} for row in listed])
    out.print("'bidloop quarantine show ID' shows one with its bytes.")


@app.command()
def show(
    id: Annotated[str, typer.Argument(help="A row's id, or its first letters.")],
    raw: Annotated[bool, typer.Option("--raw", help="Print the row's bytes alone, as they came.")] = False,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show one row: what was wrong, and the bytes as they came. They may name a person."""
    from rich.markup import escape

    from bidloop.app.terminal import out, print_json
    from bidloop.app.wiring import open_house

    kept = open_house(settings_of(config, home)).quarantine.get(id)
    if raw:
        sys.stdout.buffer.write(kept.row.raw)
        return
    if as_json:
        text = kept.row.raw.decode(errors="backslashreplace")
        print_json({"id": kept.id, "state": kept.state, "raw": text, **_described(kept.row)})
        return
    out.print(f"[bold]{kept.id}[/bold] ({kept.state})")
    for name, value in _described(kept.row).items():
        out.print(f"  {name:9} {escape(str(value))}")
    out.print(f"\n{escape(_visible(kept.row.raw)) or '(its bytes were not kept)'}")


@app.command()
def replay(
    ids: Annotated[list[str] | None, typer.Argument(help="Rows to try again. [default: all that wait]")] = None,
    code: Code = "",
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Take rows in after a fix. What still makes no sense stays; doing it twice changes nothing."""
    from collections import Counter

    from bidloop.app.terminal import print_json, print_table, progress
    from bidloop.app.wiring import open_house
    from bidloop.events.replaying import Replay

    house = open_house(settings_of(config, home))
    waiting = house.quarantine.list(sys.maxsize, code=code)[::-1]  # in the order in which they came
    rows = [house.quarantine.get(one) for one in ids] if ids else waiting
    with progress("Replaying", max(1, len(rows))) as bar:
        replay = Replay(house.quarantine, house.reception, house.intake, house.seal)
        done = replay.replay(rows, lambda count: bar(count, ""))
    results = Counter(verdict.code or verdict.status for one in done for verdict in one.verdicts)
    if as_json:
        told = [
            {"id": one.kept.id, "settled": one.settled, "verdicts": [v.code or v.status for v in one.verdicts]}
            for one in done
        ]
        print_json({"results": dict(results), "rows": told})
        return
    print_table(f"Replayed {len(rows):,} rows", [{"result": name, "events": n} for name, n in sorted(results.items())])


@app.command()
def dismiss(
    ids: Annotated[list[str] | None, typer.Argument(help="Rows that will never be taken in.")] = None,
    code: Code = "",
    home: Home = None,
    config: Config = None,
) -> None:
    """Let rows wait no longer, because they will never be taken in. They are kept; a failed batch no longer stops training."""
    from bidloop.app.terminal import out
    from bidloop.app.wiring import open_house
    from bidloop.core.errors import InvalidInput

    if not ids and not code:
        raise InvalidInput("nothing to dismiss", expected="ids of rows, or --code", remedy="'list' shows them.")
    quarantine = open_house(settings_of(config, home)).quarantine
    rows = [quarantine.get(one) for one in ids or ()] or quarantine.list(sys.maxsize, code=code)
    quarantine.settle([kept.id for kept in rows], "dismissed")
    out.print(f"Dismissed: {len(rows):,}")


def _visible(raw: bytes) -> str:
    r"""Bytes as text that does nothing to a terminal but stand there.

    >>> _visible(b"\x1b[2J\xff ok")
    '\\x1b[2J\\xff ok'
    """
    text = raw.decode(errors="backslashreplace")
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def _described(row: object) -> dict[str, object]:
    import msgspec

    told: dict[str, object] = msgspec.to_builtins(row)
    told.pop("raw", None)
    told.pop("type", None)
    return told
