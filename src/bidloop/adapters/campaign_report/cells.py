"""Numbers and dates from the text of one cell; what cannot be read is rejected, never guessed."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from bidloop.core.errors import RejectedRow

_DECIMAL = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d{1,2})?")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip


def decimal(text: str, column: str) -> Decimal:
    """A plain decimal number.

    >>> decimal("12.50", "cost")
    Decimal('12.50')
    >>> decimal("1,234.50", "cost")
    Traceback (most recent call last):
    bidloop.core.errors.RejectedRow: cost '1,234.50'; expected a plain decimal number, such as 1234.50
    """
    text = text.strip()
    if _DECIMAL.fullmatch(text):
        return Decimal(text)
    if _NOT_FINITE.fullmatch(text):
        raise RejectedRow("not_finite", f"{column} {text!r}", path=column, expected="a finite number")
    raise RejectedRow(
        "unreadable_number",
        f"{column} {text!r}",
        path=column,
        expected="a plain decimal number, such as 1234.50",
    )


def count(text: str, column: str) -> int:
    """A whole number; ``12.0`` is one, ``12.5`` is not."""
    number = decimal(text, column)
    if number != number.to_integral_value() or abs(number) > 2**53:
        raise RejectedRow("unreadable_number", f"{column} {text!r}", path=column, expected="a whole number")
    return int(number)


def share(text: str, column: str) -> float | None:
    """A share from 0 to 1, told as such or in percent; `None` for a bound such as ``< 10%``, which tells no figure.

    >>> share("45.3%", "Impr. share"), share("0.453", "Impr. share"), share("< 10%", "Impr. share")
    (0.453, 0.453, None)
    """
    text = text.strip()
    if text.startswith(("<", ">")):
        return None
    number = decimal(text.removesuffix("%"), column)
    if text.endswith("%"):
        number /= 100
    if not 0 <= number <= 1:
        raise RejectedRow(
            "unreadable_number",
            f"{column} {text!r}",
            path=column,
            expected="a share such as 0.453 or 45.3%",
            remedy="Write percents with their sign, or leave the column out of the mapping.",
        )
    return float(number)


@lru_cache(maxsize=1024)  # a report has few dates, and many rows of each
def instant(text: str, pattern: str, zone: ZoneInfo, column: str, *, again: bool = False) -> datetime:
    """The instant in UTC that a date or time stands for; without a zone of its own it is in the account's.

    Where clocks are set back they show an hour twice; `again` takes the second. An hour that they skip is none. Midnight
    is the beginning of its day, whatever the clocks do.

    >>> instant("2026-03-01", "", ZoneInfo("Asia/Tokyo"), "date").isoformat()
    '2026-02-28T15:00:00+00:00'
    """
    text = text.strip()
    try:
        at = datetime.strptime(text, pattern) if pattern else datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
        is_hour = at.time() != time()
        utc = at.replace(tzinfo=zone, fold=again and is_hour).astimezone(UTC)
        skipped = is_hour and utc.astimezone(zone).replace(tzinfo=None) != at
    except (ValueError, OverflowError) as error:
        expected = f"a date in the format {pattern}" if pattern else "a date such as 2026-03-01 or 2026-03-01T14:00:00Z"
        raise RejectedRow("unknown_date", f"{column} {text!r}", path=column, expected=expected) from error
    if skipped:
        expected = f"an hour that there is: clocks in {zone.key} skip this one"
        raise RejectedRow("unknown_date", f"{column} {text!r}", path=column, expected=expected)
    return utc


@lru_cache(maxsize=1024)
def is_shown_twice(at: datetime, zone: ZoneInfo) -> bool:
    """Whether an instant lies in an hour that the clocks of a zone show twice.

    >>> is_shown_twice(datetime(2026, 10, 25, 0, 30, tzinfo=UTC), ZoneInfo("Europe/Berlin"))
    True
    """
    local = at.astimezone(zone)
    earlier, later = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
    return earlier != later


def day_of_year(month: str, day: str, year: int, zone: ZoneInfo) -> datetime:
    """The beginning of a day, in UTC, from its month (name or number), day and year."""
    try:
        name = month.strip().lower()
        number = int(name) if name.isdecimal() else 1 + next(i for i, m in enumerate(_MONTHS) if _is_month(name, m))
        start = date(year, number, int(day))
    except (ValueError, StopIteration) as error:
        raise RejectedRow(
            "unknown_date",
            f"month {month!r} and day {day!r} of {year}",
            path="day",
            expected="a day of the calendar, such as April and 1",
        ) from error
    return datetime(start.year, start.month, start.day, tzinfo=zone).astimezone(UTC)


def _is_month(name: str, month: str) -> bool:
    return name in {month, month[:3]}
