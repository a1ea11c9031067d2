"""The client tells a real server what happened: nothing is lost and nothing doubled, whatever becomes of the server."""

from __future__ import annotations

import gzip
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bidloop.app.settings import load_settings
from bidloop.app.wiring import House, open_house
from bidloop.client import BufferFull, EventClient
from bidloop.client.courier import Courier
from bidloop.core.api_key import new_key
from bidloop.core.event import FormSubmitted

SERVER = """
    import json, sys
    from bidloop.app.http.server import create_app, serve
    from bidloop.app.settings import load_settings
    from bidloop.app.wiring import open_house, open_loop

    settings = load_settings(environment={}, overrides=json.loads(sys.argv[1]))
    house = open_house(settings)
    app = create_app(open_loop(settings, house=house), settings, house)
    serve(app, "127.0.0.1", settings.http.port, on_start=lambda url: print(url, flush=True))
"""


class Server:
    """The real server in a process of its own, that can be killed and started again where it was."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.http: dict[str, Any] = {"port": 0}
        self.url = ""
        self._child: subprocess.Popen[str] | None = None

    def start(self, **http: Any) -> str:
        self.http |= http
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BIDLOOP_")}
        tree = msgspec.json.encode({"home": str(self.home), "http": self.http}).decode()
        command = [sys.executable, "-c", textwrap.dedent(SERVER), tree]
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self._child.stdout is not None
        self.url = self._child.stdout.readline().strip()
        self.http["port"] = int(self.url.rpartition(":")[2])
        return self.url

    def kill(self) -> None:
        if self._child is not None:
            self._child.send_signal(signal.SIGKILL)
            self._child.communicate()
            self._child = None

    def house(self) -> House:
        return open_house(load_settings(environment={}, overrides={"home": str(self.home)}))

    def kept(self, prefix: str = "") -> list[str]:
        ids = [event.event_id for _, event in self.house().log.read(limit=100_000)]
        return [event_id for event_id in ids if event_id.startswith(prefix)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, not yet started."""
    server = Server(tmp_path / "home")
    yield server
    server.kill()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that all tests share which leave it alive; what each has told begins with a prefix of its own."""
    server = Server(tmp_path_factory.mktemp("running"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def nowhere() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def view(event_id: str, **changes: Any) -> dict[str, Any]:
    return {"type": "page_viewed", "eventId": event_id, "url": "https://shop.example/shoes"} | changes


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.02)


def test_what_is_flushed_is_in_the_log(running):
    with EventClient(running.url) as client:
        for i in range(1_200):
            client.send(view(f"flushed-{i}"))
        assert client.flush(20)
        assert running.kept("flushed-") == [f"flushed-{i}" for i in range(1_200)]


def test_an_event_gets_an_id_that_sorts_by_time_and_the_present_where_it_has_none(running):
    before = datetime.now(UTC)
    with EventClient(running.url) as client:
        client.send({"type": "form_submitted"})
        time.sleep(0.002)
        client.send({"type": "form_submitted", "at": datetime(2026, 1, 1, tzinfo=UTC)})
    log = running.house().log.read()
    first, second = (event for _, event in log if isinstance(event, FormSubmitted))
    assert first.event_id < second.event_id
    assert before <= first.at <= datetime.now(UTC)
    assert second.at == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_batch_is_sent_when_it_is_full_and_the_rest_after_the_interval(running):
    with EventClient(running.url, batch=3, interval=0.2) as client:
        for i in range(4):
            client.send(view(f"full-{i}"))
        until(lambda: len(running.kept("full-")) == 4)


def test_while_the_server_is_killed_and_started_again_nothing_is_lost_and_nothing_doubled(server):
    with EventClient(server.start(), batch=20, interval=0.01, retries=60) as client:
        sent = 0
        for _ in range(3):
            for _ in range(300):
                client.send(view(f"v{sent}"))
                sent += 1
                time.sleep(0.0005)
            server.kill()
            for _ in range(100):
                client.send(view(f"v{sent}"))
                sent += 1
            server.start()
        assert client.flush(60)
    assert sorted(server.kept()) == sorted(f"v{i}" for i in range(sent))


def test_a_rejected_event_is_told_with_its_reason_and_costs_no_other(running):
    told: list[tuple[str, str]] = []
    with EventClient(running.url, on_rejected=lambda event, reason: told.append((event["eventId"], reason))) as client:
        for event in (view("reason-a"), view("b", type="page_veiwed"), view("c", colour="red"), view("reason-d")):
            client.send(event)
    assert running.kept("reason-") == ["reason-a", "reason-d"]
    assert [event_id for event_id, _ in told] == ["b", "c"]
    assert told[0][1].startswith("unknown_type: ")
    assert "page_viewed" in told[0][1]


def test_a_callback_that_fails_costs_no_event(running, caplog):
    def fail(event: dict[str, Any], reason: str) -> None:
        raise RuntimeError("cannot be told")

    with EventClient(running.url, batch=1, on_rejected=fail) as client:
        for event in (view("a", type="nosuch"), view("b", type="nosuch"), view("callback-c")):
            client.send(event)
    assert running.kept("callback-") == ["callback-c"]
    assert "on_rejected failed" in caplog.text


def test_without_a_callback_the_log_names_the_event_and_no_person(running, caplog):
    with EventClient(running.url) as client:
        client.send(view("a", userId="anna", colour="red"))
    assert "event a was rejected: unknown_field" in caplog.text
    assert "anna" not in caplog.text


def test_a_key_is_shown_and_a_wrong_one_is_tried_until_it_is_mended(server):
    house = server.house()
    key, token = new_key("shop", ["ingest"], datetime.now(UTC))
    url = server.start(keys="required")
    with EventClient(url, token, retries=20) as client:
        client.send(view("a"))
        assert not client.flush(0.5)
        house.keys.add(key)
        assert client.flush(20)
    assert server.kept() == ["a"]


def test_a_batch_that_the_server_finds_too_large_is_sent_in_parts(server):
    told: list[str] = []
    url = server.start(max_events_bytes=2_000)
    with EventClient(
        url, gzip=False, on_rejected=lambda event, reason: told.append(f"{event['eventId']} {reason}")
    ) as client:
        for i in range(40):
            client.send(view(f"v{i}"))
        client.send(view("large", url="x" * 3_000))
    assert sorted(server.kept()) == sorted(f"v{i}" for i in range(40))
    [reason] = told
    assert reason.startswith("large 413: ")


def test_a_batch_of_more_events_than_the_server_takes_is_sent_in_parts(server):
    told: list[str] = []
    with EventClient(server.start(max_events=10), on_rejected=lambda _, reason: told.append(reason)) as client:
        for i in range(40):
            client.send(view(f"v{i}"))
    assert sorted(server.kept()) == sorted(f"v{i}" for i in range(40))
    assert told == []


def test_what_cannot_be_sent_is_spooled_and_sent_at_the_next_start(running, tmp_path, nowhere):
    spool = tmp_path / "spool"
    with EventClient(nowhere, retries=0, batch=10, spool=spool) as client:
        for i in range(25):
            client.send(view(f"spooled-{i}", consent=True, userId="anna"))
    files = list(spool.iterdir())
    assert len(files) == 3
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    with EventClient(running.url, spool=spool) as client:
        client.send(view("spooled-25"))
    assert sorted(running.kept("spooled-")) == sorted(f"spooled-{i}" for i in range(26))
    assert list(spool.iterdir()) == []


def test_what_is_spooled_twice_is_one_event(running, tmp_path, nowhere):
    spool = tmp_path / "spool"
    for _ in range(2):
        with EventClient(nowhere, retries=0, spool=spool) as client:
            client.send(view("once", at="2026-01-01T00:00:00Z"))
    EventClient(running.url, spool=spool).close()
    assert running.kept("once") == ["once"]


def test_what_cannot_be_read_in_the_spool_holds_up_nothing_else(running, tmp_path, nowhere, caplog):
    spool = tmp_path / "spool"
    (spool / "0.ndjson").mkdir(parents=True)
    with EventClient(nowhere, retries=0, spool=spool) as client:
        client.send(view("beside-a"))
    with EventClient(running.url, batch=1, spool=spool) as client:
        client.send(view("beside-b"))
        client.send(view("beside-c"))
        assert client.flush(20)
    assert sorted(running.kept("beside-")) == ["beside-a", "beside-b", "beside-c"]
    assert [file.name for file in spool.iterdir()] == ["0.ndjson"]
    assert caplog.text.count("passed over") == 2  # once by each client


def test_a_spool_on_a_full_disk_is_told_and_leaves_no_half_behind(tmp_path, nowhere):
    program = f"""
        import resource, signal
        from bidloop.client import EventClient
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))
        told = lambda event, reason: print(event["eventId"], reason)
        with EventClient({nowhere!r}, retries=0, spool={str(tmp_path)!r}, on_rejected=told) as client:
            client.send({{"type": "page_viewed", "eventId": "a"}})
    """
    told = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, capture_output=True, text=True)
    assert told.stdout.startswith("a undelivered: ConnectError")
    assert list(tmp_path.iterdir()) == []


def test_once_the_server_answers_again_the_spool_is_emptied_without_a_new_start(server, tmp_path):
    spool = tmp_path / "spool"
    server.start()
    server.kill()
    with EventClient(server.url, retries=0, batch=1, spool=spool) as client:
        client.send(view("early"))
        until(lambda: bool(list(spool.glob("*.ndjson"))))
        server.start()
        client.send(view("late"))
        until(lambda: sorted(server.kept()) == ["early", "late"])
        until(lambda: not list(spool.iterdir()))


def test_without_a_spool_what_cannot_be_sent_is_told(nowhere):
    told: list[tuple[str, str]] = []
    with EventClient(
        nowhere, retries=1, on_rejected=lambda event, reason: told.append((event["eventId"], reason))
    ) as client:
        client.send(view("a"))
        assert client.flush(20)
    [(event_id, reason)] = told
    assert event_id == "a"
    assert reason.startswith("undelivered: ConnectError")


def test_closing_waits_no_longer_than_it_was_told_and_loses_nothing(tmp_path, nowhere):
    spool = tmp_path / "spool"
    client = EventClient(nowhere, retries=1_000_000, batch=2, spool=spool)
    for i in range(7):
        client.send(view(f"v{i}"))
    client.close(timeout=0.2)
    lines = [line for file in spool.iterdir() for line in file.read_bytes().split(b"\n")]
    assert sorted(msgspec.json.decode(line)["eventId"] for line in lines) == [f"v{i}" for i in range(7)]
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.send(view("late"))


def test_a_full_buffer_refuses_or_waits_as_asked(server, tmp_path):
    url = server.start()
    server.kill()
    refusing = EventClient(url, retries=1_000, buffer=3, on_full="raise", spool=tmp_path / "refusing")
    for i in range(3):
        refusing.send(view(f"r{i}"))
    with pytest.raises(BufferFull, match="3 events wait"):
        refusing.send(view("r3"))
    refusing.close(0.1)
    with EventClient(url, retries=1_000, buffer=3) as waiting:
        for i in range(3):
            waiting.send(view(f"w{i}"))
        through = threading.Event()
        thread = threading.Thread(target=lambda: (waiting.send(view("w3")), through.set()))
        thread.start()
        assert not through.wait(0.3)
        server.start()
        assert through.wait(20)
        thread.join()
    assert server.kept() == ["w0", "w1", "w2", "w3"]


def test_a_callback_never_waits_for_room_that_only_its_own_end_can_make(running, caplog):
    with EventClient(running.url, buffer=1, on_rejected=lambda event, _: client.send(view("mended"))) as client:
        client.send(view("a", type="nosuch"))
        assert client.flush(20)
    assert "BufferFull" in caplog.text


def test_an_event_that_no_json_can_hold_is_refused_at_once(nowhere, tmp_path):
    with EventClient(nowhere, retries=0, spool=tmp_path) as client, pytest.raises(TypeError):
        client.send({"type": "page_viewed", "url": object()})


class Scripted:
    """A server that answers as it is told to, for what the real one does only under load."""

    def __init__(self, *answers: tuple[int, dict[str, str], bytes]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[float, dict[str, str], bytes]] = []
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                scripted.asked.append((time.monotonic(), dict(self.headers), body))
                status, headers, content = scripted.answers.pop(0)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Scripted:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


TAKEN = (200, {}, b'{"accepted": 1, "duplicates": 0, "rejected": 0, "events": []}')


def test_a_batch_waits_for_as_long_as_the_server_asks():
    with Scripted((429, {"Retry-After": "1"}, b""), TAKEN) as scripted, EventClient(scripted.url) as client:
        client.send(view("a"))
        assert client.flush(20)
    (first, *_), (second, *_) = scripted.asked
    assert second - first >= 1.0


@pytest.mark.parametrize(("asked", "waited"), [("60", 60.0), ("86400", 300.0)])
def test_the_longest_wait_of_its_own_does_not_cut_what_the_server_asks_for(asked, waited):
    waits: list[float] = []
    with Scripted((429, {"Retry-After": asked}, b""), TAKEN) as scripted:
        courier = Courier(scripted.url, None, retries=1, compress=False, wait=lambda s: waits.append(s) is None)
        assert not courier.deliver([b"{}"]).undelivered
        courier.close()
    assert waits == [waited]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 404, 302])
def test_what_may_pass_is_tried_again_with_the_same_events(status):
    portal = (200, {}, b"<html>Welcome to the airport</html>")
    with (
        Scripted((status, {}, b"no"), portal, (200, {}, b"{}"), TAKEN) as scripted,
        EventClient(scripted.url) as client,
    ):
        client.send(view("a"))
        assert client.flush(20)
    assert len({body for _, _, body in scripted.asked}) == 1
    assert len(scripted.asked) == 4


@pytest.mark.parametrize(
    "answer",
    [
        (503, {"Retry-After": "\u00b2"}, b"no"),
        (503, {"Set-Cookie": "sticky=\u00ff"}, b"no"),
        (503, {}, b"[" * 200_000),
        (200, {}, b'{"accepted": 1, "events": [], "more": ' + b"[" * 200_000),
        (200, {}, b'{"accepted": 1, "events": [{"index": -9, "code": "a", "reason": "b"}]}'),
        (302, {"Location": "http://[nowhere"}, b""),
    ],
    ids=[
        "a number that is none",
        "a cookie",
        "a deep problem",
        "a deep answer",
        "a place before the first",
        "a way to nowhere",
    ],
)
def test_no_answer_is_strange_enough_to_end_the_sending(answer):
    with Scripted(answer, TAKEN) as scripted, EventClient(scripted.url) as client:
        client.send(view("a"))
        assert client.flush(20)
    assert len({body for _, _, body in scripted.asked}) == 1
    assert len(scripted.asked) == 2


def test_what_is_hopeless_is_told_and_not_tried_again():
    told: list[str] = []
    answer = (422, {}, b'{"detail": "no line of it is an event"}')
    with (
        Scripted(answer) as scripted,
        EventClient(scripted.url, on_rejected=lambda _, reason: told.append(reason)) as client,
    ):
        client.send(view("a"))
        assert client.flush(20)
    assert told == ["422: no line of it is an event"]


def test_large_batches_are_compressed_and_small_ones_are_not():
    with Scripted(TAKEN, TAKEN) as scripted, EventClient(scripted.url, "token", interval=60) as client:
        client.send(view("a"))
        client.flush(20)
        for i in range(50):
            client.send(view(f"v{i}"))
        client.flush(20)
    (_, small, one), (_, large, packed) = scripted.asked
    assert "Content-Encoding" not in small
    assert msgspec.json.decode(one)["eventId"] == "a"
    assert large["Content-Encoding"] == "gzip"
    assert len(gzip.decompress(packed).splitlines()) == 50
    assert small["Authorization"] == "Bearer token"


def test_a_program_that_forgets_to_close_sends_what_waits_when_it_ends(running):
    program = f"""
        from bidloop.client import EventClient
        EventClient({running.url!r}, interval=60).send({{"type": "page_viewed", "eventId": "forgotten"}})
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)
    assert running.kept("forgotten") == ["forgotten"]


def test_a_process_that_is_forked_off_sends_what_it_is_handed_and_not_what_waited_before():
    program = """
        import os, sys
        from bidloop.client import EventClient
        client = EventClient(sys.argv[1], interval=60)
        client.send({"type": "page_viewed", "eventId": "parent"})
        child = os.fork()
        if child == 0:
            client.send({"type": "page_viewed", "eventId": "child"})
            client.close()
            os._exit(0)
        os.waitpid(child, 0)
        client.close()
    """
    with Scripted(TAKEN, TAKEN) as scripted:
        subprocess.run([sys.executable, "-c", textwrap.dedent(program), scripted.url], check=True, timeout=60)
    assert [msgspec.json.decode(body)["eventId"] for _, _, body in scripted.asked] == ["child", "parent"]


def test_the_client_loads_nothing_else_of_bidloop():
    program = """
        import sys
        import bidloop.client
        print(*sorted(name for name in sys.modules if name.startswith(("bidloop", "numpy", "sqlalchemy"))))
    """
    told = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, capture_output=True, text=True)
    assert told.stdout.split() == [
        "bidloop",
        "bidloop.client",
        "bidloop.client.courier",
        "bidloop.client.event_client",
        "bidloop.client.spool",
    ]
