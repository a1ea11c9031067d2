"""A canary is told in every way there is, and found nowhere: not in a database, a stream, a file, a log or an answer."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from benchmarks.servers import PostgresServer, RedisServer
from bidloop.app.forgetting import erase_person, export_person
from bidloop.app.http.examples import EXAMPLE_CELL
from bidloop.app.settings import Settings, load_settings
from bidloop.app.wiring import open_house

PROGRAM = [sys.executable, "-c", "from bidloop.app.cli import main; main()"]
CANARIES = {
    "userId": "canary-user@example.org",
    "deviceId": "canary-device-3f7a",
    "sessionId": "canary-session-9c1d",
    "ip": "2001:db8:77::c0de",
}
BYTES = [canary.encode() for canary in CANARIES.values()] + [b"canary-in-an-address"]
AT = "2026-03-01T12:00:00Z"


def forms_of(canary: bytes) -> Iterator[bytes]:
    """As it is, and as it stands in bytes that JSON or a database writes as base64 or hexadecimal digits."""
    yield canary
    yield canary.hex().encode()
    for ahead in range(3):  # base64 looks different by what stands before it
        yield base64.b64encode(bytes(ahead) + canary)[4 if ahead else 0 : -4]


FORMS = [form for canary in BYTES for form in forms_of(canary)]


@contextmanager
def house_of(kind: str, home: Path) -> Iterator[tuple[dict[str, str], list[Path]]]:
    """The environment of a house, and the folders where its data lies."""
    environment = {"BIDLOOP_HOME": str(home), "BIDLOOP_CURRENCY": "EUR"}
    with ExitStack() as stack:
        folders = [home.parent]
        if kind == "redis and postgresql":
            redis, postgres = stack.enter_context(RedisServer()), stack.enter_context(PostgresServer())
            environment |= {"BIDLOOP_STREAM__URL": redis.url, "BIDLOOP_DATABASE": postgres.new_database()}
            folders += [redis.folder, postgres.folder]
        yield environment, folders


@contextmanager
def served(environment: dict[str, str], log: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*PROGRAM, "serve", "--port", str(port)], env=os.environ | environment, stdout=file, stderr=file
        )
        try:
            address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
            while True:
                try:
                    httpx.get(f"{address}/healthz")
                    break
                except httpx.TransportError:
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            yield address
        finally:
            process.terminate()
            process.wait(60)


def event(number: int, **changes: object) -> dict[str, object]:
    return {"type": "page_viewed", "eventId": f"e{number}", "at": AT, "consent": True, **CANARIES, **changes}


def tell(address: str) -> None:
    """Good and bad events, as JSON, NDJSON and pixels, with the canary in every field that is for people."""
    address_of_page = "https://shop.example/a?mail=canary-in-an-address#canary-in-an-address"
    good = [
        event(1, url=address_of_page, referrer=address_of_page),
        event(2, type="click_received", impressionId="i", price=1),
        event(3, consent=False),
        event(4, type="device_linked"),
        event(
            5, type="impression_served", impressionId="i", opportunity={"campaignId": "c", "userId": CANARIES["userId"]}
        ),
    ]
    bad = [
        event(6, type="page_vewed"),
        event(7, at="never"),
        event(8, type="click_received", impressionId="i", price=-1),
        event(9, type="device_linked", consent=None),
        event(10, userId=[CANARIES["userId"]]),
        event(2, type="click_received", impressionId="another"),
    ]
    lines = b"\n".join(json.dumps(one).encode() for one in good + bad)
    lines += b'\n{"type": "page_viewed", "userId": "canary-user@example.org", broken'
    headers = {"Content-Type": "application/x-ndjson"}
    answer = httpx.post(f"{address}/v1/events", content=lines, headers=headers)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["accepted"], told["rejected"]) == (len(good), len(bad) + 1), told
    assert not any(canary in answer.content for canary in BYTES)
    for consent in ("1", "0"):
        parameters = {"consent": consent, "url": address_of_page, "eventId": f"pixel{consent}", **CANARIES}
        assert httpx.get(f"{address}/v1/pixel.gif", params=parameters).status_code == 200
    httpx.get(f"{address}/v1/pixel.gif", params={"type": "page_vewed", **CANARIES})
    httpx.post(f"{address}/v1/predict", json={"campaignId": CANARIES["userId"]})
    for consent in (True, False, None):
        asked = EXAMPLE_CELL | {"userId": CANARIES["userId"], "consent": consent}
        assert httpx.post(f"{address}/v1/predict", json=asked).status_code == 200


def found_in(folders: list[Path]) -> list[str]:
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
    assert len(files) > 3
    contents = {file: file.read_bytes() for file in files}
    return [f"{form!r} in {file}" for file, content in contents.items() for form in FORMS if form in content]


@pytest.mark.parametrize("kind", ["sqlite", "redis and postgresql"])
def test_no_plain_identifier_is_kept_anywhere_and_a_person_can_be_forgotten(kind: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with house_of(kind, home) as (environment, folders):
        with served(environment, tmp_path / "server.log") as address:
            tell(address)
            if kind != "sqlite":
                assert found_in(folders) == []  # while all of it still lies in the stream
                with (tmp_path / "absorb.log").open("wb") as log:
                    command = [*PROGRAM, "absorb", "--until-empty"]
                    subprocess.run(
                        command, env=os.environ | environment, stdout=log, stderr=log, check=True, timeout=60
                    )
        settings: Settings = load_settings(environment=environment)
        house = open_house(settings)
        assert sum(house.log.counts().values()) == 7
        assert house.history.sync() >= 0
        waiting = house.quarantine.list(state=None)
        assert len(waiting) == 8
        assert sum(b"canary" in kept.row.raw for kept in waiting) == 6  # whole, to who has the key
        assert not any("canary" in kept.row.reason for kept in waiting)
        assert found_in(folders) == []
        records = export_person(house, CANARIES["userId"])
        assert len(records) == 6  # five events and the one decision that was agreed to
        assert not any(canary in record for canary in BYTES for record in records)
        erased = erase_person(house, CANARIES["userId"])
        assert (erased["events"], erased["decisions"], erased["quarantine"]) == (5, 1, 7)
        assert export_person(house, CANARIES["userId"]) == []
        house.close()
