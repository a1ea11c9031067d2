"""Training: the same seed gives the same weights, after a kill and in two processes too, and what it says while it trains."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import xxhash

from bidloop.core.encoding import CategoryField, Encoding, NumericField
from bidloop.models.candidate import export
from bidloop.models.network import Network, NetworkSettings, fit_network
from bidloop.models.network import checkpoint as files
from bidloop.models.network.checkpoint import Checkpoint, fingerprint, unpacked
from bidloop.models.rows import Response, Rows

SMALL = NetworkSettings(hidden=(16, 8), batch=64, most_epochs=3)


def make_rows(n: int, seed: int, values: int = 200) -> Rows:
    """Two categories and three numbers, of which one of each matters."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(n, 3)).astype(np.float32)
    slots = np.column_stack([rng.integers(0, values + 1, n), rng.integers(0, 4, n)])
    log_odds = np.sin(slots[:, 0]) + 0.5 * numbers[:, 0] - 1
    clicks = (rng.random(n) < 1 / (1 + np.exp(-log_odds))).astype(float)
    conversions, one = clicks * (rng.random(n) < 0.3), np.ones(n)
    encoding = Encoding(
        "v",
        tuple(NumericField(f"n{i}", 0.0, 0.0, 1.0) for i in range(3)),
        (
            CategoryField("slot", ("slot",), values, tuple(range(1, values + 1))),
            CategoryField("device", ("device",), 3, (1, 2, 3)),
        ),
    )
    click, conversion = Response.of(clicks, one, one), Response.of(conversions, clicks, one)
    return Rows(encoding, numbers, slots.astype(np.int64), click, conversion, one)


def weights(network: Network) -> dict[str, np.ndarray]:
    return {"table": network.table.numpy()} | {
        name: value.numpy() for name, value in network.tower.state_dict().items()
    }


def assert_same(one: Network, other: Network) -> None:
    for name, value in weights(one).items():
        np.testing.assert_array_equal(value, weights(other)[name], err_msg=name)
    assert one.shift == other.shift


def test_the_same_seed_gives_the_same_weights_however_many_threads_torch_has() -> None:
    rows, before = make_rows(700, 0), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = fit_network(rows, seed=3, settings=SMALL, epochs=1)
        torch.set_num_threads(2)
        assert_same(one, fit_network(rows, seed=3, settings=SMALL, epochs=1))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    other = fit_network(rows, seed=4, settings=SMALL, epochs=1)
    assert not np.array_equal(one.table.numpy(), other.table.numpy())


def test_the_network_learns_what_there_is_to_learn() -> None:
    rows, later = make_rows(6000, 0, values=20), make_rows(2000, 1, values=20)
    losses: list[float] = []
    network = fit_network(
        rows, later, seed=1, settings=NetworkSettings(), on_epoch=lambda epoch, loss: losses.append(loss)
    )
    truth = np.sin(later.categories[:, 0]) + 0.5 * later.numeric[:, 0] - 1
    said = network.logits(later.numeric, later.categories)
    constant = later.click.loss(np.full(len(later), rows.click.base))
    best = later.click.loss(truth)
    assert later.click.loss(said[:, 0]) - best < 0.35 * (constant - best)
    assert losses[0] > min(losses)


@pytest.mark.parametrize("late", [False, True])
def test_predictions_sum_to_the_clicks_and_to_the_conversions(late: bool) -> None:
    rows = make_rows(1500, 0)
    if late:  # a quarter of the conversions are known
        clicks, maturity = rows.click.positive, np.full(len(rows), 0.25)
        known = rows.conversion.positive * (np.random.default_rng(1).random(len(rows)) < maturity)
        conversion = Response.of(known, clicks, np.ones(len(rows)), maturity)
        rows = dataclasses.replace(rows, conversion=conversion, maturity=maturity)
    network = fit_network(rows, seed=1, settings=SMALL, epochs=2)
    p = 1 / (1 + np.exp(-network.logits(rows.numeric, rows.categories)))
    assert p[:, 0].sum() == pytest.approx(rows.click.positive.sum(), rel=1e-6)
    assert p[:, 1] @ rows.conversion.total == pytest.approx(rows.conversion.positive.sum(), rel=1e-6)


