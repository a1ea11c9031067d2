"""A home folder with a small model in it, and the real server over it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from bidloop.app.cli import main
from bidloop.app.http.server import Server, create_app
from bidloop.app.settings import Settings, load_settings
from bidloop.app.wiring import House, open_house, open_loop
from bidloop.core.clock import Clock, ManualClock
from bidloop.core.encoding import CategoryField, Encoding, NumericField, bucket
from bidloop.core.trained_model import TrainedLandscape, TrainedModel
from bidloop.features.views import campaign_view
from bidloop.loop import Loop
from bidloop.models.graph import Graph
from bidloop.prediction.bundle import write_bundle
from bidloop.prediction.order_value import OrderValue
from bidloop.retraining.shelf import Shelf
from tests.app.command_line import Ended, Run

NOW = datetime(2026, 6, 3, 14, 37, tzinfo=UTC)

CELL: dict[str, Any] = {
    "campaignId": "shoes",
    "adGroupId": "running",
    "keyword": "trail running shoes",
    "device": "mobile",
    "location": "US-CA",
    "timeOfDay": 9,
    "budget": 500.0,
    "currentBid": 1.25,
    "historicalMetrics": {"ctr": 0.042, "conversionRate": 0.061, "spend": 1250.0, "impressions": 25000, "clicks": 1050},
}


def put_model(home: Path) -> str:
    """A model and a landscape with known graphs on the shelf of a home folder; returns the version."""
    view = campaign_view()
    numeric = (
        NumericField("cell_ctr", fill=0.02, shift=0.02, scale=0.02),
        NumericField("hour_sin", fill=0.0, shift=0.0, scale=1.0),
    )
    devices = tuple(sorted(bucket("device", name, 64) for name in ("mobile", "desktop")))
    encoding = Encoding(view.version, numeric, (CategoryField("device", ("device",), 64, devices),))
    rates = Graph()
    linear = rates.add("MatMul", "numeric", rates.constant(np.array([[0.5, 0.1], [0.2, 0.0]], dtype=np.float32)))
    by_device = np.linspace(-0.4, 0.4, 130, dtype=np.float32).reshape(65, 2)
    embedded = rates.add("Gather", rates.constant(by_device), rates.column("categories", 0))
    logits = rates.add(
        "Add", rates.add("Add", linear, embedded), rates.constant(np.array([-3.2, -2.8], dtype=np.float32))
    )
    inputs = {"numeric": ("float", 2), "categories": ("int64", 1)}
    market = Graph()
    chance = market.add("Sigmoid", market.add("Mul", "log_bid", market.constant(np.float32(2))))
    shelf = Shelf(home / "models")
    version = write_bundle(
        home / "models",
        model=TrainedModel("logistic", rates.finish(inputs, "logits", logits, columns=2), encoding),
        landscape=TrainedLandscape(
            market.finish({"log_bid": ("float", 1), **inputs}, "win_probability", chance, columns=1), encoding, 0.2, 5.0
        ),
        order_value=OrderValue(pooled=60.0, by_campaign={"shoes": 75.0}, currency="USD", orders=100.0, strength=10.0),
        view=msgspec.to_builtins(view),
        view_version=view.version,
        created_at=NOW,
    )
    shelf.promote(version)
    return version


def settings_of(home: Path, **changes: Any) -> Settings:
    tree = {
        "home": str(home),
        "bidding": {"objective": "target_cpa", "target_cpa": 30.0, "max_bid": 20.0, "exploration_rate": 0.1},
        "http": {"max_body_bytes": 50_000, "max_batch": 50},
    }
    return load_settings(environment={}, overrides=tree | changes)


class Api:
    """The served API: a client, the loop behind it, and the house that both stand in."""

    def __init__(self, client: httpx.Client, loop: Loop, settings: Settings, house: House) -> None:
        self.client, self.loop, self.settings, self.house = client, loop, settings, house

    def predict(self, **changes: Any) -> httpx.Response:
        return self.client.post("/v1/predict", json=CELL | changes)

    def send(self, body: bytes, path: str = "/v1/predict", **headers: str) -> httpx.Response:
        return self.client.post(path, content=body, headers={"Content-Type": "application/json"} | headers)

    def tell(self, *events: Any, **headers: str) -> httpx.Response:
        """Send events, as a list or, if it is a single one, as it is."""
        body = msgspec.json.encode(events[0] if len(events) == 1 else events)
        return self.send(body, "/v1/events", **headers)

    def kept(self) -> set[str]:
        """The ids of the events in the log."""
        return {event.event_id for _, event in self.house.log.read()}


def click(event_id: str, **changes: Any) -> dict[str, Any]:
    """A good event as it is told."""
    told = {"type": "click_received", "eventId": event_id, "at": "2026-06-03T12:00:00Z", "impressionId": "i-1"}
    return told | changes


@contextmanager
def served(
    settings: Settings, clock: Clock, wrap: Callable[[Loop], Any] = lambda loop: loop, port: int = 0
) -> Iterator[Api]:
    """The real server, in a thread; on a free port if none is asked for."""
    house = open_house(settings, clock)
    loop = wrap(open_loop(settings, house=house))
    address: list[str] = []
    up = threading.Event()
    app = create_app(loop, settings, house)
    server = Server(app, "127.0.0.1", port, on_start=lambda url: (address.append(url), up.set()))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert up.wait(20)
        with httpx.Client(base_url=address[0], timeout=20) as client:
            yield Api(client, loop, settings, house)
    finally:
        server.should_exit = True
        thread.join(20)
        if house.stream is not None:
            house.stream.close()
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API over a home folder with a model."""
    home = tmp_path_factory.mktemp("home")
    put_model(home)
    with served(settings_of(home), ManualClock(NOW)) as api:
        yield api


@pytest.fixture
def serve_home(tmp_path: Path) -> Callable[..., Any]:
    """Serves a home folder of its own: `with serve_home(model=False) as api`."""

    def serve(
        *,
        model: bool = True,
        clock: Clock | None = None,
        wrap: Callable[[Loop], Any] = lambda loop: loop,
        port: int = 0,
        **changes: Any,
    ):
        if model:
            put_model(tmp_path)
        return served(settings_of(tmp_path, **changes), clock or ManualClock(NOW), wrap, port)

    return serve


@pytest.fixture(scope="session")
def cell() -> dict[str, Any]:
    """A good request."""
    return CELL


@pytest.fixture(name="click", scope="session")
def _click() -> Callable[..., dict[str, Any]]:
    return click


@pytest.fixture(name="put_model")
def _put_model() -> Callable[[Path], str]:
    return put_model


@pytest.fixture
def bidloop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs the program in an empty folder, as a shell would."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["bidloop", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        told = capsys.readouterr()
        code = end.value.code
        return Ended(code if isinstance(code, int) else 0, told.out, told.err)

    return run
