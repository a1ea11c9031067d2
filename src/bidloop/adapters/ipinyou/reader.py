"""Reads the iPinYou log as events, with the traps of its files closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from bidloop.adapters.ipinyou.files import BIDID, COLUMNS, NEEDED, bids, day_of, files, raw, rows
from bidloop.adapters.ipinyou.sampling import OVERALL_WEIGHT, sampling_weights
from bidloop.core.errors import NotFound, RejectedRow
from bidloop.core.event import ClickReceived, ConversionReported, Event, ImpressionServed
from bidloop.core.money import Money
from bidloop.core.opportunity import Auction, Charge, Opportunity
from bidloop.events.rejected import Rejected
from bidloop.events.validation import check

ATTRIBUTES = (
    "region", "city", "exchange", "domain", "url", "slot", "slot_size", "visibility", "format", "creative",
    "landing_page",
)  # fmt: skip
"""Categorical facts of a bid request, as they stand in `Opportunity.attributes`; empty where the log has ``null``."""

MEASURES = ("slot_width", "slot_height", "slot_floor")
"""Numeric facts: pixels, pixels, and the floor in CNY per mille."""

TIMEZONE = "Asia/Shanghai"
"""The account's time zone: hours and days of the log are China's."""

CURRENCY = "CNY"
_CHINA = timezone(timedelta(hours=8))  # no daylight saving in 2013, and no lookup per row
_FEN_PER_MILLE = 10  # micros of one CNY that one impression costs at one fen per mille
_FEN = 10_000  # micros of one CNY in one fen
_RANK = {"imp": 0, "clk": 1, "conv": 2}
_I = {name: i for i, name in enumerate(COLUMNS)}


def find_days(folder: Path) -> list[str]:
    """The days of the log that are there, as in its file names.

    Raises
    ------
    NotFound
        When there are no such files.
    """
    days = sorted({day_of(path) for kind in _RANK for path in files(folder, kind)})
    if not files(folder, "imp"):
        raise NotFound(
            f"no impressions in {str(folder)!r}", expected="files such as imp.20130606.txt.gz", remedy="Check the path."
        )
    return days


def read_events(
    folder: Path,
    on_progress: Callable[[float], None] | None = None,
    *,
    weights: Mapping[str, float] | None = None,
) -> Iterator[Event | Rejected]:
    """Every impression, click and conversion of the log, day by day in the order of time.

    A sampled impression weighs what it stands for; a clicked one weighs 1, because clicks are complete. A clicked
    impression that the sample missed is rebuilt from its click row: at the time of the click, and without a price, as
    click rows carry 0 there. Two clicks are stamped before their impression, and come before it. Of several clicks or
    conversions on one bid the first counts; the others are handed on as rejected, so that they are counted.

    User tags, user agent, user id, bid price and price paid never become features: the first three differ between a
    click row and its own impression row, and so would tell the label.

    Parameters
    ----------
    folder
        Folder with ``imp.*``, ``clk.*`` and ``conv.*`` files, gzip or plain. ``midnight/`` inside it is not read: it
        is no sample.
    on_progress
        Told the share of the days that is done, in (0, 1].
    weights
        Weight of an unclicked sampled impression by advertiser; by default `sampling_weights(folder)`. An advertiser
        without one gets `OVERALL_WEIGHT`.

    Raises
    ------
    NotFound
        When there are no such files.
    """
    days = find_days(folder)
    weights = sampling_weights(folder) if weights is None else weights
    log = _Log(weights, sampled=bids(folder, "imp"), clicked=bids(folder, "clk"))
    for done, day in enumerate(days, start=1):
        yield from log.day(folder, day)
        if on_progress is not None:
            on_progress(done / len(days))


class _Log:
    """What must be remembered from row to row: which bids have been seen, clicked and converted."""

    def __init__(self, weights: Mapping[str, float], *, sampled: set[str], clicked: set[str]) -> None:
        self._weights = weights
        self._sampled = sampled
        self._clicked = clicked
        self._seen: dict[str, set[str]] = {kind: set() for kind in _RANK}

    def day(self, folder: Path, day: str) -> Iterator[Event | Rejected]:
        """The events of one day's three files, merged by time."""
        lines = [
            (row[_I["timestamp"]] if len(row) > 1 else "", _RANK[kind], number, kind, path.name, row)
            for kind in _RANK
            for path in files(folder, kind, day)
            for number, row in rows(path)
        ]
        lines.sort(key=lambda line: line[:3])
        for _, _, number, kind, name, row in lines:
            try:
                events = self._events(kind, row)
                for event in events:
                    check(event, None)
            except RejectedRow as error:
                yield Rejected.of(error, source=name, position=number, raw=raw(row).encode())
                continue
            self._seen[kind].add(row[BIDID])
            yield from events

    def _events(self, kind: str, row: list[str]) -> list[Event]:
        if len(row) < NEEDED:
            raise RejectedRow("wrong_columns", f"{len(row)} columns", expected=f"{len(COLUMNS)}, separated by tabs")
        bid = row[BIDID]
        if bid in self._seen[kind]:
            raise RejectedRow(
                f"repeated_{_NAMES[kind]}",
                f"another {_NAMES[kind]} on bid {bid}",
                path="bidid",
                expected=f"one {_NAMES[kind]} per bid",
            )
        at = _time(row[_I["timestamp"]])
        if kind == "imp":
            weight = 1.0 if bid in self._clicked else self._weights.get(row[_I["advertiser"]], OVERALL_WEIGHT)
            price = Money(_whole(row, "payprice") * _FEN_PER_MILLE, CURRENCY)
            return [_impression(row, at, weight, price)]
        if kind == "conv":
            return [ConversionReported(event_id=f"ipinyou:conv:{bid}", at=at, impression_id=bid, order_id=bid)]
        click = ClickReceived(event_id=f"ipinyou:clk:{bid}", at=at, impression_id=bid)
        return [click] if bid in self._sampled else [_impression(row, at, 1.0, None), click]


