"""A batch equals its rows, bit for bit: otherwise a decision could not be made again from its record."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from bidloop.core.encoding import CategoryField, Encoding, NumericField
from bidloop.core.feature_table import FeatureTable
from bidloop.core.opportunity import Opportunity
from bidloop.core.trained_model import TrainedLandscape, TrainedModel
from bidloop.prediction.bundle import load_bundle, write_bundle
from bidloop.prediction.calibration import Calibration, Calibrations
from bidloop.prediction.intervals import IntervalModel, Tier
from bidloop.prediction.order_value import OrderValue
from bidloop.prediction.predictor import Predictor
from bidloop.prediction.scoring import Graph

VIEW = "aaaaaaaaaaaa"
RNG = np.random.default_rng(0)


def serialised(nodes, inputs, output, weights, domains=()) -> bytes:
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "model",
            [helper.make_tensor_value_info(name, kind, ["n", width]) for name, kind, width in inputs],
            [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, ["n", output[1]])],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17), *(helper.make_opsetid(*domain) for domain in domains)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def network(numeric: int, fields: int, widths: tuple[int, ...], product: str) -> bytes:
    """Embeddings of the categories beside the numbers, then layers with ReLU (a 128-256-128-64-2 network, for one)."""
    size = 8
    weights = {
        "embedding": RNG.normal(size=(65, size)).astype(np.float32),
        "flat": np.array([0, fields * size], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["embedding", "categories"], ["embedded"]),
        helper.make_node("Reshape", ["embedded", "flat"], ["flattened"]),
        helper.make_node("Concat", ["numeric", "flattened"], ["x0"], axis=1),
    ]
    wide = numeric + fields * size
    for i, width in enumerate(widths):
        last = i == len(widths) - 1
        weights[f"w{i}"] = (RNG.normal(size=(wide, width)) / np.sqrt(wide)).astype(np.float32)
        weights[f"b{i}"] = RNG.normal(size=width).astype(np.float32) * np.float32(0.1)
        out = "logits" if last else f"h{i}"
        if product == "Gemm":
            nodes.append(helper.make_node("Gemm", [f"x{i}", f"w{i}", f"b{i}"], [out]))
        else:
            nodes.append(helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"m{i}"]))
            nodes.append(helper.make_node("Add", [f"m{i}", f"b{i}"], [out]))
        if not last:
            nodes.append(
                helper.make_node({"Gemm": "Relu", "MatMul": "Tanh"}.get(product, product), [out], [f"x{i + 1}"])
            )
        wide = width
    inputs = [("numeric", TensorProto.FLOAT, numeric), ("categories", TensorProto.INT64, fields)]
    return serialised(nodes, inputs, ("logits", widths[-1]), weights)


def trees(numeric: int, fields: int, count: int = 100, depth: int = 6, targets: int = 2) -> bytes:
    """A gradient-boosted ensemble of random full trees with leaves of very different size."""
    inner, total = 2**depth - 1, 2 ** (depth + 1) - 1
    node = {name: [] for name in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")}
    leaf = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for tree in range(count):
        for i in range(total):
            branch = i < inner
            node["treeids"].append(tree)
            node["nodeids"].append(i)
            node["featureids"].append(int(RNG.integers(numeric)) if branch else 0)
            node["values"].append(float(RNG.normal()) if branch else 0.0)
            node["modes"].append("BRANCH_LT" if branch else "LEAF")
            node["truenodeids"].append(2 * i + 1 if branch else 0)
            node["falsenodeids"].append(2 * i + 2 if branch else 0)
            for target in range(targets) if not branch else ():
                leaf["treeids"].append(tree)
                leaf["nodeids"].append(i)
                leaf["ids"].append(target)
                leaf["weights"].append(float(RNG.normal() * 10.0 ** RNG.integers(-4, 1)))
    attributes = {f"nodes_{name}": value for name, value in node.items()} | {
        f"target_{name}": value for name, value in leaf.items()
    }
    nodes = [
        helper.make_node(
            "TreeEnsembleRegressor", ["numeric"], ["logits"], domain="ai.onnx.ml", n_targets=targets, **attributes
        )
    ]
    inputs = [("numeric", TensorProto.FLOAT, numeric), ("categories", TensorProto.INT64, fields)]
    return serialised(nodes, inputs, ("logits", targets), {}, domains=[("ai.onnx.ml", 3)])


def logistic(numeric: int, fields: int) -> bytes:
    """A weight for each category, looked up and added up. ONNX Runtime adds in another order when there is one row."""
    weights = {
        "w": RNG.normal(size=(numeric, 2)).astype(np.float32),
        "looked_up": RNG.normal(size=(65, 2)).astype(np.float32),
        "first": RNG.normal(size=(65, 1)).astype(np.float32),
        "axis": np.array([1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("MatMul", ["numeric", "w"], ["linear"]),
        helper.make_node("Gather", ["looked_up", "categories"], ["each"]),
        helper.make_node("ReduceSum", ["each", "axis"], ["sum"], keepdims=0),
        helper.make_node("Gather", ["first", "categories"], ["each_first"]),
        helper.make_node("ReduceSum", ["each_first", "axis"], ["sum_first"], keepdims=0),
        helper.make_node("Sum", ["linear", "sum", "sum_first"], ["logits"]),
    ]
    inputs = [("numeric", TensorProto.FLOAT, numeric), ("categories", TensorProto.INT64, fields)]
    return serialised(nodes, inputs, ("logits", 2), weights)


GRAPHS = {
    "the 128-256-128-64-2 network": (network(64, 8, (256, 128, 64, 2), "Gemm"), 64, 8),
    "the network by matrix products": (network(64, 8, (256, 128, 64, 2), "MatMul"), 64, 8),
    "a network of odd widths": (network(13, 3, (77, 5, 2), "MatMul"), 13, 3),
    "a network with softplus": (network(13, 3, (77, 5, 2), "Softplus"), 13, 3),
    "a logistic regression": (logistic(20, 8), 20, 8),
    "gradient-boosted trees": (trees(20, 3), 20, 3),
}


def rows(n: int, numeric: int, fields: int, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "numeric": rng.normal(size=(n, numeric)).astype(np.float32),
        "categories": rng.integers(0, 65, size=(n, fields)),
    }


@pytest.mark.parametrize("name", GRAPHS)
def test_a_batch_of_any_size_gives_every_row_the_bits_it_has_alone(name: str) -> None:
    onnx_bytes, numeric, fields = GRAPHS[name]
    graph = Graph(onnx_bytes, {"numeric": numeric, "categories": fields}, "logits", 2)
    inputs = rows(203, numeric, fields)
    together = graph.run(inputs)
    for size in (1, 2, 3, 7, 8, 9, 64, 100):
        parts = [graph.run({k: v[i : i + size] for k, v in inputs.items()}) for i in range(0, 203, size)]
        assert np.array_equal(np.concatenate(parts), together), f"{name} in batches of {size}"


@pytest.mark.parametrize("name", GRAPHS)
def test_the_neighbours_of_a_row_do_not_touch_its_bits(name: str) -> None:
    onnx_bytes, numeric, fields = GRAPHS[name]
    graph = Graph(onnx_bytes, {"numeric": numeric, "categories": fields}, "logits", 2)
    inputs = rows(40, numeric, fields)
    order = np.random.default_rng(2).permutation(40)
    assert np.array_equal(graph.run({k: v[order] for k, v in inputs.items()}), graph.run(inputs)[order])


NUMERIC = ("cell_ctr", "cell_impressions", "hour_sin", "hour_cos")


def predictor(folder: Path, calibration: Calibration) -> Predictor:
    encoding = Encoding(
        VIEW,
        tuple(NumericField(name, 0.1, 0.2, 0.3) for name in NUMERIC),
        (CategoryField("campaign_id", ("campaign_id",), 64, tuple(range(1, 65))),),
    )
    landscape_weights = {
        "slope": np.array([[1.7]], dtype=np.float32),
        "w": RNG.normal(size=(4, 1)).astype(np.float32),
        "e": RNG.normal(size=(65, 1)).astype(np.float32),
        "flat": np.array([0, 1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("MatMul", ["log_bid", "slope"], ["a"]),
        helper.make_node("MatMul", ["numeric", "w"], ["b"]),
        helper.make_node("Gather", ["e", "categories"], ["c"]),
        helper.make_node("Reshape", ["c", "flat"], ["d"]),
        helper.make_node("Sum", ["a", "b", "d"], ["s"]),
        helper.make_node("Sigmoid", ["s"], ["win_probability"]),
    ]
    inputs = [("log_bid", 1, 1), ("numeric", TensorProto.FLOAT, 4), ("categories", TensorProto.INT64, 1)]
    landscape = serialised(nodes, inputs, ("win_probability", 1), landscape_weights)
    tiers = (Tier(0.0, 300.0, 0.01, 0.02, 0.03, 500), Tier(500.0, 3000.0, 0.001, 0.025, 0.02, 500))
    version = write_bundle(
        folder,
        model=TrainedModel("network", network(4, 1, (256, 128, 64, 2), "MatMul"), encoding),
        landscape=TrainedLandscape(landscape, encoding, 0.1, 4.0),
        calibration=Calibrations(click=calibration, conversion=calibration),
        intervals=IntervalModel(level=0.95, reference=0.02, elasticity=0.5, tiers=tiers),
        order_value=OrderValue(pooled=20.0, by_campaign={}, currency="USD", orders=9.0, strength=1.0),
        view={},
        view_version=VIEW,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return Predictor(load_bundle(folder / version))


CALIBRATIONS = (
    Calibration(),
    Calibration(kind="shift", parameters=(0.3,)),
    Calibration(kind="platt", parameters=(1.3, -0.7)),
    Calibration(kind="beta", parameters=(0.9, 1.4, -0.2)),
    Calibration(kind="isotonic", knots=((-3.0, -2.5), (-1.0, -1.2), (0.5, 0.1), (2.0, 3.0))),
)


@pytest.fixture(scope="module", params=CALIBRATIONS, ids=lambda calibration: calibration.kind)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return predictor(tmp_path_factory.mktemp("bundle"), request.param)


value = st.one_of(st.just(float("nan")), st.floats(-5, 5000, allow_nan=False))


@given(
    st.lists(
        st.tuples(value, value, st.floats(-1, 1), st.floats(-1, 1), st.sampled_from(["a", "b", ""])),
        min_size=1,
        max_size=20,
    )
)
def test_a_whole_answer_is_the_same_alone_in_a_batch_and_from_its_record(
    served: Predictor, cells: list[tuple[float, float, float, float, str]]
) -> None:
    table = FeatureTable(
        VIEW,
        {name: np.array([cell[j] for cell in cells]) for j, name in enumerate(NUMERIC)},
        {"campaign_id": np.array([cell[4] for cell in cells], dtype=object)},
    )
    at = datetime(2026, 1, 1, tzinfo=UTC)
    opportunities = [Opportunity(opportunity_id=str(i), at=at, campaign_id="a") for i in range(len(cells))]
    together, drawn = served.predict(opportunities, table), served.landscapes(opportunities, table)
    for i, opportunity in enumerate(opportunities):
        record = msgspec.json.decode(msgspec.json.encode(table.row(i)), type=type(table.row(i)))
        alone = FeatureTable.from_rows([record])
        assert served.predict([opportunity], alone) == [together[i]]
        [landscape] = served.landscapes([opportunity], alone)
        assert landscape is not None
        assert drawn[i] is not None
        assert np.array_equal(landscape.win_probability, drawn[i].win_probability)
