"""`bidloop models`: which models there are, what they were worth, and which of them serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bidloop.app.commands.options import Config, Home, Json, settings_of

if TYPE_CHECKING:
    from pathlib import Path

    from bidloop.app.models.house_models import Models

app = typer.Typer(no_args_is_help=True, help="Which models there are, what they were worth, and which of them serves.")

SOON = " Running servers take it within some seconds."

Version = Annotated[str, typer.Argument(help="A version, its first letters, 'champion' or 'challenger'.")]


@app.command("list")
def list_models(home: Home = None, config: Config = None, as_json: Json = False) -> None:
    """List the models on the shelf and in the registry, the latest trained first."""
    from bidloop.app.models.tables import print_cards
    from bidloop.app.terminal import out, print_json

    models = _models(config, home)
    cards = models.cards()
    if as_json:
        print_json(cards)
    elif cards:
        print_cards(cards)
    else:
        out.print("No model was trained yet: run 'bidloop train'.")
    _warn(models.silent)


@app.command()
def show(version: Version, home: Home = None, config: Config = None, as_json: Json = False) -> None:
    """Show one model: parameters, calibration, metrics, data, code, and where its plots are."""
    from bidloop.app.models.tables import print_detail
    from bidloop.app.terminal import print_json

    models = _models(config, home)
    told = models.detail(models.find(version))
    if as_json:
        print_json(told)
    else:
        print_detail(told)
    _warn(models.silent)


@app.command()
def compare(a: Version, b: Version, home: Home = None, config: Config = None, as_json: Json = False) -> None:
    """Compare two models by what was measured of them, and say whether it was measured on the same rows."""
    from bidloop.app.models.comparison import compare
    from bidloop.app.models.tables import print_comparison
    from bidloop.app.terminal import print_json

    models = _models(config, home)
    told = compare(models.detail(models.find(a)), models.detail(models.find(b)))
    if as_json:
        print_json(told)
    else:
        print_comparison(told)
    _warn(models.silent)


@app.command()
def promote(version: Version, home: Home = None, config: Config = None, as_json: Json = False) -> None:
    """Have a model serve, after every byte of it was checked. One that only the registry has is fetched.

    Servers of this home folder take it within some seconds; one that reads another feature view needs a restart.
    """
    from bidloop.app.terminal import out, print_json

    models = _models(config, home)
    found = models.find(version)
    before = models.promote(found)
    if as_json:
        print_json({"champion": found, "before": before})
    elif before == found:
        out.print(f"[bold]{found}[/bold] serves already.")
    else:
        out.print(f"[bold]{found}[/bold] serves" + (f", instead of {before}." if before else ".") + SOON)
    _tell(models)


@app.command()
def rollback(home: Home = None, config: Config = None, as_json: Json = False) -> None:
    """Have the champion before serve again. Once more goes back one further.

    Servers of this home folder take it within some seconds; one that reads another feature view needs a restart.
    """
    from bidloop.app.terminal import out, print_json

    models = _models(config, home)
    before, champion = models.roll_back()
    if as_json:
        print_json({"champion": champion, "before": before})
    else:
        out.print(f"Rolled back from {before} to [bold]{champion}[/bold].{SOON}")
    _tell(models)


@app.command()
def record(home: Home = None, config: Config = None, as_json: Json = False) -> None:
    """Record in the registry what it does not know yet, as after it was down; its aliases follow what serves."""
    from bidloop.app.terminal import out, print_json

    recorded = _models(config, home).tell()
    if as_json:
        print_json({"recorded": recorded})
    else:
        out.print(f"Recorded: {', '.join(recorded)}" if recorded else "The registry knows all runs.")


@app.command()
def ui(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.")] = 5000,
    home: Home = None,
    config: Config = None,
) -> None:
    """Open MLflow's pages over this house's runs and plots, until Ctrl-C."""
    from bidloop.adapters.mlflow.ui import run_ui
    from bidloop.app.terminal import err

    store = _models(config, home).registry.store
    if store.url:
        err.print(f"The runs are on a server of their own: {store.where}", markup=False)
        return
    # Without the end of this address MLflow opens with its pages about language models.
    pages = f"http://{host}:{port}/#/experiments?workflowType=machine_learning"
    err.print(f"MLflow over {store.file}: {pages} ; Ctrl-C ends.", markup=False, soft_wrap=True)
    raise typer.Exit(run_ui(store, host, port))


def _models(config: Path | None, home: Path | None) -> Models:
    from bidloop.app.models.house_models import Models

    return Models(settings_of(config, home))


def _tell(models: Models) -> None:
    """Tell the registry of a change that holds already, and is printed: it may not answer."""
    import sys

    from bidloop.app.models.recording import told

    sys.stdout.flush()
    _warn(told(models))


def _warn(silent: str) -> None:
    from bidloop.app.terminal import err

    if silent:
        err.print(f"Note: {silent}", markup=False, soft_wrap=True)
