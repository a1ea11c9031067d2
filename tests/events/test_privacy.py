"""People are pseudonyms from the door on."""

from __future__ import annotations

import stat
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from bidloop.core.errors import ConfigurationError, CorruptArtifact, RejectedRow
from bidloop.core.event import (
    CampaignReported,
    ClickReceived,
    DeviceLinked,
    Event,
    ImpressionServed,
    PageViewed,
    Personal,
)
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.events.privacy import IDENTIFIERS, Privacy, load_key, person_of, without_person
from bidloop.events.sealing import Seal
from bidloop.events.settings import PrivacySettings

AT = datetime(2026, 3, 1, tzinfo=UTC)
ANNA = {"user_id": "anna", "device_id": "phone", "session_id": "visit", "ip": "203.0.113.7"}
PRIVACY = Privacy(bytes(32))


def view(**changes: object) -> PageViewed:
    return msgspec.structs.replace(PageViewed(event_id="e", at=AT, **ANNA), **changes)


def test_with_consent_every_identifier_becomes_a_pseudonym_of_its_kind() -> None:
    event = PRIVACY.event(view(consent=True))
    pseudonyms = [getattr(event, name) for name in IDENTIFIERS]
    assert len(set(pseudonyms)) == 4
    assert all(pseudonym.startswith("p.") for pseudonym in pseudonyms)
    assert event == PRIVACY.event(view(consent=True))
    same_word = PRIVACY.event(view(consent=True, device_id="anna"))
    assert same_word.device_id != same_word.user_id


def test_another_key_makes_another_pseudonym() -> None:
    assert Privacy(bytes([1]) * 32).pseudonym("user_id", "anna") != PRIVACY.pseudonym("user_id", "anna")


@pytest.mark.parametrize(
    ("consent", "assume", "kept"),
    [(True, False, True), (False, True, False), (None, False, False), (None, True, True)],
)
def test_without_consent_no_identifier_is_left(consent: bool | None, assume: bool, kept: bool) -> None:
    event = Privacy(bytes(32), PrivacySettings(assume_consent=assume)).event(view(consent=consent))
    assert all(bool(getattr(event, name)) is kept for name in IDENTIFIERS)
    assert event.consent is consent


def test_a_link_between_device_and_user_is_refused_without_consent() -> None:
    with pytest.raises(RejectedRow) as caught:
        PRIVACY.event(DeviceLinked(event_id="e", at=AT, user_id="anna", device_id="phone"))
    assert caught.value.code == "no_consent"
    assert "anna" not in str(caught.value)


def test_who_was_bid_for_is_a_pseudonym_too() -> None:
    about = Opportunity(opportunity_id="o", at=AT, campaign_id="c", user_id="anna")
    shown = ImpressionServed(event_id="e", at=AT, impression_id="i", opportunity=about, consent=True)
    event = PRIVACY.event(shown)
    assert event.opportunity.user_id == PRIVACY.pseudonym("user_id", "anna") == person_of(event)
    assert PRIVACY.event(msgspec.structs.replace(shown, consent=False)).opportunity.user_id == ""


def test_a_report_of_somebody_says_nothing_of_consent_and_so_names_nobody() -> None:
    about = Opportunity(opportunity_id="o", at=AT, campaign_id="c", user_id="anna")
    row = CampaignReported(
        event_id="e", at=AT, opportunity=about, impressions=1, clicks=0, conversions=0, spend=Money(0)
    )
    assert person_of(PRIVACY.event(row)) == ""
    assuming = Privacy(bytes(32), PrivacySettings(assume_consent=True))
    assert person_of(assuming.event(row)) == PRIVACY.pseudonym("user_id", "anna")


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("https://anna:se@cret@shop.example/a@b", "https://shop.example/a@b"),
        (" https://anna:pw@shop.example/", " https://shop.example/"),
        (r"https:\\anna@shop.example\a", r"https:\\shop.example\a"),
        ("https:/anna@shop.example", "https:/shop.example"),
        ("mailto:anna@shop.example", "shop.example"),
        ("/shoes/@anna", "/shoes/@anna"),
    ],
)
def test_no_user_is_left_in_an_address_however_it_is_written(told: str, kept: str) -> None:
    assert PRIVACY.event(view(url=told)).url == kept


def test_addresses_of_pages_lose_what_may_name_somebody() -> None:
    told = view(url="https://anna:pw@shop.example/a/b?mail=anna@x.y#z", referrer="//anna@shop.example?q=1")
    event = PRIVACY.event(told)
    assert (event.url, event.referrer) == ("https://shop.example/a/b", "//shop.example")


def test_every_event_that_can_name_a_person_is_seen_to() -> None:
    for kind in get_args(Event):
        names = set(IDENTIFIERS) & set(kind.__struct_fields__)
        assert (names == set(IDENTIFIERS)) if issubclass(kind, Personal) else not names


def test_an_event_belongs_to_its_user_else_to_its_device() -> None:
    click = ClickReceived(event_id="c", at=AT, impression_id="i", device_id="p.phone")
    assert person_of(click) == "p.phone"
    assert person_of(msgspec.structs.replace(click, user_id="p.anna")) == "p.anna"
    assert without_person(click) == ClickReceived(event_id="c", at=AT, impression_id="i")


def test_a_key_is_made_once_for_its_owner_alone_even_by_many_at_once(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "privacy.key"
    keys: list[bytes] = []
    threads = [threading.Thread(target=lambda: keys.append(load_key(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["privacy.key"]


@pytest.mark.parametrize("text", ["", "abc", "zz" * 32, "00" * 31])
def test_a_key_that_is_none_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "privacy.key").write_text(text)
    with pytest.raises(ConfigurationError, match="64 hexadecimal digits"):
        load_key(tmp_path / "privacy.key")


def test_sealed_bytes_open_with_the_same_key_alone() -> None:
    seal = Seal(bytes(32))
    sealed = seal.close(b"anna")
    assert b"anna" not in sealed
    assert seal.close(b"anna") != sealed
    assert Seal(bytes(32)).open(sealed) == b"anna"
    for wrong in (Seal(bytes([1]) * 32), seal):
        with pytest.raises(CorruptArtifact):
            wrong.open(sealed[:-1] if wrong is seal else sealed)
    assert Seal(bytes([1]) * 32).name(b"anna") != seal.name(b"anna")
