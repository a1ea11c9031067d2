"""Each benchmark runs, on little, and prints what it promises."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from benchmarks import ctr, ingest

ROOT = Path(__file__).resolve().parents[2]


def test_the_bidding_benchmark_prints_the_published_rows(data: Callable[[str], Path]) -> None:
    log = data("ipinyou_rlb_dp") / "2997"
    command = [sys.executable, "-m", "benchmarks.rtb", "--json", "--log", str(log), "--budget", "1/64"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = {row["policy"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["mcpc"]["clicks"] == 21
    assert rows["lin"]["clicks"] < rows["rlb"]["clicks"] <= rows["ours"]["clicks"]


def test_the_ingest_benchmark_stores_everything_and_prints_every_way() -> None:
    speeds = ingest.run(events=3_000, rounds=1)
    assert set(speeds) == {"door", "absorb", "door and absorb", "copy", "rows"}
    assert all(speed > 0 for one in speeds.values() for speed in one)
    assert speeds["absorb"] > speeds["door and absorb"]


def test_the_click_benchmark_puts_ours_ahead_of_its_peer(data: Callable[[str], Path]) -> None:
    rows, _ = ctr.run(
        data("ipinyou_season2"), delay=timedelta(minutes=3), seed=42, resamples=20, kinds=("constant", "logistic")
    )
    by_name = {row.model: row for row in rows}
    assert by_name["logistic"].log_loss < by_name["scikit-learn"].log_loss < by_name["constant"].log_loss
    assert by_name["logistic"].auc > 0.75
