"""Events as senders tell them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidloop.core.errors import RejectedRow
from bidloop.core.event import CampaignReported, Competitor, Event, ImpressionServed
from bidloop.core.money import Money
from bidloop.events.json_schema import json_schema
from bidloop.events.misreading import CODES
from bidloop.events.teller import Teller
from bidloop.events.told import TOLD_TYPES, told_type

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLICK: dict[str, Any] = {
    "type": "click_received",
    "eventId": "c1",
    "at": "2026-03-01T12:00:00Z",
    "impressionId": "i1",
}


def tell(**changes: Any) -> Event:
    told = {name: value for name, value in (CLICK | changes).items() if value is not ...}
    return Teller("EUR").event(msgspec.json.encode(told))


def test_an_amount_is_a_decimal_of_the_accounts_currency_or_of_the_one_that_is_named() -> None:
    assert tell(price=0.1).price == Money(100_000, "EUR")
    assert tell(price=12345678.123456).price == Money(12_345_678_123_456, "EUR")
    assert tell(price=1, currency="USD").price == Money.of(1, "USD")
    assert tell().price is None


def test_an_ad_event_may_tell_what_it_was_about() -> None:
    event = tell(type="impression_served", opportunity={"campaignId": "spring", "floor": 0.4, "charge": "per_mille"})
    assert isinstance(event, ImpressionServed)
    about = event.opportunity
    assert about is not None
    assert (about.opportunity_id, about.at, about.campaign_id) == ("i1", AT, "spring")
    assert (about.floor, about.currency) == (Money.of("0.4", "EUR"), "EUR")


def test_a_report_row_tells_what_platforms_know_beside_the_counts() -> None:
    event = tell(
        type="campaign_reported", impressionId=..., opportunity={"campaignId": "spring"}, impressions=10, clicks=1,
        conversions=0, spend=2.5, budget=50, impressionShare=0.4, qualityScore=7, averagePosition=1.3, rowId="r",
        knownAt="2026-03-02T06:00:00Z", competitors=[{"name": "b.example", "overlapRate": 0.2}],
    )  # fmt: skip
    assert isinstance(event, CampaignReported)
    assert (event.spend, event.budget, event.row_id) == (Money.of("2.5", "EUR"), Money.of(50, "EUR"), "r")
    assert (event.impression_share, event.quality_score, event.average_position) == (0.4, 7, 1.3)
    assert event.competitors == (Competitor(name="b.example", overlap_rate=0.2),)


@pytest.mark.parametrize(
    ("changes", "code", "path", "words"),
    [
        ({"type": "click_recieved"}, "unknown_type", "type", "Did you mean 'click_received'"),
        ({"type": ...}, "unknown_type", "type", "no type"),
        ({"version": 2}, "unknown_version", "version", "version 1"),
        ({"impresionId": "i1"}, "unknown_field", "impresionId", "Did you mean 'impressionId'"),
        ({"impressionId": ...}, "missing_field", "impressionId", "no impressionId"),
        ({"impressionId": 7}, "wrong_field", "impressionId", "that is `int`; expected `str`"),
        ({"at": "2026-03-01T12:00:00"}, "wrong_field", "at", "timezone"),
        ({"at": "yesterday"}, "wrong_field", "at", "RFC3339"),
        ({"price": 1e13}, "wrong_field", "price", "<= 1"),
        ({"currency": "euro"}, "wrong_field", "currency", "[A-Z]"),
        ({"type": "impression_served", "opportunity": {"campaign": "a"}}, "unknown_field", "opportunity.campaign", "campaignId"),
        ({"eventId": "x" * 600}, "wrong_field", "eventId", "512"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place_and_what_would_be_right(
    changes: dict[str, Any], code: str, path: str, words: str
) -> None:
    with pytest.raises(RejectedRow) as caught:
        tell(**changes)
    assert (caught.value.code, caught.value.path) == (code, path)
    assert words in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"3", b"\xff{}", b"[" * 3000, b'"click"'])
def test_bytes_that_are_no_object_are_said_to_be_none(raw: bytes) -> None:
    with pytest.raises(RejectedRow) as caught:
        Teller("EUR").event(raw)
    assert caught.value.code == "not_json"


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_no_bytes_at_all_cause_anything_but_a_rejection(raw: bytes) -> None:
    with pytest.raises(RejectedRow) as caught:
        Teller("EUR").event(raw)
    assert caught.value.code in CODES


@pytest.mark.parametrize("field", ["userId", "deviceId", "ip", "sessionId"])
@pytest.mark.parametrize(
    "value", ["anna@example.org" * 40, 7123456, ["anna@example.org"], {"mail": "anna@example.org"}]
)
def test_the_words_never_repeat_an_identifier(field: str, value: Any) -> None:
    with pytest.raises(RejectedRow) as caught:
        tell(**{field: value})
    assert "anna" not in str(caught.value)
    assert "7123456" not in str(caught.value)


def test_every_event_type_has_a_told_form_with_the_same_fields() -> None:
    for kind in get_args(Event):
        told = {field.name for field in msgspec.structs.fields(told_type(kind))}
        assert told - {"currency"} == set(kind.__struct_fields__)


def test_every_event_type_has_a_schema_that_needs_what_the_event_needs() -> None:
    assert len(TOLD_TYPES) == len(get_args(Event))
    for name, told in TOLD_TYPES.items():
        schema = json_schema(name)
        needed = {field.encode_name for field in msgspec.structs.fields(told) if field.required}
        assert set(schema["required"]) == needed | {"type"}
        assert schema["additionalProperties"] is False
        assert all("description" in field for field in schema["properties"].values()), name


def test_the_published_schemas_are_those_of_the_code() -> None:
    folder = Path(__file__).resolve().parents[2] / "docs" / "schemas"
    published = {file.stem: msgspec.json.decode(file.read_bytes()) for file in folder.glob("*.json")}
    # 'bidloop events schema -o docs/schemas' writes them anew.
    assert published == msgspec.json.decode(msgspec.json.encode({name: json_schema(name) for name in TOLD_TYPES}))


@pytest.mark.parametrize("changes", [{"type": "anna@shop.example"}, {"anna@shop.example": 1}, {"+49 171 123": 1}])
def test_a_name_that_looks_like_somebody_is_not_repeated(changes: dict[str, Any]) -> None:
    with pytest.raises(RejectedRow, match="of a strange name") as caught:
        tell(**changes)
    assert not any(name in str(caught.value) for name in ("anna", "171"))
