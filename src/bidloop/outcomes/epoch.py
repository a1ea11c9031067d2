"""Instants and spans as whole microseconds, the unit that arrays and tables hold time in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


def epoch_us(at: datetime) -> int:
    """Microseconds since 1970, exact; `datetime.timestamp` is a float and would round.

    >>> epoch_us(datetime.fromisoformat("2026-01-01T01:00:00.000001+01:00"))
    1767225600000001
    """
    return (at - _EPOCH) // _US


def from_epoch_us(us: int) -> datetime:
    """The instant of so many microseconds since 1970, UTC.

    >>> from_epoch_us(1767225600000001).isoformat()
    '2026-01-01T00:00:00.000001+00:00'
    """
    return _EPOCH + us * _US


def days_us(days: float) -> int:
    """Days as microseconds.

    >>> days_us(0.5)
    43200000000
    """
    return timedelta(days=days) // _US
