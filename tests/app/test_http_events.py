"""What happened is told over HTTP: each event is answered for itself, and what is accepted is on the disk."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from bidloop.app.http.event_queue import EventQueue
from bidloop.app.http.schema import Problem
from bidloop.core.errors import Unavailable

LINES = {"Content-Type": "application/x-ndjson"}


def problem(answer, status: int, kind: str) -> list[tuple[str, str, str]]:
    """The errors of an answer that is a problem document of this status and kind."""
    assert answer.status_code == status, answer.text
    told = msgspec.json.decode(answer.content, type=Problem)
    assert (told.status, told.type) == (status, f"/docs#{kind}")
    return [(error.path, error.found, error.expected) for error in told.errors]


def statuses(answer) -> list[tuple[str | None, str, str | None]]:
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert [one["index"] for one in told["events"]] == list(range(len(told["events"])))
    counts = [
        sum(one["status"] == status for one in told["events"]) for status in ("accepted", "duplicate", "rejected")
    ]
    assert [told["accepted"], told["duplicates"], told["rejected"]] == counts
    return [(one["eventId"], one["status"], one["code"]) for one in told["events"]]


def test_one_event_is_accepted_and_in_the_log(api, click):
    assert statuses(api.tell(click("one"))) == [("one", "accepted", None)]
    assert "one" in api.kept()


def test_a_list_is_answered_in_its_order_and_sent_again_it_changes_nothing(api, click):
    events = [click("list-1"), click("list-2", impressionId="i-2")]
    assert [status for _, status, _ in statuses(api.tell(*events))] == ["accepted", "accepted"]
    before = api.kept()
    assert statuses(api.tell(*events, click("list-3"))) == [
        ("list-1", "duplicate", None),
        ("list-2", "duplicate", None),
        ("list-3", "accepted", None),
    ]
    assert api.kept() - before == {"list-3"}


@pytest.mark.parametrize("lines", [True, False])
def test_a_byte_order_mark_costs_no_event(api, click, lines):
    name = f"mark-{lines}"
    body = b"\xef\xbb\xbf" + json.dumps(click(name)).encode()
    answer = api.send(body, "/v1/events", **(LINES if lines else {}))
    assert statuses(answer) == [(name, "accepted", None)]


def test_an_event_twice_in_one_request_is_accepted_once(api, click):
    assert [status for _, status, _ in statuses(api.tell(click("twin"), click("twin")))] == ["accepted", "duplicate"]


def test_an_id_that_was_told_with_another_content_is_rejected_and_the_first_telling_stands(api, click):
    api.tell(click("changing"))
    [(event_id, status, code)] = statuses(api.tell(click("changing", price=3.0)))
    assert (event_id, status, code) == ("changing", "rejected", "changed_event")


@pytest.mark.parametrize("declared", ["application/x-ndjson", "application/jsonl; charset=utf-8", "application/ndjson"])
def test_events_may_come_one_a_line_and_a_line_that_cannot_be_read_costs_no_other(api, click, declared):
    name = declared.partition("/")[2]
    lines = [
        json.dumps(click(f"line-1-{name}")),
        "",
        '{"type": "click_rec',
        "\xff",
        f" {json.dumps(click(f'line-2-{name}'))}\r",
    ]
    answer = api.send("\n".join(lines).encode("latin-1"), "/v1/events", **{"Content-Type": declared})
    assert statuses(answer) == [
        (f"line-1-{name}", "accepted", None),
        (None, "rejected", "not_json"),
        (None, "rejected", "not_json"),
        (f"line-2-{name}", "accepted", None),
    ]


BAD = {
    "an unknown type": ({"type": "click_recieved"}, "unknown_type"),
    "a missing field": ({"impressionId": ...}, "missing_field"),
    "an unknown field": ({"impresionId": "i"}, "unknown_field"),
    "a wrong field": ({"price": "three"}, "wrong_field"),
    "a date to come": ({"at": "2036-01-01T00:00:00Z"}, "future_date"),
    "a date without a zone": ({"at": "2026-01-01T00:00:00"}, "wrong_field"),
    "an empty id": ({"eventId": ""}, "empty_id"),
    "a negative price": ({"price": -1}, "negative_spend"),
    "another currency": ({"price": 1, "currency": "EUR"}, "wrong_currency"),
    "another version": ({"version": 2}, "unknown_version"),
}


@pytest.mark.parametrize(("change", "code"), BAD.values(), ids=BAD.keys())
def test_a_bad_event_is_named_with_its_reason_and_costs_no_other(api, click, change, code):
    bad = {name: value for name, value in (click("bad") | change).items() if value is not ...}
    before, after = f"before {change}", f"after {change}"
    answer = api.tell(click(before), bad, click(after))
    assert statuses(answer) == [
        (before, "accepted", None),
        (bad["eventId"], "rejected", code),
        (after, "accepted", None),
    ]
    assert answer.json()["events"][1]["reason"]


@pytest.mark.parametrize("written", ["NaN", "-Infinity", '"\\ud800"', '"\x01"', "9" * 6000, "1e999"])
def test_what_json_has_no_word_for_costs_only_the_event_that_holds_it(api, click, written):
    name = f"beside {written[:9]!r}"
    good, bad = json.dumps(click(name)), json.dumps(click("bad") | {"price": "HERE"}).replace('"HERE"', written)
    answer = api.send(f"[{bad}, {good}, {bad}]".encode(), "/v1/events")
    assert [status for _, status, _ in statuses(answer)] == ["rejected", "accepted", "rejected"]
    assert name in api.kept()


def test_what_is_no_object_among_events_is_a_rejected_event(api, click):
    answer = api.send(b'[1, "x", null, [], ' + json.dumps(click("among")).encode() + b"]", "/v1/events")
    assert statuses(answer) == [(None, "rejected", "not_json")] * 4 + [("among", "accepted", None)]


def test_a_rejected_event_is_in_the_quarantine_with_its_reason_and_its_bytes(serve_home, click):
    with serve_home(model=False) as api:
        [(_, _, code)] = statuses(api.tell(click("q", impressionId=7)))
        [kept] = api.house.quarantine.list()
        assert (kept.row.code, kept.row.source) == (code, "api")
        assert json.loads(kept.row.raw) == click("q", impressionId=7)
        api.tell(click("q", impressionId=7))
        assert len(api.house.quarantine.list()) == 1


@pytest.mark.parametrize(("query", "headers"), [("?verbose=false", {}), ("", {"Prefer": "return=minimal"})])
def test_a_short_answer_names_the_rejected_events_alone(api, click, query, headers):
    body = json.dumps([click(f"short {query}"), {"type": "nosuch", "eventId": "x"}, click(f"short {query}")]).encode()
    told = api.send(body, f"/v1/events{query}", **headers).json()
    assert (told["accepted"], told["duplicates"], told["rejected"]) == (1, 1, 1)
    assert [(one["index"], one["eventId"]) for one in told["events"]] == [(1, "x")]


def test_a_length_of_the_answer_that_is_unknown_is_refused(api):
    [(path, found, expected)] = problem(api.send(b"[]", "/v1/events?verbose=maybe"), 422, "wrong-fields")
    assert (path, found, expected) == ("verbose", "'maybe'", "true or false")


def test_no_events_have_an_empty_answer(api):
    assert api.send(b"[]", "/v1/events").json() == {"accepted": 0, "duplicates": 0, "rejected": 0, "events": []}


def test_a_compressed_body_is_unpacked(api, click):
    whole = gzip.compress(json.dumps([click("zip-1")]).encode())
    assert statuses(api.send(whole, "/v1/events", **{"Content-Encoding": "gzip"})) == [("zip-1", "accepted", None)]
    files = b"".join(gzip.compress(json.dumps(click(f"zip-{i}")).encode() + b"\n") for i in (2, 3))
    answer = api.send(files, "/v1/events", **LINES, **{"Content-Encoding": "GZIP"})
    assert [event_id for event_id, _, _ in statuses(answer)] == ["zip-2", "zip-3"]


PACKED = gzip.compress(b'[{"a": 1}]', mtime=0)  # the same in every process that collects the tests


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"[]", "incorrect header"),
        (PACKED[:-9], "breaks off"),
        (b"", "empty"),
        (PACKED + b"rest", "incorrect header"),
        (PACKED[:12] + b"\xff\xff" + PACKED[14:], "in"),
        (PACKED[:-8] + bytes(8), "incorrect data check"),
    ],
)
def test_what_is_no_gzip_is_told(api, body, found):
    [(path, what, _)] = problem(api.send(body, "/v1/events", **{"Content-Encoding": "gzip"}), 422, "not-gzip")
    assert path == "$"
    assert found in what


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"", "an empty body"),
        (b" \n", "an empty body"),
        (b"type=click", "line 1, column 1"),
        (b'[{"type": "click_received"}', "where the body ends"),
        (b'[{"a": 1},]', "line 1, column 11"),
        (b'[{"a": 1}\n {"b": 2}]', "line 2, column 2"),
        (b'{"a": 1} {"b": 2}', "extra data at line 1, column 10"),
        (b"\xef\xbb\xbf", "an empty body"),
        (b"[" * 40_000, "nested too deep"),
        (b'{"a":' * 8_000, "nested too deep"),
    ],
)
def test_a_body_in_which_no_events_can_be_told_apart_is_told_with_its_place(api, body, found):
    [(path, what, _)] = problem(api.send(body, "/v1/events"), 422, "not-json")
    assert path == "$"
    assert found in what


def test_an_empty_body_of_lines_is_told_too(api):
    [(_, found, _)] = problem(api.send(b"\n\n", "/v1/events", **LINES), 422, "not-json")
    assert found == "an empty body"


@pytest.mark.parametrize("body", [b"7", b'"x"', b"null", b"NaN"])
def test_json_that_is_neither_an_event_nor_a_list_is_told(api, body):
    [(path, _, expected)] = problem(api.send(body, "/v1/events"), 422, "wrong-fields")
    assert (path, expected) == ("$", "an object, or a list of objects")


@pytest.mark.parametrize(
    ("headers", "path", "expected"),
    [
        ({"Content-Type": "text/plain"}, "Content-Type", "application/json or application/x-ndjson"),
        ({"Content-Type": "application/json; charset=utf-16"}, "Content-Type", "charset utf-8"),
        ({"Content-Encoding": "br"}, "Content-Encoding", "gzip, or no encoding"),
    ],
)
def test_a_body_that_is_declared_as_something_else_is_refused(api, headers, path, expected):
    [(where, _, what)] = problem(api.send(b"[]", "/v1/events", **headers), 415, "wrong-media-type")
    assert (where, what) == (path, expected)


def test_a_list_that_is_too_long_is_refused_whole(serve_home, click):
    with serve_home(model=False, http={"max_events": 5}) as api:
        events = [click(f"e{i}") for i in range(6)]
        assert problem(api.tell(*events), 422, "wrong-fields") == [("$", "6 events", "at most 5")]
        lines = "\n".join(map(json.dumps, events)).encode()
        assert problem(api.send(lines, "/v1/events", **LINES), 422, "wrong-fields") == [("$", "6 events", "at most 5")]
        assert api.kept() == set()
        assert api.tell(*events[:5]).json()["accepted"] == 5


def test_a_body_that_is_too_large_or_becomes_so_is_refused_and_the_next_one_is_taken(serve_home, click):
    with serve_home(model=False, http={"max_events_bytes": 20_000}) as api:
        assert problem(api.send(b" " * 20_001, "/v1/events"), 413, "too-large")[0][1:] == (
            "20001 bytes",
            "at most 20000 bytes",
        )
        bomb = gzip.compress(bytes(15_000_000))
        assert len(bomb) < 20_000
        [(_, found, _)] = problem(api.send(bomb, "/v1/events", **{"Content-Encoding": "gzip"}), 413, "too-large")
        assert found == "more than 20000 bytes when unpacked"
        fitting = json.dumps(click("fits")).encode().ljust(20_000)
        assert api.send(gzip.compress(fitting), "/v1/events", **{"Content-Encoding": "gzip"}).json()["accepted"] == 1


def test_a_sender_that_hangs_up_half_way_costs_nothing_and_is_not_the_servers_fault(serve_home, click, caplog):
    with serve_home(model=False) as api:
        body = json.dumps(click("half")).encode()
        head = f"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((api.client.base_url.host, api.client.base_url.port), timeout=5) as connection:
            connection.sendall(head.encode() + body[:-1])
        deadline = time.monotonic() + 10
        while 'kind="cut-off"' not in (page := api.client.get("/metrics").text) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert 'bidloop_http_problems_total{kind="cut-off"} 1.0' in page
        assert 'status="500"' not in page
        assert api.kept() == set()
    assert "Traceback" not in caplog.text


def test_sixty_four_senders_at_once_lose_nothing_and_double_nothing(api, click):
    def send(i: int) -> list[str]:
        told = api.tell(
            click(f"crowd-{i}"), click(f"crowd-{i // 2}-shared"), {"type": "bad", "eventId": f"crowd-{i}"}
        ).json()
        assert [one["eventId"] for one in told["events"]] == [f"crowd-{i}", f"crowd-{i // 2}-shared", f"crowd-{i}"]
        assert told["rejected"] == 1
        return [one["status"] for one in told["events"][:2]]

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(send, range(192)))
    assert [first for first, _ in answers] == ["accepted"] * 192
    assert [second for _, second in answers].count("accepted") == 96
    assert {f"crowd-{i}" for i in range(192)} < api.kept()


class Slow:
    """A door that takes its time, notes how many items come together, and cannot take some."""

    def __init__(self, door, fault: Exception | None = None) -> None:
        self.door, self.fault, self.sizes = door, fault, []

    def take(self, items):
        self.sizes.append(len(items))
        time.sleep(0.05)  # long enough for others to gather
        if self.fault and any(getattr(item, "impression_id", "") == "poison" for item in items):
            raise self.fault
        return self.door.take(items)


def ask_at_once(queue: EventQueue, events: list[dict[str, Any]]) -> list[Any]:
    async def ask() -> list[Any]:
        bodies = [json.dumps(event).encode() for event in events]
        first = asyncio.create_task(queue.take(bodies[:1], len(bodies[0]), "api"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # the first one is being taken in now
        rest = [queue.take([body], len(body), "api") for body in bodies[1:]]
        results = await asyncio.gather(first, *rest, return_exceptions=True)
        queue.close()
        return results

    return asyncio.run(ask())


def test_requests_that_wait_are_taken_in_together_and_one_that_fails_takes_no_other_with_it(api, click):
    door = Slow(api.house.door, RuntimeError("cannot take poison"))
    events = [click(f"together-{i}", impressionId="poison" if i == 3 else "fine") for i in range(8)]
    results = ask_at_once(EventQueue(api.house.reception, door), events)
    assert door.sizes[:2] == [1, 7]
    assert results[3].kind.status == 503
    assert [one[0].verdict.status for i, one in enumerate(results) if i != 3] == ["accepted"] * 7


def test_a_server_that_does_not_answer_is_not_asked_for_each_request_of_a_group(api, click):
    door = Slow(api.house.door, Unavailable("database postgresql://owner@db.internal: refused"))
    results = ask_at_once(EventQueue(api.house.reception, door), [click("u", impressionId="poison")] * 8)
    assert door.sizes == [1, 7]
    for error in results:
        assert (error.kind.anchor, error.headers) == ("events-unavailable", {"Retry-After": "5"})
        assert "db.internal" not in error.detail


def test_a_request_is_refused_at_once_when_too_much_waits(api, click):
    queue = EventQueue(api.house.reception, Slow(api.house.door), waiting=150)
    first, second, third = ask_at_once(queue, [click(f"waiting-{i}") for i in range(3)])
    assert first[0].verdict.status == second[0].verdict.status == "accepted"
    assert (third.kind.anchor, third.kind.status, third.headers) == ("behind", 429, {"Retry-After": "1"})


def test_after_events_were_taken_in_they_are_followed_once_at_a_time_and_a_failure_costs_no_answer(api, click):
    at_work, most, calls = [0], [0], threading.Event()

    def follow() -> None:
        at_work[0] += 1
        most[0] = max(most[0], at_work[0])
        time.sleep(0.1)
        at_work[0] -= 1
        calls.set()
        raise RuntimeError("cannot follow")

    queue = EventQueue(api.house.reception, Slow(api.house.door), follow)
    results = ask_at_once(queue, [click(f"followed-{i}") for i in range(4)])
    assert [one[0].verdict.status for one in results] == ["accepted"] * 4
    assert calls.is_set()
    assert most[0] == 1


def test_what_is_told_of_a_campaigns_spend_is_known_to_the_loop(serve_home, click):
    with serve_home() as api:
        decision_id = api.predict(budget=500).json()["decisionId"]
        at = api.loop.clock.now()
        before = api.loop.pacer.remaining("shoes", at)
        shown = {
            "type": "impression_served",
            "eventId": "shown",
            "at": "2026-06-03T14:00:00Z",
            "impressionId": decision_id,
            "opportunity": {"campaignId": "shoes", "charge": "per_click"},
        }
        paid = click("paid", impressionId=decision_id, at="2026-06-03T14:01:00Z", price=2.5)
        assert api.tell(shown, paid).json()["accepted"] == 2
        deadline = time.monotonic() + 10
        while api.loop.pacer.remaining("shoes", at) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert before.micros - api.loop.pacer.remaining("shoes", at).micros == 2_500_000


def test_a_database_that_fails_is_a_503_that_says_when_to_come_back_and_then_works_again(serve_home, tmp_path, click):
    def rename(name: str, other: str) -> None:
        with sqlite3.connect(tmp_path / "bidloop.db") as database:
            database.execute(f"ALTER TABLE {name} RENAME TO {other}")
        database.close()

    with serve_home(model=False) as api:
        rename("quarantine", "lost")
        answer = api.tell(click("a"), {"type": "nosuch"})
        problem(answer, 503, "events-unavailable")
        assert answer.headers["Retry-After"] == "5"
        assert api.kept() == set()
        rename("lost", "quarantine")
        answer = api.tell(click("a"), {"type": "nosuch"})
        assert (answer.json()["accepted"], answer.json()["rejected"]) == (1, 1)


def test_events_are_counted_by_what_became_of_them(serve_home, click):
    with serve_home(model=False) as api:
        api.tell(click("a"), click("a"), {"type": "nosuch"})
        page = api.client.get("/metrics").text
    assert 'bidloop_events_total{code="",status="accepted"} 1.0' in page
    assert 'bidloop_events_total{code="",status="duplicate"} 1.0' in page
    assert 'bidloop_events_total{code="unknown_type",status="rejected"} 1.0' in page
    assert "bidloop_events_lag" not in page


def test_a_body_of_many_events_is_taken_whole(api, click):
    events = [click(f"many-{i}") for i in range(2_000)]
    told = api.tell(*events, Prefer="return=minimal").json()
    assert told == {"accepted": 2_000, "duplicates": 0, "rejected": 0, "events": []}