def test_with_too_few_conversions_all_rows_have_the_average_rate() -> None:
    rows = make_rows(1500, 0)
    few = rows.conversion.positive * (np.cumsum(rows.conversion.positive) <= 10)
    rows = dataclasses.replace(rows, conversion=Response.of(few, rows.click.positive, np.ones(len(rows))))
    network = fit_network(rows, seed=1, settings=SMALL, epochs=1)
    said = network.logits(rows.numeric, rows.categories)
    session = onnxruntime.InferenceSession(export(network, rows.encoding).onnx, providers=["CPUExecutionProvider"])
    served = session.run(None, {"numeric": rows.numeric, "categories": rows.categories})[0]
    np.testing.assert_allclose(served, said, atol=1e-5, rtol=1e-5)
    assert np.ptp(said[:, 1]) == 0
    assert 1 / (1 + np.exp(-said[0, 1])) == pytest.approx(10.5 / (rows.click.positive.sum() + 1))


def test_training_stops_once_later_rows_no_longer_gain_and_keeps_the_best_epoch() -> None:
    rows, later = make_rows(1500, 0, values=600), make_rows(800, 1, values=600)
    losses: list[float] = []
    eager = NetworkSettings(learning_rate=0.02, most_epochs=12, batch=64, patience=1)
    network = fit_network(rows, later, seed=1, settings=eager, on_epoch=lambda epoch, loss: losses.append(loss))
    assert network.epochs == int(np.argmin(losses)) + 1
    assert len(losses) == network.epochs + 2 < 12


def test_what_on_epoch_raises_ends_the_training() -> None:
    def prune(epoch: int, loss: float) -> None:
        raise KeyError(epoch)

    with pytest.raises(KeyError, match="1"):
        fit_network(make_rows(300, 0), make_rows(200, 1), seed=1, settings=SMALL, on_epoch=prune)


def test_progress_rises_step_by_step_to_all() -> None:
    shares: list[float] = []
    fit_network(make_rows(640, 0), seed=1, settings=SMALL, epochs=2, on_progress=shares.append)
    assert shares[:20] == pytest.approx([step / 20 for step in range(1, 21)])
    assert shares[-1] == 1.0


def test_rows_of_numbers_alone_and_of_categories_alone_can_be_learned() -> None:
    rows = make_rows(400, 0)
    numbers = Encoding("v", rows.encoding.numeric, ())
    categories = Encoding("v", (), rows.encoding.categories)
    for encoding, numeric, slots in (
        (numbers, rows.numeric, rows.categories[:, :0]),
        (categories, rows.numeric[:, :0], rows.categories),
    ):
        part = Rows(encoding, numeric, slots, rows.click, rows.conversion, rows.maturity)
        said = fit_network(part, seed=1, settings=SMALL, epochs=1).logits(numeric, slots)
        assert said.shape == (400, 2)
        assert np.isfinite(said).all()


SCRIPT = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_fit as this
from bidloop.models.network import checkpoint, fit_network
checkpoint.SECONDS_BETWEEN = 0.0
def slowly(share):
    print(share, flush=True)
    time.sleep(0.02)
fit_network(this.make_rows(1280, 0), this.make_rows(300, 1), seed=5, settings=this.SMALL, checkpoints=Path(sys.argv[1]),
            on_progress=slowly)
