"""What a bidding setting may be: checks whose error names the setting, what was found and what would be right."""

from __future__ import annotations

import math

from bidloop.core.errors import ConfigurationError


def require(holds: bool, name: str, value: object, expected: str, remedy: str = "") -> None:
    """Refuse a bidding setting that does not hold what it must.

    Raises
    ------
    ConfigurationError
        When `holds` is false.
    """
    if not holds:
        raise ConfigurationError(f"bidding.{name} = {value!r}", expected=expected, remedy=remedy)


def positive(name: str, value: float | None) -> None:
    """Refuse a bidding setting that is given and not a finite number above zero."""
    if value is not None:
        require(math.isfinite(value) and value > 0, name, value, "a finite number above zero")
