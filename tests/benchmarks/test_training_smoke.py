"""The benchmark of training runs, on little, and prints what it promises."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import training

ROOT = Path(__file__).resolve().parents[2]


def test_the_training_benchmark_times_and_judges_every_way_that_is_installed() -> None:
    # In a process of its own: the libraries warn when they are imported.
    command = [
        sys.executable,
        "-m",
        "benchmarks.training",
        "--rows",
        "6000",
        "--batch",
        "512",
        "--rounds",
        "1",
        "--json",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    ways = {"ours", "ours, whole call", "DataLoader", "floor"}
    ways |= {name for name, needed in training.NEEDED.items() if all(map(importlib.util.find_spec, needed))}
    assert set(found["batches"]["512"]) == ways
    for name, [timing] in found["batches"]["512"].items():
        assert timing["speed"] > 0
        assert name == "floor" or found["truth"] < timing["loss"] < 0.8


def test_a_library_that_is_not_installed_is_told_in_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "WAYS", {"ours": training.ours})
    monkeypatch.setattr(sys, "argv", ["training", "--rows", "5000", "--batch", "1024", "--rounds", "1"])
    training.main()
    assert "FuxiCTR           not installed (requirements/bench.txt)" in capsys.readouterr().out
