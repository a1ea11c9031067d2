"""Reads a campaign report as events, one per row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import xxhash

from bidloop.adapters.campaign_report.cells import count, day_of_year, decimal, instant, is_shown_twice, share
from bidloop.adapters.campaign_report.mapping import ColumnMapping, check_columns
from bidloop.adapters.campaign_report.rows import read_columns, read_rows
from bidloop.core.errors import ConfigurationError, RejectedRow
from bidloop.core.event import CampaignReported
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.events.packing import Item
from bidloop.events.rejected import Rejected
from bidloop.events.validation import check


def read_report(
    path: Path,
    mapping: ColumnMapping,
    on_progress: Callable[[float], None] | None = None,
    *,
    known_at: datetime | None = None,
    checked: bool = True,
) -> Iterator[Item]:
    """Every row of a report, as an event or with the reason why it makes no sense.

    An event's `row_id` is made from its cell and period, so that the same row in another file is known again. It is the id of
    the event as well, as of a row that is told for the first time; `bidloop.events.restatement` finds the rows that were told
    before.

    Parameters
    ----------
    path
        CSV (comma, semicolon or tab; also ``.gz``) with a header, or Parquet (``.parquet``).
    mapping
        Which column holds what; see `guess_mapping` for the usual ones.
    on_progress
        Told the share of the file that is read, in (0, 1], every few thousand rows.
    known_at
        When the report was pulled from the platform, UTC.
    checked
        Whether rows that can be read but make no sense are handed on as rejected; else they are events like the others.

    Raises
    ------
    NotFound
        When there is no such file.
    InvalidInput
        When the file has no header or lacks a column of the mapping.
    ConfigurationError
        When the mapping has no date, or a time zone that does not exist.
    CorruptArtifact
        When the file is cut off or not of its format.

    Examples
    --------
    >>> import tempfile
    >>> from bidloop.adapters.campaign_report.mapping import guess_mapping
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = Path(folder) / "report.csv"
    ...     header = "date,campaign,impressions,clicks,cost"
    ...     _ = report.write_text(header + chr(10) + "2026-01-01,spring,100,101,2.50" + chr(10))
    ...     [row] = read_report(report, guess_mapping(header.split(",")))
    >>> row.position, row.code
    (2, 'clicks_exceed_impressions')
    """
    columns = read_columns(path)
    check_columns(mapping, columns)
    report = _Report(mapping, columns, known_at)
    for number, cells, raw in read_rows(path, on_progress):
        try:
            event = report.event(cells)
            if checked:
                check(event, None)
        except RejectedRow as error:
            yield Rejected.of(error, source=path.name, position=number, raw=raw)
        else:
            yield event


class _Report:
    """What one mapping makes of the rows of one file."""

    def __init__(self, mapping: ColumnMapping, columns: Sequence[str], known_at: datetime | None) -> None:
        self._mapping = mapping
        self._known_at = known_at
        self._columns = {name: i for i, name in enumerate(columns)}
        self._width = len(columns)  # names that the mapping does not name may be there twice, or empty
        self._first_hours: set[bytes] = set()
        try:
            self._zone = ZoneInfo(mapping.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ConfigurationError(
                f"time zone {mapping.timezone!r}", expected="an IANA name, such as Europe/Berlin"
            ) from error

    def event(self, cells: Sequence[str]) -> CampaignReported:
        if len(cells) != self._width:
            raise RejectedRow("wrong_columns", f"{len(cells)} columns", expected=f"{self._width}, as in the header")
        try:
            "".join(cells).encode()
        except UnicodeEncodeError as error:
            raise RejectedRow("unreadable_text", "bytes that are not UTF-8", expected="a file in UTF-8") from error
        mapping = self._mapping
        at = self._at(cells)
        campaign = self._needed(cells, mapping.campaign_id)
        parts = (mapping.ad_group_id, mapping.keyword, mapping.device, mapping.location)
        ad_group, keyword, device, location = (self._text(cells, column) for column in parts)
        attributes = {name: self._text(cells, column) for name, column in mapping.attributes.items()}
        measures = {
            name: float(decimal(text, column))
            for name, column in mapping.measures.items()
            if (text := self._text(cells, column))
        }
        about = (campaign, ad_group, keyword, device, location, sorted(attributes.items()), mapping.currency)
        at = self._told_hour(at, about, cells)
        cell = (at, *about)
        identity = f"report:{xxhash.xxh3_128_hexdigest(msgspec.json.encode(cell))}"
        value = self._text(cells, mapping.value)
        shown, budget = self._text(cells, mapping.impression_share), self._text(cells, mapping.budget)
        return CampaignReported(
            event_id=identity,
            row_id=identity,
            known_at=self._known_at,
            at=at,
            opportunity=Opportunity(
                opportunity_id=identity,
                at=at,
                campaign_id=campaign,
                ad_group_id=ad_group,
                keyword=keyword,
                device=device,
                location=location,
                attributes=attributes,
                measures=measures,
                charge=mapping.charge,
                currency=mapping.currency,
            ),
            impressions=count(self._needed(cells, mapping.impressions), mapping.impressions),
            clicks=count(self._needed(cells, mapping.clicks), mapping.clicks),
            conversions=float(decimal(self._needed(cells, mapping.conversions), mapping.conversions))
            if mapping.conversions
            else 0,
            spend=Money.of(decimal(self._needed(cells, mapping.spend), mapping.spend), mapping.currency),
            value=Money.of(decimal(value, mapping.value), mapping.currency) if value else None,
            impression_share=share(shown, mapping.impression_share) if shown else None,
            quality_score=self._figure(cells, mapping.quality_score),
            average_position=self._figure(cells, mapping.average_position),
            budget=Money.of(decimal(budget, mapping.budget), mapping.currency) if budget else None,
        )

    def _figure(self, cells: Sequence[str], column: str) -> float | None:
        text = self._text(cells, column)
        return float(decimal(text, column)) if text else None

    def _told_hour(self, at: datetime, about: tuple[object, ...], cells: Sequence[str]) -> datetime:
        """The instant of a row; of an hour that the clocks show twice, the second where the first was told of the cell."""
        if not is_shown_twice(at, self._zone):
            return at
        hour = msgspec.json.encode((at, *about))
        if hour in self._first_hours:
            return self._at(cells, again=True)
        self._first_hours.add(hour)
        return at

    def _at(self, cells: Sequence[str], *, again: bool = False) -> datetime:
        mapping = self._mapping
        if mapping.date:
            return instant(self._text(cells, mapping.date), mapping.date_format, self._zone, mapping.date, again=again)
        assert mapping.year is not None  # `check_columns` has seen to it
        return day_of_year(self._text(cells, mapping.month), self._text(cells, mapping.day), mapping.year, self._zone)

    def _text(self, cells: Sequence[str], column: str) -> str:
        """The cell's text; empty where it is missing or there is no such column."""
        if not column:
            return ""
        text = cells[self._columns[column]].strip()
        return "" if text in self._mapping.missing else text

    def _needed(self, cells: Sequence[str], column: str) -> str:
        text = self._text(cells, column)
        if not text:
            raise RejectedRow("missing_value", f"no {column}", path=column, expected="a value in every row")
        return text
