"""`bidloop absorb`, as a process of its own: what it takes in, how it stops, what it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bidloop.app.settings import Settings, load_settings
from bidloop.app.wiring import House, open_house
from bidloop.core.event import ClickReceived
from bidloop.events.rejected import Rejected


@pytest.fixture
def environment(redis_url: str, stream_name: str, tmp_path: Path) -> dict[str, str]:
    return {
        "BIDLOOP_HOME": str(tmp_path / "home"),
        "BIDLOOP_STREAM__URL": redis_url,
        "BIDLOOP_STREAM__NAME": stream_name,
        "BIDLOOP_STREAM__RECLAIM_SECONDS": "0.1",
    }


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    def start(*options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from bidloop.app.cli import main; main()", "absorb", *options]
        environ = {**os.environ, **environment}
        return subprocess.Popen(
            command, env=environ, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start


def house_of(environment: dict[str, str]) -> House:
    settings: Settings = load_settings(environment=environment)
    return open_house(settings)


def click(number: int) -> ClickReceived:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return ClickReceived(event_id=f"click-{number}", at=at, impression_id=f"impression-{number}")


def test_it_takes_in_what_waits_and_says_what_came_of_it(environment: dict[str, str], start) -> None:
    house = house_of(environment)
    house.door.take([click(1), click(2), Rejected(source="api", code="not_json", reason="why", raw=b"{", form="told")])
    ended = start("--until-empty", "--json", "--consumer", "one")
    out, err = ended.communicate(timeout=60)
    assert json.loads(out) == {
        "consumer": "one", "accepted": 2, "duplicates": 0, "rejected": {"not_json": 1}, "entries": 1, "buried": 0, "behind": 0,
    }, err  # fmt: skip
    assert house.log.counts() == {"click_received": 2}
    assert house.quarantine.counts() == {"not_json": 1}
    assert house.history.sync() == 0
    house.stream.close()


def test_told_to_stop_it_finishes_what_it_holds_and_ends_well(environment: dict[str, str], start) -> None:
    house = house_of(environment)
    process = start()
    for number in range(20):
        house.door.take([click(number)])
    while house.log.counts().get("click_received", 0) == 0 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "takes events" in err
    assert "accepted" in out
    assert house.log.counts()["click_received"] + house.stream.lag().items == 20
    house.stream.close()


def test_killed_at_any_moment_it_leaves_nothing_behind_that_the_next_one_does_not_find(
    environment: dict[str, str], start
) -> None:
    house = house_of(environment)
    for number in range(300):
        house.door.take([click(number)])
    process = start()
    while house.stream.lag().items == 300 and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.communicate()
    time.sleep(0.1)
    _, err = start("--until-empty").communicate(timeout=60)
    assert house.log.counts() == {"click_received": 300}, err
    assert house.stream.lag().items == 0
    house.stream.close()


def test_without_a_stream_there_is_nothing_to_absorb(environment: dict[str, str], start) -> None:
    del environment["BIDLOOP_STREAM__URL"]
    process = start()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Set stream.url" in err
