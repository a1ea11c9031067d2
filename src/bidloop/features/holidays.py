"""Public holidays, as the `holidays` library knows them."""

from __future__ import annotations

import functools
import threading
from datetime import date, timedelta

import holidays

from bidloop.core.errors import ConfigurationError, closest

AHEAD = 30
"""Days that are looked ahead for the next one."""
_filling = threading.Lock()  # the library takes a year for known before it has filled it


@functools.lru_cache(maxsize=64)
def days_of(country: str, subdivision: str = "") -> holidays.HolidayBase:
    """The calendar of a country, or of a part of it; it grows by the years that are asked for.

    Raises
    ------
    ConfigurationError
        When there is none, with the closest.

    Examples
    --------
    >>> date(2026, 1, 6) in days_of("DE", "BY"), date(2026, 1, 6) in days_of("DE", "HH")
    (True, False)
    >>> days_of("DE", "XX")
    Traceback (most recent call last):
    bidloop.core.errors.ConfigurationError: holidays of 'DE', subdivision 'XX'; expected one of BB, ... TH, ...
    """
    known = holidays.list_supported_countries(include_aliases=False)
    if country not in known:
        raise ConfigurationError(
            f"holidays of {country!r}",
            expected="an ISO 3166 code of a country that the holidays library knows, such as 'DE'",
            remedy=closest(country, known),
        )
    if subdivision and subdivision not in known[country]:
        raise ConfigurationError(
            f"holidays of {country!r}, subdivision {subdivision!r}",
            expected=f"one of {', '.join(known[country])}" if known[country] else "none",
            remedy=closest(subdivision, known[country]),
        )
    return holidays.country_holidays(country, subdiv=subdivision or None)


@functools.lru_cache(maxsize=4096)
def days_until_holiday(day: date, country: str, subdivision: str = "") -> int:
    """Days from a day to the next public holiday: 0 on one, at most 30.

    >>> days_until_holiday(date(2026, 12, 20), "DE"), days_until_holiday(date(2026, 12, 25), "DE")
    (5, 0)
    """
    with _filling:
        calendar = days_of(country, subdivision)
        for ahead in range(AHEAD):
            if day + timedelta(days=ahead) in calendar:
                return ahead
    return AHEAD
