"""What a feature may be: a total, a ratio, a quantile, the latest value, how long ago, a day of the calendar.

A signal is data: it names an entity, the amounts that it is made of, over how long, and what it means where nothing is known.
How it is kept up to date, computed for a past instant, read online and shown in Feast all follow from that.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from bidloop.core.errors import ConfigurationError
from bidloop.features.holidays import days_of

Strength: TypeAlias = Annotated[float, Meta(gt=0)]
Days: TypeAlias = Annotated[float, Meta(gt=0)]
Bound: TypeAlias = float | None

CalendarPart: TypeAlias = Literal["day_of_month", "is_weekend", "year_sin", "year_cos"]


class Entity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a feature speaks of: a campaign, a keyword, a user, a place.

    Parameters
    ----------
    name
        A word for people and for file names.
    key
        The sources whose values together name one such thing (`bidloop.features.source`), or ``user_id``; empty for the
        account as a whole.
    parent
        The entity that this one is part of, which it is drawn towards where little is known of it.
    """

    name: str
    key: tuple[str, ...]
    parent: str = ""


class _Signal(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"
):
    """What all signals have in common.

    Parameters
    ----------
    name
        Name of the feature.
    unit
        What one of it is, such as ``USD`` or ``days``.
    range
        Smallest and largest value that makes sense; `None` for no bound. A value outside is used all the same, and counted
        (`bidloop features health`).
    owner
        Who answers for it.
    description
        One sentence for people.
    """

    name: str
    unit: str = ""
    range: tuple[Bound, Bound] = (None, None)
    owner: str = ""
    description: str = ""


class Total(_Signal, frozen=True, kw_only=True, tag="total"):
    """How much of an amount there was: page views, spend, forms.

    Parameters
    ----------
    entity, amount
        Of what, and how much of what.
    over_days
        The past fades exponentially with this mean life: in steady traffic the total is what a window of this length would
        hold, without the jump when an event leaves a window. `None` never fades.
    missing
        Whether a total of nothing reads as zero or as not known. Of an opportunity that names no such entity (no user) it is
        never known.
    """

    entity: str
    amount: str
    over_days: Days | None = None
    missing: Literal["zero", "missing"] = "zero"


class Ratio(_Signal, frozen=True, kw_only=True, tag="ratio"):
    """One amount per another, drawn towards the ratio of the entity above: CTR, cost per click, ROAS, bounce rate.

    With prior strength s, numerator x, denominator y and the ratio p of the parent entity it is ``(x + s) / (y + s / p)``, or
    ``(x + s p) / (y + s)`` where the strength is counted in the denominator: the posterior mean of a rate under a gamma prior
    whose mean is p. The entity at the top is drawn towards `prior`, and is missing before its first denominator; an entity of
    which nothing is known has its parent's ratio.

    Parameters
    ----------
    entity, numerator, denominator
        Of what, and which amounts.
    over_days
        As of `Total`, of both amounts.
    prior
        The ratio that the top of the hierarchy is drawn towards; `None` leaves it as it is.
    strength, strength_in
        Weight of the parent, in units of the numerator or of the denominator: the rarer of the two, so that one number suits
        keywords and accounts.
    cap
        Largest value; 1 for probabilities.
    """

    entity: str
    numerator: str
    denominator: str
    over_days: Days | None = None
    prior: float | None = None
    strength: Strength = 2.0
    strength_in: Literal["numerator", "denominator"] = "numerator"
    cap: float | None = None


class Quantile(_Signal, frozen=True, kw_only=True, tag="quantile"):
    """The value that a share of an amount's values stays below: the market price at which half of the auctions go.

    Kept as fading counts in 48 bins from ``2 ** -12`` to ``2 ** 12``, each half an octave wide, and read by interpolation
    between their edges, so that a value is right to about a fifth of itself. The counts are drawn towards the distribution
    of the parent entity.

    Parameters
    ----------
    entity, amount
        Of what, and of which amount's single values; those of 0 and below do not count.
    quantile
        Share, in (0, 1).
    over_days, strength
        As of `Ratio`; the strength is counted in values.
    """

    entity: str
    amount: str
    quantile: Annotated[float, Meta(gt=0, lt=1)]
    over_days: Days | None = None
    strength: Strength = 2.0


