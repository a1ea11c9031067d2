"""`bidloop models`: what it lists, shows and compares, and what serves after it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bidloop.adapters.mlflow.answering import quiet
from bidloop.adapters.mlflow.connection import Store
from bidloop.adapters.mlflow.registry import MlflowRegistry
from bidloop.app.cli import main
from bidloop.prediction.bundle import load_bundle, write_bundle
from bidloop.prediction.calibration import Calibrations
from bidloop.prediction.intervals import Coverage
from bidloop.prediction.quality import Bounds, Quality
from bidloop.retraining.evidence import CandidateEvidence, Renewal, TrainingData
from bidloop.retraining.logbook import Logbook
from bidloop.retraining.ports import Registered
from bidloop.retraining.registry_settings import RegistrySettings
from bidloop.retraining.run import Run
from bidloop.retraining.shelf import Shelf

NOW = datetime(2026, 6, 3, tzinfo=UTC)


def a_run(version: str, day: int, loss: float, rows: str) -> Run:
    def candidate(kind: str, loss: float, behind: Bounds | None) -> CandidateEvidence:
        clicks = Quality(
            rows=7, impressions=70.0, clicks=7.0, log_loss=loss, constant_log_loss=0.3, normalized_entropy=None, auc=0.75,
            calibration_ratio=1.0, by_field={}, ece=0.01, curve=(), bounds={},
        )  # fmt: skip
        return CandidateEvidence(
            kind=kind, parameters={"l2": loss}, seconds=1.5, curve=(), calibration=Calibrations(), clicks=clicks,
            conversions=None, behind=behind,
        )  # fmt: skip

    renewal = Renewal(
        version=version,
        winner="logistic",
        view_version="58d08977b803",
        data=TrainingData(
            as_of=NOW, first=NOW, last=NOW + timedelta(days=day), rows={"held_out": 7}, impressions=70.0, clicks=7.0,
            conversions=0.0, fingerprint=rows,
        ),
        candidates=(candidate("logistic", loss, None), candidate("constant", 0.3, Bounds(-0.001, 0.2))),
        failed={"network": "it left all [bounds]"},
        coverage=Coverage(level=0.95, cells=9, covered=0.951, below=0.02, above=0.029, width=0.01, tiers=()),
        conversion_coverage=None,
        delays=None,
        landscape=False,
    )  # fmt: skip
    return Run(renewal=renewal, trained_at=NOW + timedelta(days=day), seconds=2.0, code={"bidloop": "0.1.0"})


class Home:
    """A home folder with three models, of which the first has no run; the second serves."""

    def __init__(self, folder: Path, first: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
        self.folder, self.first, self._capsys, self._monkeypatch = folder, first, capsys, monkeypatch
        self.shelf, self.logbook = Shelf(folder / "models"), Logbook(folder / "runs")
        self.second, self.third = (self.another(day) for day in (1, 2))
        self.logbook.keep(a_run(self.second, 1, 0.05, "aa"))
        self.logbook.keep(a_run(self.third, 2, 0.04, "aa"))
        self.shelf.promote(self.second)

    def another(self, day: int) -> str:
        bundle = load_bundle(self.shelf.path(self.first))
        metrics = {"clicks": {"log_loss": 0.06, "auc": None, "rows": "many"}, "day": day}
        return write_bundle(
            self.shelf.folder, model=bundle.model, landscape=bundle.landscape, order_value=bundle.order_value,
            view=bundle.view, view_version=bundle.view_version, metrics=metrics, created_at=NOW + timedelta(days=day),
        )  # fmt: skip

    def run(self, *words: str, code: int = 0) -> str:
        self._monkeypatch.setattr(sys, "argv", ["bidloop", "models", *words, "--home", str(self.folder)])
        with pytest.raises(SystemExit) as ended:
            main()
        self.said = self._capsys.readouterr()
        assert (ended.value.code or 0) == code, self.said.err
        return self.said.err if code else self.said.out

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json"))


@pytest.fixture
def home(
    tmp_path: Path,
    put_model: Callable[[Path], str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Home:
    return Home(tmp_path, put_model(tmp_path), capsys, monkeypatch)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow file with its tables, which take seconds to make."""
    store = Store("", tmp_path_factory.mktemp("empty"))
    store.open()
    return store.file


