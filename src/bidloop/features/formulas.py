"""How the value of a signal comes about, in words with its numbers in them, and what stands where nothing is known."""

from __future__ import annotations

from bidloop.features.signals import (
    Age,
    Calendar,
    CalendarPart,
    Holiday,
    Latest,
    Quantile,
    Ratio,
    Recency,
    Running,
    Signal,
    Total,
    Utilisation,
)
from bidloop.features.source import PERSON
from bidloop.features.view import FeatureView

NEVER = "never missing"

_DAYS: dict[CalendarPart, str] = {
    "day_of_month": "day of month",
    "is_weekend": "1 on Saturday and Sunday, else 0",
    "year_sin": "sin(2π × days since January 1 / 365.25)",
    "year_cos": "cos(2π × days since January 1 / 365.25)",
}


def formula(view: FeatureView, signal: Signal) -> str:
    """How a signal is computed.

    Examples
    --------
    >>> from bidloop.features.signal_sets import campaign_signals, with_signals
    >>> from bidloop.features.views import campaign_view
    >>> view = with_signals(campaign_view(), campaign_signals())
    >>> [formula(view, one) for one in view.signals if one.name == "cpc_7d"]
    ['(cost + 2 × cpc_7d of the ad group) / (clicks + 2), each × e^(-age / 7d)']
    """
    match signal:
        case Ratio():
            return _ratio(view, signal)
        case Total():
            return _sum(signal.amount, signal.over_days)
        case Quantile():
            drawn = f", with {signal.strength:g} values of {_above(view, signal.entity)}"
            return (
                f"the value that {signal.quantile:.4g} of the {words(signal.amount)} values stay below"
                f"{_each(signal.over_days)}{drawn if view.hierarchy[signal.entity] else ''}"
            )
        case Utilisation():
            return f"({_sum(signal.amount, signal.over_days)}) / latest {signal.limit}"
        case Latest():
            return f"latest {signal.amount} of the {words(signal.entity)}, or of what it is part of"
        case Recency() | Age():
            which = "last" if isinstance(signal, Recency) else "first"
            return f"days since the {which} {signal.amount}"
        case Running():
            return f"1 between the latest {signal.starts} and {signal.ends}, else 0"
        case Calendar():
            return f"{_DAYS[signal.part]}, in {view.timezone}"
        case Holiday():
            place = "-".join(filter(None, (signal.country, signal.subdivision)))
            if signal.days_ahead:
                return f"days to the next public holiday of {place}, at most 30"
            return f"1 on a public holiday of {place}, else 0"


def _ratio(view: FeatureView, signal: Ratio) -> str:
    over, under, strength = signal.numerator, signal.denominator, f"{signal.strength:g}"
    if parent := view.hierarchy[signal.entity]:
        prior = f"{signal.name} of the {words(parent)}"
    elif signal.prior is None:
        return f"{over} / {under}{_each(signal.over_days)}"
    else:
        prior = f"{signal.prior:g}"
    if signal.strength_in == "numerator":
        formula = f"({over} + {strength}) / ({under} + {strength} / {prior})"
    else:
        formula = f"({over} + {strength} × {prior}) / ({under} + {strength})"
    most = "" if signal.cap is None else f", at most {signal.cap:g}"
    top = f"; the account's with {signal.prior:g}" if parent and signal.prior is not None else ""
    return f"{formula}{_each(signal.over_days)}{most}{top}"


def missing(view: FeatureView, signal: Signal) -> str:
    """What stands where nothing is known."""
    personal = not isinstance(signal, Calendar | Holiday) and PERSON in view.key_of(signal.entity)
    nobody = ", and without a user" if personal else ""
    match signal:
        case Total():
            if signal.missing == "missing":
                return f"missing where there was none{nobody}"
            return f"0{', but missing without a user' if personal else ''}"
        case Ratio():
            top = f"missing before the account's first {words(signal.denominator)}{nobody}"
            return f"that of {_above(view, signal.entity)}; {top}" if view.hierarchy[signal.entity] else top
        case Quantile():
            top = f"missing before the account's first {words(signal.amount)}"
            return f"that of {_above(view, signal.entity)}; {top}" if view.hierarchy[signal.entity] else top
        case Utilisation():
            return f"missing where no {words(signal.limit)} above 0 was told"
        case Latest():
            late = "" if signal.max_age_days is None else f", or not for {span(signal.max_age_days)}"
            return f"missing where none was told{late}"
        case Recency() | Age():
            return "missing where there never was any"
        case Running():
            return "0 where none was told"
        case Calendar() | Holiday():
            return NEVER


def span(days: float) -> str:
    """A length of time as people write it.

    >>> span(1 / 24), span(7), span(1.5)
    ('1h', '7d', '1.5d')
    """
    return f"{days * 24:.4g}h" if days < 1 else f"{days:.4g}d"


def words(name: str) -> str:
    """A name as people write it."""
    return name.replace("_", " ")


def _sum(amount: str, over_days: float | None) -> str:
    return f"sum of {amount}{_each(over_days)}"


def _each(over_days: float | None) -> str:
    return "" if over_days is None else f", each × e^(-age / {span(over_days)})"


def _above(view: FeatureView, entity: str) -> str:
    return f"the {words(view.hierarchy[entity])}"
