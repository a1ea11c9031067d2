from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from bidloop.core.errors import ConfigurationError, CorruptArtifact
from bidloop.prediction.scoring import BLOCK, Graph, LandscapeScorer, Scorer


def test_scores_are_those_of_the_formula(small: Any) -> None:
    table = small.table(30)
    scorer = Scorer(small.performance_graph(), small.encoding())
    logits = scorer.logits(table)
    assert logits.shape == (30, 2)
    assert logits.dtype == np.float32
    numeric, categories = small.encoding().apply(table)
    model = onnx.load_from_string(small.performance_graph())
    weights = {init.name: onnx.numpy_helper.to_array(init) for init in model.graph.initializer}
    expected = numeric @ weights["w"] + weights["embedding"][categories].sum(axis=1) + weights["bias"]
    assert logits == pytest.approx(expected, abs=1e-5)


def test_no_rows_give_no_scores(small: Any) -> None:
    assert Scorer(small.performance_graph(), small.encoding()).logits(small.table(0)).shape == (0, 2)


def test_a_landscape_scores_every_bid_for_every_row(small: Any) -> None:
    table = small.table(5)
    bids = np.array([0.5, 1.0, 2.0])
    chance = LandscapeScorer(small.landscape_graph(), small.encoding()).win_probability(table, bids)
    numeric, _ = small.encoding().apply(table)
    expected = 1 / (1 + np.exp(-(2 * np.log(bids)[None, :] + 0.5 * numeric[:, :1])))
    assert chance == pytest.approx(expected, abs=1e-6)


def test_opportunities_of_one_cell_share_a_landscape_and_others_do_not(small: Any) -> None:
    table = small.table(4).take(np.array([0, 1, 0, 2, 3, 1, 1]))
    bids = np.geomspace(0.1, 5, 9)
    scorer = LandscapeScorer(small.landscape_graph(), small.encoding())
    together = scorer.win_probability(table, bids)
    alone = np.concatenate([scorer.win_probability(table.take(slice(i, i + 1)), bids) for i in range(7)])
    assert np.array_equal(together, alone)
    assert scorer.win_probability(small.table(0), bids).shape == (0, 9)


def test_features_of_another_view_are_refused(small: Any) -> None:
    with pytest.raises(ConfigurationError):
        Scorer(small.performance_graph(), small.encoding()).logits(small.table(3, view="another"))


def test_bytes_that_are_no_graph_are_refused(small: Any) -> None:
    with pytest.raises(CorruptArtifact):
        Scorer(b"not a graph", small.encoding())


def test_a_graph_with_another_signature_is_refused(small: Any) -> None:
    with pytest.raises(CorruptArtifact, match="win_probability"):
        Scorer(small.landscape_graph(), small.encoding())


def test_a_graph_of_another_width_is_refused_when_it_is_loaded(small: Any) -> None:
    with pytest.raises(CorruptArtifact, match="cannot score"):
        Graph(small.performance_graph(), {"numeric": 5, "categories": 2}, "logits", 2)
    with pytest.raises(CorruptArtifact, match="cannot score"):
        Graph(small.performance_graph(), {"numeric": 4, "categories": 2}, "logits", 1)


def test_a_graph_that_ignores_an_input_may_drop_it(small: Any) -> None:
    model = small.performance_graph()
    kept = onnx.load_from_string(model)
    nodes = [helper.make_node("MatMul", ["numeric", "w"], ["logits"])]
    weights = [init for init in kept.graph.initializer if init.name == "w"]
    slim = helper.make_model(
        helper.make_graph(nodes, "slim", [kept.graph.input[0]], list(kept.graph.output), weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    assert Scorer(slim.SerializeToString(), small.encoding()).logits(small.table(11)).shape == (11, 2)


def test_rows_that_depend_on_their_place_are_scored_one_by_one(small: Any) -> None:
    """A graph that adds a running sum along the rows stands for a processor whose kernels depend on the place in a block."""
    kept = onnx.load_from_string(small.performance_graph())
    nodes = [
        helper.make_node("MatMul", ["numeric", "w"], ["m"]),
        helper.make_node("CumSum", ["m", "rows"], ["logits"]),
    ]
    weights = [init for init in kept.graph.initializer if init.name == "w"]
    weights.append(onnx.numpy_helper.from_array(np.array(0, dtype=np.int64), "rows"))
    graph = helper.make_model(
        helper.make_graph(nodes, "g", [kept.graph.input[0]], list(kept.graph.output), weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    ).SerializeToString()
    scorer = Graph(graph, {"numeric": 4, "categories": 2}, "logits", 2)
    assert scorer.block == 1
    assert Graph(small.performance_graph(), {"numeric": 4, "categories": 2}, "logits", 2).block == BLOCK
    numeric = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    alone = np.concatenate([scorer.run({"numeric": numeric[i : i + 1]}) for i in range(20)])
    assert np.array_equal(scorer.run({"numeric": numeric}), alone)


def test_the_runtime_tells_its_makers_nothing(tmp_path: Path) -> None:
    outside = {
        name: value for name, value in os.environ.items() if name not in ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY")
    }
    subprocess.run(
        [sys.executable, "-c", "import bidloop.prediction.scoring"], env=outside | {"HOME": str(tmp_path)}, check=True
    )
    assert list(tmp_path.rglob("*Microsoft*")) == []
