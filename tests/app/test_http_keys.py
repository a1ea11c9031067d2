"""Who may use the API, and for what."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from bidloop.app.http.keyring import Keyring
from bidloop.app.http.problems import ApiError
from bidloop.app.settings import load_settings
from bidloop.app.wiring import House, open_house
from bidloop.core.api_key import ApiKey, new_key

OPEN = ("/healthz", "/readyz", "/docs", "/openapi.json")


@pytest.fixture
def house(tmp_path: Path) -> House:
    """The house that `serve_home` serves."""
    return open_house(load_settings(environment={}, overrides={"home": str(tmp_path)}))


def make_key(house: House, *scopes: str) -> tuple[ApiKey, dict[str, str]]:
    """A key in the house, and the header that its owner sends."""
    key, token = new_key("shop", scopes, house.clock.now())
    house.keys.add(key)
    return key, {"Authorization": f"Bearer {token}"}


def until(what: Callable[[], bool]) -> None:
    """Servers look at the keys every second."""
    deadline = time.monotonic() + 5
    while not what():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.05)


def refused(answer: httpx.Response, status: int, kind: str, challenge: str) -> str:
    """What was found, in an answer that refuses for want of the right key."""
    assert (answer.status_code, answer.json()["type"]) == (status, f"/docs#{kind}")
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="bidloop"')
    assert challenge in answer.headers["WWW-Authenticate"]
    [error] = answer.json()["errors"]
    assert error["path"] == "Authorization"
    return error["found"]


def test_on_this_machine_no_key_is_needed_until_the_first_one_is_made(serve_home, click):
    with serve_home(model=False) as api:
        assert api.tell(click("a")).status_code == 200
        _, header = make_key(api.house, "ingest")
        until(lambda: api.tell(click("b")).status_code == 401)
        assert api.tell(click("c"), **header).json()["accepted"] == 1
        assert api.predict().status_code == 401
        assert all(api.client.get(path).status_code == 200 for path in (*OPEN, "/metrics"))


def test_where_other_machines_reach_the_server_a_key_is_needed_from_the_start(serve_home, click):
    with serve_home(model=False, http={"host": "0.0.0.0"}) as api:
        for answer in (
            api.tell(click("a")),
            api.predict(),
            api.client.get("/metrics"),
            api.client.get("/v1/decisions/d"),
        ):
            assert refused(answer, 401, "no-key", "") == "no token"
        assert all(api.client.get(path).status_code == 200 for path in OPEN)
        _, admin = make_key(api.house, "admin")
        until(lambda: api.client.get("/metrics", headers=admin).status_code == 200)
        assert api.tell(click("a"), **admin).json()["accepted"] == 1


def test_where_keys_are_required_the_figures_ask_too_since_a_proxy_may_stand_before_this_machine(serve_home):
    with serve_home(model=False, http={"keys": "required"}) as api:
        assert refused(api.client.get("/metrics"), 401, "no-key", "") == "no token"
        _, admin = make_key(api.house, "admin")
        until(lambda: api.client.get("/metrics", headers=admin).status_code == 200)


def test_keys_may_be_switched_off(serve_home, click):
    with serve_home(model=False, http={"host": "0.0.0.0", "keys": "off"}) as api:
        make_key(api.house, "ingest")
        assert api.tell(click("a"), Authorization="Bearer nonsense").status_code == 200
        assert api.client.get("/metrics").status_code == 200


def test_a_key_opens_what_its_scopes_say_and_nothing_else(serve_home, click, house):
    _, ingest = make_key(house, "ingest")
    _, predict = make_key(house, "predict")
    _, both = make_key(house, "predict", "ingest")
    with serve_home(model=False, http={"keys": "required"}) as api:
        body = b"{}"
        for header, may_tell, may_ask in ((ingest, True, False), (predict, False, True), (both, True, True)):
            telling, asking = api.tell(click("b"), **header), api.send(body, **header)
            assert telling.status_code == (200 if may_tell else 403)
            assert asking.status_code == (422 if may_ask else 403)
        found = refused(
            api.tell(click("c"), **predict), 403, "wrong-scope", 'error="insufficient_scope", scope="ingest"'
        )
        assert found == "a key for predict"


@pytest.mark.parametrize(
    "header", ["Bearer bl_0123456789ab_ffff", "Bearer x", "Bearer bl__", "Basic YTpi", "Bearer", "bl"]
)
def test_a_token_of_no_key_opens_nothing(serve_home, click, header):
    with serve_home(model=False, http={"keys": "required"}) as api:
        invalid = "Bearer " in header
        found = refused(api.tell(click("a"), Authorization=header), 401, "no-key", "invalid_token" if invalid else "")
        assert found == ("a token of no key" if invalid else "no token")


def test_a_token_must_be_right_to_its_last_letter(serve_home, click, house):
    _, header = make_key(house, "ingest")
    token = header["Authorization"]
    with serve_home(model=False, http={"keys": "required"}) as api:
        for wrong in (token[:-1], token + "0", token[:-1] + ("0" if token[-1] != "0" else "1"), token.upper()):
            assert api.tell(click("b"), Authorization=wrong).status_code == 401
        assert api.tell(click("b"), Authorization=token.replace("Bearer", "bearer")).status_code == 200


def test_a_key_that_was_revoked_opens_nothing_within_seconds(serve_home, click, house):
    key, header = make_key(house, "ingest")
    with serve_home(model=False) as api:
        assert api.tell(click("a"), **header).status_code == 200
        api.house.keys.revoke(key.key_id, api.house.clock.now())
        until(lambda: api.tell(click("a"), **header).status_code == 401)
        assert (
            refused(api.tell(click("a"), **header), 401, "no-key", "invalid_token")
            == "the token of a key that was revoked"
        )
        assert api.tell(click("a")).status_code == 401  # the last key gone does not open the house to everybody


def test_keys_go_on_to_open_while_the_database_does_not_answer(serve_home, tmp_path, house, caplog):
    _, header = make_key(house, "predict")
    with serve_home(model=False) as api:
        with sqlite3.connect(tmp_path / "bidloop.db") as database:
            database.execute("ALTER TABLE api_keys RENAME TO lost")
        database.close()
        until(lambda: "Keyring.look" in caplog.text)
        assert api.send(b"{}", **header).status_code == 422
        assert api.predict().status_code == 401


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_before_the_keys_were_ever_read_a_sender_is_asked_to_come_again_and_not_refused(mode):
    keyring = Keyring(keys=None, mode=mode, host="127.0.0.1")  # type: ignore[arg-type]
    with pytest.raises(ApiError) as caught:
        keyring.admit(Request({"type": "http", "headers": []}), "ingest")
    assert (caught.value.kind.status, caught.value.headers["Retry-After"]) == (503, "1")


def test_the_pixel_takes_its_key_from_the_address_and_is_an_image_in_any_case(serve_home, house):
    _, ingest = make_key(house, "ingest")
    _, predict = make_key(house, "predict")
    with serve_home(model=False, http={"keys": "required"}) as api:

        def said(**query: Any) -> str:
            answer = api.client.get("/v1/pixel.gif", params=query)
            assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/gif")
            return answer.headers["X-Bidloop"]

        def token(header: dict[str, str]) -> str:
            return header["Authorization"].removeprefix("Bearer ")

        assert said(key=token(ingest)) == "accepted"
        assert said() == "refused; code=no-key"
        assert said(key=token(predict)) == "refused; code=wrong-scope"
        assert said(key=token(ingest), type="nosuch") == "rejected; code=unknown_type"
        [kept] = api.house.quarantine.list()
        assert token(ingest).encode() not in kept.row.raw


def test_a_key_in_the_address_opens_nothing_but_the_pixel(serve_home, house):
    _, header = make_key(house, "admin")
    with serve_home(model=False, http={"keys": "required"}) as api:
        token = header["Authorization"].removeprefix("Bearer ")
        assert api.client.get(f"/v1/pixel.gif?key={token}").headers["X-Bidloop"] == "accepted"
        assert api.send(b"[]", f"/v1/events?key={token}").status_code == 401


def test_senders_with_keys_have_a_bucket_each(serve_home, click, house):
    http = {"keys": "required", "events_per_second": 0.01, "events_burst": 1}
    (_, one), (_, other) = make_key(house, "ingest"), make_key(house, "ingest")
    with serve_home(model=False, http=http) as api:
        sent = [api.tell(click(f"e{i}"), **header).status_code for i, header in enumerate((one, one, other, other))]
        assert sent == [200, 429, 200, 429]


ORIGIN = "https://shop.example"


def preflight(api, origin: str, path: str = "/v1/events") -> httpx.Response:
    headers = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type, authorization"}
    return api.client.options(path, headers={"Origin": origin, **headers})


def test_scripts_of_a_listed_origin_may_send_events_and_read_the_answer(serve_home, click):
    with serve_home(model=False, http={"cors_origins": [ORIGIN]}) as api:
        asked = preflight(api, ORIGIN)
        assert asked.status_code == 200
        assert asked.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "POST" in asked.headers["Access-Control-Allow-Methods"]
        for answer in (api.tell(click("a"), Origin=ORIGIN), api.send(b"", "/v1/events", Origin=ORIGIN)):
            assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert preflight(api, ORIGIN, "/v1/predict").status_code == 405
        assert preflight(api, "https://other.example").status_code == 400
        assert "Access-Control-Allow-Origin" not in api.tell(click("b"), Origin="https://other.example").headers
        assert api.client.options("/v1/events").status_code == 405


def test_without_listed_origins_no_script_is_let_in(api, click):
    assert preflight(api, ORIGIN).status_code == 405
    assert "Access-Control-Allow-Origin" not in api.tell(click("cors"), Origin=ORIGIN).headers
