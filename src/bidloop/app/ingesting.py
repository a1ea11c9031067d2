"""A file or folder of somebody's log, taken in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bidloop.adapters.campaign_report.mapping import load_mapping
from bidloop.adapters.campaign_report.reader import read_report
from bidloop.adapters.ipinyou.reader import CURRENCY, TIMEZONE, read_events
from bidloop.app.terminal import progress
from bidloop.app.wiring import House
from bidloop.core.errors import ConfigurationError, NotFound
from bidloop.core.event import Event
from bidloop.events.intake import Receipt
from bidloop.events.rejected import Rejected


def ingest_path(house: House, path: Path, *, mapping: str | None = None, year: int | None = None) -> Receipt:
    """Take in a campaign report (a file) or an iPinYou log (a folder), with a progress bar.

    Raises
    ------
    NotFound
        When there is nothing at `path`.
    ConfigurationError
        When the log is in another currency than the account.
    """
    if not path.exists():
        raise NotFound(f"nothing at {path}", expected="a report file or a folder of logs", remedy="Check the path.")
    settings = house.settings
    with progress(f"Reading {path.name}", 1.0) as bar:
        items: Iterable[Event | Rejected]
        if path.is_dir():
            if settings.currency != CURRENCY:
                raise ConfigurationError(
                    f"an iPinYou log, which is in {CURRENCY}, for an account in {settings.currency}",
                    expected=f"an account in {CURRENCY}",
                    remedy=f"Set currency = {CURRENCY!r} and timezone = {TIMEZONE!r} in bidloop.toml.",
                )
            items = read_events(path, lambda share: bar(share, ""))
        else:
            columns = load_mapping(mapping, path, year=year, timezone=settings.timezone, currency=settings.currency)
            items = read_report(path, columns, lambda share: bar(share, ""))
        return house.intake.accept(items)