@pytest.fixture
def recording(home: Home, empty: Path) -> Home:
    """The home folder with a registry in which nothing was recorded yet."""
    (home.folder / "mlflow").mkdir()
    shutil.copy(empty, home.folder / "mlflow")
    return home


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry on a port where nobody listens: what is not about the registry need not wait for it either."""
    monkeypatch.setenv("BIDLOOP_REGISTRY__URL", "http://127.0.0.1:9")


def test_models_are_listed_the_latest_first_with_what_is_known_of_them(home: Home) -> None:
    cards = home.json("list")
    assert [card["version"] for card in cards] == [home.third, home.second, home.first]
    by_version = {card["version"]: card for card in cards}
    second, first = by_version[home.second], by_version[home.first]
    assert (second["aliases"], second["kind"], second["data"]) == (["champion"], "logistic", "aa")
    assert second["metrics"]["clicks/log_loss"] == 0.05
    assert second["metrics"]["intervals/coverage"] == 0.951
    assert second["data_until"] == "2026-06-04T00:00:00Z"
    assert (first["metrics"], first["data_until"]) == ({}, None), "it was trained before runs were kept"
    assert home.json("show", home.third)["run"]["renewal"]["candidates"][1]["kind"] == "constant"
    shown = home.run("show", home.third)
    assert [word in shown for word in ("it left all [bounds]", "not told apart", "0.040000")] == [True] * 3
    table = home.run("list")
    assert [word in table for word in (home.first, "champion", "95.1%", "0.050000")] == [True] * 4
    assert not (home.folder / "mlflow").exists(), "listing opens no registry where there is none"


def test_a_model_without_a_run_tells_what_its_bundle_tells(home: Home) -> None:
    (home.logbook.folder / f"{home.second}.json").write_text("{")
    told = home.json("show", "champion")
    assert told["run"] is None
    assert told["card"]["metrics"] == {"clicks/log_loss": 0.06}
    assert told["holds"]["landscape"]
    assert told["size"] > 1000
    assert told["changes"][0]["how"] == "promoted"
    assert "not recorded" in home.run("show", home.second)


def test_two_models_are_compared_and_on_which_rows_is_told(home: Home) -> None:
    told = home.json("compare", home.second, home.third)
    assert told["same_rows"] is True
    assert told["differences"]["clicks/log_loss"] == pytest.approx(-0.01)
    line = home.run("compare", "champion", home.third).split("clicks/log_loss")[1].splitlines()[0]
    assert line.split() == ["0.050000", "0.040000", "-0.010000"], "which is better is not said: it may be chance"
    assert "the same held-out rows. How much of a difference is chance was not measured" in home.said.out
    home.logbook.keep(a_run(home.third, 2, 0.04, "bb"))
    assert home.json("compare", home.second, home.third)["same_rows"] is False
    assert "differ also where the models do not" in home.run("compare", home.second, home.third)
    assert home.json("compare", home.first, home.third)["same_rows"] is None


def test_a_version_may_be_told_by_its_first_letters_and_what_is_no_version_is_refused(home: Home) -> None:
    versions = (home.first, home.second, home.third)
    length = next(n for n in range(2, 14) if len({version[:n] for version in versions}) == 3)
    assert home.json("show", home.third[:length])["card"]["version"] == home.third
    assert "all begin with 'v'" in home.run("show", "v", code=2)
    assert "Did you mean 'champion'?" in home.run("show", "champoin", code=2)
    assert f"Did you mean {home.third!r}?" in home.run("promote", home.third[:-1] + "?", code=2)
    assert "no challenger" in home.run("promote", "challenger", code=2)
    home.shelf.propose(home.third)
    assert home.json("show", "challenger")["card"]["aliases"] == ["challenger"]


def test_promoting_and_rolling_back_say_from_what_to_what(home: Home, unreachable: None) -> None:
    assert home.json("promote", home.third)["before"] == home.second
    assert home.shelf.champion() == home.third
    assert f"Rolled back from {home.third} to {home.second}." in home.run("rollback")
    assert home.json("rollback") == {"champion": home.first, "before": home.second}
    assert f"{home.first} serves already." in home.run("promote", home.first)
    assert "no champion before" in home.run("rollback", code=2)
    assert home.shelf.champion() == home.first


def test_a_damaged_model_is_listed_as_such_and_does_not_come_to_serve(home: Home, unreachable: None) -> None:
    graph = home.shelf.path(home.third) / "performance.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    assert "checksum" in home.run("promote", home.third, code=2)
    assert home.shelf.champion() == home.second
    assert "performance.onnx" in home.json("show", home.third)["card"]["damaged"]
    damaged = graph.with_name("manifest.json")
    damaged.write_bytes(b"")
    home.shelf.promote(home.third)
    home.shelf.promote(home.second)
    home.run("rollback", code=2)
    assert home.shelf.champion() == home.second


def test_a_damaged_champion_is_rolled_back(home: Home, unreachable: None) -> None:
    home.run("promote", home.third)
    (home.shelf.path(home.third) / "manifest.json").write_bytes(b"")
    assert home.json("rollback") == {"champion": home.second, "before": home.third}


def test_promoting_and_rolling_back_need_neither_database_nor_registry(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home.folder / "bidloop.db").write_bytes(b"no database")
    monkeypatch.setenv("BIDLOOP_DATABASE", "postgresql://nobody@127.0.0.1:9/none")
    monkeypatch.setenv("BIDLOOP_REGISTRY__URL", "gopher://what is this")
    assert home.json("promote", home.third[:7])["champion"] == home.third
    assert "registry.url" in home.said.err
    assert home.json("rollback")["champion"] == home.second


def test_a_change_is_said_before_the_registry_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:  # it takes the call, and never answers
        monkeypatch.setenv("BIDLOOP_REGISTRY__URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
        command = [sys.executable, "-c", "from bidloop.app.cli import main; main()", "models", "promote", home.third]
        with subprocess.Popen([*command, "--home", str(home.folder)], stdout=subprocess.PIPE) as promoting:
            caller, _ = listening.accept()
            assert promoting.stdout is not None
            assert home.third.encode() in os.read(promoting.stdout.fileno(), 1000)
            promoting.kill()
            caller.close()
    assert home.shelf.champion() == home.third


def test_one_run_that_is_refused_keeps_neither_the_others_nor_the_aliases_waiting(recording: Home) -> None:
    home = recording
    refused = a_run(home.second, 1, 0.05, "aa")
    home.logbook.keep(msgspec.structs.replace(refused, parameters={"not|allowed": 1}))
    assert home.second in home.run("record", code=2)
    registry = MlflowRegistry(RegistrySettings(), home.folder / "mlflow")
    assert [one.version for one in registry.versions()] == [home.third]


def test_a_registry_that_does_not_answer_stops_nothing_and_is_told_of(home: Home, unreachable: None) -> None:
    for words in (("list",), ("show", "champion"), ("promote", home.third), ("rollback",)):
        home.run(*words)
        assert "bidloop models record" in home.said.err
        assert "127.0.0.1:9" in home.said.err
    assert "does not answer" in home.run("record", code=2)
    assert "does not answer" in home.run("show", "v000000000000", code=2)


def test_what_was_trained_is_recorded_when_the_registry_is_there_and_fetched_from_it(recording: Home) -> None:
    home = recording
    assert set(home.json("record")["recorded"]) == {home.second, home.third}
    assert home.json("record")["recorded"] == []
    cards = {card["version"]: card for card in home.json("list")}
    assert {version: card["registered"] for version, card in cards.items()} == {
        home.first: False,
        home.second: True,
        home.third: True,
    }
    before = load_bundle(home.shelf.path(home.third))
    shutil.rmtree(home.shelf.path(home.third))
    (home.logbook.folder / f"{home.third}.json").unlink()
    told = home.json("show", home.third)
    assert (told["card"]["on_shelf"], told["card"]["metrics"]["clicks/log_loss"]) == (False, 0.04)
    assert msgspec.convert(told["run"], Run) == a_run(home.third, 2, 0.04, "aa")
    assert home.json("promote", home.third) == {"champion": home.third, "before": home.second}
    assert load_bundle(home.shelf.path(home.third)) == before
    home.run("rollback")
    store = MlflowRegistry(RegistrySettings(), home.folder / "mlflow").store
    with quiet():
        assert set(store.open().get_registered_model("bidloop").aliases) == {"champion"}
    aliases = {one["version"]: one["aliases"] for one in home.json("list")}
    assert aliases == {home.first: [], home.second: ["champion"], home.third: []}


def test_what_a_registry_answered_is_kept_and_what_is_damaged_of_it_is_left_out(tmp_path: Path) -> None:
    logbook = Logbook(tmp_path / "runs")
    known = Registered(
        version="v1", number=3, kind="trees", trained_at=NOW, view_version="a", data_until=NOW, metrics={}, run="0a",
    )  # fmt: skip
    logbook.recorded(known)
    (logbook.folder / "v2.registered").write_text("{")
    assert logbook.registered() == {"v1": known}
    assert logbook.run("v1") is None


def test_serving_and_asking_for_help_load_no_registry() -> None:
    program = """
import sys
import bidloop.app.cli, bidloop.app.http.server, bidloop.app.wiring
assert not {"mlflow", "matplotlib", "torch", "pandas"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
