"""The kill test: everything is killed again and again while events come in, and in the end nothing is lost or there twice.

``python -m benchmarks.chaos`` starts a real Redis, a real PostgreSQL, two servers of the API and two absorbers. Senders tell
200,000 events, among them known duplicates, 1 % that make no sense and 5 % that are late or out of order, and send a batch
again until it is answered. Meanwhile Redis, PostgreSQL, the servers and the absorbers are killed with ``kill -9`` in turn,
at least 60 times. In the end the backlog drains, and what is in the log, in the quarantine and in the features is held
against what was sent.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.servers import PostgresServer, RedisServer
from bidloop.app.settings import Settings, load_settings
from bidloop.app.wiring import House, open_house, open_loop
from bidloop.core.opportunity import Opportunity

BATCH = 200
SENDERS = 4
PATIENCE_S = 60.0
START = datetime(2026, 3, 1, tzinfo=UTC)
CAMPAIGNS, KEYWORDS = 8, 60

console = Console(stderr=True)


@dataclass(frozen=True)
class Plan:
    """What is sent, and what has to come of it.

    Parameters
    ----------
    sent
        Everything in the order of sending, as JSON.
    good
        Ids of the events that make sense.
    bad
        For each kind of nonsense, the bytes that are to be in the quarantine under its code.
    duplicates, late
        How many were sent again, and how many were sent long after they had happened or before what they refer to.
    """

    sent: list[bytes]
    good: set[str]
    bad: dict[bytes, str]
    duplicates: int
    late: int


@dataclass
class Report:
    """What came of it. Every count but those of `sent` and `kills` is of what is wrong, and has to be 0."""

    sent: int = 0
    good: int = 0
    duplicates: int = 0
    bad: int = 0
    late: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)
    retries: int = 0
    seconds: float = 0.0
    drained_after_seconds: float = 0.0
    lost: int = 0
    stored_twice: int = 0
    stored_unasked: int = 0
    bad_not_in_quarantine: int = 0
    quarantined_unasked: int = 0
    backlog: int = 0
    dead_letters: int = 0
    feature_values: int = 0
    feature_values_that_differ: int = 0

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return not any(
            (
                self.lost,
                self.stored_twice,
                self.stored_unasked,
                self.bad_not_in_quarantine,
                self.quarantined_unasked,
                self.backlog,
                self.dead_letters,
                self.feature_values_that_differ,
            )
        )


def plan(events: int, seed: int) -> Plan:
    """Impressions with their clicks and conversions, page views, nonsense, repetitions, some of it late or out of order."""
    rng = random.Random(seed)
    moments: list[tuple[float, dict[str, Any]]] = []
    numbers = itertools.count()
    wanted = events - (bad_count := events // 100) - (repeated := events // 25)
    while len(moments) < wanted:
        second, name = rng.uniform(0, 86_400), f"i{next(numbers)}"
        about = {
            "campaignId": f"c{rng.randrange(CAMPAIGNS)}",
            "keyword": f"k{rng.randrange(KEYWORDS)}",
            "device": "mobile",
        }
        person = {"userId": f"user-{rng.randrange(5_000)}", "consent": True} if rng.random() < 0.5 else {}
        moments.append((second, {"type": "impression_served", "impressionId": name, "opportunity": about, **person}))
        if rng.random() < 0.3:
            moments.append((second + 30, {"type": "click_received", "impressionId": name, "price": 0.4, **person}))
            if rng.random() < 0.3:
                sale = {"orderId": f"o{name}", "value": round(rng.uniform(5, 90), 2)}
                moments.append((second + 900, {"type": "conversion_reported", "impressionId": name, **sale}))
        if rng.random() < 0.3:
            moments.append((second + 40, {"type": "page_viewed", "url": f"https://shop.example/{name}", **person}))
    good: list[dict[str, Any]] = [
        {"eventId": f"e{i:07d}", "at": (START + timedelta(seconds=second)).isoformat(), **told}
        for i, (second, told) in enumerate(moments[:wanted])
    ]
    # They are sent in the order in which they happened, but one in twenty at any other time.
    sent_at: dict[str, float] = {told["eventId"]: when for told, (when, _) in zip(good, moments, strict=False)}
    late = rng.sample(good, len(good) // 20)
    sent_at |= {told["eventId"]: rng.uniform(0, 90_000) for told in late}
    told_order: list[tuple[float, bytes]] = [(sent_at[told["eventId"]], msgspec.json.encode(told)) for told in good]
    told_order += [
        (sent_at[told["eventId"]] + rng.uniform(0, 3_000), msgspec.json.encode(told))
        for told in rng.sample(good, repeated)
    ]
    codes = dict(_nonsense(rng, i) for i in range(bad_count))
    told_order += [(rng.uniform(0, 86_400), raw) for raw in codes]
    told_order.sort(key=lambda pair: pair[0])
    return Plan([raw for _, raw in told_order], {told["eventId"] for told in good}, codes, repeated, len(late))


def _nonsense(rng: random.Random, number: int) -> tuple[bytes, str]:
    """One event that makes no sense, and the code that it is to be rejected with."""
    told: dict[str, Any] = {
        "type": "click_received",
        "eventId": f"bad{number}",
        "at": START.isoformat(),
        "impressionId": "i",
        "userId": f"user-{rng.randrange(5_000)}",
    }
    kinds: list[tuple[dict[str, Any], str]] = [
        ({"type": "click_recieved"}, "unknown_type"),
        ({"impressionId": number}, "wrong_field"),
        ({"impressionId": " "}, "empty_id"),
        ({"at": "2026-13-01T00:00:00Z"}, "wrong_field"),
        ({"at": "1999-01-01T00:00:00Z"}, "unknown_date"),
        ({"price": -1}, "negative_spend"),
        ({"price": 1, "currency": "JPY"}, "wrong_currency"),
        ({"colour": "red"}, "unknown_field"),
    ]
    changes, code = rng.choice(kinds)
    return msgspec.json.encode(told | changes), code


class Worker:
    """A process of Bidloop that is started again whenever it has died."""

    def __init__(self, name: str, arguments: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self._command = [sys.executable, "-c", "from bidloop.app.cli import main; main()", *arguments]
        self._environment = environment
        self._log = log.open("ab")
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def look_after(self) -> None:
        """Start it if it does not run."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(
                    self._command, env=self._environment, stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL
                )

    def kill(self) -> None:
        """End it without a word."""
        with self._lock:
            if self._process is not None:
                self._process.send_signal(signal.SIGKILL)
                self._process.wait()

    def stop(self) -> int:
        """Ask it to end; says how it ended."""
        with self._lock:
            assert self._process is not None
            self._process.terminate()
            try:
                code = self._process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                code = self._process.wait()
            self._log.close()
            return code


