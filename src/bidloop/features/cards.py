"""What is said of a feature: kind, unit, range, what stands where nothing is known, and its formula in words."""

from __future__ import annotations

import functools
from typing import get_args

import msgspec

from bidloop.core.errors import NotFound, closest
from bidloop.features.formulas import NEVER, formula, missing, span, words
from bidloop.features.signal_sets import OWNER
from bidloop.features.signals import (
    Bound,
    Calendar,
    Holiday,
    Latest,
    Quantile,
    Ratio,
    Signal,
    Total,
    Utilisation,
)
from bidloop.features.view import CELL, FeatureView, RateFeature, RateValue

KINDS = (
    "category",
    "cyclic",
    "measure",
    "rate",
    "count",
    *(str(kind.__struct_config__.tag) for kind in get_args(Signal)),
)
"""What kinds of features there are."""


class FeatureCard(msgspec.Struct, frozen=True, kw_only=True):
    """One feature, told to a person.

    Parameters
    ----------
    name, kind
        Name of the feature, and what kind it is: ``category``, ``cyclic``, ``measure``, ``rate``, ``count``, or that of its
        signal (``total``, ``ratio``, …).
    entity
        What it speaks of; empty where it is the opportunity itself.
    over
        How the past fades, in words; empty where it does not.
    span_days
        After so many days without news it says nothing of its own any more; `None` where there is no such time.
    unit, owner, description
        As of a signal.
    range
        Smallest and largest value that makes sense; `None` for no bound.
    missing
        What stands where nothing is known.
    formula
        How it is computed, with its numbers.
    """

    name: str
    kind: str
    entity: str = ""
    over: str = ""
    span_days: float | None = None
    unit: str = ""
    range: tuple[Bound, Bound] = (None, None)
    missing: str
    owner: str = OWNER
    description: str
    formula: str


def describe_feature(view: FeatureView, name: str) -> FeatureCard:
    """Tell of one feature of a view.

    Raises
    ------
    NotFound
        When the view has no such feature; with the closest.

    Examples
    --------
    >>> from bidloop.features.views import campaign_view
    >>> card = describe_feature(campaign_view(), "keyword_ctr")
    >>> card.formula
    '(clicks + 2) / (impressions + 2 / ad_group_ctr)'
    >>> card.over, card.range
    ('half-life 14d', (0.0, 1.0))
    >>> describe_feature(campaign_view(), "keyword_crt")
    Traceback (most recent call last):
    bidloop.core.errors.NotFound: no feature 'keyword_crt' in view campaign ...; expected one of its 29. Did you mean 'keyword_ctr'?
    """
    known = {card.name: card for card in cards(view)}
    if name not in known:
        raise NotFound(
            f"no feature {name!r} in view {view.name} {view.version}",
            expected=f"one of its {len(known)}",
            remedy=closest(name, known) or "'bidloop features list' shows them.",
        )
    return known[name]


@functools.lru_cache(maxsize=64)
def cards(view: FeatureView) -> tuple[FeatureCard, ...]:
    """All features of a view, in the order of its table: categories, then numbers."""
    rates = [_rate(view, rate, value) for rate in view.rates for value in rate.values]
    return (
        *(_category(one.name, one.source, view.timezone) for one in view.categories),
        *(_cyclic(part, wave) for part in view.cyclic for wave in ("sin", "cos")),
        *(_measure(one.name, one.measure) for one in view.measures),
        *rates,
        *(_signal(view, signal) for signal in view.signals),
    )


def _category(name: str, source: str, timezone: str) -> FeatureCard:
    kind, _, part = source.partition(".")
    if kind == "time":
        said, missing = f"{part.replace('_', ' ').capitalize()} in {timezone}.", NEVER
    else:
        said, missing = f"The opportunity's {source}.", "empty where the opportunity does not tell it"
    return FeatureCard(name=name, kind="category", unit="text", missing=missing, description=said, formula=source)


