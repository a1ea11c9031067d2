"""Runs and model versions in MLflow: in a SQLite file, and on a real server."""

from __future__ import annotations

import http.server
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import httpx
import msgspec
import numpy as np
import pytest

from bidloop.adapters.mlflow.answering import quiet
from bidloop.adapters.mlflow.connection import ENVIRONMENT, Store
from bidloop.adapters.mlflow.figures import draw
from bidloop.adapters.mlflow.registry import MlflowRegistry
from bidloop.core.encoding import Encoding, NumericField
from bidloop.core.errors import ConfigurationError, CorruptArtifact, InvalidInput, NotFound, Unavailable
from bidloop.core.trained_model import TrainedModel
from bidloop.models.graph import Graph
from bidloop.outcomes.delay import DAY, DelayCurve, DelayModel
from bidloop.prediction.bundle import load_bundle, write_bundle
from bidloop.prediction.calibration import Calibrations
from bidloop.prediction.intervals import Coverage, TierCoverage
from bidloop.prediction.quality import Bounds, Quality
from bidloop.prediction.reliability import ReliabilityBin
from bidloop.retraining.evidence import CandidateEvidence, Renewal, TrainingData
from bidloop.retraining.registry_settings import RegistrySettings
from bidloop.retraining.run import Run

NOW = datetime(2026, 6, 3, tzinfo=UTC)
SWITCHES = {**ENVIRONMENT, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def put_bundle(folder: Path, bias: float = -3.0) -> Path:
    """A real bundle; another bias is another version."""
    graph = Graph()
    rates = graph.add("MatMul", "numeric", graph.constant(np.array([[0.5, 0.1]], dtype=np.float32)))
    logits = graph.add("Add", rates, graph.constant(np.array([bias, bias], dtype=np.float32)))
    onnx = graph.finish({"numeric": ("float", 1), "categories": ("int64", 0)}, "logits", logits, columns=2)
    encoding = Encoding("0123456789ab", (NumericField("cell_ctr", fill=0.02, shift=0.02, scale=0.02),), ())
    model = TrainedModel("trees", onnx, encoding)
    return folder / write_bundle(folder, model=model, view={}, view_version="0123456789ab", created_at=NOW)


def a_candidate(kind: str, loss: float, *, drawn: bool) -> CandidateEvidence:
    bins = tuple(ReliabilityBin(p, p * 1.1, p, p * 1.2, 100.0, 9.0) for p in (0.001, 0.01, 0.1) if drawn)
    bounds = {"log_loss": Bounds(loss - 0.001, loss + 0.001)}
    clicks = Quality(
        rows=9, impressions=900.0, clicks=9.0, log_loss=loss, constant_log_loss=0.0071, normalized_entropy=None, auc=0.75,
        calibration_ratio=0.97, by_field={}, ece=0.01, curve=bins, bounds=bounds,
    )  # fmt: skip
    trees = kind == "trees"
    return CandidateEvidence(
        kind=kind,
        parameters={"depth": 6, "rate": 0.1} if trees else {},
        seconds=2.0,
        curve=tuple(0.01 / i + loss for i in range(1, 1201)) if trees and drawn else (),
        calibration=Calibrations(),
        clicks=clicks,
        conversions=None,
        behind=None if trees else Bounds(0.0005, 0.002),
    )


def a_run(version: str, *, drawn: bool = False, **changes: object) -> Run:
    """A run; with everything that can be drawn of one, which takes a while, only if asked for."""
    tiers = (TierCoverage(0.0, 90, 0.93, 0.01), TierCoverage(500.0, 80, 0.96, 0.002))
    delays = DelayModel(
        kind="buckets", ages=(DAY, 3 * DAY), campaigns={},
        pooled=DelayCurve(shares=(0.5, 1.0), deviations=(0.1, 0.0), conversions=90),
    )  # fmt: skip
    renewal = Renewal(
        version=version,
        winner="trees",
        view_version="0123456789ab",
        data=TrainingData(
            as_of=NOW, first=NOW, last=NOW, rows={"fit": 9, "held_out": 3}, impressions=12.0, clicks=3.0, conversions=1.0,
            fingerprint="ab" * 8,
        ),
        candidates=tuple(a_candidate(kind, loss, drawn=drawn) for kind, loss in (("trees", 0.0060), ("constant", 0.0071))),
        failed={"network": "numbers that left all bounds"},
        coverage=Coverage(
            level=0.95, cells=170, covered=0.951, below=0.02, above=0.029, width=0.006, tiers=tiers if drawn else ()
        ),
        conversion_coverage=None,
        delays=delays if drawn else None,
        landscape=False,
    )  # fmt: skip
    told = {
        "trained_at": NOW,
        "seconds": 12.5,
        "code": {"bidloop": "0.1.0", "commit": "abc+"},
        "parameters": {"held_out_days": 2},
    }
    return Run(renewal=renewal, **(told | changes))  # type: ignore[arg-type]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def stopped_at_the_end(command: list[str], **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process and all that it starts."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            if httpx.get(f"{url}/health").is_success:
                return
        except httpx.TransportError:
            assert process.poll() is None, f"it ended with {process.returncode}"
        time.sleep(0.1)
    raise AssertionError(f"nothing answers at {url}")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow file with its tables, which take seconds to make, and nothing else."""
    store = Store("", tmp_path_factory.mktemp("empty"))
    store.open()
    return store.file


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty: Path) -> Iterator[str]:
    """MLflow's own server, which keeps the artifacts itself."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    shutil.copy(empty, folder / "mlflow.db")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "kept"), "--port", str(port), "--workers", "1"]
    with stopped_at_the_end(command, **SWITCHES) as process:
        wait_for(url := f"http://127.0.0.1:{port}", process)
        yield url


Opened = Callable[[], MlflowRegistry]


@pytest.fixture(params=["file", "server"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, empty: Path) -> Opened:
    """Opens the same registry again and again, as the next command would."""
    url = request.getfixturevalue("server") if request.param == "server" else ""
    (tmp_path / "mlflow").mkdir()
    shutil.copy(empty, tmp_path / "mlflow")
    settings = RegistrySettings(url=url, name=tmp_path.name, experiment=tmp_path.name)
    return lambda: MlflowRegistry(settings, tmp_path / "mlflow")


def aliases(registry: MlflowRegistry, name: str) -> dict[str, str]:
    """Version by alias, as MLflow's pages show it."""
    client, numbers = registry.store.open(), {str(one.number): one.version for one in registry.versions()}
    with quiet():
        return {alias: numbers[str(of)] for alias, of in client.get_registered_model(name).aliases.items()}


def test_what_was_recorded_comes_back_with_its_bundle_and_its_aliases_follow(opened: Opened, tmp_path: Path) -> None:
    first, second = (put_bundle(tmp_path / "models", bias) for bias in (-3.0, -2.0))
    assert opened().versions() == []
    opened().alias(champion=first.name, challenger=None)  # before anything is there
    for folder in (first, second, first):  # the same again changes nothing
        known = opened().record(a_run(folder.name), folder)
        assert (known.version, known.kind, known.trained_at, known.data_until) == (folder.name, "trees", NOW, NOW)
        assert known.metrics == {"clicks/log_loss": 0.0060, "clicks/auc": 0.75, "intervals/coverage": 0.951}
    assert [(one.version, one.number) for one in opened().versions()] == [(second.name, 2), (first.name, 1)]

    opened().alias(champion=first.name, challenger=second.name)
    assert aliases(opened(), tmp_path.name) == {"champion": first.name, "challenger": second.name}
    opened().alias(champion=second.name, challenger=None)
    assert aliases(opened(), tmp_path.name) == {"champion": second.name}
    opened().alias(champion="v000000000000", challenger=first.name)
    # In a file of one's own, an alias that would not be true is taken away; on a server it may be another house's.
    others = {"champion": second.name} if opened().store.url else {}
    assert aliases(opened(), tmp_path.name) == {"challenger": first.name, **others}
    opened().alias(champion=None, challenger=None)
    assert aliases(opened(), tmp_path.name) == ({"challenger": first.name, **others} if others else {})

    assert opened().run(second.name) == a_run(second.name)
    (tmp_path / "fetched").mkdir()
    fetched = opened().fetch(second.name, tmp_path / "fetched")
    assert load_bundle(fetched) == load_bundle(second)
    for ask in (opened().run, lambda version: opened().fetch(version, tmp_path)):
        for unknown in ("v000000000000", "' or 1 = 1 --"):
            with pytest.raises(NotFound, match=unknown):
                ask(unknown)


def test_a_run_has_a_child_for_each_candidate_with_curves_tags_and_plots(
    opened: Opened, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = put_bundle(tmp_path / "models")
    registry = opened()
    known = registry.record(a_run(bundle.name, drawn=True), bundle)
    assert capsys.readouterr().out == "", "there may be JSON on it"
    client = registry.store.open()
    with quiet():
        experiment = client.get_experiment_by_name(tmp_path.name)
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
        parent = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
        children = {run.info.run_name: run for run in runs if run is not parent}
        plots = {file.path for file in client.list_artifacts(parent.info.run_id, "plots")}
        files = {file.path for file in client.list_artifacts(parent.info.run_id, "bundle")}
        curve = client.get_metric_history(children["trees"].info.run_id, "training/held-out loss")
        version = client.get_model_version(tmp_path.name, str(known.number))
    assert parent.info.run_name == f"renewal {bundle.name}"
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert set(children) == {"constant", "trees"}
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parent.info.run_id}
    assert parent.data.params == {"held_out_days": "2"}
    assert children["trees"].data.params == {"depth": "6", "rate": "0.1"}
    assert parent.data.metrics["clicks/log_loss"] == 0.0060
    assert parent.data.metrics["intervals/tier 2 coverage"] == 0.96
    assert children["constant"].data.metrics["clicks/log_loss behind_lower"] == 0.0005
    assert [(point.step, point.value) for point in sorted(curve, key=lambda point: point.step)] == [
        (i, 0.01 / i + 0.0060) for i in range(1, 1201)
    ]
    for tags in (parent.data.tags, version.tags):
        assert tags["bidloop.view_version"] == "0123456789ab"
        assert tags["bidloop.data.fingerprint"] == "ab" * 8
        assert (tags["bidloop.code.bidloop"], tags["bidloop.code.commit"]) == ("0.1.0", "abc+")
    assert "**trees**" in parent.data.tags["mlflow.note.content"]
    names = ("candidates", "coverage", "learning", "maturity", "reliability")
    assert plots == {f"plots/{name}.png" for name in names}
    assert files == {"bundle/manifest.json", "bundle/performance.onnx"}
    assert known.run == parent.info.run_id
    assert "Could not be trained: network (numbers that left all bounds)." in parent.data.tags["mlflow.note.content"]


def test_what_was_recorded_by_half_is_recorded_anew(opened: Opened, tmp_path: Path) -> None:
    bundle = put_bundle(tmp_path / "models")
    with pytest.raises(InvalidInput, match=r"not\|allowed"):  # after half of the run was written
        opened().record(a_run(bundle.name, parameters={"not|allowed": 1}), bundle)
    assert opened().versions() == []
    registry = opened()
    client = registry.store.open()

    def runs() -> dict[str, str]:
        with quiet():
            experiment = client.get_experiment_by_name(tmp_path.name)
            assert experiment is not None
            found = client.search_runs([experiment.experiment_id])
        assert len(found) == len({run.info.run_name for run in found})
        return {str(run.info.run_name): run.info.status for run in found}

    assert runs()[f"renewal {bundle.name}"] == "FAILED"
    registry.record(a_run(bundle.name), bundle)
    assert runs() == dict.fromkeys(["constant", "trees", f"renewal {bundle.name}"], "FINISHED")
    assert [one.version for one in registry.versions()] == [bundle.name]


def test_two_accounts_in_one_experiment_leave_each_others_runs_alone(tmp_path: Path, server: str) -> None:
    bundle, other = (put_bundle(tmp_path / "models", bias) for bias in (-3.0, -1.0))
    names = ("eu", "us")
    registries = [
        MlflowRegistry(RegistrySettings(url=server, name=f"{name} {tmp_path.name}", experiment=tmp_path.name), tmp_path)
        for name in names
    ]
    known = [registry.record(a_run(bundle.name), bundle) for registry in registries]
    with pytest.raises(InvalidInput):  # cut off, and begun again
        registries[0].record(a_run(other.name, parameters={"not|allowed": 1}), other)
    registries[1].record(a_run(other.name), other)
    client = registries[0].store.open()
    with quiet():
        assert [client.get_run(one.run).info.lifecycle_stage for one in known] == ["active", "active"]
        experiment = client.get_experiment_by_name(tmp_path.name)
        assert experiment is not None
        states = [run.info.status for run in client.search_runs([experiment.experiment_id])]
    assert "FAILED" in states, "the other account's failed run is not this one's to remove"


def test_a_copy_of_the_house_keeps_and_finds_artifacts_of_its_own(tmp_path: Path, empty: Path) -> None:
    first, second = (put_bundle(tmp_path / "models", bias) for bias in (-3.0, -2.0))
    original, copy = tmp_path / "a house" / "mlflow", tmp_path / "copy_é" / "mlflow"
    original.mkdir(parents=True)
    shutil.copy(empty, original)
    MlflowRegistry(RegistrySettings(), original).record(a_run(first.name), first)
    shutil.copytree(original, copy)
    before = sorted(original.rglob("*"))
    (copy.parent / "fetched").mkdir()
    registry = MlflowRegistry(RegistrySettings(), copy)
    registry.record(a_run(second.name), second)
    assert sorted(original.rglob("*")) == before
    shutil.rmtree(original)
    for bundle in (first, second):
        assert registry.run(bundle.name) == a_run(bundle.name)
        assert load_bundle(registry.fetch(bundle.name, copy.parent / "fetched")) == load_bundle(bundle)
    assert "a house" not in "".join(sqlite3.connect(copy / "mlflow.db").iterdump())


def test_versions_that_another_program_wrote_are_left_out(opened: Opened, tmp_path: Path) -> None:
    bundle = put_bundle(tmp_path / "models")
    registry = opened()
    known = registry.record(a_run(bundle.name), bundle)
    client = registry.store.open()
    with quiet():
        source = client.get_model_version(tmp_path.name, str(known.number)).source
        for tags in ({}, {"bidloop.version": "v1", "bidloop.trained_at": "yesterday", "bidloop.data.last": "x"}):
            client.create_model_version(tmp_path.name, source, known.run, tags=tags)
    assert opened().versions() == [known]


def test_what_is_no_whole_bundle_is_not_recorded(opened: Opened, tmp_path: Path) -> None:
    bundle = put_bundle(tmp_path / "models")
    with pytest.raises(NotFound):
        opened().record(a_run(bundle.name), tmp_path / "gone")
    (bundle / "performance.onnx").write_bytes(b"")
    with pytest.raises(CorruptArtifact):
        opened().record(a_run(bundle.name), bundle)
    assert opened().versions() == []


def test_a_server_that_is_gone_is_told_of_with_what_to_do(tmp_path: Path) -> None:
    url = f"http://somebody:secret@127.0.0.1:{free_port()}"
    registry = MlflowRegistry(RegistrySettings(url=url), tmp_path)
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1.*bidloop models record") as told:
        registry.versions()
    assert "secret" not in str(told.value)


class Stranger(http.server.BaseHTTPRequestHandler):
    """A server that is none of MLflow's."""

    bodies: ClassVar = [b"<html>", b'{"hello": [1]}', b'{"registered_models": [{"name": 5}], "model_versions": "x"}']

    def do_GET(self) -> None:
        body = self.bodies[int(self.path.split("/")[1])]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def stranger() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as door:
        thread = threading.Thread(target=door.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{door.server_port}"
        door.shutdown()
        thread.join()


@pytest.mark.parametrize("body", range(len(Stranger.bodies)))
def test_a_server_that_is_not_mlflow_is_told_of_in_one_sentence(tmp_path: Path, stranger: str, body: int) -> None:
    registry = MlflowRegistry(RegistrySettings(url=f"{stranger}/{body}"), tmp_path)
    bundle = put_bundle(tmp_path / "models")
    with pytest.raises((Unavailable, InvalidInput), match=f"the model registry at {stranger}"):
        registry.record(a_run(bundle.name), bundle)
    with suppress(Unavailable):  # an answer in which there is no version says that there is none
        assert registry.versions() == []


class Doorkeeper(http.server.BaseHTTPRequestHandler):
    """Lets nobody in."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.end_headers()

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_does_not_let_us_in_is_told_of_with_what_to_set(tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Doorkeeper) as door:
        thread = threading.Thread(target=door.serve_forever)
        thread.start()
        try:
            registry = MlflowRegistry(RegistrySettings(url=f"http://127.0.0.1:{door.server_port}"), tmp_path)
            with pytest.raises(ConfigurationError, match="MLFLOW_TRACKING_TOKEN"):
                registry.versions()
        finally:
            door.shutdown()
            thread.join()


def test_a_file_that_is_no_database_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database at all")
    with pytest.raises(CorruptArtifact, match=r"mlflow\.db is no SQLite file"):
        MlflowRegistry(RegistrySettings(), tmp_path).versions()


@pytest.mark.parametrize(
    "change", [{"url": "sqlite:///elsewhere.db"}, {"url": "databricks"}, {"name": "it's"}, {"name": ""}], ids=str
)
def test_a_registry_that_mlflow_cannot_have_is_refused_before_anything_is_asked(
    tmp_path: Path, change: dict[str, str]
) -> None:
    with pytest.raises(ConfigurationError, match=r"registry\.(url|name)"):
        MlflowRegistry(RegistrySettings(**change), tmp_path)


def test_a_folder_that_mlflow_would_take_for_part_of_an_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="without '\\?' and '%'"):
        MlflowRegistry(RegistrySettings(), tmp_path / "100%")
    MlflowRegistry(RegistrySettings(), tmp_path / "a b # é")


def test_two_processes_begin_the_same_file_at_once_and_neither_goes_to_the_network(tmp_path: Path) -> None:
    bundles = [put_bundle(tmp_path / "models", bias) for bias in (-3.0, -2.0)]
    for bundle in bundles:
        (tmp_path / f"{bundle.name}.json").write_bytes(msgspec.json.encode(a_run(bundle.name)))
    program = f"""
import sys, msgspec
from pathlib import Path
from bidloop.adapters.mlflow.registry import MlflowRegistry
from bidloop.retraining.registry_settings import RegistrySettings
from bidloop.retraining.run import Run

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        print("network:", event, arguments, file=sys.stderr, flush=True)

sys.addaudithook(watch)
version = sys.argv[1]
run = msgspec.json.decode(Path({str(tmp_path)!r}, version + ".json").read_bytes(), type=Run)
MlflowRegistry(RegistrySettings(), Path({str(tmp_path / "mlflow")!r})).record(run, Path({str(tmp_path / "models")!r}, version))
import time
time.sleep(0.5)  # telemetry would be sent in the background
"""
    # MLflow keeps its telemetry to itself in tests and in CI; here it must do so because it was told to.
    outside = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "CI", "GIT", "MLFLOW"))
    }
    both = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program, bundle.name],
            env=outside,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for bundle in bundles
    ]
    said = [process.communicate()[0].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said == ["", ""]
    versions = MlflowRegistry(RegistrySettings(), tmp_path / "mlflow").versions()
    assert {one.version for one in versions} == {bundle.name for bundle in bundles}
    assert {one.number for one in versions} == {1, 2}
    assert not (tmp_path / "mlruns").exists()


def test_only_what_there_is_is_drawn_and_matplotlib_is_left_as_it_was(tmp_path: Path) -> None:
    from matplotlib import rcParams

    before = dict(rcParams)
    (tmp_path / "all").mkdir()
    drawn = draw(a_run("v0123456789ab", drawn=True), tmp_path / "all")
    assert {file.stem for file in drawn} == {"candidates", "coverage", "learning", "maturity", "reliability"}
    assert {file.read_bytes()[:8] for file in drawn} == {b"\x89PNG\r\n\x1a\n"}
    drawn = draw(a_run("v0123456789ab"), tmp_path)
    assert [file.stem for file in drawn] == ["candidates"]
    assert dict(rcParams) == before


def test_mlflows_own_pages_show_the_runs_and_stop_with_the_command(tmp_path: Path, empty: Path) -> None:
    bundle, port = put_bundle(tmp_path / "models"), free_port()
    (tmp_path / "mlflow").mkdir()
    shutil.copy(empty, tmp_path / "mlflow")
    MlflowRegistry(RegistrySettings(), tmp_path / "mlflow").record(a_run(bundle.name), bundle)
    command = [sys.executable, "-c", "from bidloop.app.cli import main; main()"]
    command += ["models", "ui", "--port", str(port), "--home", str(tmp_path)]
    with stopped_at_the_end(command) as process:
        wait_for(url := f"http://127.0.0.1:{port}", process)
        with httpx.Client(base_url=url) as client:
            assert "MLflow" in client.get("/").text
            found = client.post("/api/2.0/mlflow/runs/search", json={"experiment_ids": ["1"]}).json()["runs"]
            parent = next(run["info"] for run in found if run["info"]["run_name"] == f"renewal {bundle.name}")
            plot = client.get("/get-artifact", params={"path": "plots/candidates.png", "run_id": parent["run_id"]})
            assert plot.content[:8] == b"\x89PNG\r\n\x1a\n"
            models = client.get("/api/2.0/mlflow/registered-models/search").json()["registered_models"]
            assert [model["name"] for model in models] == ["bidloop"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
