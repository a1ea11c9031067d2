"""Crosses of categories: which slot a pair of values falls into, and which pairs of categories are worth one."""

from __future__ import annotations

import itertools

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bidloop.models.crosses import Cross, choose_crosses
from bidloop.models.graph import Graph
from bidloop.models.rows import Response

LARGE = st.integers(1, 1 << 20)


def test_every_pair_has_a_slot_of_its_own_where_there_is_room() -> None:
    cross = Cross.of(0, 1, seen=(30, 12), rows=1000, bits=16)
    first, second = np.array(list(itertools.product(range(1, 31), range(1, 13)))).T
    slots = cross.slots(first, second)
    assert len(set(slots.tolist())) == 30 * 12
    assert 1 <= slots.min() <= slots.max() <= cross.buckets


def test_a_pair_with_a_value_that_was_not_seen_has_slot_0() -> None:
    for seen in ((30, 12), (100_000, 100_000)):
        cross = Cross.of(0, 1, seen=seen, rows=1000, bits=12)
        assert cross.slots(np.array([0, 0, 5]), np.array([0, 7, 0])).tolist() == [0, 0, 0]


def test_hashed_pairs_share_slots_as_seldom_as_by_chance() -> None:
    cross = Cross.of(0, 1, seen=(5000, 5000), rows=4000, bits=18)
    rng = np.random.default_rng(0)
    pairs = np.unique(rng.integers(1, 5001, (4000, 2)), axis=0)
    slots = cross.slots(*pairs.T)
    expected = cross.buckets * (1 - (1 - 1 / cross.buckets) ** len(pairs))
    assert cross.buckets == 1 << 15
    assert len(np.unique(slots)) == pytest.approx(expected, rel=0.02)


@settings(max_examples=25, deadline=None)
@given(seen=st.tuples(LARGE, LARGE), rows=st.integers(1, 10**8), bits=st.integers(4, 22), seed=st.integers(0, 99))
def test_the_graph_gives_the_same_slots(seen: tuple[int, int], rows: int, bits: int, seed: int) -> None:
    cross = Cross.of(0, 1, seen=seen, rows=rows, bits=bits)
    rng = np.random.default_rng(seed)
    levels = np.column_stack([rng.integers(0, size + 1, 64) for size in seen])
    levels[:3] = [seen, (0, seen[1]), (seen[0], 0)]
    graph = Graph()
    slots = cross.add(graph, graph.column("categories", 0), graph.column("categories", 1))
    table = graph.constant(np.arange(cross.buckets + 1, dtype=np.float64).reshape(-1, 1).view(np.float32))  # the bits
    model = graph.finish({"categories": ("int64", 2)}, "slots", graph.add("Gather", table, slots, axis=0), columns=2)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    served = session.run(None, {"categories": levels})[0].view(np.float64)[:, 0]
    assert served.astype(np.int64).tolist() == cross.slots(*levels.T).tolist()
    assert served.max() <= cross.buckets


def log_with(
    effect: float, *, n: int = 20_000, thinned: float = 1.0
) -> tuple[NDArray[np.int64], Response, NDArray[np.float64]]:
    """Five categories; of the first and fourth, pairs have effects of this deviation; and the log odds without them."""
    rng = np.random.default_rng(0)
    levels = rng.integers(1, 13, (n, 5))
    alone = rng.normal(0, 0.3, 13)[levels[:, 1]] - 2
    pair = rng.normal(0, effect, (13, 13))[levels[:, 0], levels[:, 3]]
    clicks = (rng.random(n) < 1 / (1 + np.exp(-alone - pair))).astype(float)
    kept = (clicks > 0) | (rng.random(n) < thinned)
    response = Response.of(clicks, np.ones(n), np.where(clicks > 0, 1.0, 1 / thinned))
    response = Response(response.positive[kept], response.negative[kept], response.shift)
    return levels[kept], response, alone[kept] + response.shift


@pytest.mark.parametrize("thinned", [1.0, 0.2])
def test_the_cross_that_is_there_is_found_and_no_other(thinned: float) -> None:
    levels, response, log_odds = log_with(0.5, thinned=thinned)
    chosen = choose_crosses(levels, [12] * 5, response, log_odds, most=8, bits=12)
    assert [(cross.first, cross.second) for cross in chosen] == [(0, 3)]


def test_no_cross_is_taken_where_none_is() -> None:
    levels, response, log_odds = log_with(0.0)
    assert choose_crosses(levels, [12] * 5, response, log_odds, most=8, bits=12) == []


def test_of_two_crosses_that_say_the_same_one_is_taken() -> None:
    levels, response, log_odds = log_with(0.5)
    twice = np.column_stack((levels, levels[:, 3]))
    chosen = choose_crosses(twice, [12] * 6, response, log_odds, most=8, bits=12)
    assert [(cross.first, cross.second) for cross in chosen] == [(0, 3)]


def test_no_more_crosses_are_taken_than_asked_for() -> None:
    levels, response, log_odds = log_with(0.5)
    assert choose_crosses(levels, [12] * 5, response, log_odds, most=0, bits=12) == []
