"""The tracker pixel: always an image, and an event wherever one is told."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from starlette.requests import Request

from bidloop.app.http.client_address import address_of, is_own, networks
from bidloop.app.http.pixel import GIF
from bidloop.core.errors import ConfigurationError


def ask(api, headers: dict[str, str] | None = None, **query: Any) -> str:
    """What the answer says became of the event."""
    answer = api.client.get("/v1/pixel.gif", params=query, headers=headers)
    assert answer.status_code == 200
    assert answer.content == GIF
    assert answer.headers["Content-Type"] == "image/gif"
    assert "no-store" in answer.headers["Cache-Control"]
    return answer.headers["X-Bidloop"]


def kept(api) -> Any:
    """The event that was kept last."""
    return api.house.log.read()[-1][1]


def test_the_image_is_one_transparent_point():
    assert (len(GIF), GIF[:6]) == (43, b"GIF89a")
    assert (GIF[6:10], GIF[19:22]) == (b"\x01\x00\x01\x00", b"\x21\xf9\x04")
    assert GIF[22] & 1  # the colour of its point is the transparent one
    assert GIF[-1:] == b"\x3b"


def test_an_image_without_a_word_is_a_page_view_of_now(api):
    assert ask(api) == "accepted"
    view = kept(api)
    assert (view.__struct_config__.tag, view.at) == ("page_viewed", api.house.clock.now())
    assert (view.user_id, view.ip, view.url, view.consent) == ("", "", "", None)
    assert ask(api) == "accepted"
    assert kept(api).event_id != view.event_id


def test_words_become_what_the_fields_of_the_type_hold(api):
    ended = {"type": "session_ended", "at": "2026-06-03T12:00:00+02:00", "durationSeconds": "12.5", "pageViews": "3"}
    assert ask(api, **ended, eventId="ended", consent="1", userId="007") == "accepted"
    event = kept(api)
    assert (event.duration_seconds, event.page_views, event.consent) == (12.5, 3, True)
    assert event.user_id == api.house.privacy.pseudonym("user_id", "007")
    assert event.at.isoformat() == "2026-06-03T10:00:00+00:00"
    assert ask(api, **ended, eventId="ended", consent="1", userId="007") == "duplicate"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"type": "page_veiwed"}, "unknown_type"),
        ({"type": "session_ended", "pageViews": "many"}, "wrong_field"),
        ({"type": "session_ended", "pageViews": "-1"}, "wrong_field"),
        ({"type": "session_ended", "durationSeconds": "nan"}, "wrong_field"),
        ({"color": "red"}, "unknown_field"),
        ({"consent": "maybe"}, "wrong_field"),
        ({"at": "yesterday"}, "wrong_field"),
        ({"type": "conversion_reported", "value": "3"}, "missing_field"),
        ({"type": "device_linked", "userId": "u", "deviceId": "d"}, "no_consent"),
        ({"userId": "x" * 600}, "wrong_field"),
    ],
)
def test_what_makes_no_sense_is_an_image_too_and_waits_in_the_quarantine(serve_home, query, code):
    with serve_home(model=False) as api:
        assert ask(api, **query) == f"rejected; code={code}"
        [row] = [one.row for one in api.house.quarantine.list()]
        assert (row.source, row.code) == ("pixel", code)
        assert api.kept() == set()


@pytest.mark.parametrize("header", ["DNT", "Sec-GPC"])
def test_who_asks_not_to_be_tracked_is_not(api, header):
    assert ask(api, headers={header: "1"}, consent="1", userId="anna", sessionId="s") == "accepted"
    event = kept(api)
    assert (event.consent, event.user_id, event.session_id, event.ip) == (False, "", "", "")


def test_the_senders_address_is_kept_as_a_pseudonym_and_only_with_consent(api):
    ask(api, consent="1")
    assert kept(api).ip == api.house.privacy.pseudonym("ip", "127.0.0.1")
    ask(api, consent="0")
    assert kept(api).ip == ""
    ask(api, headers={"X-Forwarded-For": "192.0.2.1"}, consent="1")
    assert kept(api).ip == api.house.privacy.pseudonym("ip", "127.0.0.1")


def test_a_house_that_has_asked_before_may_take_consent_for_granted(serve_home):
    with serve_home(model=False, privacy={"assume_consent": True}) as api:
        ask(api, userId="anna")
        event = kept(api)
        assert event.ip == api.house.privacy.pseudonym("ip", "127.0.0.1")
        assert event.user_id == api.house.privacy.pseudonym("user_id", "anna")


def test_a_trusted_proxy_is_believed_for_whom_it_asks(serve_home):
    with serve_home(model=False, http={"trusted_proxies": ["127.0.0.0/8"]}) as api:
        ask(api, headers={"X-Forwarded-For": "203.0.113.9, 192.0.2.1"}, consent="1")
        assert kept(api).ip == api.house.privacy.pseudonym("ip", "192.0.2.1")


def test_the_page_is_the_one_that_holds_the_image_unless_it_is_told(api):
    page = {"Referer": "https://shop.example/shoes?mail=anna@example.org"}
    ask(api, headers=page)
    assert kept(api).url == "https://shop.example/shoes"
    ask(api, headers=page, url="https://shop.example/boots")
    assert kept(api).url == "https://shop.example/boots"
    assert ask(api, headers={"Referer": f"https://shop.example/{'x' * 4000}"}) == "accepted"
    assert ask(api, headers=page, type="email_opened", messageId="spring") == "accepted"


def test_asking_whether_there_is_an_image_is_no_view_of_it(api):
    before = len(api.house.log.read())
    answer = api.client.head("/v1/pixel.gif")
    assert (answer.status_code, answer.headers["Content-Type"], answer.content) == (200, "image/gif", b"")
    assert len(api.house.log.read()) == before


def test_images_are_counted_as_events(serve_home):
    with serve_home(model=False) as api:
        said = Counter([ask(api), ask(api), ask(api, type="nosuch")])
        assert said == {"accepted": 2, "rejected; code=unknown_type": 1}
        page = api.client.get("/metrics").text
        assert 'bidloop_events_total{code="",status="accepted"} 2.0' in page
        assert 'bidloop_events_total{code="unknown_type",status="rejected"} 1.0' in page


def request(peer: str, *forwarded: str) -> Request:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    return Request({"type": "http", "client": (peer, 1), "headers": headers})


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("10.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["1.1.1.1, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        ("10.0.0.1", ["1.1.1.1", "192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        ("10.0.0.1", ["1.1.1.1, <script>, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["10.0.0.3"], "10.0.0.3"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("192.0.2.7", ["192.0.2.1"], "192.0.2.7"),
        ("2001:db8::1", ["2001:db8:1::1"], "2001:db8:1::1"),
        ("10.0.0.1", ["1.1.1.1, ::ffff:192.0.2.1, ::ffff:10.0.0.2"], "192.0.2.1"),
        ("::ffff:10.0.0.1", ["192.0.2.1"], "192.0.2.1"),
    ],
)
def test_a_list_of_addresses_is_believed_as_far_as_trusted_proxies_wrote_it(peer, forwarded, address):
    assert address_of(request(peer, *forwarded), networks(["10.0.0.0/8", "2001:db8::/48"])) == address


def test_a_network_that_is_none_is_refused_with_the_setting():
    with pytest.raises(ConfigurationError, match=r"http\.trusted_proxies: .*10\.0\.0\.0/33"):
        networks(["10.0.0.0/33"])


@pytest.mark.parametrize(("host", "own"), [("127.3.2.1", True), ("::", False), ("192.168.0.1", False), ("", False)])
def test_a_server_is_reached_from_other_machines_unless_its_address_says_otherwise(host, own):
    assert is_own(host) is own
