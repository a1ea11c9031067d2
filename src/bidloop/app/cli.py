"""The commands: `bidloop --help`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bidloop.app.commands import absorb, allocate, events, features, keys, models, privacy, quarantine, train
from bidloop.app.commands.options import Config, Home, Json, settings_of
from bidloop.core.errors import BidloopError

if TYPE_CHECKING:
    from bidloop.app.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",  # in rich markup, "[default: …]" would be a tag
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Self-hosted marketing optimization: honest rates, bids under budgets, and a record that explains every bid.",
)
for group in (models, events, features, quarantine, privacy, keys):
    app.add_typer(group.app, name=group.__name__.rpartition(".")[2])
app.command()(absorb.absorb)
app.command()(train.train)
app.command()(allocate.allocate)
replays = typer.Typer(no_args_is_help=True, help="What a policy would have bought on a log.")
app.add_typer(replays, name="replay")


@app.command()
def demo(
    data: Annotated[
        Path | None, typer.Option(help="A real log (iPinYou season 2) in place of the simulated market.")
    ] = None,
    home: Annotated[Path | None, typer.Option(help="Folder for what the run makes. [default: .bidloop/demo]")] = None,
    report: Annotated[Path | None, typer.Option(help="Where to write the report. [default: HOME/report.html]")] = None,
    budget: Annotated[
        str, typer.Option(help="Each campaign's daily budget, as a share of the cost of winning everything.")
    ] = "1/8",
    seed: Annotated[int, typer.Option(help="Makes the run repeatable.")] = 42,
    serve: Annotated[
        bool, typer.Option("--serve/--no-serve", envvar="DEMO_SERVE", help="Serve the API afterwards, until Ctrl-C.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Run the whole loop: learn from a log, decide on test days, compare with other policies, write a report."""
    from rich.markup import escape

    from bidloop.adapters.rlb.benchmark import parse_budget
    from bidloop.app import demo as demonstration
    from bidloop.app.report.page import write
    from bidloop.app.report.tables import print_report
    from bidloop.app.terminal import err, out, print_json

    folder = home or Path(".bidloop") / ("demo" if data is None else "demo-log")
    share = parse_budget(budget)
    if data is None:
        run = demonstration.simulated(folder, share=share, seed=seed)
    else:
        run = demonstration.logged(data, folder, share=share, seed=seed)
    path = write(run.report, report or folder / "report.html")
    if as_json:
        print_json(run.report)
    else:
        print_report(run.report)
        out.print(f"\nReport: [bold]{escape(str(path))}[/bold]")
    if serve:
        err.print("\nServing what was learned.")
        _serve(run.settings)


