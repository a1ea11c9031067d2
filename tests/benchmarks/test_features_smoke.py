"""The benchmark of features runs, on little, and prints what it promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks import features

ROOT = Path(__file__).resolve().parents[2]


def test_the_features_benchmark_asks_every_way_for_one_candidate_and_for_a_hundred() -> None:
    # In a process of its own: Feast warns of itself when it is imported.
    command = [sys.executable, "-m", "benchmarks.features", "--smoke", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    times = json.loads(done.stdout)
    assert set(times) == {"ours", "ours, busy", "Feast on Redis", "Feast on SQLite", "hashes", "packed"}
    for by_size in times.values():
        assert set(by_size) == {"1", "100"}
        assert all(0 < p50 <= p99 for rounds in by_size.values() for p50, p99 in rounds)
    assert len(features.VIEW.numeric_names) == 50