class Sender(threading.Thread):
    """Sends its batches one after another, each again until it is answered."""

    def __init__(self, batches: Sequence[bytes], addresses: Sequence[str], pause: float) -> None:
        super().__init__(name="sender")
        self.batches = batches
        self._addresses = itertools.cycle(addresses)
        self._pause = pause
        self.answered: Counter[str] = Counter()
        self.retries = 0
        self.done = 0
        self.failed: Exception | None = None

    def run(self) -> None:
        try:
            with httpx.Client(timeout=10) as client:
                for batch in self.batches:
                    self._send(client, batch)
                    self.done += 1
                    time.sleep(self._pause)
        except Exception as error:  # told by the main thread
            self.failed = error

    def _send(self, client: httpx.Client, batch: bytes) -> None:
        deadline = time.monotonic() + 5 * PATIENCE_S
        while True:
            try:
                answer = client.post(
                    f"{next(self._addresses)}/v1/events",
                    content=batch,
                    headers={"Content-Type": "application/x-ndjson"},
                )
                if answer.status_code == 200:
                    told = answer.json()
                    self.answered.update({name: told[name] for name in ("accepted", "duplicates", "rejected")})
                    return
                if answer.status_code not in (429, 500, 502, 503):
                    raise RuntimeError(f"answered {answer.status_code}: {answer.text[:300]}")
                if answer.status_code == 500:
                    raise RuntimeError(f"the server failed: {answer.text[:300]}")
            except httpx.TransportError:
                pass
            if time.monotonic() > deadline:
                raise RuntimeError("no server has answered for too long")
            self.retries += 1
            time.sleep(0.2)


