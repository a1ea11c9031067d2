"""Where a value is found in an opportunity: a path such as ``device``, ``attributes.slot`` or ``time.hour``."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from bidloop.core.errors import ConfigurationError
from bidloop.core.opportunity import Opportunity
from bidloop.features.local_time import LocalTimes

FIELDS: Final = ("campaign_id", "ad_group_id", "keyword", "device", "location", "auction", "charge", "currency")
"""Text fields of an opportunity that a feature may read. Ids of one opportunity or one user are not among them: they
name single persons or events, and a rate over them would learn the noise of one."""

_ENUMS: Final = ("auction", "charge")

PERSON: Final = "user_id"
"""The pseudonym of a user: part of a key, never a category."""

TIMES: Final = ("time.hour", "time.weekday", "time.part_of_day")


def check_source(source: str) -> None:
    """Make sure that a source is one.

    Raises
    ------
    ConfigurationError
        When it names neither a field, an attribute nor a time.

    Examples
    --------
    >>> check_source("attributes.slot")
    >>> check_source("user_id")
    Traceback (most recent call last):
    bidloop.core.errors.ConfigurationError: source 'user_id'; expected one of campaign_id, ..., or attributes.NAME
    """
    kind, _, name = source.partition(".")
    if source in FIELDS or source in TIMES or (kind == "attributes" and name):
        return
    raise ConfigurationError(
        f"source {source!r}", expected=f"one of {', '.join((*FIELDS, *TIMES))}, or attributes.NAME"
    )


def check_key(source: str) -> None:
    """Make sure that a source may be part of an entity's key: what `check_source` takes, or ``user_id``.

    A person's history is worth knowing, though as a category a person would be noise.
    """
    if source != PERSON:
        check_source(source)


def column(source: str, opportunities: Sequence[Opportunity], times: LocalTimes) -> list[str]:
    """The value at a source for n opportunities, as n texts; empty where there is none."""
    if source in FIELDS or source == PERSON:
        values = map(attrgetter(source), opportunities)
        return list(map(str, values)) if source in _ENUMS else list(values)  # `str` of a StrEnum is its value
    kind, _, name = source.partition(".")
    if kind == "attributes":
        return [opportunity.attributes.get(name, "") for opportunity in opportunities]
    return times.column(name)
