"""A sender that sends too much, and consumers that fall behind, are told with the seconds after which it fits."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from bidloop.app.http.backlog import Backlog
from bidloop.app.http.problems import ApiError
from bidloop.app.http.rate_limit import MOST, RateLimit
from bidloop.core.errors import Unavailable
from bidloop.events.ports import Lag
from bidloop.events.settings import StreamSettings


class Hands:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.05)


def test_what_was_refused_fits_after_the_seconds_that_were_told_and_not_before():
    clock = Hands()
    limit = RateLimit(4, burst=10, clock=clock)
    assert limit.wait("a", 10) == 0
    seconds = limit.wait("a", 6)
    assert seconds == 1.5
    clock.now = seconds - 0.01
    assert limit.wait("a", 6) > 0
    clock.now = seconds
    assert limit.wait("a", 6) == 0


def test_silence_fills_the_bucket_to_the_burst_and_no_further():
    clock = Hands()
    limit = RateLimit(4, burst=10, clock=clock)
    limit.wait("a", 10)
    clock.now = 1000
    assert (limit.wait("a", 10), limit.wait("a", 1)) == (0, 0.25)


def test_more_than_a_burst_passes_when_the_bucket_is_full_and_is_paid_off():
    clock = Hands()
    limit = RateLimit(4, burst=10, clock=clock)
    assert limit.wait("a", 30) == 0
    assert limit.wait("a", 1) == pytest.approx(5.25)  # 20 owed and 1 more, at 4 a second
    assert limit.wait("a", 30) == pytest.approx(7.5)


def test_senders_do_not_share_a_bucket_and_those_who_are_silent_for_longest_are_forgotten():
    limit = RateLimit(0.001, burst=1, clock=Hands())
    for i in range(MOST + 1):
        assert limit.wait(str(i), 1) == 0
    assert limit.wait(str(MOST), 1) > 0
    assert limit.wait("0", 1) == 0


def test_a_sender_of_too_many_events_is_refused_until_they_fit(serve_home, click):
    with serve_home(model=False, http={"events_per_second": 0.01, "events_burst": 3}) as api:
        assert api.tell(click("a"), click("b")).json()["accepted"] == 2
        answer = api.tell(click("c"), click("d"))
        assert (answer.status_code, answer.json()["type"]) == (429, "/docs#too-fast")
        assert 90 <= int(answer.headers["Retry-After"]) <= 100
        assert api.tell(click("c")).json()["accepted"] == 1
        assert api.kept() == {"a", "b", "c"}
        assert api.client.get("/v1/pixel.gif").headers["X-Bidloop"] == "refused; code=too-fast"


def test_a_sender_of_too_many_requests_is_refused_at_every_address_that_costs_something(serve_home, click):
    with serve_home(model=False, http={"requests_per_second": 0.01}) as api:
        assert api.predict().status_code == 200
        for answer in (api.predict(), api.tell(click("a")), api.client.get("/v1/decisions/nosuch")):
            assert (answer.status_code, answer.json()["type"]) == (429, "/docs#too-fast")
            assert 90 <= int(answer.headers["Retry-After"]) <= 100
        assert api.client.get("/healthz").status_code == 200


@pytest.mark.parametrize(("trusted", "statuses"), [((), [200, 429, 429]), (("127.0.0.0/8",), [200, 200, 429])])
def test_senders_behind_a_proxy_are_told_apart_only_where_the_proxy_is_trusted(serve_home, click, trusted, statuses):
    http = {"events_per_second": 0.01, "events_burst": 1, "trusted_proxies": trusted}
    with serve_home(model=False, http=http) as api:
        told = [api.tell(click(one), **{"X-Forwarded-For": one}) for one in ("192.0.2.1", "192.0.2.2", "192.0.2.1")]
        assert [answer.status_code for answer in told] == statuses


class Told:
    """A stream that tells what it is told to tell."""

    def __init__(self, *lags: Lag) -> None:
        self.lags = list(lags)

    def lag(self) -> Lag:
        return self.lags.pop(0)


def waits(lags: list[Lag], every: float = 1.0) -> int | None:
    clock = Hands()
    backlog = Backlog(Told(*lags), StreamSettings(max_behind_items=1000, max_behind_seconds=60), clock)
    for _ in range(len(lags)):
        backlog.look()
        clock.now += every
    if not backlog.behind:
        backlog.check()
        return None
    with pytest.raises(ApiError) as told:
        backlog.check()
    assert told.value.kind.anchor == "behind"
    return int(told.value.headers["Retry-After"])


@pytest.mark.parametrize(
    ("lags", "seconds"),
    [
        ([Lag(1, 1000, 60.0)], None),
        ([Lag(9, 3000, 5.0), Lag(9, 2500, 5.0)], 3),  # 1500 too many, at 500 a second
        ([Lag(9, 10, 200.0), Lag(9, 10, 160.0)], 3),  # 100 s too old, at 40 a second, rounded up
        ([Lag(9, 1010, 5.0), Lag(9, 1001, 5.0)], 1),
        ([Lag(9, 90_000, 5.0), Lag(9, 89_999, 5.0)], 60),
        ([Lag(9, 2000, 5.0), Lag(9, 2500, 5.0)], 60),
        ([Lag(9, 5000, 5.0)], 60),
        ([Lag(9, 5000, 5.0), Lag(1, 0, 0.0)], None),
    ],
)
def test_a_sender_is_asked_to_wait_for_as_long_as_the_backlog_needs_at_its_pace(lags, seconds):
    assert waits(lags) == seconds


def test_the_stream_answers_while_it_is_being_asked_and_not_after_it_failed_to():
    seen: list[bool] = []

    class Asked:
        def lag(self) -> Lag:
            seen.append(backlog.answers)
            if len(seen) == 3:
                raise Unavailable("the stream is away")
            return Lag(0, 0, 0.0)

    backlog = Backlog(Asked(), StreamSettings(), Hands())
    backlog.look()
    backlog.look()
    with pytest.raises(Unavailable):
        backlog.look()
    assert (seen, backlog.answers) == ([False, True, True], False)


def test_while_consumers_are_behind_events_are_refused_and_bids_are_not(serve_home, click, redis_url, stream_name):
    stream = {"url": redis_url, "name": stream_name, "max_behind_items": 5}
    with serve_home(model=False, stream=stream) as api:
        assert api.client.get("/readyz").json()["takesEvents"] is True
        assert api.tell(*(click(f"e{i}") for i in range(10))).json()["accepted"] == 10
        until(lambda: api.tell(click("late")).status_code == 429)
        answer = api.tell(click("later"))
        assert answer.json()["type"] == "/docs#behind"
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert api.client.get("/v1/pixel.gif").headers["X-Bidloop"] == "refused; code=behind"
        assert api.predict().status_code == 200
        assert api.client.get("/readyz").json()["takesEvents"] is False
        page = api.client.get("/metrics").text
        waiting = api.house.stream.lag().items
        assert f"bidloop_events_lag_items {waiting}.0" in page
        assert "bidloop_events_lag_entries " in page
        assert "bidloop_events_lag_oldest_seconds " in page
        api.house.stream.done([delivery.entry for delivery in api.house.stream.take("one", 1000, 1.0)])
        until(lambda: api.tell(click("after")).status_code == 200)
        assert api.kept() == set()  # they are in the stream, for another process to store
