"""Whatever is sent to the intake, it never fails, it stays usable, and no good event that is sent in between is lost.

``FUZZ_REQUESTS=10000`` in the environment asks for more requests than the default; the same number sends the same ones.
"""

from __future__ import annotations

import gzip
import json
import os
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "1500"))
LIMIT = 20_000
EVERY = 5
"""After so many requests, a good event is sent by itself."""

GOOD: list[dict[str, Any]] = [
    {
        "type": "impression_served",
        "eventId": "bad-1",
        "at": "2026-06-03T12:00:00Z",
        "impressionId": "i",
        "price": 0.002,
        "userId": "u",
        "consent": True,
        "opportunity": {"campaignId": "c", "attributes": {"slot": "top"}, "measures": {"q": 7}, "charge": "per_mille"},
    },
    {
        "type": "conversion_reported",
        "eventId": "bad-2",
        "at": "2026-06-03T12:00:00+02:00",
        "impressionId": "i",
        "orderId": "o",
        "value": 49.9,
        "currency": "USD",
    },
    {
        "type": "campaign_reported",
        "eventId": "bad-3",
        "at": "2026-06-01T00:00:00Z",
        "opportunity": {"campaignId": "c", "keyword": "shoes"},
        "impressions": 1000,
        "clicks": 40,
        "conversions": 3,
        "spend": 12.5,
        "rowId": "r",
        "competitors": [{"name": "b.example", "impressionShare": 0.4}],
    },
    {
        "type": "session_ended",
        "eventId": "bad-4",
        "at": "2026-06-03T12:00:00Z",
        "durationSeconds": 12.5,
        "pageViews": 3,
    },
    {
        "type": "season_marked",
        "eventId": "bad-5",
        "at": "2026-06-03T12:00:00Z",
        "name": "sale",
        "starts": "2026-11-27T00:00:00Z",
        "ends": "2026-11-30T00:00:00Z",
    },
]
NAMES = sorted({name for event in GOOD for name in event} | {"version", "ip", "url", "referrer", "colour", ""})

TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=12)
"""Any characters at all: halves of pairs, NUL, ends of lines."""
ODD = st.sampled_from(
    [
        None, True, 0, -1, 1.5, 10**15, 10**30, -(10**400), float("nan"), float("inf"), 1e308, "", " ", "\x00", "\ud800", "x" * 3000,
        "2026-06-03", "2026-06-03T12:00:00", "2026-02-30T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
        "2026-06-03T12:00:00.123456789Z", 1780000000, [], {}, [[[[]]]], {"campaignId": ""}, {"campaignId": "c", "floor": -1},
        "page_viewed", "rejected", "bid_won", "first_price", "EUR", "usd",
    ]
)  # fmt: skip
JSON = st.recursive(
    ODD | TEXT | st.integers() | st.floats() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A good event of which something was replaced, removed or added; or no event at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(JSON)
    event = json.loads(json.dumps(draw(st.sampled_from(GOOD))))
    event["eventId"] += str(draw(st.integers(0, 50)))
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3)):
        inside = event.get("opportunity")
        target = inside if isinstance(inside, dict) and draw(st.integers(0, 3)) == 0 else event
        if draw(st.integers(0, 4)) == 0:
            target.pop(name, None)
        else:
            target[name] = draw(JSON)
    return event


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """The bytes of a good body, some of which were replaced, removed, repeated or added."""
    events = draw(st.lists(st.sampled_from(GOOD), min_size=1, max_size=3))
    body = draw(
        st.sampled_from([json.dumps(events), json.dumps(events[0]), "\n".join(map(json.dumps, events))]).map(str.encode)
    )
    if draw(st.booleans()):
        body = gzip.compress(body, mtime=0)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body)))
        to = draw(st.integers(at, min(len(body), at + 40)))
        body = (
            body[:at] + draw(st.binary(max_size=20) | st.sampled_from([b"", b"[", b'"', b"\\ud800", body])) + body[to:]
        )
    return body[: 3 * LIMIT]


DECLARED = st.sampled_from(
    [
        "application/json",
        "application/x-ndjson",
        "application/jsonl",
        "text/plain",
        "application/json; charset=utf-7",
        "",
    ]
)
ENCODED = st.sampled_from(["", "", "gzip", "gzip", "x-gzip", "identity", "br", "gzip, gzip"])
WORD = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)


