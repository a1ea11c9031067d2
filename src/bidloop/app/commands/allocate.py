"""`bidloop allocate`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bidloop.app.commands.options import Config, Home, Json, settings_of
from bidloop.core.errors import InvalidInput

if TYPE_CHECKING:
    from bidloop.app.allocation.content import Advice


def allocate(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Campaign reports (.csv, .tsv, also .gz; .parquet). [default: the home's history]"),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Budget per day for all campaigns together. [default: what they spend today]")
    ] = None,
    objective: Annotated[str, typer.Option(help="What to have most of: clicks, conversions or value.")] = "conversions",
    until: Annotated[
        str | None, typer.Option(help="Learn from the days up to this one, such as 2026-03-31. [default: the last]")
    ] = None,
    risk: Annotated[
        float | None,
        typer.Option(
            help="Look also at the mean of this worst share of what may come: 0.2. [default: the mean of all]"
        ),
    ] = None,
    aversion: Annotated[
        float, typer.Option(help="How much that worst share counts beside the mean of all, from 0 to 1.")
    ] = 0.5,
    min_marginal: Annotated[
        float | None,
        typer.Option(help="Leave money unspent that would bring less than this per unit. [default: spend all]"),
    ] = None,
    constraints: Annotated[
        Path | None, typer.Option(help="TOML file with bounds of campaigns and of groups of them.")
    ] = None,
    mapping: Annotated[
        str | None,
        typer.Option(
            help="Column mapping of reports: 'spec', 'display_campaign_report', or a TOML file. [default: guessed]"
        ),
    ] = None,
    year: Annotated[int | None, typer.Option(help="The year, where a report tells month and day only.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page with the response curves here.")] = None,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Divide a daily budget over campaigns so that it brings most, and say what binds and how sure that is.

    Nothing is changed anywhere: it is advice. Constraints that contradict each other are refused by name.
    """
    from rich.markup import escape

    from bidloop.app.allocating import advise, read_constraints
    from bidloop.app.allocation.page import write
    from bidloop.app.allocation.source import days_of_history, days_of_reports
    from bidloop.app.output import check_output
    from bidloop.app.terminal import out, print_json
    from bidloop.bidding.allocation.constraints import Constraints
    from bidloop.bidding.allocation.settings import AllocationSettings
    from bidloop.core.clock import SystemClock
    from bidloop.core.money import Money

    settings = settings_of(config, home)
    asked = AllocationSettings(risk=risk, aversion=aversion, min_marginal=min_marginal)
    demands = Constraints() if constraints is None else read_constraints(constraints)
    last = None if until is None else _day(until)
    if report is not None:
        check_output(report)
    if files:
        source = days_of_reports(
            files,
            objective,
            mapping=mapping,
            year=year,
            timezone=settings.timezone,
            currency=settings.currency,
        )
    else:
        from bidloop.app.wiring import open_house

        house = open_house(settings)
        try:
            source = days_of_history(house, objective)
        finally:
            house.close()
    advice = advise(
        source,
        objective=objective,
        budget=None if budget is None else Money.of(budget, source.currency),
        until=last,
        constraints=demands,
        settings=asked,
        made_at=SystemClock().now(),
    )
    if report is not None:
        write(advice, report)
    if as_json:
        print_json(advice)
        return
    _print(advice)
    if report is not None:
        out.print(f"\nReport: [bold]{escape(str(report))}[/bold]")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"--until {text!r}", path="until", expected="a day such as 2026-03-31") from error


def _print(advice: Advice) -> None:
    from rich.markup import escape

    from bidloop.app.terminal import figure, out, percent, print_table

    rows = [
        {
            "campaign": one.campaign,
            "today": round(one.today.amount, 2),
            "allocated": round(one.allocated.amount, 2),
            "change": percent(one.change),
            f"{advice.objective} a day": f"{figure(one.outcome.mean)} [{figure(one.outcome.low)}, {figure(one.outcome.high)}]",
            f"one more {advice.currency} brings": f"{figure(one.marginal.mean)} "
            f"[{figure(one.marginal.low)}, {figure(one.marginal.high)}]",
            "what binds": "; ".join((*one.binds, *(("outside the spends seen",) if one.extrapolated else ()))),
        }
        for one in advice.campaigns
    ]
    print_table(
        f"{advice.budget} a day for the most {advice.objective} (today {advice.today}; learned from {advice.first} to "
        f"{advice.until}; intervals of {100 * advice.level:g} %)",
        rows,
    )
    out.print(escape(advice.headline))
    for sentence in (*advice.bindings, *advice.notes):
        out.print(escape(f"- {sentence}"))
