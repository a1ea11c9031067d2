"""Is each feature fine, and if not, what is wrong: missing, out of range, or stale?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

from bidloop.core.errors import InvalidInput
from bidloop.features.cards import FeatureCard, cards
from bidloop.features.health import Tally
from bidloop.features.lineage import lineage, origins
from bidloop.features.view import FeatureView

Verdict: TypeAlias = Literal["fine", "missing", "missing everywhere", "out of range", "stale", "not seen"]


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """From where on something is wrong.

    Parameters
    ----------
    missing
        Share of rows without a value, in (0, 1]; 1 means everywhere.
    outside
        Share of rows outside the declared range that is still fine, in [0, 1].
    stale_hours
        A feature over the past is stale when one of the amounts that it is made of was not told of for this long, and for
        longer than the feature looks back. At least 0.

    Raises
    ------
    InvalidInput
        When a number is out of its range.
    """

    missing: float = 1.0
    outside: float = 0.0
    stale_hours: float = 48.0

    def __post_init__(self) -> None:
        if not 0.0 < self.missing <= 1.0:
            raise InvalidInput(f"missing of {self.missing:g}", path="missing", expected="a share above 0 and at most 1")
        if not 0.0 <= self.outside <= 1.0:
            raise InvalidInput(
                f"outside of {self.outside:g}", path="outside", expected="a share of at least 0 and at most 1"
            )
        if not 0.0 <= self.stale_hours < math.inf:
            raise InvalidInput(
                f"stale_hours of {self.stale_hours:g}", path="stale_hours", expected="a finite number of at least 0"
            )


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How one feature is.

    Parameters
    ----------
    availability, missing
        Shares of rows with and without a value; they add up to 1.
    outside
        Share of rows outside the declared range; `None` where none is declared.
    fresh_seconds
        Age of the newest event that it is made of: of several amounts (clicks and impressions) that of the one told of longest
        ago. `None` where it is made of none, or none was ever told.
    lowest, highest
        Range of the values that were there.
    verdict
        What is wrong with it; ``not seen`` where there was no row to look at.
    """

    name: str
    entity: str
    rows: int
    availability: float
    missing: float
    outside: float | None
    fresh_seconds: float | None
    lowest: float | None
    highest: float | None
    verdict: Verdict


def judge(
    view: FeatureView,
    tallies: Mapping[str, Tally],
    newest: Mapping[str, datetime],
    now: datetime,
    thresholds: Thresholds | None = None,
) -> list[Health]:
    """Say of each feature how it is.

    Parameters
    ----------
    tallies
        What was seen of each.
    newest
        When the newest event of each type happened.
    """
    limits, edges = thresholds or Thresholds(), lineage(view)
    judged = []
    for card in cards(view):
        age = freshness(origins(edges, card.name), newest, now)
        judged.append(_judged(card, tallies[card.name], age, limits))
    return judged


def freshness(origins: Mapping[str, Sequence[str]], newest: Mapping[str, datetime], now: datetime) -> float | None:
    """Seconds since the newest event of the amount that was told of longest ago; `None` where nothing was ever told.

    Parameters
    ----------
    origins
        Amounts, and the types of events that each is told by: the newest of these counts.

    Examples
    --------
    >>> from datetime import UTC
    >>> day = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 5)]
    >>> made_of = {"clicks": ["click_received", "campaign_reported"], "impressions": ["impression_served"]}
    >>> freshness(made_of, {"click_received": day[1], "impression_served": day[2]}, day[3]) / 86_400
    2.0
    """
    ages = [
        min((now - newest[kind]).total_seconds() for kind in types if kind in newest)
        for types in origins.values()
        if any(kind in newest for kind in types)
    ]
    return max(ages, default=None)


def _judged(card: FeatureCard, tally: Tally, age: float | None, limits: Thresholds) -> Health:
    share = 1.0 / max(1, tally.rows)
    missing, outside = tally.missing * share, tally.outside * share
    verdict: Verdict = "fine"
    if not tally.rows:
        verdict = "not seen"
    elif missing >= limits.missing:
        verdict = "missing everywhere" if tally.missing == tally.rows else "missing"
    elif outside > limits.outside:
        verdict = "out of range"
    elif age is not None and _stale_after(card, limits) < age:
        verdict = "stale"
    return Health(
        name=card.name,
        entity=card.entity,
        rows=tally.rows,
        availability=1.0 - missing if tally.rows else 0.0,
        missing=missing,
        outside=outside if tally.bounded else None,
        fresh_seconds=age,
        lowest=tally.lowest,
        highest=tally.highest,
        verdict=verdict,
    )


def _stale_after(card: FeatureCard, limits: Thresholds) -> float:
    """Seconds; infinite for what does not fade, such as the days since a launch."""
    return math.inf if card.span_days is None else max(limits.stale_hours * 3600.0, card.span_days * 86_400.0)
