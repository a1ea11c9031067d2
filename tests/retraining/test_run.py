"""A training run as plain data."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bidloop.core.errors import CorruptArtifact
from bidloop.models.tuned import TunedKind, TuningTrial
from bidloop.outcomes.delay import DAY, DelayCurve, DelayModel
from bidloop.prediction.calibration import Calibrations
from bidloop.prediction.intervals import Coverage, TierCoverage
from bidloop.prediction.quality import Bounds, evaluate
from bidloop.prediction.reliability import TIER
from bidloop.retraining.code_version import code_version
from bidloop.retraining.evidence import CandidateEvidence, Renewal, TrainingData
from bidloop.retraining.logbook import Logbook
from bidloop.retraining.run import Run, metrics_of

NOW = datetime(2026, 6, 3, tzinfo=UTC)


def a_renewal(**changes: object) -> Renewal:
    rng = np.random.default_rng(0)
    p = rng.uniform(0.01, 0.1, 400)
    clicks = rng.binomial(50, p).astype(float)
    tiers = {TIER: ["head"] * 399 + ["tail"]}
    clicks[-1] = 0.0  # a tier in which nobody clicked has no ratio, and its interval no end
    quality = evaluate(p, np.full(400, 50.0), clicks, np.ones(400), fields=tiers, resamples=20)
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
        "failed": {"network": "numbers that left all bounds"},
        "coverage": Coverage(
            level=0.95, cells=9, covered=0.94, below=0.03, above=0.03, width=0.01,
            tiers=(TierCoverage(support_from=0.0, cells=9, covered=0.94, width=0.01),),
        ),
        "conversion_coverage": Coverage(
            level=0.95, cells=9, covered=0.9, below=0.1, above=0.0, width=0.1, tiers=(), counts_covered=0.96, true_width=0.05
        ),
        "hyperparameters": {"trees": {"depth": 6, "rate": None}},
        "tuned": {"trees": TunedKind(default=0.4, best=None, trials=(
            TuningTrial(settings={"rate": 0.1}, state="pruned", loss=None, folds=(0.4,), seconds=1.0),
        ))},
        "delays": DelayModel(
            kind="buckets", ages=(DAY, 3 * DAY), campaigns={},
            pooled=DelayCurve(shares=(0.5, 1.0), deviations=(0.1, 0.0), conversions=90),
        ),
        "landscape": False,
    }  # fmt: skip
    return Renewal(**(told | changes))  # type: ignore[arg-type]


def a_run() -> Run:
    return Run(renewal=a_renewal(), trained_at=NOW, seconds=7.0, code={"python": "3.11"}, parameters={"seed": 42})


def test_a_run_comes_back_as_it_was_with_all_its_evidence() -> None:
    run = a_run()
    assert msgspec.json.decode(msgspec.json.encode(run), type=Run) == run
    assert run.renewal.best.clicks.by_field[TIER]["tail"].upper is None


def test_what_a_run_was_worth_is_told_flat() -> None:
    run, quality = a_run(), a_renewal().best.clicks
    told = run.metrics
    assert told["clicks/log_loss"] == quality.log_loss
    assert told["clicks/auc_lower"] == quality.bounds["auc"].lower
    assert told["clicks/calibration_ratio head"] == quality.by_field[TIER]["head"].ratio
    assert (told["intervals/coverage"], told["intervals/tier 1 coverage"]) == (0.94, 0.94)
    assert told["conversion intervals/counts covered"] == 0.96
    assert told["seconds"] == 7.0
    assert metrics_of(run.renewal.candidates[1])["clicks/log_loss behind_upper"] == 0.003


def test_what_is_not_defined_is_not_told() -> None:
    metrics = a_run().metrics
    assert "conversions/log_loss" in metrics
    undefined = {"conversions/auc", "conversions/calibration_ratio", "clicks/calibration_ratio tail"}
    assert not undefined & set(metrics), "nobody converted, and in the tail nobody clicked"
    assert all(np.isfinite(value) for value in metrics.values())


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
