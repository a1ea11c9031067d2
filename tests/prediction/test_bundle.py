from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
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
    assert (bundle.conversion_intervals, bundle.delays) == (None, None)
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


def test_what_is_learned_of_conversions_travels_with_it(small: Any, tmp_path: Path) -> None:
    late = {"kind": "exponential", "ages": [1.5, 86400.0], "campaigns": {"shoes": [0.25, 1.0]}}
    written = parts(small) | {"conversion_intervals": parts(small)["intervals"], "delays": late}
    bundle = load_bundle(tmp_path / write_bundle(tmp_path, **written))
    assert bundle.conversion_intervals == bundle.intervals
    assert bundle.delays == late


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\n  "),  # formatted anew
        lambda text: text + "\n",
        lambda text: text.replace("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),  # when it was written
        lambda text: text.replace("2026-01-01T00:00:00Z", "2026-01-01T00:00:00+00:00"),
        lambda text: text.replace('{\n  "version"', '{\n  "version": "v1",\n  "version"'),  # said twice
        lambda text: text.replace('"seal": "', '"seal": "0'),
    ],
)
def test_every_byte_of_the_manifest_counts(small: Any, tmp_path: Path, change: Callable[[str], str]) -> None:
    file = tmp_path / write_bundle(tmp_path, **parts(small)) / "manifest.json"
    before = file.read_text()
    file.write_text(change(before))
    assert file.read_text() != before
    with pytest.raises(CorruptArtifact, match="manifest"):
        load_bundle(file.parent)


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None], *, rename: bool = True) -> Path:
    """The bundle with another content, and all that is computed from it computed anew."""
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest["content"])
    content = msgspec.json.encode(manifest["content"])
    manifest = {"version": f"v{sha256(content).hexdigest()[:12]}", "created_at": manifest["created_at"]}
    unsealed = msgspec.json.encode({**manifest, "content": msgspec.Raw(content)})
    sealed = {**manifest, "content": msgspec.Raw(content), "seal": sha256(unsealed).hexdigest()}
    file.write_bytes(msgspec.json.format(msgspec.json.encode(sealed), indent=2))
    return folder.rename(folder.parent / manifest["version"]) if rename else folder


def test_a_bundle_that_was_changed_with_all_its_sums_is_no_longer_the_version_that_was_asked_for(
    small: Any, tmp_path: Path
) -> None:
    folder = tmp_path / write_bundle(tmp_path, **parts(small))
    with pytest.raises(CorruptArtifact, match="under another name"):
        load_bundle(rewritten(folder, lambda content: content["metrics"].update(auc=0.99), rename=False))


def test_a_bundle_of_a_newer_program_is_refused_with_what_to_do(small: Any, tmp_path: Path) -> None:
    folder = tmp_path / write_bundle(tmp_path, **parts(small))
    with pytest.raises(CorruptArtifact, match=r"newer Bidloop trained.*Upgrade Bidloop"):
        load_bundle(rewritten(folder, lambda content: content.update(format=2, unheard_of=[1])))


@pytest.mark.parametrize(
    "change",
    [
        {"format": "1"},
        {"format": 0},
        {"view_version": None},
        {"unheard_of": 1},
        {"performance": {"sha256": 1}},
        {"metrics": []},
        {"calibration": {"click": {"kind": "magic"}}},
    ],
    ids=str,
)
def test_a_manifest_of_other_types_is_refused(small: Any, tmp_path: Path, change: dict[str, Any]) -> None:
    folder = tmp_path / write_bundle(tmp_path, **parts(small))
    with pytest.raises(CorruptArtifact):
        load_bundle(rewritten(folder, lambda content: content.update(change)))


def test_a_bundle_that_an_earlier_program_wrote_is_still_read(small: Any, tmp_path: Path) -> None:
    version = write_bundle(tmp_path, **parts(small))
    before, file = load_bundle(tmp_path / version), tmp_path / version / "manifest.json"
    manifest = json.loads(file.read_text())
    assert not {"conversion_intervals", "delays"} & set(manifest["content"]), "what is not there has no name"
    del manifest["seal"]  # the first program had none
    file.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    assert load_bundle(tmp_path / version) == before


