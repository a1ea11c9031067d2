"""Click prediction on iPinYou season 2: train on 6–10 June 2013, judge on 11–12 June, every model in one table.

``python -m benchmarks.ctr [--json] [--log FOLDER] [--delay MINUTES] [--seed SEED]``

Unclicked impressions are a sample and carry their weight (288 to 300), clicks are complete: all figures are weighted,
to the true click rate of 0.072 %. Trees, epochs and ensemble weights are chosen on 10 June with models fitted to 6–9
June; then all are fitted to 6–10 June and frozen. Rate features go on as in service: a row of the test days sees what
had been reported before it, `--delay` minutes late. Three minutes is the mean delay of a click in this log, whose click
rows carry the click's time and not the impression's. No model reads user tags, user agent, user id, the price paid or
the bid.

Each model is calibrated as in service: on 10 June, by what its trial, fitted to 6–9 June, says of that day. Σp/Σy is
told by advertiser as well, with an interval that comes from the clicks there were.

The peer is the reference recipe: scikit-learn's logistic regression with one penalty for all (C = 0.3) on the same rows
and fields, without rates of the past.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression

from bidloop.adapters.ipinyou.reader import read_events
from bidloop.adapters.ipinyou.view import ipinyou_view
from bidloop.core.event import ClickReceived, ConversionReported, ImpressionServed
from bidloop.core.examples import Examples
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Observations
from bidloop.features.training import point_in_time
from bidloop.models.encoding import fit_encoding
from bidloop.models.fit import fit_trials, joined
from bidloop.models.levels import levels
from bidloop.models.rows import Rows
from bidloop.prediction.calibration import fit_calibration
from bidloop.prediction.quality import auc, bootstrap, evaluate, log_loss
from bidloop.prediction.scoring import Scorer

VALIDATION, TEST, END = (np.datetime64(f"2013-06-{day:02d}T16:00", "us") for day in (9, 10, 12))
"""Midnights in China, in UTC: 10 June is the validation day, 11 and 12 June are the test."""
PEER_FIELDS = (
    "location", "city", "exchange", "slot_size", "visibility", "format", "creative", "campaign_id", "hour", "slot",
    "domain", "url",
)  # fmt: skip
PEER_C = 0.3


class Row(msgspec.Struct, frozen=True):
    """One model: its quality on the test days, how it compares with the peer on the same resamples, and Σp/Σy by advertiser."""

    model: str
    auc: float
    auc_interval: tuple[float, float]
    log_loss: float
    log_loss_interval: tuple[float, float]
    normalized_entropy: float
    ece: float
    calibration_ratio: float
    by_advertiser: dict[str, tuple[float, float, float]]
    calibration: str
    auc_gain: tuple[float, float]
    log_loss_gain: tuple[float, float]


@dataclass(frozen=True)
class Log:
    """The log as labelled rows, split by day."""

    train: Examples
    validation: Examples
    test: Examples


def read(folder: Path, delay: timedelta) -> Log:
    """Read the log into rows with the features of their own instant."""
    events = list(read_events(folder))
    shown = {event.impression_id: event for event in events if isinstance(event, ImpressionServed)}
    clicks = {event.impression_id: event for event in events if isinstance(event, ClickReceived)}
    conversions = {event.impression_id: event for event in events if isinstance(event, ConversionReported)}
    facts: list[ImpressionServed | ClickReceived | ConversionReported] = []
    facts += [*shown.values(), *clicks.values(), *conversions.values()]
    sizes = len(shown), len(clicks), len(conversions)
    kind = np.repeat([0, 1, 2], sizes)
    weight = np.array([shown[event.impression_id].weight for event in facts])
    zero = np.zeros(len(facts))
    observations = Observations(
        at=np.array([event.at.replace(tzinfo=None) for event in facts], dtype="datetime64[us]"),
        opportunities=[opportunity_of(shown[event.impression_id]) for event in facts],
        impressions=np.where(kind == 0, weight, 0.0),
        clicks=np.where(kind == 1, weight, 0.0),
        conversions=np.where(kind == 2, weight, 0.0),
        value=zero,
        cost=zero,
    )
    table = point_in_time(
        ipinyou_view(lag_seconds=delay.total_seconds()),
        observations,
        [opportunity_of(event) for event in shown.values()],
    )
    rows = Examples(
        table,
        np.array([event.at.replace(tzinfo=None) for event in shown.values()], dtype="datetime64[us]"),
        np.ones(len(shown)),
        np.array([float(name in clicks) for name in shown]),
        np.array([float(name in conversions) for name in shown]),
        np.zeros(len(shown)),
        weight[: len(shown)],
    )
    begin = rows.at.min()
    return Log(rows.between(begin, VALIDATION), rows.between(VALIDATION, TEST), rows.between(TEST, END))


def opportunity_of(event: ImpressionServed) -> Opportunity:
    """What was shown: this log always tells."""
    assert event.opportunity is not None
    return event.opportunity


def peer(log: Log) -> NDArray[np.float64]:
    """Click rates on the test days by scikit-learn's logistic regression, fitted without weights and shifted."""
    known = joined(log.train, log.validation)
    encoding = fit_encoding(known)
    fields = [(j, field) for j, field in enumerate(encoding.categories) if field.name in PEER_FIELDS]

    def design(examples: Examples) -> csr_matrix:
        rows = Rows.of(examples, encoding)
        blocks = []
        for j, field in fields:
            place = levels(field, rows.categories[:, j])
            seen = np.flatnonzero(place)
            shape = (len(rows), len(field.seen))
            blocks.append(csr_matrix((np.ones(len(seen)), (seen, place[seen] - 1)), shape=shape))
        return hstack(blocks, format="csr")

    fitted = LogisticRegression(C=PEER_C, max_iter=300).fit(design(known), known.clicks)
    return chance(fitted.decision_function(design(log.test)) - Rows.of(known, encoding).click.shift)


