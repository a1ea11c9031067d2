"""`bidloop features`: what is known of an opportunity, where it comes from, and whether it is what it should be."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bidloop.app.commands.options import Config, Home, Json, settings_of

app = typer.Typer(no_args_is_help=True, help="What is known of an opportunity, where it comes from, and how it is.")

Word = Annotated[
    str, typer.Option("--view", help="'present', 'champion', 'serving', or a version or its first digits.")
]
Last = Annotated[int, typer.Option(min=1, max=100_000, help="Latest decisions to look at.")]


@app.command("list")
def list_features(
    kind: Annotated[str, typer.Option(help="Only features of this kind, such as 'ratio'.")] = "",
    entity: Annotated[str, typer.Option(help="Only features of this entity, such as 'user'.")] = "",
    views: Annotated[bool, typer.Option("--views", help="List the views that were ever used instead.")] = False,
    word: Word = "present",
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List the features of a view, or the views."""
    from bidloop.app.features.house_features import Features, narrowed
    from bidloop.app.features.tables import feature_rows, view_rows
    from bidloop.app.terminal import out, print_json, print_table
    from bidloop.app.wiring import open_house

    features = Features(open_house(settings_of(config, home)))
    if views:
        known = features.views()
        if as_json:
            print_json(known)
        else:
            print_table("Feature views", view_rows(known))
        return
    view = features.view(word)
    listed = narrowed(view, kind, entity)
    if as_json:
        print_json({"view": view.version, "features": listed})
        return
    print_table(f"{len(listed)} features of view {view.name} {view.version}", feature_rows(listed, out.width))
    out.print(
        "'bidloop features show NAME' shows one in full: formula, origin, and what stands where nothing is known."
    )


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A feature's name; or a view, as for --view.")],
    word: Word = "present",
    last: Last = 1000,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show one feature in full: formula, origin, meaning, who uses it, which values it had. Or a view."""
    from bidloop.app.features.house_features import Features
    from bidloop.app.features.tables import print_feature, print_view
    from bidloop.app.terminal import print_json
    from bidloop.app.wiring import open_house

    features = Features(open_house(settings_of(config, home)))
    of = features.view(word)
    if name not in (*of.categorical_names, *of.numeric_names) and features.is_view(name):
        view = features.view(name)
        if as_json:
            print_json({"version": view.version, "definition": view})
        else:
            print_view(view)
        return
    told = features.feature(of, name, last)
    if as_json:
        print_json(told)
    else:
        print_feature(told)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="A view: a version or its first digits, 'present' or 'champion'.")],
    after: Annotated[str, typer.Argument(help="Another one.")],
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show what two views do not have in common: features added, removed and changed, and settings."""
    from bidloop.app.features.difference import difference
    from bidloop.app.features.house_features import Features
    from bidloop.app.features.tables import print_difference
    from bidloop.app.terminal import print_json
    from bidloop.app.wiring import open_house

    features = Features(open_house(settings_of(config, home)))
    told = difference(features.view(before), features.view(after))
    if as_json:
        print_json(told)
    else:
        print_difference(told)


@app.command()
def lineage(
    name: Annotated[str, typer.Argument(help="A feature's name. [default: all]")] = "",
    emit: Annotated[
        str | None,
        typer.Option(help="Send it to this file or OpenLineage server as well, such as http://marquez:5000."),
    ] = None,
    word: Word = "present",
    last: Last = 1000,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Follow features from the events that they are made of to the models and decisions that use them."""
    from rich.markup import escape

    from bidloop.app.features.house_features import Features
    from bidloop.app.features.lineage import emit_lineage, lineage_report, print_lineage
    from bidloop.app.terminal import err, print_json
    from bidloop.app.wiring import open_house

    features = Features(open_house(settings_of(config, home)))
    view = features.view(word)
    told = lineage_report(features, view, name, last)
    if as_json:
        print_json(told)
    else:
        print_lineage(told, view)
    if emit is not None:
        sent, where = emit_lineage(features, view, emit)
        err.print(f"Sent {sent} OpenLineage events to {escape(where)}.")


@app.command()
def backfill(
    output: Annotated[Path, typer.Option("--output", "-o", help="Parquet file to write.")],
    start: Annotated[str | None, typer.Option(help="From when on, such as 2026-03-01. [default: all]")] = None,
    end: Annotated[str | None, typer.Option(help="Before when. [default: all]")] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, max=1_000_000_000, help="Draw so many at most. [default: all]")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Makes the draw repeatable.")] = 0,
    word: Word = "present",
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Write the features of everything that was shown, each row as of its own instant, to a Parquet file."""
    from zoneinfo import ZoneInfo

    from rich.markup import escape

    from bidloop.adapters.campaign_report.cells import instant
    from bidloop.app.backfilling import backfill as write
    from bidloop.app.features.house_features import Features
    from bidloop.app.output import check_output
    from bidloop.app.terminal import out, print_json, progress
    from bidloop.app.wiring import open_house

    check_output(output)
    settings = settings_of(config, home)
    house, zone = open_house(settings), ZoneInfo(settings.timezone)
    with progress("Computing", 1.0) as bar:
        told = write(
            house,
            Features(house).view(word),
            output,
            start=None if start is None else instant(start, "", zone, "--start"),
            end=None if end is None else instant(end, "", zone, "--end"),
            rows=rows,
            seed=seed,
            on_progress=lambda doing, share: bar(share, doing),
        )
    if as_json:
        print_json(told)
        return
    out.print(
        f"{told.rows:,} rows of view {told.view}, from {told.facts:,} facts in {told.seconds:.1f} s: "
        f"[bold]{escape(str(told.file))}[/bold]"
    )


@app.command()
def health(
    last: Last = 1000,
    missing: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of rows, above 0, without a value from which on it is wrong.")
    ] = 1.0,
    outside: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of rows out of range that is still fine.")
    ] = 0.0,
    stale_hours: Annotated[
        float,
        typer.Option(min=0.0, help="Hours without news from which on a feature is stale, if it looks back no longer."),
    ] = 48.0,
    word: Word = "serving",
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Check the values that the last decisions recorded; the exit code is 1 if one is not fine, or there are none."""
    from bidloop.app.features.health import feature_health, print_health
    from bidloop.app.features.house_features import Features
    from bidloop.app.terminal import print_json
    from bidloop.app.wiring import open_house
    from bidloop.features.verdicts import Thresholds

    limits = Thresholds(missing=missing, outside=outside, stale_hours=stale_hours)
    house = open_house(settings_of(config, home))
    told = feature_health(house, Features(house).view(word), last, limits)
    if as_json:
        print_json(told)
    else:
        print_health(told)
    if not told.fine:
        raise typer.Exit(1)


@app.command()
def docs(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Markdown file to write. [default: print it]")
    ] = None,
) -> None:
    """Write the reference of all ready-made features."""
    from bidloop.app.features.reference import reference

    if output is None:
        sys.stdout.write(reference())
        return
    from bidloop.app.output import check_output

    check_output(output)
    output.write_text(reference(), encoding="utf-8")
