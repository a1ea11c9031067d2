"""`bidloop train`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bidloop.app.commands.options import Config, Home, Json, settings_of

if TYPE_CHECKING:
    from bidloop.app.training import Trained


def train(
    tune: Annotated[
        str | None,
        typer.Option(help="Look for better hyper-parameters first, for so long: 90s, 10m, 1h30m.", metavar="TIME"),
    ] = None,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Leave the findings of an earlier tuning aside.")
    ] = False,
    promote: Annotated[
        bool,
        typer.Option("--promote/--no-promote", help="Whether the best model serves at once, or is the challenger."),
    ] = True,
    despite: Annotated[
        bool, typer.Option("--despite-failed-batches", help="Train although a batch that failed is missing.")
    ] = False,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Train every candidate on the history, judge them on held-out days, and put the best on the shelf.

    One that was killed goes on when it is started again on the same history: a network at the step it had reached, a tuning after
    its last trial. Kinds of model that were finished are fitted again.
    """
    from bidloop.app.checking import refuse_failed_batches
    from bidloop.app.duration import seconds_of
    from bidloop.app.terminal import print_json, progress
    from bidloop.app.training import train as run
    from bidloop.app.wiring import open_house, open_loop

    seconds = None if tune is None else seconds_of(tune)
    settings = settings_of(config, home)
    house = open_house(settings)
    if not despite:
        refuse_failed_batches(house)
    loop = open_loop(settings, training=True, house=house)
    with progress("Training", 1.0) as bar:
        trained = run(
            house,
            loop,
            tune_seconds=seconds,
            defaults=defaults,
            promote=promote,
            on_progress=lambda doing, share: bar(share, doing),
        )
    if as_json:
        print_json(trained)
    else:
        _print(trained)


def _print(trained: Trained) -> None:
    from bidloop.app.evidence import click_rows, conversion_rows, coverage_rows, reliability_rows, tuning_rows
    from bidloop.app.report.tables import coverage_tables, model_table, tier_table
    from bidloop.app.terminal import err, out, print_table

    renewal = trained.renewal
    if renewal.tuned:
        print_table("Tuning, by held-out loss of clicks", tuning_rows(renewal.tuned))
    model_table("Click models on the held-out days", click_rows(renewal))
    model_table("Conversion models on the held-out days", conversion_rows(renewal))
    tier_table(reliability_rows(renewal))
    level = renewal.coverage.level if renewal.coverage else 0.95
    coverage_tables(level, coverage_rows(renewal.coverage), coverage_rows(renewal.conversion_coverage, "clicks"))
    if renewal.delays is not None:
        days = renewal.delays.mean_delay() / 86_400
        out.print(
            f"Conversions are reported {days:.1f} days after the click on average ({renewal.delays.kind}); young clicks count "
            "for the share that has had its time."
        )
    for kind, reason in renewal.failed.items():
        err.print(f"{kind} could not be trained: {reason}", markup=False)
    does = "serves" if trained.promoted else "is the challenger: 'bidloop models promote challenger' has it serve"
    out.print(f"Model [bold]{renewal.version}[/bold] ({renewal.winner}) is on the shelf and {does}.")
    if trained.settings_from not in ("defaults", "tuned now"):
        out.print(f"Hyper-parameters: those of an earlier tuning, {trained.settings_from}.")
    if trained.unrecorded:
        err.print(f"The registry has no record of it yet: {trained.unrecorded}", markup=False)
