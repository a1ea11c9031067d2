"""What is said of where a feature comes from is true of what is computed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, get_args, get_type_hints

import msgspec
import numpy as np
import pytest

from bidloop.core.errors import NotFound
from bidloop.core.event import (
    BidLost,
    BidPlaced,
    BidWon,
    CampaignReported,
    ClickReceived,
    Competitor,
    ConversionReported,
    ConversionRestated,
    ConversionRetracted,
    Event,
    ImpressionServed,
)
from bidloop.core.money import Money
from bidloop.core.opportunity import Charge, History, Opportunity
from bidloop.core.outcome import FURTHER
from bidloop.features.amounts import AD_AMOUNTS, Amount
from bidloop.features.cards import cards, describe_feature
from bidloop.features.lineage import AD_SOURCES, Node, lineage, origins, upstream
from bidloop.features.online import InProcessStore
from bidloop.features.signal_sets import calendar_signals, campaign_signals, market_signals, user_signals, with_signals
from bidloop.features.signals import Entity, Total
from bidloop.features.views import campaign_view, display_view
from bidloop.outcomes.joining import Joiner

TYPES = {kind.__struct_config__.tag: kind for kind in get_args(Event)}
VIEW = with_signals(
    campaign_view("Europe/Berlin", ["quality_score"]),
    campaign_signals("EUR"),
    user_signals(),
    calendar_signals("DE", "BY"),
    market_signals(["gdp"]),
)
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
CELL = Opportunity(
    opportunity_id="o", at=AT, campaign_id="shoes", charge=Charge.PER_MILLE, budget=Money(50_000_000), user_id="p"
)
CLICKED = msgspec.structs.replace(CELL, charge=Charge.PER_CLICK)
LATER = AT + timedelta(minutes=1)
PRICE = Money(2_000_000)


@dataclass
class NoDecisions:
    """Nothing was decided here."""

    def opportunities(self, ids: Sequence[str]) -> dict[str, Opportunity]:
        return {}

    def bids(self, ids: Sequence[str]) -> dict[str, Money]:
        return {}


def shown(**changes: Any) -> ImpressionServed:
    told: dict[str, Any] = {"event_id": "s", "at": AT, "impression_id": "i", "opportunity": CELL} | changes
    return ImpressionServed(**told)


SOLD = ConversionReported(event_id="c", at=LATER, impression_id="i", order_id="1", value=PRICE)
# The event, and what has to have happened before it.
SCENES: dict[str, tuple[Event, tuple[Event, ...]]] = {
    "impression_served": (shown(price=PRICE), ()),
    "bid_won": (BidWon(event_id="w", at=LATER, impression_id="i", price=PRICE), (shown(),)),
    "bid_lost": (BidLost(event_id="l", at=LATER, impression_id="j", opportunity=CELL, market_price=PRICE), ()),
    "bid_placed": (BidPlaced(event_id="b", at=LATER, impression_id="j", opportunity=CELL, bid=PRICE), ()),
    "click_received": (
        ClickReceived(event_id="k", at=LATER, impression_id="i", price=PRICE),
        (shown(opportunity=CLICKED),),
    ),
    "conversion_reported": (SOLD, (shown(),)),
    "conversion_restated": (
        ConversionRestated(
            event_id="r", at=LATER + timedelta(minutes=1), impression_id="i", order_id="1", value=Money(1_000_000)
        ),
        (shown(), SOLD),
    ),
    "conversion_retracted": (
        ConversionRetracted(event_id="r", at=LATER + timedelta(minutes=1), impression_id="i", order_id="1"),
        (shown(), SOLD),
    ),
    "campaign_reported": (
        CampaignReported(
            event_id="p", at=AT, opportunity=CELL, impressions=100, clicks=9, conversions=2, spend=PRICE, value=PRICE,
            impression_share=0.5, quality_score=7.0, budget=PRICE,
            competitors=(Competitor(name="rival", impression_share=0.3, overlap_rate=0.2),),
        ),
        (),
    ),
}  # fmt: skip


def joined(events: Sequence[Event]) -> dict[str, list[float]]:
    """All increments of each amount, in order; those that change nothing left out."""
    joiner = Joiner(NoDecisions())  # type: ignore[arg-type]
    known = joiner.join(events)
    columns = {name: getattr(known, name) for name in AD_AMOUNTS if name not in FURTHER} | dict(known.further)
    return {name: [v for v in column.tolist() if v and not np.isnan(v)] for name, column in columns.items()}


@pytest.mark.parametrize("kind", SCENES)
def test_an_event_adds_to_the_amounts_that_name_it_and_to_no_other(kind: str) -> None:
    event, before = SCENES[kind]
    without, with_it = joined(before), joined([*before, event])
    moved = {name for name in AD_AMOUNTS if with_it[name] != without[name]}
    assert moved == {name for name, sources in AD_SOURCES.items() if kind in {source for source, _ in sources}}


def test_every_amount_of_ads_has_its_sources_and_all_are_tried() -> None:
    assert set(AD_SOURCES) == set(AD_AMOUNTS)
    assert {kind for sources in AD_SOURCES.values() for kind, _ in sources} == set(SCENES)


def test_every_field_that_is_named_exists() -> None:
    for edge in lineage(VIEW):
        if edge.source.kind == "event" and edge.source.field:
            kind: Any = TYPES[edge.source.name]
            for part in edge.source.field.split("."):
                hint = str(get_type_hints(kind)[part])
                kind = {"Opportunity": Opportunity, "Competitor": Competitor}.get(
                    next(iter(re.findall(r"Opportunity|Competitor", hint)), "")
                )
        if edge.source.kind == "opportunity":
            assert edge.source.field.split(".")[0] in Opportunity.__struct_fields__


@pytest.mark.parametrize("view", [VIEW, display_view(["domain", "slot"], ["floor"])], ids=lambda view: view.name)
def test_every_feature_comes_from_something_and_has_a_card(view: Any) -> None:
    edges = lineage(view)
    names = [*view.categorical_names, *view.numeric_names]
    assert [card.name for card in cards(view)] == names
    assert len(set(edges)) == len(edges)
    for name in names:
        own = upstream(edges, name)
        assert own
        assert all(edge.target == Node("feature", name) or edge.target.kind == "amount" for edge in own)
        assert {edge.source.name for edge in own if edge.source.kind == "amount"} == set(origins(edges, name))
        assert describe_feature(view, name).missing


def test_features_of_each_kind_come_from_where_they_should() -> None:
    edges = lineage(VIEW)

    def said(name: str) -> set[str]:
        return {f"{edge.source} {edge.how}" for edge in upstream(edges, name)}

    assert said("device") == {"opportunity.device read"}
    assert said("part_of_day") == said("hour_sin") == said("is_holiday") == {"opportunity.at read"}
    assert said("quality_score") == {"opportunity.measures.quality_score read"}
    assert said("user_bounce_rate") >= {
        "session_ended counted", "session_ended.page_views selected", "opportunity.user_id key"
    }  # fmt: skip
    assert said("gdp") >= {"indicator_published.value told", "indicator_published.series selected"}
    assert "opportunity.history read" in said("cell_ctr")
    assert "opportunity.history read" not in said("keyword_ctr")
    assert said("season") >= {"season_marked.starts told", "season_marked.ends told", "opportunity.location key"}
    assert {"click_received counted", "campaign_reported.clicks added"} <= said("cpc_7d")
    assert {"conversion_reported counted", "conversion_retracted taken away"} <= said("keyword_conversion_rate")
    assert said("user_session_duration") >= {"session_ended.duration_seconds added"}


def test_what_stands_where_nothing_is_known_is_what_is_computed() -> None:
    store = InProcessStore(campaign_view())
    at = Opportunity(opportunity_id="o", at=AT, campaign_id="shoes")
    told = History(ctr=0.5, conversion_rate=0.5, spend=Money(0), impressions=10, clicks=5)
    table = store.read([at, msgspec.structs.replace(at, history=told)])
    blank, known = table.row(0), table.row(1)
    for name in campaign_view().numeric_names[4:]:
        said = describe_feature(campaign_view(), name).missing
        assert blank.numeric[name] is None
        assert "missing before the account's first" in said
        assert (
            ("the opportunity's history tells" in said) == (known.numeric[name] is not None) == name.startswith("cell")
        )


def test_an_amount_of_ones_own_is_followed_by_its_condition() -> None:
    view = msgspec.structs.replace(
        campaign_view(),
        entities=(Entity(name="user", key=("user_id",)),),
        amounts=(Amount(name="carts", event="form_submitted", where={"form_id": "cart"}),),
        signals=(Total(name="carts_7d", entity="user", amount="carts", over_days=7),),
    )
    assert [f"{edge.source} {edge.how} {edge.target}" for edge in upstream(lineage(view), "carts_7d")] == [
        "form_submitted counted carts",
        "form_submitted.form_id selected carts",
        "carts aggregated carts_7d",
        "opportunity.user_id key carts_7d",
    ]


def test_a_formula_has_the_numbers_of_the_definition_in_it() -> None:
    assert describe_feature(campaign_view(), "account_ctr").formula == "(clicks + 2) / (impressions + 2 / 0.01)"
    ratio = describe_feature(VIEW, "ctr_7d")
    assert ratio.formula.startswith("(clicks + 2) / (impressions + 2 / ctr_7d of the ad group), each × e^(-age / 7d)")
    assert describe_feature(VIEW, "cpc_1h").formula.startswith("(cost + 2 × cpc_1h of the ad group) / (clicks + 2)")
    with pytest.raises(NotFound, match="Did you mean 'ctr_7d'"):
        describe_feature(VIEW, "ctr_7")