@app.command()
def ingest(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Campaign reports (.csv, .tsv, also .gz; .parquet), files of events (.ndjson, .jsonl, also .gz), folders of "
            "iPinYou logs, and folders of all these."
        ),
    ],
    mapping: Annotated[
        str | None,
        typer.Option(
            help="Column mapping of reports: 'spec', 'display_campaign_report', or a TOML file. [default: guessed]"
        ),
    ] = None,
    year: Annotated[int | None, typer.Option(help="The year, where a report tells month and day only.")] = None,
    known_at: Annotated[
        str | None,
        typer.Option(help="When reports were pulled, such as 2026-03-31 or 2026-03-31T06:00. [default: now]"),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Read also files that were taken in before.")] = False,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Take files in, each once and on from where it was cut off; a report pulled again restates what it told before.

    Rows that make no sense are kept aside with their reason. The exit code is 1 if a file failed as a whole.
    """
    from zoneinfo import ZoneInfo

    from bidloop.adapters.campaign_report.cells import instant
    from bidloop.app.ingesting import ingest_files, print_ingestion
    from bidloop.app.terminal import print_json
    from bidloop.app.wiring import open_house

    settings = settings_of(config, home)
    pulled = None if known_at is None else instant(known_at, "", ZoneInfo(settings.timezone), "--known-at")
    told = ingest_files(open_house(settings), paths, mapping=mapping, year=year, known_at=pulled, again=again)
    if as_json:
        print_json(told)
    else:
        print_ingestion(told)
    if told.failed:
        raise typer.Exit(1)


@app.command()
def predict(
    cells: Annotated[Path, typer.Argument(help="CSV of cells, with the API's field names as columns.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the bids.")] = Path("bids.csv"),
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Recommend a bid with reasons for every cell of a file."""
    from rich.markup import escape

    from bidloop.app.bidsheet import write_bids
    from bidloop.app.terminal import out, print_json, print_table
    from bidloop.app.wiring import open_house, open_loop

    settings = settings_of(config, home)
    house = open_house(settings)
    try:
        sheet = write_bids(open_loop(settings, house=house), settings, house.privacy, cells, output)
    finally:
        house.close()  # gives back what was leased from the budgets
    if as_json:
        print_json(sheet)
        return
    print_table(f"First of {sheet.written:,} bids", sheet.preview)
    out.print(f"Bids: [bold]{escape(str(output))}[/bold]")
    if sheet.rejected:
        out.print(
            f"{sheet.rejected:,} rows make no sense; they are in "
            f"[bold]{escape(str(sheet.rejected_file))}[/bold] with their reasons."
        )


@replays.command("rtb")
def replay_rtb(
    log: Annotated[Path, typer.Option(help="Folder of one campaign in the RLB layout, such as ipinyou_rlb_dp/2997.")],
    budget: Annotated[
        list[str] | None,
        typer.Option(help="Budget, as a share of full spend, to tell in detail; may be repeated. [default: 1/32]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Replay bidding policies on a log of auctions with known prices, under the published protocol.

    The chosen budget is told in detail, and every policy's clicks at all budgets from 1/2 to 1/64.
    """
    from bidloop.adapters.rlb.benchmark import BUDGETS, run_log
    from bidloop.app.replaying import clicks_by_budget, detail, differences
    from bidloop.app.terminal import out, print_json, print_table, progress

    asked = tuple(budget or ("1/32",))
    with progress("Replaying", 1.0) as bar:
        result = run_log(log, dict.fromkeys((*BUDGETS, *asked)), on_progress=lambda doing, share: bar(share, doing))
    against = differences(result)
    if as_json:
        print_json({"rows": result.rows, "differences": against})
        return
    for name in asked:
        print_table(f"{log} with a budget of {name} of full spend", detail(result, name))
    print_table("Clicks by budget", clicks_by_budget(result))
    for difference in against:
        low, high = difference.clicks_interval
        out.print(
            f"{difference.policy} against {difference.against}, {', '.join(difference.budgets)} together: "
            f"{difference.clicks:+.0f} clicks (95 % {low:+.0f} to {high:+.0f})"
        )


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one. [default: 8080]")] = None,
    home: Home = None,
    config: Config = None,
) -> None:
    """Serve the API until Ctrl-C: predictions and bids out, events in."""
    http = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    _serve(settings_of(config, home, http=http))


@app.command()
def explain(
    decision_id: Annotated[str, typer.Argument(help="A decision's id, as answers and reports give it.")],
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show why a bid was what it was, and recompute it from its record: to the last bit, or the exit code is 1."""
    from bidloop.app.explaining import explanation, print_explanation
    from bidloop.app.terminal import print_json
    from bidloop.app.wiring import open_loop

    told = explanation(open_loop(settings_of(config, home)), decision_id)
    if as_json:
        print_json(told)
    else:
        print_explanation(told)
    if not told.recomputed:
        raise typer.Exit(1)


@app.command()
def check(home: Home = None, config: Config = None, as_json: Json = False) -> None:
    """Check settings, database, history and model before anything starts; the exit code is 1 if something is wrong."""
    from bidloop.app.checking import findings
    from bidloop.app.terminal import print_json, print_table

    found = findings(settings_of(config, home))
    if as_json:
        print_json(found)
    else:
        print_table("Check", [{"what": f.what, "state": f.state, "detail": f.detail} for f in found])
    if any(f.state == "wrong" for f in found):
        raise typer.Exit(1)


def _serve(settings: Settings) -> None:
    from bidloop.app.http.server import create_app, serve
    from bidloop.app.terminal import err
    from bidloop.app.wiring import open_house, open_loop

    house = open_house(settings)
    loop = open_loop(settings, house=house)
    err.print(f"Model {loop.predictor.version}; Ctrl-C ends.")
    serve(
        create_app(loop, settings, house),
        settings.http.host,
        settings.http.port,
        on_start=lambda address: err.print(f"Listening on {address}, described at {address}/docs"),
    )
    house.close()


def main() -> None:
    """Run the command line. What was asked wrongly exits with 2 and one clear sentence, not a traceback."""
    try:
        app()
    except BidloopError as error:
        sys.stderr.write(f"bidloop: {error}\n")
        sys.exit(2)