"""


def test_a_training_killed_in_the_middle_of_an_epoch_goes_on_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    with subprocess.Popen([sys.executable, script, tmp_path / "kept"], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        seen = [float(child.stdout.readline()) for _ in range(30)]  # 20 steps an epoch
        os.kill(child.pid, signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert seen[-1] == pytest.approx(30 / 60)
    assert len(list((tmp_path / "kept").glob("*.checkpoint"))) == 1

    rows, later = make_rows(1280, 0), make_rows(300, 1)
    shares: list[float] = []
    resumed = fit_network(rows, later, seed=5, settings=SMALL, checkpoints=tmp_path / "kept", on_progress=shares.append)
    assert shares[0] >= 30 / 60
    assert_same(resumed, fit_network(rows, later, seed=5, settings=SMALL))
    assert list((tmp_path / "kept").iterdir()) == []


class Stopped(Exception):
    pass


def stopped_after(rows: Rows, steps: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoint of a training that was stopped after so many steps."""
    monkeypatch.setattr(files, "SECONDS_BETWEEN", 0.0)
    done = iter(range(1, steps + 1))

    def stop(share: float) -> None:
        if next(done, None) is None:
            raise Stopped

    with pytest.raises(Stopped):
        fit_network(rows, seed=5, settings=SMALL, epochs=2, checkpoints=folder, on_progress=stop)
    [path] = folder.iterdir()
    return path


def test_another_training_does_not_take_it_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = make_rows(640, 0)
    stopped_after(rows, 5, tmp_path, monkeypatch)
    faster = NetworkSettings(hidden=(16, 8), batch=64, most_epochs=3, learning_rate=0.002)
    for others in ({"seed": 6}, {"settings": faster}, {"epochs": 3}, {"rows": make_rows(640, 1)}):
        asked = {"rows": rows, "seed": 5, "settings": SMALL, "epochs": 2, **others}
        shares: list[float] = []
        fit_network(asked.pop("rows"), **asked, checkpoints=tmp_path, on_progress=shares.append)
        assert shares[0] == pytest.approx(1 / (10 * asked["epochs"]))
    assert len(list(tmp_path.iterdir())) == 1