def chance(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log odds as probabilities."""
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def judge(
    name: str,
    p: NDArray[np.float64],
    other: NDArray[np.float64],
    test: Examples,
    resamples: int,
    calibration: str = "none",
) -> Row:
    """One row of the table."""
    advertisers = test.features.categorical["campaign_id"]
    quality = evaluate(
        p,
        test.impressions,
        test.clicks,
        test.weight,
        fields={"advertiser": advertisers},
        resamples=resamples,
    )
    gains = [
        bootstrap(p, test.clicks, test.weight, metric, resamples, impressions=test.impressions, baseline=other)
        for metric in (auc, log_loss)
    ]
    assert quality.auc is not None
    assert quality.calibration_ratio is not None
    assert quality.normalized_entropy is not None
    bounds = quality.bounds
    return Row(
        name,
        quality.auc,
        (bounds["auc"].lower, bounds["auc"].upper),
        quality.log_loss,
        (bounds["log_loss"].lower, bounds["log_loss"].upper),
        quality.normalized_entropy,
        quality.ece,
        quality.calibration_ratio,
        {
            advertiser: (group.ratio, group.lower, group.upper)
            for advertiser, group in quality.by_field["advertiser"].items()
            if group.ratio is not None and group.upper is not None
        },
        calibration,
        (gains[0].lower, gains[0].upper),
        (gains[1].lower, gains[1].upper),
    )


def run(
    folder: Path, *, delay: timedelta, seed: int, resamples: int = 200, kinds: Sequence[str] | None = None
) -> tuple[list[Row], float]:
    """Train all (or some kinds), and judge all: the table, and the seconds that training took."""
    log = read(folder, delay)
    other = peer(log)
    start = time.perf_counter()
    trials = fit_trials(log.train, log.validation, seed=seed, kinds=kinds, on_progress=progress)
    seconds = time.perf_counter() - start
    rows = [judge("scikit-learn", other, other, log.test, resamples)]
    for trial in trials:
        tried = Scorer(trial.early.onnx, trial.early.encoding).logits(log.validation.features)[:, 0]
        known = log.validation
        calibration = fit_calibration(tried, known.clicks, known.impressions, known.weight)
        final = Scorer(trial.final.onnx, trial.final.encoding).logits(log.test.features)[:, 0]
        p = chance(calibration.apply(final))
        rows.append(judge(trial.final.name, p, other, log.test, resamples, calibration.kind))
    return rows, seconds


def progress(what: str, share: float) -> None:
    """One line that moves, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r{share:4.0%}  {what:<20}", end="\n" if share == 1 else "", file=sys.stderr, flush=True)


def default_log() -> Path:
    """The log beside the project, or under ``BIDLOOP_DATA``."""
    root = Path(os.environ.get("BIDLOOP_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    return root / "ipinyou_season2"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, default=default_log(), help="folder of the season-2 log")
    parser.add_argument("--delay", type=float, default=3.0, help="minutes until an outcome is known")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    rows, seconds = run(arguments.log, delay=timedelta(minutes=arguments.delay), seed=arguments.seed)
    if arguments.json:
        print(json.dumps({"rows": msgspec.to_builtins(rows), "training_seconds": round(seconds, 1)}))
        return
    print(
        f"{'model':<13} {'AUC':>6}  {'95 %':<16} {'log loss':>9}  {'95 %':<20} {'NE':>6} {'ECE':>8} {'Σp/Σy':>5}"
        f"  {'calibration':<11} AUC over the peer   log loss over the peer"
    )
    for row in rows:
        print(
            f"{row.model:<13} {row.auc:6.4f}  [{row.auc_interval[0]:.4f}, {row.auc_interval[1]:.4f}]"
            f" {row.log_loss:9.6f}  [{row.log_loss_interval[0]:.6f}, {row.log_loss_interval[1]:.6f}]"
            f" {row.normalized_entropy:6.4f} {row.ece:8.6f} {row.calibration_ratio:5.2f}  {row.calibration:<11}"
            f" [{row.auc_gain[0]:+.4f}, {row.auc_gain[1]:+.4f}]  [{row.log_loss_gain[0]:+.6f}, {row.log_loss_gain[1]:+.6f}]"
        )
    print()
    names = sorted(rows[0].by_advertiser)
    print(f"{'Σp/Σy':<13} " + " ".join(f"{name:>18}" for name in names))
    for row in rows:
        told = (row.by_advertiser[name] for name in names)
        print(f"{row.model:<13} " + " ".join(f"{ratio:4.2f} [{low:4.2f}, {high:4.2f}]" for ratio, low, high in told))
    print(f"\ntraining all: {seconds:.0f} s")


if __name__ == "__main__":
    main()
