"""Ready-made signals: of campaigns, of users, of the calendar and of the market around.

A set is added to a view with `with_signals`; what is in it can be read with ``bidloop features list``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from bidloop.core.errors import ConfigurationError, closest
from bidloop.features.amounts import Amount
from bidloop.features.signals import (
    Age,
    Calendar,
    Entity,
    Holiday,
    Kept,
    Latest,
    Quantile,
    Ratio,
    Recency,
    Running,
    Signal,
    Total,
    Utilisation,
    amounts_of,
)
from bidloop.features.view import FeatureView

SPANS: Mapping[str, float] = {"1h": 1 / 24, "1d": 1.0, "7d": 7.0, "30d": 30.0}
"""Spans over which signals of campaigns are kept, in days by name."""
OWNER = "bidloop"


@dataclass(frozen=True)
class SignalSet:
    """Signals, with the entities and amounts that they need."""

    entities: tuple[Entity, ...] = ()
    amounts: tuple[Amount, ...] = ()
    signals: tuple[Signal, ...] = ()


def with_signals(view: FeatureView, *sets: SignalSet) -> FeatureView:
    """The view with further signals; an entity or amount that is defined alike already is there once.

    Raises
    ------
    ConfigurationError
        When a name stands for two things.

    Examples
    --------
    >>> from bidloop.features.views import campaign_view
    >>> with_signals(campaign_view(), calendar_signals()).numeric_names[-3:]
    ('year_sin', 'year_cos', 'season')
    """
    entities = list(view.entities)
    rates = [Entity(name=rate.name, key=rate.key, parent=rate.parent) for rate in view.rates]
    for entity in (entity for one in sets for entity in one.entities):
        if not any(_alike(entity, known) for known in (*rates, *entities)):
            entities.append(entity)  # where only the name is known, the view refuses it
    amounts = dict.fromkeys((*view.amounts, *(amount for one in sets for amount in one.amounts)))
    signals = (*view.signals, *(signal for one in sets for signal in one.signals))
    return msgspec.structs.replace(view, entities=tuple(entities), amounts=tuple(amounts), signals=signals)


def _alike(entity: Entity, known: Entity) -> bool:
    """Whether it is an entity that is known; who does not name a parent leaves it to the other."""
    return (entity.name, entity.key) == (known.name, known.key) and entity.parent in ("", known.parent)


def chosen(view: FeatureView, names: Sequence[str]) -> FeatureView:
    """The view with those of its signals alone that are named; none named are all.

    Raises
    ------
    ConfigurationError
        When no signal has such a name, with the closest.
    """
    if not names:
        return view
    known = {signal.name: signal for signal in view.signals}
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"feature {name!r}, which no view defines",
                expected=f"one of {', '.join(known) or 'none: no signals are defined'}",
                remedy=closest(name, known),
            )
    return _needed(msgspec.structs.replace(view, signals=tuple(known[name] for name in dict.fromkeys(names))))


def _needed(view: FeatureView) -> FeatureView:
    """The view without the entities and amounts that no signal needs: they would make another version of the same features."""
    kept = [signal for signal in view.signals if isinstance(signal, Kept)]
    amounts = {name for signal in kept for name in amounts_of(signal)}
    entities: set[str] = set()
    for signal in kept:
        entity = signal.entity
        while entity:
            entities.add(entity)
            entity = view.hierarchy[entity]
    return msgspec.structs.replace(
        view,
        entities=tuple(entity for entity in view.entities if entity.name in entities),
        amounts=tuple(amount for amount in view.amounts if amount.name in amounts),
    )


def campaign_signals(currency: str = "account currency") -> SignalSet:
    """How keywords do: rates, prices and shares over an hour, a day, a week and a month.

    Each is drawn towards the ad group's, which is drawn towards the campaign's, and that towards the account's.

    Examples
    --------
    >>> names = [signal.name for signal in campaign_signals().signals]
    >>> len(names), names[:4]
    (41, ['ctr_1h', 'ctr_1d', 'ctr_7d', 'ctr_30d'])
    """
    fields = ("campaign_id", "ad_group_id", "keyword")
    entities = (
        Entity(name="account", key=()),
        Entity(name="campaign", key=fields[:1], parent="account"),
        Entity(name="ad_group", key=fields[:2], parent="campaign"),
        Entity(name="keyword", key=fields, parent="ad_group"),
    )
    rate, money = (0.0, 1.0), (0.0, None)

    def over_spans(
        name: str, numerator: str, denominator: str, unit: str, description: str, **more: object
    ) -> list[Signal]:
        return [
            Ratio(
                name=f"{name}_{span}", entity="keyword", numerator=numerator, denominator=denominator, over_days=days,
                unit=unit, owner=OWNER, description=f"{description}, over {span}.", **more,  # type: ignore[arg-type]
            )
            for span, days in SPANS.items()
        ]  # fmt: skip

    signals = [
        *over_spans("ctr", "clicks", "impressions", "clicks per impression", "Click-through rate", range=rate, cap=1.0, prior=0.01),
        *over_spans("conversion_rate", "conversions", "clicks", "conversions per click", "Conversion rate",
                    range=rate, cap=1.0, prior=0.05),
        *over_spans("cpa", "cost", "conversions", currency, "Cost per conversion", range=money, strength_in="denominator"),
        *over_spans("cpc", "cost", "clicks", currency, "Cost per click", range=money, strength_in="denominator"),
        *over_spans("roas", "value", "cost", "value per cost", "Return on ad spend", range=money, strength_in="denominator"),
        *over_spans("impression_share", "share_impressions", "eligible_impressions", "share",
                    "Share of the impressions that could have been had, where reports tell it", range=rate, strength=20.0),
        *over_spans("quality_score", "quality_points", "quality_impressions", "the platform's own",
                    "Quality score of the average impression, where reports tell it", strength_in="denominator", strength=100.0),
        *over_spans("bid_level", "bid_total", "bids", currency, "Mean bid", range=money, strength_in="denominator"),
        *(
            Quantile(name=f"market_price_p{100 * share:.0f}", entity="keyword", amount="market_price", quantile=share,
                     over_days=7.0, unit=currency, range=money, owner=OWNER,
                     description=f"Price below which {share:.0%} of the auctions were won, over 7d.")
            for share in (0.25, 0.5, 0.75)
        ),
        *(
            Utilisation(name=f"budget_utilisation_{span}", entity="campaign", amount="cost", limit="daily_budget",
                        over_days=SPANS[span], unit="days' budgets", range=(0.0, 2.0 * max(1.0, SPANS[span])), owner=OWNER,
                        description=f"Spend over {span} per daily budget.")
            for span in ("1d", "7d")
        ),
        Age(name="campaign_age", entity="campaign", amount="impressions", unit="days", range=money, owner=OWNER,
            description="Days since the campaign's first impression."),
        Recency(name="campaign_recency", entity="campaign", amount="impressions", unit="days", range=money, owner=OWNER,
                description="Days since the campaign's last impression."),
        Latest(name="competitor_share", entity="campaign", amount="competitor_share", unit="share", range=rate, owner=OWNER,
               max_age_days=30.0, description="Impression share of the strongest competitor, where an auction insight tells it."),
        Latest(name="competitor_overlap", entity="campaign", amount="competitor_overlap", unit="share", range=rate, owner=OWNER,
               max_age_days=30.0, description="How often the strongest competitor was shown when we were."),
    ]  # fmt: skip
    return SignalSet(entities, (), tuple(signals))


def user_signals() -> SignalSet:
    """What a user did: pages, visits, forms, e-mails, devices, and how likely that user is to buy.

    Rates are drawn towards those of all users; an opportunity without a user has none of these.

    Examples
    --------
    >>> [signal.name for signal in user_signals().signals][:3]
    ['user_page_views_1d', 'user_page_views_7d', 'user_page_views_30d']
    """
    counted = {
        "page_views": "page_viewed",
        "sessions": "session_started",
        "visits_ended": "session_ended",
        "forms": "form_submitted",
        "email_opens": "email_opened",
        "email_clicks": "email_clicked",
        "devices": "device_linked",
    }
    amounts = (
        *(Amount(name=name, event=event) for name, event in counted.items()),
        Amount(name="session_seconds", event="session_ended", field="duration_seconds"),
        Amount(name="bounces", event="session_ended", where={"page_views": "1"}),
    )

    def total(name: str, amount: str, span: str, unit: str, description: str) -> Total:
        return Total(name=f"user_{name}_{span}", entity="user", amount=amount, over_days=SPANS[span], unit=unit,
                     range=(0.0, None), owner=OWNER, description=f"{description}, over {span}.")  # fmt: skip

    def ratio(
        name: str, over: str, under: str, unit: str, high: float | None, description: str, **more: object
    ) -> Ratio:
        return Ratio(name=f"user_{name}", entity="user", numerator=over, denominator=under, over_days=30.0, unit=unit,
                     range=(0.0, high), owner=OWNER, description=description, **more)  # type: ignore[arg-type]  # fmt: skip

    signals: tuple[Signal, ...] = (
        *(total("page_views", "page_views", span, "pages", "Pages viewed") for span in ("1d", "7d", "30d")),
        *(total("forms", "forms", span, "forms", "Forms submitted") for span in ("7d", "30d")),
        total("email_opens", "email_opens", "30d", "e-mails", "E-mails opened"),
        total("email_clicks", "email_clicks", "30d", "e-mails", "Links in e-mails clicked"),
        total("frequency", "sessions", "30d", "visits", "Visits"),
        ratio("session_duration", "session_seconds", "visits_ended", "seconds", None, "How long a visit lasts.",
              strength_in="denominator"),
        ratio("bounce_rate", "bounces", "visits_ended", "bounces per visit", 1.0, "Visits of one page.",
              cap=1.0, strength_in="denominator"),
        ratio("email_click_rate", "email_clicks", "email_opens", "clicks per opened e-mail", None, "How e-mails are answered.",
              strength_in="denominator"),
        ratio("propensity", "conversions", "sessions", "conversions per visit", None,
              "How likely a visit is to bring a conversion that ads led to.", prior=0.02),
        Total(name="user_devices", entity="user", amount="devices", unit="times", range=(0.0, None), owner=OWNER,
              description="Times that a device was recognised as the user's."),
        Recency(name="user_recency", entity="user", amount="page_views", unit="days", range=(0.0, None), owner=OWNER,
                description="Days since the last page view."),
    )  # fmt: skip
    entities = (Entity(name="account", key=()), Entity(name="user", key=("user_id",), parent="account"))
    return SignalSet(entities, amounts, signals)


def calendar_signals(country: str = "", subdivision: str = "") -> SignalSet:
    """Where in month and year a day stands, and whether it is a weekend's or a holiday.

    Hour and weekday are cyclic features of every view already, and the part of day is a category.

    Parameters
    ----------
    country, subdivision
        ISO 3166 codes of the holidays' calendar; without a country there are no holidays.
    """
    day: tuple[Signal, ...] = (
        Calendar(name="day_of_month", part="day_of_month", unit="days", range=(1.0, 31.0), owner=OWNER,
                 description="Day of the month in the account's timezone."),
        Calendar(name="is_weekend", part="is_weekend", unit="yes or no", range=(0.0, 1.0), owner=OWNER,
                 description="Whether it is Saturday or Sunday."),
        Calendar(name="year_sin", part="year_sin", unit="sine", range=(-1.0, 1.0), owner=OWNER,
                 description="Time of year, so that December and January are neighbours."),
        Calendar(name="year_cos", part="year_cos", unit="cosine", range=(-1.0, 1.0), owner=OWNER,
                 description="Time of year, so that December and January are neighbours."),
    )  # fmt: skip
    holidays: tuple[Signal, ...] = (
        Holiday(name="is_holiday", country=country, subdivision=subdivision, unit="yes or no", range=(0.0, 1.0), owner=OWNER,
                description="Whether it is a public holiday."),
        Holiday(name="days_to_holiday", country=country, subdivision=subdivision, days_ahead=True, unit="days",
                range=(0.0, 30.0), owner=OWNER, description="Days to the next public holiday, at most 30."),
    ) if country else ()  # fmt: skip
    season = Running(name="season", entity="place", starts="season_starts", ends="season_ends", unit="yes or no",
                     range=(0.0, 1.0), owner=OWNER, description="Whether the season that was marked last is running.")  # fmt: skip
    amounts = (
        Amount(name="season_starts", event="season_marked", field="starts"),
        Amount(name="season_ends", event="season_marked", field="ends"),
    )
    return SignalSet(_PLACES, amounts, (*day, *holidays, season))


def market_signals(series: Sequence[str] = ()) -> SignalSet:
    """What happened around: published figures as of their publication, launches of competitors, changes of platforms.

    Parameters
    ----------
    series
        Economic series, by the names that `IndicatorPublished` events give them; each becomes a feature of that name.
    """
    amounts = (
        Amount(name="launches", event="competitor_launched"),
        Amount(name="platform_changes", event="platform_changed"),
        *(
            Amount(name=f"published_{name}", event="indicator_published", field="value", where={"series": name})
            for name in series
        ),
    )
    signals: tuple[Signal, ...] = (
        *(
            Latest(name=name, entity="place", amount=f"published_{name}", owner=OWNER, unit="the series' own",
                   description=f"Latest figure of {name} that was published.")
            for name in series
        ),
        Total(name="competitor_launches_30d", entity="account", amount="launches", over_days=30.0, unit="launches",
              range=(0.0, None), owner=OWNER, description="Launches of competitors, over 30d."),
        Recency(name="days_since_launch", entity="account", amount="launches", unit="days", range=(0.0, None), owner=OWNER,
                description="Days since a competitor launched something."),
        Recency(name="days_since_platform_change", entity="account", amount="platform_changes", unit="days",
                range=(0.0, None), owner=OWNER, description="Days since a platform changed."),
    )  # fmt: skip
    return SignalSet(_PLACES, amounts, signals)


_PLACES = (Entity(name="account", key=()), Entity(name="place", key=("location",), parent="account"))