def test_a_damaged_checkpoint_is_told_and_training_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = make_rows(640, 0)
    path = stopped_after(rows, 5, tmp_path, monkeypatch)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    spoiled = [b"", content[:7], content[:-1], content + b"x"]
    for place in rng.integers(0, len(content), 4):
        spoiled.append(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
    for bad in spoiled:
        path.write_bytes(bad)
        caplog.clear()
        shares: list[float] = []
        with caplog.at_level(logging.WARNING), pytest.raises(Stopped):
            _first_step(rows, tmp_path, shares)
        assert shares == [pytest.approx(1 / 20)]
        assert "damaged" in caplog.text
    path.write_bytes(content)
    with pytest.raises(Stopped):
        _first_step(rows, tmp_path, shares := [])
    assert shares == [pytest.approx(6 / 20)]


def test_a_checkpoint_that_another_code_wrote_is_not_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = make_rows(50, 0), None, SMALL, (5, 2), {"weights": torch.ones(2)}
    name = fingerprint(*asked)
    monkeypatch.setattr(files, "version", lambda package: "0.0.0")
    of_another_release = fingerprint(*asked)
    monkeypatch.setattr(torch, "__version__", "0.0.0")
    assert len({name, of_another_release, fingerprint(*asked)}) == 3


@pytest.mark.parametrize("missing", ["average.heads.bias", "position", "table"])
def test_a_checkpoint_of_other_arrays_is_told_and_training_starts_anew(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = make_rows(640, 0)
    path = stopped_after(rows, 5, tmp_path, monkeypatch)
    state = unpacked(path.read_bytes()[16:])
    del state[missing]
    other = Checkpoint(tmp_path, path.stem.removeprefix("network-"))
    other.write(state)
    shares: list[float] = []
    with caplog.at_level(logging.WARNING):
        resumed = fit_network(rows, seed=5, settings=SMALL, epochs=2, checkpoints=tmp_path, on_progress=shares.append)
    assert "cannot be loaded" in caplog.text
    assert shares[0] == pytest.approx(1 / 20)
    assert_same(resumed, fit_network(rows, seed=5, settings=SMALL, epochs=2))


def test_a_checkpoint_that_is_no_archive_is_told_and_training_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = make_rows(640, 0)
    path = stopped_after(rows, 5, tmp_path, monkeypatch)
    path.write_bytes(xxhash.xxh3_128_digest(b"PK\x03\x04") + b"PK\x03\x04")
    with caplog.at_level(logging.WARNING), pytest.raises(Stopped):
        _first_step(rows, tmp_path, shares := [])
    assert "cannot be loaded" in caplog.text
    assert shares == [pytest.approx(1 / 20)]


def test_a_checkpoint_that_cannot_be_written_is_told_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(files, "SECONDS_BETWEEN", 0.0)
    rows = make_rows(300, 0)
    (tmp_path / "file").write_text("no folder")

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    with caplog.at_level(logging.WARNING):
        without_folder = fit_network(rows, seed=5, settings=SMALL, epochs=1, checkpoints=tmp_path / "file")
        monkeypatch.setattr(os, "fsync", full)
        without_room = fit_network(rows, seed=5, settings=SMALL, epochs=1, checkpoints=tmp_path / "kept")
    assert "No space left on device" in caplog.text
    assert list((tmp_path / "kept").iterdir()) == []
    for network in (without_folder, without_room):
        assert_same(network, fit_network(rows, seed=5, settings=SMALL, epochs=1))


def test_a_checkpoint_is_written_aside_under_a_name_of_its_own_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(os, "fsync", lambda file: seen.append([path.name for path in tmp_path.iterdir()]))
    checkpoint = Checkpoint(tmp_path, "3f")
    checkpoint.write({"weights": torch.ones(2)})
    assert seen == [[f"network-3f.{os.getpid()}.writing"]]
    (tmp_path / "network-3f.1.writing").touch()  # what a kill left
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == []


def _first_step(rows: Rows, folder: Path, shares: list[float]) -> None:
    def stop(share: float) -> None:
        shares.append(share)
        raise Stopped

    fit_network(rows, seed=5, settings=SMALL, epochs=2, checkpoints=folder, on_progress=stop)


COUNTERFACTUAL = NetworkSettings(hidden=(16, 8), batch=64, most_epochs=2, counterfactual="dr", tower="deepfm")
TOGETHER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import numpy as np
import test_fit as this
from bidloop.models.network import fit_network
from bidloop.models.network.distributed import Team, processes
with processes():
    team = Team.present()
    assert team.size == 2
    for name in ("SMALL", "COUNTERFACTUAL"):
        losses = []
        network = fit_network(this.make_rows(1301, 0), this.make_rows(300, 1), seed=5, settings=getattr(this, name),
                              on_epoch=lambda epoch, loss: losses.append(loss))
        np.savez(Path(sys.argv[1]) / f"{{name}}{{team.rank}}.npz", losses=losses, **this.weights(network))
"""


def test_two_processes_train_what_one_trains_dropout_included(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(TOGETHER.format(tests=str(Path(__file__).parent)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script, tmp_path]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for name, settings in (("SMALL", SMALL), ("COUNTERFACTUAL", COUNTERFACTUAL)):
        losses: list[float] = []
        alone = fit_network(
            make_rows(1301, 0),
            make_rows(300, 1),
            seed=5,
            settings=settings,
            on_epoch=lambda epoch, loss, losses=losses: losses.append(loss),
        )
        first, second = (np.load(tmp_path / f"{name}{rank}.npz") for rank in (0, 1))
        np.testing.assert_allclose(first["losses"], losses, atol=1e-4)
        for part, value in weights(alone).items():
            np.testing.assert_array_equal(first[part], second[part], err_msg=part)
            np.testing.assert_allclose(first[part], value, atol=1e-4, err_msg=part)