def run(
    events: int, kills: int, seed: int = 7, *, servers: int = 2, absorbers: int = 2, interval: float = 1.5
) -> Report:
    """Send, kill, drain, and hold what is there against what was sent.

    Parameters
    ----------
    events
        How many are sent.
    kills
        How often something is killed at least, before the last event is sent.
    servers, absorbers
        Processes of the API and of `bidloop absorb`.
    interval
        Seconds between two kills.
    """
    planned = plan(events, seed)
    report = Report(len(planned.sent), len(planned.good), planned.duplicates, len(planned.bad), planned.late)
    began = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bidloop-chaos-")))
        redis, postgres = stack.enter_context(RedisServer()), stack.enter_context(PostgresServer())
        environment = os.environ | {
            "BIDLOOP_HOME": str(folder / "home"),
            "BIDLOOP_CURRENCY": "EUR",
            "BIDLOOP_DATABASE": postgres.new_database(),
            "BIDLOOP_STREAM__URL": redis.url,
            "BIDLOOP_STREAM__RECLAIM_SECONDS": "2",
        }
        settings = load_settings(environment={k: v for k, v in environment.items() if k.startswith("BIDLOOP_")})
        ports = [_free_port() for _ in range(servers)]
        addresses = [f"http://127.0.0.1:{port}" for port in ports]
        workers = [
            Worker(f"server {i}", ["serve", "--port", str(port)], environment, folder / f"server{i}.log")
            for i, port in enumerate(ports)
        ]
        workers += [
            Worker(f"absorber {i}", ["absorb", "--consumer", f"a{i}"], environment, folder / f"absorber{i}.log")
            for i in range(absorbers)
        ]
        house = open_house(settings)  # the tables are there before everybody starts at once
        stack.callback(house.close)
        stack.enter_context(_looked_after(workers))
        for address in addresses:
            _wait(lambda address=address: httpx.get(f"{address}/readyz").status_code == 200, "a server to start")  # type: ignore[misc]
        pause = kills * interval * 0.9 / max(1, events / SENDERS / BATCH)
        senders = _senders(planned, addresses, pause)
        for sender in senders:
            sender.start()
        _kill(senders, workers, redis, postgres, kills, interval, report)
        for sender in senders:
            sender.join()
            if sender.failed is not None:
                raise RuntimeError(_last_words(folder)) from sender.failed
        report.answered = dict(sum((sender.answered for sender in senders), Counter[str]()))
        report.retries = sum(sender.retries for sender in senders)
        _drain(house, report)
        _hold_against(planned, house, folder, report)
    report.seconds = time.monotonic() - began
    return report


def _senders(planned: Plan, addresses: list[str], pause: float) -> list[Sender]:
    batches = [b"\n".join(planned.sent[start : start + BATCH]) for start in range(0, len(planned.sent), BATCH)]
    return [
        Sender(batches[i::SENDERS], addresses[i % len(addresses) :] + addresses[: i % len(addresses)], pause)
        for i in range(SENDERS)
    ]


