"""Events from a sender's bytes to PostgreSQL, against loading the same rows into a plain table.

``python -m benchmarks.ingest`` starts a real Redis and a real PostgreSQL. In each round, on fresh tables:

- **door**: bytes as senders tell them are read, checked, asked for consent, pseudonymised, and published to the stream;
- **absorb**: the stream's entries are read, checked again, hashed, deduplicated for ever and stored, with the offsets;
- **copy**: the same rows, ready made, by ``COPY`` and ``INSERT … ON CONFLICT DO NOTHING``, in batches of the same size;
- **rows**: the same rows, ready made, each in a transaction of its own (the first thousands of them).

All in one process. A ratio is that of events per second in the same round; the table shows the median of the rounds and, in
brackets, the least and the greatest.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec
import psycopg

from benchmarks.servers import PostgresServer, RedisServer
from bidloop.adapters.redis.event_stream import RedisEventStream
from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.event_log import SqlEventLog
from bidloop.core.clock import SystemClock
from bidloop.core.event import Event
from bidloop.events.absorber import Absorber
from bidloop.events.identity import content
from bidloop.events.privacy import Privacy
from bidloop.events.publisher import Publisher
from bidloop.events.reception import Reception
from bidloop.events.sealing import Seal
from bidloop.events.settings import EventSettings, StreamSettings

REQUEST = 500
"""Events that one request brings, and so one entry of the stream holds."""
SINGLY = 3_000
"""Rows that are written one by one: enough to tell the rate of something so slow."""
START = datetime(2026, 3, 1, tzinfo=UTC)
KEY = bytes(range(32))

TABLE = """
CREATE TABLE plain (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id text NOT NULL UNIQUE, type text NOT NULL,
    at_us bigint NOT NULL, payload text NOT NULL
)
"""
INCOMING = "CREATE TEMP TABLE incoming (event_id text, type text, at_us bigint, payload text) ON COMMIT DELETE ROWS"
INSERT = "INSERT INTO plain (event_id, type, at_us, payload)"


def tell(count: int, seed: int) -> list[bytes]:
    """What senders tell: impressions, clicks, page views and conversions, three in four with a user who agreed."""
    rng = random.Random(seed)
    told = []
    for i in range(count):
        at = START + timedelta(milliseconds=20 * i)
        event: dict[str, object] = {"eventId": f"{rng.getrandbits(128):032x}", "at": at.isoformat()}
        if rng.random() < 0.75:
            event |= {
                "userId": f"user-{rng.randrange(200_000)}",
                "ip": f"203.0.{rng.randrange(256)}.9",
                "consent": True,
            }
        kind = rng.random()
        if kind < 0.45:
            event |= {"type": "page_viewed", "url": f"https://shop.example/products/{rng.randrange(5_000)}?q=1"}
        elif kind < 0.85:
            about = {"campaignId": f"c{rng.randrange(40)}", "keyword": f"k{rng.randrange(900)}", "device": "mobile"}
            event |= {"type": "impression_served", "impressionId": f"{rng.getrandbits(128):032x}", "opportunity": about}
        elif kind < 0.98:
            event |= {"type": "click_received", "impressionId": f"{rng.getrandbits(128):032x}", "price": 0.42}
        else:
            event |= {"type": "conversion_reported", "impressionId": f"{rng.getrandbits(128):032x}", "value": 49.9}
        told.append(msgspec.json.encode(event))
    return told


def run(events: int, rounds: int, seed: int = 1) -> dict[str, list[float]]:
    """Events per second of every way, one figure per round."""
    speeds: dict[str, list[float]] = {name: [] for name in ("door", "absorb", "door and absorb", "copy", "rows")}
    chunk = EventSettings().chunk
    with RedisServer() as redis, PostgresServer() as postgres:
        for number in range(rounds):
            told = tell(events, seed + number)
            rows = _rows(told)
            door, absorb = _ours(told, redis.url, postgres.new_database(), f"bench:{number}")
            copy = _seconds(partial(_copy, rows, postgres.new_database(), chunk))
            some = rows[:SINGLY]
            singly = _seconds(partial(_singly, some, postgres.new_database()))
            for name, seconds, count in (
                ("door", door, events),
                ("absorb", absorb, events),
                ("door and absorb", door + absorb, events),
                ("copy", copy, events),
                ("rows", singly, len(some)),
            ):
                speeds[name].append(count / seconds)
    return speeds


def _ours(told: Sequence[bytes], redis_url: str, database: str, name: str) -> tuple[float, float]:
    """Seconds at the door, and from the stream to PostgreSQL."""
    clock, seal = SystemClock(), Seal(KEY)
    settings = StreamSettings(url=redis_url, name=name)
    sensible = EventSettings(currency="EUR")
    engine = open_database(database)
    stream, log = RedisEventStream.open(settings), SqlEventLog(engine, seal)
    reception, publisher = Reception(Privacy(KEY), clock, sensible), Publisher(stream, seal)

    def enter() -> None:
        for start in range(0, len(told), REQUEST):
            publisher.take([reception.receive(raw, source="api") for raw in told[start : start + REQUEST]])

    absorber = Absorber(stream, log, seal, clock, consumer="bench", events=sensible, settings=settings)
    door = _seconds(enter)
    gc.freeze()  # as `bidloop absorb` does
    absorb = _seconds(lambda: absorber.run(threading.Event(), until_empty=True))
    gc.unfreeze()
    stored = sum(log.counts().values())
    assert stored == len(told), f"{stored} of {len(told)} events were stored"
    stream.close()
    engine.dispose()
    return door, absorb


def _rows(told: Sequence[bytes]) -> list[tuple[str, str, int, str]]:
    """The rows as they are stored, ready made."""
    reception = Reception(Privacy(KEY), SystemClock(), EventSettings(currency="EUR"))
    rows = []
    for raw in told:
        event = reception.receive(raw, source="api")
        assert isinstance(event, Event)
        micros = int(event.at.timestamp() * 1_000_000)
        rows.append((event.event_id, str(event.__struct_config__.tag), micros, content(event).decode()))
    return rows


def _copy(rows: Sequence[tuple[str, str, int, str]], database: str, chunk: int) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(TABLE)
        connection.execute(INCOMING)
        connection.commit()
        for start in range(0, len(rows), chunk):
            with connection.cursor() as cursor:
                with cursor.copy("COPY incoming FROM STDIN (FORMAT BINARY)") as copy:
                    copy.set_types(("text", "text", "int8", "text"))
                    for row in rows[start : start + chunk]:
                        copy.write_row(row)
                cursor.execute(f"{INSERT} SELECT * FROM incoming ON CONFLICT DO NOTHING")
            connection.commit()


def _singly(rows: Sequence[tuple[str, str, int, str]], database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(TABLE)
        connection.commit()
        for row in rows:
            connection.execute(f"{INSERT} VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING", row)
            connection.commit()


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _spread(values: Sequence[float], digits: int) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} [{low:,.{digits}f}, {high:,.{digits}f}]"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    speeds = run(arguments.events, arguments.rounds)
    if arguments.json:
        print(json.dumps(speeds))
        return
    print(f"{'':16} {'events/s':>28} {'of copy':>20} {'of rows':>24}")
    for name, values in speeds.items():
        of_copy = [value / peer for value, peer in zip(values, speeds["copy"], strict=True)]
        of_rows = [value / peer for value, peer in zip(values, speeds["rows"], strict=True)]
        print(f"{name:16} {_spread(values, 0):>28} {_spread(of_copy, 2):>20} {_spread(of_rows, 1):>24}")


if __name__ == "__main__":
    main()
