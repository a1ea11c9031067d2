"""The definition of a set of features: data, not code, so that it can be hashed, stored with a model and read back."""

from __future__ import annotations

import functools
import hashlib
import math
from collections import Counter
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from bidloop.core.errors import ConfigurationError, closest
from bidloop.features.amounts import AD_AMOUNTS, TOLD, Amount
from bidloop.features.signals import (
    Entity,
    Kept,
    Latest,
    Ratio,
    Running,
    Signal,
    Total,
    Utilisation,
    amounts_of,
    check_calendar,
    check_numbers,
)
from bidloop.features.source import check_key, check_source

REVISION = 1
"""Part of every version: raise it when the same definition begins to mean other values."""

FORGOTTEN = 1e-6
"""Decayed impressions (or clicks) below this count as none: the past has faded away."""

RESERVED = ("present", "champion")
"""Words for views, which no feature may be named."""

ACCOUNT = "account"
CELL = "cell"

RateValue: TypeAlias = Literal["ctr", "conversion_rate", "impressions", "log_impressions"]


class CategoryFeature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A categorical feature: the value found at a source, as text; empty where it is missing.

    Parameters
    ----------
    name
        Name of the feature.
    source
        A text field of the opportunity (``device``), ``attributes.NAME``, or ``time.hour``, ``time.weekday``,
        ``time.part_of_day`` in the account's timezone.
    """

    name: str
    source: str


class MeasureFeature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A numeric feature that the opportunity carries in `measures`; missing (NaN) where it is absent or not finite."""

    name: str
    measure: str


class RateFeature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happened so far to opportunities like this one: click and conversion rates over one key.

    Counts fade by half every `half_life_days`. A rate is drawn towards the rate of the `parent` key, the more so the
    fewer events stand behind it:

    ``ctr = (clicks + strength) / (impressions + strength / parent ctr)``

    This is the posterior mean of a click rate whose prior is a gamma distribution with the parent's rate as mean and
    a coefficient of variation of ``1 / sqrt(strength)``. The strength is counted in events (clicks for the CTR,
    conversions for the conversion rate) so that one number suits a search CTR of 5 % and a display CTR of 0.05 %.

    Parameters
    ----------
    name
        Beginning of the feature names: ``campaign`` gives ``campaign_ctr`` and so on.
    key
        The sources whose values together make the key; empty for the account as a whole.
    parent
        Name of the rate that it is drawn towards; empty only for ``account``, which is drawn towards the view's base
        rates.
    half_life_days
        Days after which an observation counts half.
    strength
        Weight of the parent, in events.
    values
        Which values become features: ``ctr``, ``conversion_rate``, ``impressions`` (decayed count), ``log_impressions``
        (natural log of one plus that count).
    """

    name: str
    key: tuple[str, ...]
    parent: str = ACCOUNT
    half_life_days: float = 14.0
    strength: float = 2.0
    values: tuple[RateValue, ...] = ("ctr", "conversion_rate", "log_impressions")

    def feature(self, value: RateValue) -> str:
        """Name of the feature that carries one of the rate's values."""
        return f"{self.name}_{value}"


