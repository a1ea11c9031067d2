"""The process: figures for Prometheus, ending in good order, and what serving loads."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from starlette.applications import Starlette

from bidloop.app.http.server import Server, serve
from bidloop.core.errors import ConfigurationError

SERVER = """
    import sys
    from bidloop.app.http.server import create_app, serve
    from bidloop.app.settings import load_settings
    from bidloop.app.wiring import open_house, open_loop

    settings = load_settings(environment={}, overrides={"home": sys.argv[1]})
    house = open_house(settings)
    loop = open_loop(settings, house=house)
    serve(create_app(loop, settings, house), "127.0.0.1", 0, on_start=lambda url: print(url, flush=True))
    print("loaded", *sorted({"torch", "xgboost", "sklearn", "onnx", "mlflow", "feast"} & sys.modules.keys()))
"""


def figures(api) -> dict[str, float]:
    page = api.client.get("/metrics").text
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in page.splitlines() if not line.startswith("#"))
    }


def test_requests_decisions_and_the_model_are_counted(serve_home, cell):
    with serve_home() as api:
        api.predict()
        api.client.post("/v1/predict/batch", json=[cell] * 3)
        api.predict(budget=-1)
        api.client.get("/v1/decisions/nosuch")
        api.client.get("/wp-login.php")
        told = figures(api)
        version = api.loop.predictor.version
    assert told["bidloop_decisions_total"] == 4
    assert told['bidloop_http_requests_total{method="POST",route="/v1/predict",status="200"}'] == 1
    assert told['bidloop_http_requests_total{method="POST",route="/v1/predict",status="422"}'] == 1
    assert told['bidloop_http_requests_total{method="GET",route="/v1/decisions/{id}",status="404"}'] == 1
    assert told['bidloop_http_requests_total{method="GET",route="other",status="404"}'] == 1
    assert told['bidloop_http_request_seconds_count{route="/v1/predict"}'] == 2
    assert told['bidloop_http_problems_total{kind="wrong-fields"}'] == 1
    assert told[f'bidloop_model_info{{version="{version}"}}'] == 1
    assert told["bidloop_http_in_flight"] == 1  # the reading itself


def test_degraded_answers_are_counted_by_their_reason(serve_home):
    with serve_home(model=False) as api:
        api.predict()
        assert figures(api)['bidloop_decisions_degraded_total{reason="no_model"}'] == 1


@contextmanager
def process(home):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BIDLOOP_")}
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SERVER), str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        yield child, child.stdout.readline().strip()
    finally:
        child.kill()
        child.communicate()


def test_told_to_end_it_finishes_what_is_in_flight_ends_with_0_and_has_loaded_no_training_framework(tmp_path, cell):
    with process(tmp_path) as (child, url), ThreadPoolExecutor(4) as pool:
        assert url.startswith("http://127.0.0.1:")
        batch = json.dumps([cell] * 1000).encode()

        def ask() -> int:
            headers = {"Content-Type": "application/json"}
            return len(httpx.post(f"{url}/v1/predict/batch", content=batch, headers=headers, timeout=30).json())

        assert httpx.get(f"{url}/readyz").status_code == 200
        asked = [pool.submit(ask) for _ in range(4)]
        while "bidloop_http_in_flight 5" not in httpx.get(f"{url}/metrics").text:
            assert not all(one.done() for one in asked), "answered before the signal could be sent"
            time.sleep(0.002)
        child.send_signal(signal.SIGTERM)
        assert [one.result() for one in asked] == [1000] * 4
        told, complaints = child.communicate(timeout=20)
    assert (child.returncode, complaints) == (0, "")
    assert told.split() == ["loaded"]


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_the_program_that_served_goes_on(sign):
    handler = signal.getsignal(sign)
    serve(Starlette(), "127.0.0.1", 0, on_start=lambda _: signal.raise_signal(sign))
    assert signal.getsignal(sign) is handler


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", None), ("203.0.113.7", 0), ("127.0.0.1", 99_999), ("no.such.host.", 0)]
)
def test_an_address_that_cannot_be_had_is_told_with_what_to_do(api, host, port):
    port = api.client.base_url.port if port is None else port
    with pytest.raises(ConfigurationError, match=f"cannot listen on {host} port {port}: .*Choose another port"):
        serve(Starlette(), host, port)


def test_it_listens_on_the_next_protocol_too():
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        server = Server(Starlette(), "::1", 0, on_start=lambda url: setattr(server, "should_exit", True))
    except ConfigurationError:
        pytest.skip("this machine has no IPv6 address")
    assert server.address.startswith("http://[::1]:")
    server.run()
