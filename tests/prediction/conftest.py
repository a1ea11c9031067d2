"""A small model with real ONNX graphs, and opportunities to score with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bidloop.core.encoding import CategoryField, Encoding, NumericField, bucket
from bidloop.core.feature_table import FeatureTable
from bidloop.core.opportunity import Opportunity
from bidloop.core.trained_model import TrainedLandscape, TrainedModel
from bidloop.prediction.bundle import Bundle, load_bundle, write_bundle

VIEW = "0123456789ab"
NUMERIC = ("cell_ctr", "cell_impressions", "hour_sin", "hour_cos")
CATEGORIES = ("campaign_id", "hour")


def encoding() -> Encoding:
    fields = (
        NumericField("cell_ctr", fill=0.02, shift=0.02, scale=0.01),
        NumericField("cell_impressions", fill=0.0, shift=0.0, scale=1000.0),
        NumericField("hour_sin", fill=0.0, shift=0.0, scale=1.0),
        NumericField("hour_cos", fill=0.0, shift=0.0, scale=1.0),
    )
    seen = {"campaign_id": ("shoes", "hats"), "hour": ("9", "21")}
    return Encoding(
        VIEW,
        fields,
        tuple(
            CategoryField(name, (name,), 64, tuple(sorted(bucket(name, value, 64) for value in seen[name])))
            for name in CATEGORIES
        ),
    )


def graph(
    nodes: list[Any], inputs: dict[str, tuple[int, int]], output: tuple[str, int], weights: dict[str, Any]
) -> bytes:
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "model",
            [helper.make_tensor_value_info(name, kind, ["n", width]) for name, (kind, width) in inputs.items()],
            [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, ["n", output[1]])],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def performance_graph(bias: tuple[float, float] = (-4.0, -3.0), numeric_weight: float = 0.3) -> bytes:
    """logits = numeric · W + embedding of campaign and of hour + bias, with a known W."""
    rng = np.random.default_rng(5)
    weights = {
        "w": np.array([[1.0, 0.2], [0.1, 0.0], [0.4, 0.0], [0.2, 0.1]], dtype=np.float32) * np.float32(numeric_weight),
        "embedding": (rng.normal(size=(65, 2)) * 0.3).astype(np.float32)
        * np.arange(65).clip(0, 1)[:, None].astype(np.float32),
        "bias": np.array(bias, dtype=np.float32),
        "axis": np.array([1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("MatMul", ["numeric", "w"], ["linear"]),
        helper.make_node("Gather", ["embedding", "categories"], ["embedded"]),
        helper.make_node("ReduceSum", ["embedded", "axis"], ["summed"], keepdims=0),
        helper.make_node("Add", ["linear", "summed"], ["both"]),
        helper.make_node("Add", ["both", "bias"], ["logits"]),
    ]
    inputs = {"numeric": (TensorProto.FLOAT, 4), "categories": (TensorProto.INT64, 2)}
    return graph(nodes, inputs, ("logits", 2), weights)


def landscape_graph(slope: float = 2.0) -> bytes:
    """P(win | bid) = sigmoid(slope · log bid + 0.5 · first numeric)."""
    weights = {"slope": np.array([[slope]], dtype=np.float32), "w": np.array([[0.5], [0], [0], [0]], dtype=np.float32)}
    nodes = [
        helper.make_node("MatMul", ["log_bid", "slope"], ["a"]),
        helper.make_node("MatMul", ["numeric", "w"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Sigmoid", ["c"], ["win_probability"]),
    ]
    inputs = {
        "log_bid": (TensorProto.FLOAT, 1),
        "numeric": (TensorProto.FLOAT, 4),
        "categories": (TensorProto.INT64, 2),
    }
    return graph(nodes, inputs, ("win_probability", 1), weights)


class Small:
    """What the tests of this room build on."""

    view = VIEW
    performance_graph = staticmethod(performance_graph)
    landscape_graph = staticmethod(landscape_graph)
    encoding = staticmethod(encoding)

    @staticmethod
    def model(**changes: Any) -> TrainedModel:
        return TrainedModel("logistic", performance_graph(**changes), encoding(), {"l2": 0.1})

    @staticmethod
    def landscape(slope: float = 2.0) -> TrainedLandscape:
        return TrainedLandscape(landscape_graph(slope), encoding(), lowest=0.4, highest=3.0, parameters={"trees": 100})

    @staticmethod
    def opportunities(n: int = 1, **changes: Any) -> list[Opportunity]:
        at = datetime(2026, 1, 1, 9, tzinfo=UTC)
        fields: dict[str, Any] = {"campaign_id": "shoes"} | changes
        return [Opportunity(opportunity_id=str(i), at=at, **fields) for i in range(n)]

    @staticmethod
    def table(n: int = 1, seed: int = 0, view: str = VIEW) -> FeatureTable:
        rng = np.random.default_rng(seed)
        hour = rng.integers(0, 24, n)
        numeric = {
            "cell_ctr": rng.uniform(0.005, 0.05, n),
            "cell_conversion_rate": rng.uniform(0.01, 0.1, n),
            "cell_impressions": rng.uniform(0, 5000, n),
            "account_ctr": np.full(n, 0.02),
            "account_conversion_rate": np.full(n, 0.04),
            "account_impressions": np.full(n, 1e6),
            "hour_sin": np.sin(hour / 12 * np.pi),
            "hour_cos": np.cos(hour / 12 * np.pi),
        }
        numeric["cell_ctr"][rng.random(n) < 0.2] = np.nan
        categorical = {
            "campaign_id": rng.choice(["shoes", "hats", "new", ""], n).astype(object),
            "hour": hour.astype(str).astype(object),
        }
        return FeatureTable(view, numeric, categorical)

    @staticmethod
    def unknown(n: int = 1, view: str = VIEW) -> FeatureTable:
        names = ("cell_ctr", "cell_conversion_rate", "cell_impressions", "account_ctr", "account_conversion_rate")
        numeric = {name: np.full(n, np.nan) for name in (*names, "account_impressions", "hour_sin", "hour_cos")}
        return FeatureTable(view, numeric, {name: np.full(n, "", dtype=object) for name in CATEGORIES})


@pytest.fixture(scope="session")
def small() -> type[Small]:
    return Small


@pytest.fixture
def bundle_of(tmp_path: Path) -> Callable[..., Bundle]:
    """A bundle that was written to disk and read back."""

    def build(**parts: Any) -> Bundle:
        parts = {
            "model": Small.model(),
            "landscape": Small.landscape(),
            "view": {"name": "small"},
            "view_version": VIEW,
            "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        } | parts
        return load_bundle(tmp_path / write_bundle(tmp_path, **parts))

    return build
