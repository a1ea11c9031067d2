"""A model answers the same in its framework and in ONNX Runtime, to 1e-5 in log odds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bidloop.core.examples import Examples
from bidloop.core.feature_table import FeatureTable
from bidloop.models import trees
from bidloop.models.candidate import export
from bidloop.models.constant import fit_constant
from bidloop.models.encoding import fit_encoding
from bidloop.models.ensemble import Ensemble
from bidloop.models.landscape import fit_landscape
from bidloop.models.logistic import fit_logistic
from bidloop.models.network import fit_network
from bidloop.models.rows import Rows
from bidloop.models.smoothed import fit_smoothed
from bidloop.prediction.scoring import LandscapeScorer, Scorer


def make_log(n: int, seed: int, slots: int = 60) -> Examples:
    rng = np.random.default_rng(seed)
    slot, one = rng.integers(0, slots, n), np.ones(n)
    p = 1 / (1 + np.exp(1.5 - np.sin(slot)))
    clicks = (rng.random(n) < p).astype(float)
    missing = rng.random((2, n)) < 0.1
    table = FeatureTable(
        "v",
        {
            "hour_sin": rng.normal(size=n),
            "account_ctr": rng.uniform(0.1, 0.3, n),
            "cell_ctr": np.where(missing[0], np.nan, p * np.exp(rng.normal(size=n))),
            "account_log_impressions": rng.uniform(9, 14, n),
            "cell_log_impressions": rng.uniform(0, 12, n),
            "cell_conversion_rate": np.where(missing[1], np.nan, rng.uniform(0, 1, n)),
        },
        {
            "slot": np.array([f"s{i}" for i in slot], dtype=object),
            "device": np.array(["", "mobile", "desktop"], dtype=object)[rng.integers(0, 3, n)],
        },
    )
    at = np.datetime64("2026-01-01", "us") + np.arange(n).astype("timedelta64[m]")
    conversions = clicks * (rng.random(n) < 0.3)
    return Examples(table, at, one, clicks, conversions, conversions, np.where(clicks > 0, 1.0, 50.0))


@pytest.fixture(scope="module")
def fitted() -> tuple[Rows, Rows, dict[str, Any], Examples]:
    known, new = make_log(3000, 0), make_log(2000, 1, slots=80)  # a quarter of the slots are new
    encoding = fit_encoding(known)
    rows = Rows.of(known, encoding)
    models: dict[str, Any] = {
        "constant": fit_constant(rows),
        "smoothed": fit_smoothed(rows),
        "logistic": fit_logistic(rows),
        "trees": trees.fit_trees(rows, seed=1, rounds=(60, 30)),
        "network": fit_network(rows, seed=1, epochs=2),
    }
    members = tuple(models[name] for name in ("logistic", "trees", "network"))
    models["ensemble"] = Ensemble(members, (0.3, 0.3, 0.4))
    return rows, Rows.of(new, encoding), models, new


@pytest.mark.parametrize("kind", ["constant", "smoothed", "logistic", "trees", "network", "ensemble"])
def test_the_graph_answers_as_the_framework_does(
    kind: str, fitted: tuple[Rows, Rows, dict[str, Any], Examples]
) -> None:
    rows, later, models, new = fitted
    trained = export(models[kind], rows.encoding)
    served = Scorer(trained.onnx, trained.encoding).logits(new.features)
    np.testing.assert_allclose(served, models[kind].logits(later.numeric, later.categories), atol=1e-5, rtol=1e-5)


def test_the_landscape_s_graph_answers_as_the_framework_does(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    boost = trees.boost
    monkeypatch.setattr("bidloop.models.landscape.boost", lambda *a, **k: kept.append(boost(*a, **k)) or kept[-1])
    rows = make_log(2000, 0, slots=20)  # few slots: the trees read nothing but the bid, numbers and levels
    price = np.exp(np.random.default_rng(0).normal(size=2000))
    trained = fit_landscape(rows.features, price, np.ones(2000), seed=42)
    bids = np.geomspace(0.05, 20, 7).astype(np.float32).astype(float)
    served = LandscapeScorer(trained.onnx, trained.encoding).win_probability(rows.features, bids)
    inputs = trees.TreeInput(trained.encoding).of(*trained.encoding.apply(rows.features))
    for j, bid in enumerate(bids):
        column = np.full((len(inputs), 1), np.log(bid), dtype=np.float32)
        said = trees.margins(kept[0], trees.xgboost.DMatrix(np.concatenate((column, inputs), axis=1)))
        np.testing.assert_allclose(served[:, j], 1 / (1 + np.exp(-said)), atol=1e-5)
