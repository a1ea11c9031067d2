"""What counts as a sensible event, and how many are written at once."""

from __future__ import annotations

import msgspec


class EventSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the intake.

    Parameters
    ----------
    currency
        ISO 4217 code that every amount must be in; empty accepts any, as long as each event is in one currency.
    earliest_year
        First year, UTC, that is taken for a date. What is older is taken for a date that was misread.
    future_tolerance_hours
        How far ahead of the clock an event may be. One day, because a report's date begins up to 14 hours earlier in
        Auckland than in London.
    chunk
        Events per transaction: larger is faster, smaller loses less work when a run is cut off.
    """

    currency: str = ""
    earliest_year: int = 2000
    future_tolerance_hours: float = 24.0
    chunk: int = 5_000
