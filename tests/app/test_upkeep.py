"""A running loop serves what another process promotes."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bidloop.app.settings import Settings
from bidloop.app.upkeep import ChampionWatch
from bidloop.app.wiring import open_loop
from bidloop.core.clock import ManualClock
from bidloop.features.view import FeatureView
from bidloop.loop import Loop
from bidloop.prediction.bundle import load_bundle, write_bundle
from bidloop.retraining.shelf import Shelf

NOW = datetime(2026, 6, 3, tzinfo=UTC)


@pytest.fixture
def loop(tmp_path: Path, put_model: Callable[[Path], str]) -> Loop:
    put_model(tmp_path)
    return open_loop(Settings(home=str(tmp_path)), ManualClock(NOW))


def another(shelf: Shelf, *, other_view: bool = False) -> str:
    """Another model beside the champion, perhaps of another view."""
    first = load_bundle(shelf.path(str(shelf.champion())))
    view, encoding = msgspec.convert(first.view, FeatureView), first.model.encoding
    if other_view:
        view = msgspec.structs.replace(view, resolution_seconds=60.0)
        encoding = type(encoding)(view.version, encoding.numeric, encoding.categories)
    model = type(first.model)(first.model.name, first.model.onnx, encoding)
    told = msgspec.to_builtins(view)
    return write_bundle(shelf.folder, model=model, view=told, view_version=view.version, created_at=NOW)


def test_what_another_process_promotes_or_rolls_back_to_serves_at_the_next_look(loop: Loop) -> None:
    shelf, watch = Shelf(loop.shelf.folder), ChampionWatch(loop)
    first, second = loop.predictor.version, another(loop.shelf)
    shelf.promote(second)
    watch.look()
    assert loop.predictor.version == second
    shelf.roll_back()
    watch.look()
    assert loop.predictor.version == first


def test_a_champion_that_cannot_serve_leaves_the_present_one_and_the_log_says_so_once(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    watch, first, second = ChampionWatch(loop), loop.predictor.version, another(loop.shelf)
    loop.shelf.promote(second)
    graph = loop.shelf.path(second) / "performance.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-1])
    for _ in range(3):
        watch.look()
    assert loop.predictor.version == first
    assert [record.getMessage().count("checksum") for record in caplog.records] == [1]
    graph.write_bytes(whole)
    watch.look()
    assert loop.predictor.version == second


def test_a_champion_of_another_view_waits_for_a_restart(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    watch, first, other = ChampionWatch(loop), loop.predictor.version, another(loop.shelf, other_view=True)
    loop.shelf.promote(other)
    watch.look()
    watch.look()
    assert loop.predictor.version == first
    assert ["Restart to serve it" in record.getMessage() for record in caplog.records] == [True]
    again = open_loop(Settings(home=str(loop.shelf.folder.parent)), ManualClock(NOW))
    assert again.predictor.version == other


def test_a_running_server_answers_with_what_another_process_promoted(serve_home: Callable[..., Any]) -> None:
    with serve_home() as api:
        version = another(api.house.shelf)
        Shelf(api.house.shelf.folder).promote(version)
        for _ in range(600):
            if api.predict().json()["modelVersion"] == version:
                break
            time.sleep(0.1)
        assert api.predict().json()["modelVersion"] == version
