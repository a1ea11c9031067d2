from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bidloop.core.errors import CorruptArtifact, InvalidInput, NotFound
from bidloop.prediction.bundle import Bundle, load_bundle, write_bundle
from bidloop.prediction.calibration import Calibration, Calibrations
from bidloop.prediction.intervals import IntervalModel, Tier
from bidloop.prediction.order_value import OrderValue

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def parts(small: Any, **changes: Any) -> dict[str, Any]:
    tier = Tier(0.0, 123.456789, 1 / 3, 0.025, 0.02, 77)
    return {
        "model": small.model(),
        "landscape": small.landscape(),
        "calibration": Calibrations(click=Calibration(kind="platt", parameters=(1.1, -0.1), log_loss={"none": 0.1})),
        "intervals": IntervalModel(level=0.95, reference=0.02, elasticity=0.5, tiers=(tier,), measured_coverage=0.951),
        "order_value": OrderValue(pooled=20.1, by_campaign={"shoes": 1 / 7}, currency="CNY", orders=9.0, strength=2.5),
        "view": {"name": "small", "rates": [{"key": ["a", "b"]}]},
        "view_version": small.view,
        "metrics": {"auc": 0.77, "table": [{"model": "trees", "log_loss": 0.1}], "none": None},
        "created_at": NOW,
    } | changes


def test_what_was_written_is_read_back_to_the_last_bit(small: Any, tmp_path: Path) -> None:
    written = parts(small)
    version = write_bundle(tmp_path, **written)
    bundle = load_bundle(tmp_path / version)
    assert bundle == Bundle(version=version, **written)
    assert sorted(path.name for path in (tmp_path / version).iterdir()) == [
        "landscape.onnx",
        "manifest.json",
        "performance.onnx",
    ]


def test_a_bundle_may_be_no_more_than_a_model(small: Any, tmp_path: Path) -> None:
    version = write_bundle(tmp_path, model=small.model(), view={}, view_version=small.view, created_at=NOW)
    bundle = load_bundle(tmp_path / version)
    assert (bundle.landscape, bundle.intervals, bundle.order_value) == (None, None, None)
    assert bundle.calibration == Calibrations()


def test_the_version_is_the_content_and_not_the_time(small: Any, tmp_path: Path) -> None:
    version = write_bundle(tmp_path, **parts(small))
    assert write_bundle(tmp_path, **parts(small, created_at=NOW + timedelta(days=1))) == version
    assert load_bundle(tmp_path / version).created_at == NOW, "the first one stays"
    others = {
        write_bundle(tmp_path, **parts(small, **change))
        for change in (
            {"model": small.model(bias=(-4.0, -2.999))},
            {"landscape": None},
            {"calibration": None},
            {"order_value": None},
            {"view": {}},
            {"metrics": {}},
        )
    }
    assert len(others | {version}) == 7
    assert version[0] == "v"
    assert len(version) == 13
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others | {version}), "no leftovers"


@pytest.mark.parametrize("name", ["performance.onnx", "landscape.onnx"])
def test_one_wrong_byte_in_a_graph_is_refused(small: Any, tmp_path: Path, name: str) -> None:
    folder = tmp_path / write_bundle(tmp_path, **parts(small))
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(CorruptArtifact, match=name):
        load_bundle(folder)


def test_a_missing_graph_is_refused(small: Any, tmp_path: Path) -> None:
    folder = tmp_path / write_bundle(tmp_path, **parts(small))
    (folder / "performance.onnx").unlink()
    with pytest.raises(CorruptArtifact, match=r"performance\.onnx"):
        load_bundle(folder)


def test_a_changed_number_in_the_manifest_is_refused(small: Any, tmp_path: Path) -> None:
    folder = tmp_path / write_bundle(tmp_path, **parts(small))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["content"]["calibration"]["click"]["parameters"][0] = 1.2
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CorruptArtifact, match="manifest"):
        load_bundle(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": "v1"}', "\xff"])
def test_an_unreadable_manifest_is_refused(small: Any, tmp_path: Path, text: str) -> None:
    folder = tmp_path / write_bundle(tmp_path, **parts(small))
    (folder / "manifest.json").write_bytes(text.encode("latin1"))
    with pytest.raises(CorruptArtifact):
        load_bundle(folder)


def test_a_manifest_that_was_merely_formatted_anew_is_still_the_same(small: Any, tmp_path: Path) -> None:
    version = write_bundle(tmp_path, **parts(small))
    file = tmp_path / version / "manifest.json"
    file.write_text(file.read_text().replace("\n", "\n  "))
    assert load_bundle(tmp_path / version).version == version


def test_a_bundle_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="v000000000000"):
        load_bundle(tmp_path / "v000000000000")


@pytest.mark.parametrize(
    "change",
    [
        {"view_version": "another view"},
        {"metrics": {"auc": float("nan")}},
        {"metrics": {"auc": np.float64(0.5), "bad": object()}},
        {"created_at": datetime(2026, 1, 1)},
    ],
)
def test_what_would_not_come_back_is_not_written(small: Any, tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        write_bundle(tmp_path, **parts(small, **change))
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_fails_half_way_leaves_nothing_behind(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("bidloop.prediction.bundle.os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_bundle(tmp_path, **parts(small))
    assert list(tmp_path.iterdir()) == []


def test_predicting_from_a_bundle_loads_no_training_framework(bundle_of: Callable[..., Bundle], tmp_path: Path) -> None:
    version = bundle_of().version
    program = f"""
import sys
from bidloop.prediction.bundle import load_bundle
from bidloop.prediction.predictor import Predictor
Predictor(load_bundle({str(tmp_path / version)!r}))
heavy = {{"torch", "xgboost", "sklearn", "onnx", "onnxmltools", "scipy.optimize", "pandas"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True)