class FeatureView(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the engine looks at when it judges an opportunity.

    Parameters
    ----------
    name
        A word for people; part of the definition.
    categories, measures, rates
        The features. Rates stand behind their parents; the first is ``account`` with an empty key, and one is named
        ``cell``: the finest key, which an opportunity's own `history` speaks of.
    cyclic
        Which of ``hour`` and ``weekday`` become a sine and a cosine, so that 23:59 and 00:00 are neighbours.
    timezone
        IANA name of the account's timezone, in which hour and weekday are counted.
    lag_seconds
        What happened less than this before an opportunity does not count as known: events take time to arrive, and training
        must not know them sooner than serving does. At least 0.
    base_ctr, base_conversion_rate
        Rates in (0, 1] that the account's own rates are drawn towards, with the strength of the ``account`` rate.
        They fade out after a few clicks, and are never used before the first impression: then the rates are missing.
    entities
        What signals may speak of, beside the keys of the rates: the name of a rate is that of its key. Each stands behind its
        parent.
    amounts
        What events of users and of the market add up to, beside those of ads (`bidloop.features.amounts`).
    signals
        Further features (`bidloop.features.signals`).
    resolution_seconds
        Time is told in steps of this length: an event counts from the end of the step that it fell in. At least a
        microsecond, which is the smallest difference that events know. A store that many processes share keeps what
        is new step by step, so that one second there costs less than exactness.

    Raises
    ------
    ConfigurationError
        When two features share a name, a source does not exist, a parent is missing or stands later, or a number is
        out of range.

    Examples
    --------
    >>> view = FeatureView(
    ...     name="small",
    ...     categories=(CategoryFeature(name="device", source="device"),),
    ...     rates=(
    ...         RateFeature(name="account", key=(), parent="", values=("ctr", "conversion_rate", "impressions")),
    ...         RateFeature(name="cell", key=("device",), values=("ctr", "conversion_rate", "impressions")),
    ...     ),
    ... )
    >>> view.categorical_names
    ('device',)
    >>> view.numeric_names[-3:]
    ('cell_ctr', 'cell_conversion_rate', 'cell_impressions')
    >>> len(view.version)
    12
    >>> msgspec.convert(msgspec.to_builtins(view), FeatureView) == view
    True
    """

    name: str
    categories: tuple[CategoryFeature, ...] = ()
    cyclic: tuple[Literal["hour", "weekday"], ...] = ("hour", "weekday")
    measures: tuple[MeasureFeature, ...] = ()
    rates: tuple[RateFeature, ...]
    timezone: str = "UTC"
    lag_seconds: float = 0.0
    base_ctr: float = 0.01
    base_conversion_rate: float = 0.05
    entities: tuple[Entity, ...] = ()
    amounts: tuple[Amount, ...] = ()
    signals: tuple[Signal, ...] = ()
    resolution_seconds: float = 1e-6

    def __post_init__(self) -> None:
        _check_names(self)
        _check_zone(self.timezone)
        for category in self.categories:
            check_source(category.source)
        _check_rates(self.rates)
        if not 0.0 <= self.lag_seconds < math.inf:
            raise ConfigurationError(f"lag_seconds of {self.lag_seconds}", expected="a finite number of at least 0")
        if not 1e-6 <= self.resolution_seconds <= 86_400:
            raise ConfigurationError(
                f"resolution_seconds of {self.resolution_seconds}", expected="between a microsecond and a day"
            )
        for name, rate in (("base_ctr", self.base_ctr), ("base_conversion_rate", self.base_conversion_rate)):
            if not 0.0 < rate <= 1.0:
                raise ConfigurationError(f"{name} of {rate}", expected="a rate above 0 and at most 1")
        _check_entities(self)
        _check_amounts(self)
        _check_signals(self)

    @property
    def version(self) -> str:
        """Twelve hexadecimal digits that change with the definition."""
        return _version(self)

    @property
    def categorical_names(self) -> tuple[str, ...]:
        """Names of the categorical features, in the order of the table."""
        return tuple(category.name for category in self.categories)

    @property
    def numeric_names(self) -> tuple[str, ...]:
        """Names of the numeric features, in the order of the table."""
        cyclic = [f"{part}_{wave}" for part in self.cyclic for wave in ("sin", "cos")]
        measures = [measure.name for measure in self.measures]
        rates = [rate.feature(value) for rate in self.rates for value in rate.values]
        return (*cyclic, *measures, *rates, *(signal.name for signal in self.signals))

    @property
    def hierarchy(self) -> dict[str, str]:
        """The parent of each entity by name, those of the rates included; empty for those at the top."""
        return {one.name: one.parent for one in self.rates} | {one.name: one.parent for one in self.entities}

    @property
    def tick(self) -> int:
        """The steps of time in microseconds."""
        return round(self.resolution_seconds * 1e6)

    def key_of(self, entity: str) -> tuple[str, ...]:
        """The sources that name one entity of this name."""
        keys = {one.name: one.key for one in self.rates} | {one.name: one.key for one in self.entities}
        return keys[entity]


@functools.lru_cache(maxsize=64)
def _version(view: FeatureView) -> str:
    definition = msgspec.to_builtins(view, order="deterministic")
    # What came later and stands at its default is left out, so that older definitions keep their version.
    for name, default in zip(_LATER, msgspec.structs.fields(FeatureView)[-len(_LATER) :], strict=True):
        if getattr(view, name) == default.default:
            del definition[name]
    return hashlib.sha256(msgspec.json.encode((REVISION, definition))).hexdigest()[:12]


_LATER = ("entities", "amounts", "signals", "resolution_seconds")


def _check_names(view: FeatureView) -> None:
    names = (*view.categorical_names, *view.numeric_names)
    for name in names:
        if not name.isprintable() or not name.strip() or name in RESERVED:
            raise ConfigurationError(
                f"feature name {name!r}", expected=f"printable text, and none of {', '.join(RESERVED)}"
            )
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise ConfigurationError(
            f"feature names used twice: {', '.join(twice)}",
            expected="one feature per name",
            remedy="Rename one of them in the feature view.",
        )


def _check_zone(timezone: str) -> None:
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"timezone {timezone!r}", expected="an IANA name such as 'UTC' or 'Asia/Shanghai'"
        ) from error


def _check_rates(rates: tuple[RateFeature, ...]) -> None:
    if not rates or (rates[0].name, rates[0].key, rates[0].parent) != (ACCOUNT, (), ""):
        raise ConfigurationError(
            f"rates that begin with {rates[0].name if rates else 'nothing'!r}",
            expected="'account' first, with an empty key and no parent",
        )
    if not any(rate.name == CELL and rate.key for rate in rates):
        raise ConfigurationError("a view without the rate 'cell'", expected="one rate named 'cell' over the finest key")
    _check_values(rates)
    known: set[str] = set()
    for rate in rates:
        if rate.name in known:
            raise ConfigurationError(f"two rates named {rate.name!r}", expected="one rate per name")
        if known and rate.parent not in known:
            raise ConfigurationError(
                f"rate {rate.name!r} with parent {rate.parent!r}",
                expected=f"one of the rates before it: {', '.join(sorted(known))}",
            )
        for source in rate.key:
            check_source(source)
        if len(set(rate.key)) < len(rate.key):
            raise ConfigurationError(f"rate {rate.name!r} with a source named twice", expected="each source once")
        for number in (rate.half_life_days, rate.strength):
            if not (math.isfinite(number) and number > 0):
                raise ConfigurationError(
                    f"rate {rate.name!r} with half-life {rate.half_life_days} days and strength {rate.strength}",
                    expected="finite numbers above 0",
                )
        known.add(rate.name)


def _check_entities(view: FeatureView) -> None:
    known = {rate.name: rate.key for rate in view.rates}
    for entity in view.entities:
        if entity.name in known:
            raise ConfigurationError(
                f"two entities named {entity.name!r}", expected="one per name; the key of each rate is one by its name"
            )
        if entity.parent and entity.parent not in known:
            raise ConfigurationError(
                f"entity {entity.name!r} with parent {entity.parent!r}",
                expected=f"one of those before it: {', '.join(known)}",
                remedy=closest(entity.parent, known),
            )
        for source in entity.key:
            check_key(source)
        if len(set(entity.key)) < len(entity.key):
            raise ConfigurationError(f"entity {entity.name!r} with a source named twice", expected="each source once")
        if entity.parent and known[entity.parent] == entity.key:
            raise ConfigurationError(
                f"entity {entity.name!r} with the key of its parent {entity.parent!r}",
                expected="a finer key, or no parent",
            )
        known[entity.name] = entity.key


def _check_amounts(view: FeatureView) -> None:
    known = set(AD_AMOUNTS)
    for amount in view.amounts:
        if amount.name in known:
            raise ConfigurationError(f"two amounts named {amount.name!r}", expected="one per name")
        known.add(amount.name)


def _check_signals(view: FeatureView) -> None:
    amounts = (*AD_AMOUNTS, *(amount.name for amount in view.amounts))
    for signal in view.signals:
        low, high = signal.range
        if not all(bound is None or math.isfinite(bound) for bound in signal.range):
            raise ConfigurationError(
                f"signal {signal.name!r} with range {low} to {high}",
                expected="finite numbers",
                remedy="Where there is no bound on one side, take one that no value reaches; without any, leave the range out.",
            )
        if low is not None and high is not None and not low <= high:
            raise ConfigurationError(f"signal {signal.name!r} with range {low} to {high}", expected="the smaller first")
        check_numbers(signal)
        if not isinstance(signal, Kept):
            check_calendar(signal)
            continue
        if signal.entity not in view.hierarchy:
            raise ConfigurationError(
                f"signal {signal.name!r} of entity {signal.entity!r}",
                expected=f"one of {', '.join(view.hierarchy)}",
                remedy=closest(signal.entity, view.hierarchy),
            )
        for amount in amounts_of(signal):
            if amount not in amounts:
                raise ConfigurationError(
                    f"signal {signal.name!r} of amount {amount!r}",
                    expected=f"one of {', '.join(amounts)}",
                    remedy=closest(amount, amounts),
                )
            single = isinstance(signal, Latest | Running) or (
                isinstance(signal, Utilisation) and amount == signal.limit
            )
            if single and amount in AD_AMOUNTS and amount not in TOLD:
                raise ConfigurationError(
                    f"signal {signal.name!r} of the latest {amount}",
                    expected=f"a single value: {', '.join(TOLD)}, or an amount of your own",
                    remedy="Of what adds up there are totals and ratios.",
                )
            summed = isinstance(signal, Total | Ratio) or (isinstance(signal, Utilisation) and amount == signal.amount)
            if amount in TOLD and summed:
                raise ConfigurationError(
                    f"signal {signal.name!r}, a {type(signal).__name__.lower()} of {amount}",
                    expected="an amount that adds up",
                    remedy="Of single values there is the latest, and their quantiles.",
                )


def _check_values(rates: tuple[RateFeature, ...]) -> None:
    needed: tuple[RateValue, ...] = ("ctr", "conversion_rate", "impressions")
    for rate in rates:
        if rate.name in (ACCOUNT, CELL) and not set(needed) <= set(rate.values):
            raise ConfigurationError(
                f"rate {rate.name!r} with the values {', '.join(rate.values)}",
                expected=f"at least {', '.join(needed)}, which predictions fall back on",
            )
