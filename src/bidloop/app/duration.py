"""Lengths of time as people write them: 90s, 10m, 1h30m."""

from __future__ import annotations

import re

from bidloop.core.errors import ConfigurationError

_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_WRITTEN = re.compile(
    r"(?:(?P<d>\d+(?:\.\d+)?)d)?(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?"
)


def seconds_of(text: str) -> float:
    """A length of time in seconds.

    Raises
    ------
    ConfigurationError
        When it is not written as one, or is nothing.

    Examples
    --------
    >>> seconds_of("10m"), seconds_of("1h30m"), seconds_of("45 s")
    (600.0, 5400.0, 45.0)
    >>> seconds_of("ten")
    Traceback (most recent call last):
    bidloop.core.errors.ConfigurationError: 'ten' as a length of time; expected such as 90s, 10m or 1h30m
    """
    found = _WRITTEN.fullmatch(text.replace(" ", "").lower())
    seconds = sum(float(amount) * _UNITS[unit] for unit, amount in found.groupdict("0").items()) if found else 0.0
    if seconds <= 0:
        raise ConfigurationError(f"{text!r} as a length of time", expected="such as 90s, 10m or 1h30m")
    return seconds
