"""How the commands talk: tables or JSON on standard output, progress and errors on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

ENDLESS = 10_000
"""Columns where nobody looks at a terminal, as in a pipe or a file: each row stays on its line. `COLUMNS` says otherwise."""

out = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else ENDLESS, highlight=False)
err = Console(stderr=True)


def print_json(value: Any) -> None:
    """One JSON document on standard output, readable by a person."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_table(title: str, rows: Sequence[Mapping[str, Any]], *, note: str = "") -> None:
    """Rows as a table: words to the left, numbers to the right. Columns are those of the first row; the first names the rows."""
    out.print(f"\n[bold]{escape(title)}[/bold]")
    table = Table(caption=note or None, caption_justify="left", box=SIMPLE_HEAD)
    for i, column in enumerate(rows[0] if rows else ()):
        side: Literal["left", "right"] = "left" if isinstance(rows[0][column], str) else "right"
        # A name stays whole, unless it would leave no room for what is said of it.
        whole = i == 0 and max(len(figure(row[column])) for row in rows) <= out.width // 2
        table.add_column(Text(column), justify=side, overflow="fold", no_wrap=whole)
    for row in rows:
        table.add_row(*(Text(figure(row[column])) for column in rows[0]))
    out.print(table)


def figure(value: Any) -> str:
    """A value as a person would write it.

    >>> figure(14752), figure(0.00605678), figure(None), figure(83.2), figure("ours")
    ('14,752', '0.006057', '–', '83.20', 'ours')
    """
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if value != value:
        return "–"
    if value == 0 or abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.4g}"


@contextmanager
def progress(description: str, total: float | None = None) -> Iterator[Callable[[float, str], None]]:
    """A progress bar on standard error; yields a function of (done so far, what is being done)."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(description, total=total)

        def advance(done: float, doing: str = "") -> None:
            bar.update(task, completed=done, description=f"{description}: {doing}" if doing else description)

        yield advance


def percent(change: float | None) -> str:
    """A relative change in percent.

    >>> percent(0.253), percent(-0.5), percent(-0.001), percent(None)
    ('+25 %', '−50 %', '0 %', 'new')
    """
    if change is None:
        return "new"
    return "0 %" if abs(change) < 0.005 else f"{100 * change:+.0f} %".replace("-", "−")