class Utilisation(_Signal, frozen=True, kw_only=True, tag="utilisation"):
    """How much of a told limit was used: spend per daily budget. Missing where no limit above zero was told.

    Parameters
    ----------
    entity, amount, over_days
        As of `Total`.
    limit
        The amount whose latest value is the limit; that of the entity itself, or of the nearest above it that has one.
    """

    entity: str
    amount: str
    limit: str
    over_days: Days | None = None


class Latest(_Signal, frozen=True, kw_only=True, tag="latest"):
    """The value that was told last: a published figure, today's budget. Of several at one instant the largest.

    Parameters
    ----------
    entity, amount
        Of what, and which amount. Where nothing was told of it, what was told of the entity above.
    max_age_days
        A value older than this is not known any more; `None` keeps it for ever.
    """

    entity: str
    amount: str
    max_age_days: Days | None = None


class Recency(_Signal, frozen=True, kw_only=True, tag="recency"):
    """Days since the last time there was any of an amount; missing where there never was."""

    entity: str
    amount: str


class Age(_Signal, frozen=True, kw_only=True, tag="age"):
    """Days since the first time there was any of an amount; missing where there never was."""

    entity: str
    amount: str


class Running(_Signal, frozen=True, kw_only=True, tag="running"):
    """Whether the stretch of time that was told last is running: 1 between its two instants, else 0.

    One is remembered at a time: tell each when it is announced. Of several told at one instant the one that is latest in the
    calendar holds.

    Parameters
    ----------
    entity
        Of what; as of `Latest`.
    starts, ends
        Amounts that are instants, such as those of a season.
    """

    entity: str
    starts: str
    ends: str


class Calendar(_Signal, frozen=True, kw_only=True, tag="calendar"):
    """The day in the account's timezone: its number in the month, whether it is a weekend's, where in the year it stands."""

    part: CalendarPart


class Holiday(_Signal, frozen=True, kw_only=True, tag="holiday"):
    """Whether the day is a public holiday, or how many days it is to the next one (at most 30).

    Parameters
    ----------
    country, subdivision
        ISO 3166 codes, such as ``DE`` and ``BY``.
    days_ahead
        Whether to count the days to the next one instead.
    """

    country: str
    subdivision: str = ""
    days_ahead: bool = False


Signal: TypeAlias = Total | Ratio | Quantile | Utilisation | Latest | Recency | Age | Running | Calendar | Holiday
Kept: TypeAlias = Total | Ratio | Quantile | Utilisation | Latest | Recency | Age | Running
"""Signals that need a memory."""


def amounts_of(signal: Kept) -> tuple[str, ...]:
    """The amounts that a signal is made of."""
    if isinstance(signal, Ratio):
        return signal.numerator, signal.denominator
    if isinstance(signal, Running):
        return signal.starts, signal.ends
    if isinstance(signal, Utilisation):
        return signal.amount, signal.limit
    return (signal.amount,)


def check_calendar(signal: Calendar | Holiday) -> None:
    """Make sure that there is a calendar of public holidays for the country that a signal names.

    Raises
    ------
    ConfigurationError
        When there is none for the country or its subdivision.
    """
    if isinstance(signal, Holiday):
        days_of(signal.country, signal.subdivision)


def check_numbers(signal: Signal) -> None:
    """Make sure that the numbers of a signal are in their ranges, wherever it was made.

    Raises
    ------
    ConfigurationError
        When one is not finite, or out of range.
    """
    told = msgspec.to_builtins(signal)
    try:
        msgspec.convert(told, Signal)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"signal {signal.name!r}: {error}") from error
    for name, lowest in (
        ("over_days", 1e-6),
        ("strength", 1e-6),
        ("prior", 1e-12),
        ("cap", 1e-12),
        ("max_age_days", 1e-6),
    ):
        value = told.get(name)
        if value is not None and not lowest <= value <= 1e12:
            raise ConfigurationError(f"signal {signal.name!r} with {name} = {value}", expected=f"{lowest:g} to 1e12")