_NAMES = {"imp": "impression", "clk": "click", "conv": "conversion"}


def _impression(row: list[str], at: datetime, weight: float, price: Money | None) -> ImpressionServed:
    bid = row[BIDID]
    return ImpressionServed(
        event_id=f"ipinyou:imp:{bid}",
        at=at,
        impression_id=bid,
        opportunity=_opportunity(row, at),
        price=price,
        weight=weight,
    )


def _opportunity(row: list[str], at: datetime) -> Opportunity:
    width, height, floor = _whole(row, "slotwidth"), _whole(row, "slotheight"), _whole(row, "slotprice")
    region = _text(row, "region")
    return Opportunity(
        opportunity_id=row[BIDID],
        at=at,
        campaign_id=_text(row, "advertiser"),
        location=region,
        attributes={
            "region": region,
            "city": _text(row, "city"),
            "exchange": _text(row, "adexchange"),
            "domain": _text(row, "domain"),
            "url": _text(row, "url"),
            "slot": _text(row, "slotid"),
            "slot_size": f"{width}x{height}",
            "visibility": _text(row, "slotvisibility"),
            "format": _text(row, "slotformat"),
            "creative": _text(row, "creative"),
            "landing_page": _text(row, "keypage"),
        },
        measures={"slot_width": float(width), "slot_height": float(height), "slot_floor": floor * _FEN / 1_000_000},
        auction=Auction.SECOND_PRICE,
        charge=Charge.PER_MILLE,
        currency=CURRENCY,
        floor=Money(floor * _FEN, CURRENCY),
    )


def _text(row: list[str], name: str) -> str:
    value = row[_I[name]]
    return "" if value == "null" else value


def _whole(row: list[str], name: str) -> int:
    value = row[_I[name]]
    try:
        return int(value)
    except ValueError as error:
        raise RejectedRow("unreadable_number", f"{name} {value!r}", path=name, expected="a whole number") from error


def _time(stamp: str) -> datetime:
    """UTC of a time such as ``20130607005405602``: year to millisecond, in China."""
    try:
        if len(stamp) != 17:
            raise ValueError(stamp)
        local = datetime(
            int(stamp[:4]), int(stamp[4:6]), int(stamp[6:8]), int(stamp[8:10]), int(stamp[10:12]), int(stamp[12:14]),
            int(stamp[14:]) * 1000, _CHINA,
        )  # fmt: skip
        return local.astimezone(UTC)
    except ValueError as error:
        raise RejectedRow(
            "unknown_date", f"timestamp {stamp!r}", path="timestamp", expected="yyyyMMddHHmmssSSS"
        ) from error