@pytest.mark.parametrize("what", ["extra file", "extra folder", "link", "pipe", "folder", "huge"])
def test_a_folder_with_anything_but_the_files_of_a_bundle_is_refused(small: Any, tmp_path: Path, what: str) -> None:
    folder = tmp_path / write_bundle(tmp_path, **parts(small))
    graph = folder / "landscape.onnx"
    if what.startswith("extra"):
        (folder / "notes").write_text("") if what == "extra file" else (folder / "notes").mkdir()
    elif what == "huge":
        with graph.open("r+b") as file:
            file.truncate(2**40)  # of holes
    else:
        kept = tmp_path / "kept.onnx"
        graph.rename(kept)
        {"link": lambda: graph.symlink_to(kept), "pipe": lambda: os.mkfifo(graph), "folder": graph.mkdir}[what]()
    with pytest.raises(CorruptArtifact, match="notes" if what.startswith("extra") else r"landscape\.onnx"):
        load_bundle(folder)


def test_a_bundle_that_may_not_be_read_is_refused_and_not_taken_for_missing(small: Any, tmp_path: Path) -> None:
    folder = tmp_path / write_bundle(tmp_path, **parts(small))
    tmp_path.chmod(0o755)
    for path, told in ((folder, "a folder that cannot be read"), (folder / "performance.onnx", "no readable perf")):
        mode = path.stat().st_mode
        path.chmod(0)
        program = f"""
import os
if os.geteuid() == 0:
    # Root may read all: loaded before it becomes somebody else, who may not look into what root installed.
    from bidloop.prediction.bundle import load_bundle
    os.chdir({str(folder.parent)!r})
    os.setuid(65534)
from bidloop.prediction.bundle import load_bundle
from bidloop.core.errors import CorruptArtifact
try:
    load_bundle({folder.name!r})
except CorruptArtifact as error:
    assert {told!r} in str(error) and "denied" in str(error), error
else:
    raise SystemExit("it was read")
"""
        subprocess.run([sys.executable, "-c", program], check=True, cwd=folder.parent)
        path.chmod(mode)


def test_of_a_thousand_corruptions_none_is_loaded_as_something_else_and_none_crashes(
    small: Any, tmp_path: Path
) -> None:
    shelf, elsewhere = tmp_path / "shelf", tmp_path / "elsewhere"
    version = write_bundle(shelf, **parts(small))
    other = write_bundle(
        shelf, **parts(small, model=small.model(bias=(-1.0, -2.0)), created_at=NOW + timedelta(days=1))
    )
    files, others = ({path.name: path.read_bytes() for path in (shelf / name).iterdir()} for name in (version, other))
    intact, folder = load_bundle(shelf / version), elsewhere / version
    rng, refused = random.Random(20260101), dict.fromkeys(CORRUPTIONS, 0)
    for number in range(1000):
        kind = list(CORRUPTIONS)[number % len(CORRUPTIONS)]
        corrupted = CORRUPTIONS[kind](rng, dict(files), others)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, data in corrupted.items():
            (folder / name).write_bytes(data)
        try:
            loaded = load_bundle(folder)
        except (CorruptArtifact, NotFound):
            refused[kind] += 1
        else:
            assert corrupted == files, f"number {number}, {kind}: a changed bundle was loaded"
            assert loaded == intact
    assert sum(refused.values()) > 950, refused
    assert min(refused.values()) > 50, refused


Files = dict[str, bytes]


