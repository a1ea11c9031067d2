"""A training run as plain data."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bidloop.core.errors import CorruptArtifact, InvalidInput
from bidloop.outcomes.delay import DAY, DelayCurve, DelayModel
from bidloop.prediction.calibration import Calibrations
from bidloop.prediction.quality import Bounds, evaluate
from bidloop.retraining.code_version import code_version
from bidloop.retraining.evidence import CandidateEvidence, Renewal, TrainingData
from bidloop.retraining.logbook import Logbook
from bidloop.retraining.run import Run, flat_metrics, run_of

NOW = datetime(2026, 6, 3, tzinfo=UTC)


def a_renewal(**changes: object) -> Renewal:
    rng = np.random.default_rng(0)
    p = rng.uniform(0.01, 0.1, 400)
    clicks = rng.binomial(50, p).astype(float)
    quality = evaluate(p, np.full(400, 50.0), clicks, np.ones(400), resamples=20)
    none = evaluate(p, np.full(400, 50.0), np.zeros(400), np.ones(400))
    candidates = tuple(
        CandidateEvidence(
            kind=kind,
            parameters={"depth": 6},
            seconds=1.5,
            curve=curve,
            calibration=Calibrations(),
            clicks=quality,
            conversions=conversions,
            behind=behind,
        )
        for kind, curve, conversions, behind in (
            ("trees", (0.3, 0.2), none, None),
            ("constant", (), None, Bounds(0.001, 0.003)),
        )
    )
    told = {
        "version": "v0123456789ab",
        "winner": "trees",
        "view_version": "a1",
        "data": TrainingData(
            as_of=NOW, first=NOW - timedelta(days=9), last=NOW, rows={"fit": 3, "validation": 2, "held_out": 1},
            impressions=6.0, clicks=2.0, conversions=1.0, fingerprint="cd" * 8,
        ),
        "candidates": candidates,
        "coverage": None,
        "conversion_coverage": None,
        "delays": DelayModel(
            kind="buckets", ages=(DAY, 3 * DAY), campaigns={},
            pooled=DelayCurve(shares=(0.5, 1.0), deviations=(0.1, 0.0), conversions=90),
        ),
        "landscape": False,
    }  # fmt: skip
    return Renewal(**(told | changes))  # type: ignore[arg-type]


def a_run() -> Run:
    return run_of(a_renewal(), trained_at=NOW, seconds=7.0, code={"python": "3.11"}, parameters={"seed": 42})


def test_a_renewal_is_told_as_plain_numbers_that_come_back_as_they_were() -> None:
    run, quality = a_run(), a_renewal().best.clicks
    assert msgspec.json.decode(msgspec.json.encode(run), type=Run) == run
    assert (run.version, run.kind, run.view_version) == ("v0123456789ab", "trees", "a1")
    assert run.winner.metrics["clicks/log_loss"] == quality.log_loss
    assert run.winner.bounds["clicks/auc"] == (quality.bounds["auc"].lower, quality.bounds["auc"].upper)
    assert [(point.x, point.y) for point in run.winner.learning] == [(1.0, 0.3), (2.0, 0.2)]
    assert len(run.winner.reliability) == len(quality.curve)
    assert run.candidates[1].bounds["clicks/log_loss behind"] == (0.001, 0.003)
    assert (run.maturity[0].y, run.maturity[-1].x, run.maturity[-1].y) == (0.0, 3.0, 1.0)
    assert (run.covered, run.tiers) == (None, ())


def test_what_is_not_defined_is_not_told() -> None:
    metrics = dict(flat_metrics(a_run().winner))
    assert "conversions/log_loss" in metrics
    assert not {"conversions/auc", "conversions/calibration_ratio"} & set(metrics), "nobody converted"
    assert all(np.isfinite(value) for value in metrics.values())


def test_a_run_is_won_by_one_of_its_candidates() -> None:
    with pytest.raises(InvalidInput, match="'network'"):
        msgspec.structs.replace(a_run(), kind="network").__post_init__()


def test_a_kept_run_comes_back_and_a_damaged_one_is_told_of(tmp_path: Path) -> None:
    logbook, run = Logbook(tmp_path / "runs"), a_run()
    assert logbook.run(run.version) is None
    for seconds in (1.0, 2.0):
        logbook.keep(msgspec.structs.replace(run, seconds=seconds))
    assert logbook.run(run.version) == msgspec.structs.replace(run, seconds=2.0)
    (file,) = logbook.folder.iterdir()
    for damage in (b"", b"{}", b"\xff", file.read_bytes()[:-9]):
        file.write_bytes(damage)
        with pytest.raises(CorruptArtifact, match=r"v0123456789ab\.json"):
            logbook.run(run.version)


def test_the_code_is_told_with_its_commit_where_it_is_in_a_checkout() -> None:
    told = code_version()
    assert told["python"] == platform.python_version()
    assert {"bidloop", "torch", "onnxruntime"} <= set(told)
    source = Path(__file__).parents[2] / "src"
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=source, capture_output=True, text=True)
    tracked = subprocess.run(
        ["git", "ls-files", "--error-unmatch", "bidloop/retraining/code_version.py"], cwd=source, capture_output=True
    )
    expected = asked.stdout.strip() if tracked.returncode == 0 else ""
    assert told.get("commit", "").rstrip("+") == expected