def _cyclic(part: str, wave: str) -> FeatureCard:
    word, turn = {"sin": ("sine", "sin"), "cos": ("cosine", "cos")}[wave]
    share = "minutes since midnight / 1440" if part == "hour" else "days since Monday / 7"
    what = "Time of day" if part == "hour" else "Day of the week"
    return FeatureCard(
        name=f"{part}_{wave}",
        kind="cyclic",
        unit=word,
        range=(-1.0, 1.0),
        missing=NEVER,
        description=f"{what} on a circle, so that its end and its beginning are neighbours.",
        formula=f"{turn}(2π × {share})",
    )


def _measure(name: str, measure: str) -> FeatureCard:
    return FeatureCard(
        name=name,
        kind="measure",
        unit="as told",
        missing="missing where the opportunity does not tell it, or tells no finite number",
        description=f"The opportunity's own {measure}.",
        formula=f"measures.{measure}",
    )


def _rate(view: FeatureView, rate: RateFeature, value: RateValue) -> FeatureCard:
    name, of = rate.feature(value), _of(rate.name)
    above = f"that of the {words(rate.parent)}" if rate.parent else ""
    halving = f"half-life {span(rate.half_life_days)}"
    top = "missing before the account's first impression"
    if value in ("impressions", "log_impressions"):
        log = value == "log_impressions"
        return FeatureCard(
            name=name,
            kind="count",
            entity=rate.name,
            over=halving,
            span_days=rate.half_life_days,
            unit="log(1 + impressions)" if log else "impressions",
            range=(0.0, None),
            missing=f"{_told(rate)}{f'0, and {top}' if rate.parent else top}",
            description=f"Impressions {of}, faded" + (", as a logarithm." if log else "."),
            formula=f"log(1 + {_faded('impressions', rate)})" if log else _faded("impressions", rate),
        )
    over, under = ("clicks", "impressions") if value == "ctr" else ("conversions", "clicks")
    base = view.base_ctr if value == "ctr" else view.base_conversion_rate
    parent = f"{rate.parent}_{value}" if rate.parent else f"{base:g}"
    strength = f"{rate.strength:g}"
    if value == "conversion_rate":
        top = "missing before the account's first click"
    return FeatureCard(
        name=name,
        kind="rate",
        entity=rate.name,
        over=halving,
        span_days=rate.half_life_days,
        unit=f"{over} per {under[:-1]}",
        range=(0.0, 1.0),
        missing=f"{_told(rate)}{above}; {top}" if above else top,
        description=f"{'Click-through' if value == 'ctr' else 'Conversion'} rate {of}, drawn towards "
        f"{above or 'a base rate'} where little is known.",
        formula=f"({over} + {strength}) / ({under} + {strength} / {parent})",
    )


def _told(rate: RateFeature) -> str:
    """What stands first where nothing was seen: of the cell what the caller knows of it."""
    return "what the opportunity's history tells, else " if rate.name == CELL else ""


def _faded(amount: str, rate: RateFeature) -> str:
    return f"sum of {amount} × 2^(-days ago / {rate.half_life_days:g})"


def _signal(view: FeatureView, signal: Signal) -> FeatureCard:
    about: dict[str, object] = {
        "name": signal.name,
        "kind": str(signal.__struct_config__.tag),
        "unit": signal.unit,
        "range": signal.range,
        "owner": signal.owner or "nobody",
        "description": signal.description or "Not described.",
        "formula": formula(view, signal),
        "missing": missing(view, signal),
    }
    if not isinstance(signal, Calendar | Holiday):
        about["entity"] = signal.entity
    if isinstance(signal, Total | Ratio | Quantile | Utilisation):
        about["over"] = "ever" if signal.over_days is None else span(signal.over_days)
        about["span_days"] = signal.over_days
    if isinstance(signal, Latest):
        about["span_days"] = signal.max_age_days
    return msgspec.convert(about, FeatureCard)


def _of(entity: str) -> str:
    return "of the account" if entity == "account" else f"of the same {words(entity)}"