@contextmanager
def _looked_after(workers: Sequence[Worker]) -> Iterator[None]:
    """Starts the workers, and starts again who has died, until the end; then asks them to end."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            for worker in workers:
                worker.look_after()

    for worker in workers:
        worker.look_after()
    thread = threading.Thread(target=look, name="supervisor")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for worker in workers:
            worker.stop()


def _kill(
    senders: Sequence[Sender],
    workers: Sequence[Worker],
    redis: RedisServer,
    postgres: PostgresServer,
    kills: int,
    interval: float,
    report: Report,
) -> None:
    """Kill one after another until it was enough and everything is sent."""
    total = sum(len(sender.batches) for sender in senders)

    def server(one: RedisServer | PostgresServer) -> Callable[[], None]:
        def kill() -> None:
            one.kill()
            time.sleep(0.3)
            one.start()

        return kill

    victims = [(worker.name, worker.kill) for worker in workers]
    victims = [*victims[0::2], ("redis", server(redis)), *victims[1::2], ("postgresql", server(postgres))]
    killed: Counter[str] = Counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        sending = progress.add_task("batches", total=total)
        killing = progress.add_task("kills", total=kills)
        for name, kill in itertools.cycle(victims):
            time.sleep(interval)
            if killed.total() >= kills and not any(sender.is_alive() for sender in senders):
                break
            kill()
            killed[name] += 1
            progress.update(killing, completed=killed.total())
            progress.update(sending, completed=sum(sender.done for sender in senders))
    report.kills = dict(killed)


def _drain(house: House, report: Report) -> None:
    """Wait until nothing is behind."""
    began = time.monotonic()
    stream = house.stream
    assert stream is not None
    _wait(lambda: stream.lag().entries == 0, "the backlog to drain", 5 * PATIENCE_S)
    report.drained_after_seconds = time.monotonic() - began
    report.backlog, report.dead_letters = stream.lag().items, len(stream.dead(1_000))


def _hold_against(planned: Plan, house: House, folder: Path, report: Report) -> None:
    stored: Counter[str] = Counter()
    position = 0
    while page := house.log.read(position):
        stored.update(event.event_id for _, event in page)
        position = page[-1][0]
    report.lost = len(planned.good - stored.keys())
    report.stored_twice = sum(count - 1 for count in stored.values())
    report.stored_unasked = len(stored.keys() - planned.good)
    kept = {one.row.raw: one.row.code for one in house.quarantine.list(10 * len(planned.bad) + 100)}
    report.bad_not_in_quarantine = sum(kept.get(raw) != code for raw, code in planned.bad.items())
    report.quarantined_unasked = len(kept.keys() - planned.bad.keys())
    disturbed, undisturbed = _features(house), _undisturbed(planned, house.settings, folder / "undisturbed")
    report.feature_values = disturbed.size
    report.feature_values_that_differ = int(
        np.sum(~np.isclose(disturbed, undisturbed, rtol=1e-9, atol=1e-12, equal_nan=True))
    )


def _undisturbed(planned: Plan, settings: Settings, home: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The features of a house that was told the same in one go, without a stream, without anybody being killed."""
    alone = msgspec.structs.replace(
        settings, home=str(home), database="", stream=msgspec.structs.replace(settings.stream, url="")
    )
    home.mkdir()
    (home / "privacy.key").write_bytes((Path(settings.home) / "privacy.key").read_bytes())
    house = open_house(alone)
    for start in range(0, len(planned.sent), 5_000):
        house.door.take([house.reception.receive(raw, source="api") for raw in planned.sent[start : start + 5_000]])
    features = _features(house)
    house.close()
    return features


def _features(house: House) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Every number that is known of every cell, at two instants."""
    loop = open_loop(house.settings, house=house)
    opportunities = [
        Opportunity(opportunity_id="o", at=at, campaign_id=f"c{c}", keyword=f"k{k}", device="mobile", currency="EUR")
        for at in (START + timedelta(hours=13), START + timedelta(days=2))
        for c in range(CAMPAIGNS)
        for k in range(KEYWORDS)
    ]
    return np.array(list(loop.features.read(opportunities).numeric.values()))


def _wait(until: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if until():
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.2)


def _last_words(folder: Path) -> str:
    return "\n".join(f"{log.name}:\n{log.read_text()[-2_000:]}" for log in sorted(folder.glob("*.log")))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def main() -> None:
    """Print the counts; the exit code is 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    report = run(arguments.events, arguments.kills, arguments.seed)
    told = msgspec.to_builtins(report)
    if arguments.json:
        print(json.dumps(told))
    else:
        for name, value in told.items():
            shown = ", ".join(f"{k} {v:,}" for k, v in value.items()) if isinstance(value, dict) else f"{value:,.10g}"
            print(f"{name.replace('_', ' '):28} {shown}")
        print("nothing was lost, nothing is there twice" if report.right else "SOMETHING IS WRONG")
    sys.exit(not report.right)


if __name__ == "__main__":
    main()