def flipped(rng: random.Random, files: Files, others: Files) -> Files:
    name = rng.choice(sorted(files))
    data = bytearray(files[name])
    for _ in range(rng.choice((1, 1, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return files | {name: bytes(data)}


def truncated(rng: random.Random, files: Files, others: Files) -> Files:
    name = rng.choice(sorted(files))
    return files | {name: files[name][: rng.randrange(len(files[name]))]}


def cut_out(rng: random.Random, files: Files, others: Files) -> Files:
    name = rng.choice(sorted(files))
    at = rng.randrange(len(files[name]))
    return files | {name: files[name][:at] + files[name][at + rng.randint(1, 64) :]}


def inserted(rng: random.Random, files: Files, others: Files) -> Files:
    name = rng.choice(sorted(files))
    at = rng.randrange(len(files[name]) + 1)
    return files | {name: files[name][:at] + rng.randbytes(rng.randint(1, 64)) + files[name][at:]}


def deleted(rng: random.Random, files: Files, others: Files) -> Files:
    for name in rng.sample(sorted(files), rng.randint(1, len(files))):
        del files[name]
    return files


def swapped(rng: random.Random, files: Files, others: Files) -> Files:
    """Files of another whole bundle among those of this one; its landscape is the same to the last byte."""
    names = rng.sample(["manifest.json", "performance.onnx"], rng.randint(1, 2))
    return files | {name: others[name] for name in names}


def mixed_up(rng: random.Random, files: Files, others: Files) -> Files:
    one, two = rng.sample(sorted(files), 2)
    return files | {one: files[two], two: files[one]}


def retold(rng: random.Random, files: Files, others: Files) -> Files:
    """Some value anywhere in the manifest is another, written as the program writes."""
    manifest = json.loads(files["manifest.json"])
    holder, key = rng.choice([place for place in places(manifest) if place[1] != "seal" or rng.random() < 0.1])
    values = (None, -1, 0, 2**70, 0.5, 1e308, "", "x", "\u2028", [], {}, [[]], True, NOW.isoformat(), {"kind": "none"})
    holder[key] = rng.choice([value for value in values if value != holder[key]])
    return files | {"manifest.json": msgspec.json.format(json.dumps(manifest).encode(), indent=2)}


def retold_with_sums(rng: random.Random, files: Files, others: Files) -> Files:
    """The same, and the checksums inside it are right again; a graph may be another, with the sum of the other."""
    manifest = json.loads(files["manifest.json"])
    changed = dict(files)
    if rng.random() < 0.3:
        changed["performance.onnx"] = others["performance.onnx"]
        manifest["content"]["performance"]["sha256"] = sha256(others["performance.onnx"]).hexdigest()
    else:
        holder, key = rng.choice(places(manifest["content"]))
        holder[key] = rng.choice([v for v in (None, 7, 0.25, "x", [], {}) if v != holder[key]])
    content = json.dumps(manifest["content"], separators=(",", ":")).encode()
    version = f"v{sha256(content).hexdigest()[:12]}"
    head = {"version": version, "created_at": manifest["created_at"], "content": msgspec.Raw(content)}
    seal = sha256(msgspec.json.encode(head)).hexdigest()
    return changed | {"manifest.json": msgspec.json.format(msgspec.json.encode(head | {"seal": seal}), indent=2)}


def nested(rng: random.Random, files: Files, others: Files) -> Files:
    """JSON without end."""
    depth, piece = rng.randint(1, 200_000), rng.choice((b"[", b'{"a":', b'{"content":'))
    start = rng.choice((b"", b'{"version": "v1", "created_at": "2026-01-01T00:00:00Z", "content": '))
    return files | {"manifest.json": start + piece * depth}


CORRUPTIONS = {
    change.__name__: change
    for change in (
        flipped, truncated, cut_out, inserted, deleted, swapped, mixed_up, retold, retold_with_sums, nested,
    )
}  # fmt: skip


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place inside a JSON value, as what holds it and its key."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *places(value[key]))]


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


@pytest.mark.parametrize("damage", ["cut short", "empty", "gone", "a file", "a link to nowhere"])
def test_what_is_damaged_under_the_name_of_what_is_written_is_moved_aside(
    small: Any, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / write_bundle(tmp_path, **parts(small))
    if damage in ("cut short", "empty"):
        graph = folder / "performance.onnx"
        graph.write_bytes(graph.read_bytes()[:-5] if damage == "cut short" else b"")
    else:
        shutil.rmtree(folder)
    if damage == "a file":
        folder.write_text("not a folder")
    if damage == "a link to nowhere":
        folder.symlink_to(tmp_path / "nowhere")
    assert write_bundle(tmp_path, **parts(small)) == folder.name
    assert load_bundle(folder).version == folder.name
    aside = [path.name for path in tmp_path.iterdir() if path != folder]
    assert [name.startswith(f".damaged-{folder.name}") for name in aside] == [damage != "gone"] * len(aside)
    assert len(aside) == (damage != "gone")


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