class Sender:
    """Sends over one connection, notes what was answered, and which good events must be in the log."""

    def __init__(self, url: str, client: httpx.Client) -> None:
        self.url, self._client = url, client
        self.answered: Counter[int] = Counter()
        self.good: list[str] = []
        self.sent = 0

    def note(self, status: int, told: Any = "") -> None:
        self.answered[status] += 1
        self.sent += 1
        assert status < 500, told
        if self.sent % EVERY == 0:
            good = self.new()
            answer = self._client.post("/v1/events", json=good)
            assert (answer.status_code, answer.json()["accepted"]) == (200, 1), answer.text

    def new(self) -> dict[str, Any]:
        """A good event that was never told."""
        self.good.append(f"good-{len(self.good)}")
        return GOOD[3] | {"eventId": self.good[-1]}

    def send(self, body: bytes, headers: dict[str, str], query: str = "") -> httpx.Response:
        answer = self._client.post(f"/v1/events{query}", content=body, headers=headers)
        self.note(answer.status_code, (body, headers, answer.text))
        assert answer.headers["Content-Type"] == f"application/{'' if answer.status_code == 200 else 'problem+'}json"
        return answer

    def send_list(self, events: list[Any], place: int) -> None:
        """Bad events with a good one among them, which must be accepted whatever stands beside it."""
        events = [*events[:place], self.new(), *events[place:]]
        body = json.dumps(events).encode("utf-8", "surrogatepass")
        answer = self.send(body, {"Content-Type": "application/json"})
        if len(body) > LIMIT:
            assert answer.status_code == 413
            self.good.pop()
            return
        assert answer.status_code == 200, answer.text
        assert answer.json()["events"][min(place, len(events) - 1)]["status"] == "accepted"

    def send_lines(self, lines: list[bytes]) -> None:
        """Lines that are no events, with a good one as the last."""
        body = b"\n".join([*lines, json.dumps(self.new()).encode()])
        answer = self.send(body, {"Content-Type": "application/x-ndjson"})
        assert answer.json()["events"][-1]["status"] == "accepted"

    def ask_pixel(self, query: dict[str, str], headers: dict[str, str]) -> None:
        answer = self._client.get("/v1/pixel.gif", params=query, headers=headers)
        self.note(answer.status_code, query)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/gif")

    def send_raw(self, request: bytes) -> None:
        """Bytes that need not even be HTTP, over a connection of their own."""
        address = httpx.URL(self.url)
        with socket.create_connection((address.host, address.port or 80), timeout=20) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        # Not even an answer is owed to half a request.
        self.note(int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0, (request, answer))


def each(strategy: st.SearchStrategy[Any], requests: int, send: Callable[[Any], object]) -> None:
    """Send what a strategy makes, as often as asked."""

    @settings(max_examples=max(1, requests), database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def sending(made: Any) -> None:
        send(made)

    sending()


REQUEST = b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"


@st.composite
def no_http(draw: st.DrawFn) -> bytes:
    """A request of which some bytes are others."""
    at = draw(st.integers(0, len(REQUEST)))
    to = draw(st.integers(at, len(REQUEST)))
    return REQUEST[:at] + draw(st.binary(max_size=30)) + REQUEST[to:]


def test_no_request_makes_the_intake_fail_and_no_good_event_among_bad_ones_is_lost(serve_home):
    http = {"max_events_bytes": LIMIT, "max_events": 200}
    with serve_home(model=False, http=http) as api:
        url = str(api.client.base_url)
        one = httpx.Limits(max_connections=1)
        with httpx.Client(base_url=url, limits=one, timeout=20) as client, requests.Session() as session:
            sender = Sender(url, client)
            lists = st.tuples(st.lists(mutated(), max_size=4), st.integers(0, 4))
            each(lists, REQUESTS * 30 // 100, lambda made: sender.send_list(*made))
            lines = st.lists(st.binary(max_size=60) | broken().map(lambda body: body[:200]), max_size=4)
            each(lines, REQUESTS * 10 // 100, sender.send_lines)
            headers = st.fixed_dictionaries({"Content-Type": DECLARED, "Content-Encoding": ENCODED})
            each(st.tuples(broken(), headers), REQUESTS * 20 // 100, lambda made: sender.send(*made))
            fields = ["Content-Type", "Content-Encoding", "Prefer", "Authorization", "Origin", "X-Forwarded-For"]
            headers = st.dictionaries(st.sampled_from(fields), WORD, min_size=1, max_size=3)
            query = st.sampled_from(
                ["", "?verbose=", "?verbose=false", "?verbose=%ff", "?key=%00", "?verbose=true&verbose=0"]
            )
            each(st.tuples(headers, query), REQUESTS * 5 // 100, lambda made: sender.send(b"[{}]", *made))
            words = st.dictionaries(st.sampled_from([*NAMES, "pageViews", "key"]), TEXT.map(_utf8) | WORD, max_size=5)
            headers = st.dictionaries(
                st.sampled_from(["Referer", "DNT", "Sec-GPC", "X-Forwarded-For"]), WORD, max_size=2
            )
            each(st.tuples(words, headers), REQUESTS * 10 // 100, lambda made: sender.ask_pixel(*made))
            each(no_http(), REQUESTS * 5 // 100, sender.send_raw)

            def call(case: schemathesis.Case) -> None:
                answer = case.call(base_url=url, session=session)
                sender.note(answer.status_code, (case, answer.content))

            described = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
            for path, method in (("/v1/events", "POST"), ("/v1/pixel.gif", "GET")):
                for mode in GenerationMode:
                    cases = described[path][method].as_strategy(generation_mode=mode)
                    each(cases, REQUESTS * 5 // 100, call)
        kept = {event.event_id for _, event in api.house.log.read(limit=1_000_000)}
        assert set(sender.good) <= kept
        waiting = sum(api.house.quarantine.counts().values())
    statuses = ", ".join(f"{n:,} × {status or 'none'}" for status, n in sorted(sender.answered.items()))
    print(
        f"\n{sender.sent:,} generated requests: {statuses}; {len(sender.good):,} good events among them, all in the log; "
        f"{waiting:,} bad ones in the quarantine"
    )
    assert sender.sent >= REQUESTS * 9 // 10


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
