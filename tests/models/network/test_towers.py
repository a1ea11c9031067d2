"""The towers: what they compute, the same in ONNX Runtime, and what the doubly robust loss adds to them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from bidloop.core.examples import Examples
from bidloop.models.candidate import export
from bidloop.models.encoding import fit_encoding
from bidloop.models.graph import Graph
from bidloop.models.network import NetworkSettings, fit_network
from bidloop.models.network.dcn import DeepCross
from bidloop.models.network.deepfm import DeepFM
from bidloop.models.network.towers import Imputing, Tower, make_tower
from bidloop.models.rows import Rows
from bidloop.prediction.scoring import Scorer

TOWERS = ("mlp", "dcn", "deepfm")
VALUES, WIDTH = 7, 4


def keep(wave: Tensor) -> Tensor:
    return wave


def tower_of(name: str, numbers: int, fields: int, **settings: object) -> Tower:
    torch.manual_seed(0)
    tower = make_tower(NetworkSettings(tower=name, **settings), numbers, fields, WIDTH)
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))  # no bias stays 0
    return tower.eval()


@pytest.mark.parametrize(("numbers", "fields"), [(5, 3), (0, 3), (5, 0), (5, 1)])
@pytest.mark.parametrize("name", TOWERS)
def test_the_graph_answers_as_torch_does(name: str, numbers: int, fields: int) -> None:
    rng = np.random.default_rng(0)
    tower = tower_of(name, numbers, fields)
    tables = rng.normal(size=(fields, VALUES, WIDTH)).astype(np.float32)
    numeric = rng.normal(size=(50, numbers)).astype(np.float32)
    categories = rng.integers(0, VALUES, (50, fields))

    graph = Graph()
    embedded = [
        graph.add("Gather", graph.constant(table), graph.column("categories", j), axis=0)
        for j, table in enumerate(tables)
    ]
    inputs: dict[str, tuple[str, int]] = {"numeric": ("float", numbers)} if numbers else {}
    inputs |= {"categories": ("int64", fields)} if fields else {}
    model = graph.finish(inputs, "logits", tower.add(graph, "numeric" if numbers else None, embedded), 2)
    feed = {"numeric": numeric, "categories": categories}
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    served = session.run(None, {name: feed[name] for name in inputs})[0]

    looked_up = (
        np.stack([table[categories[:, j]] for j, table in enumerate(tables)], axis=1)
        if fields
        else np.zeros((50, 0, WIDTH), np.float32)
    )
    with torch.inference_mode():
        said = tower(torch.from_numpy(numeric), torch.from_numpy(looked_up), keep).numpy()
    np.testing.assert_allclose(served, said, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", TOWERS)
def test_every_tower_has_the_specs_hidden_layers_on_a_128_wide_input(name: str) -> None:
    layers = tower_of(name, 5, 3).deep.layers
    assert [(layer.in_features, layer.out_features) for layer in layers] == [(128, 256), (256, 128), (128, 64)]


@pytest.mark.parametrize("name", TOWERS)
def test_dropout_reaches_every_hidden_layer(name: str) -> None:
    dropped: list[int] = []

    def drop(wave: Tensor) -> Tensor:
        dropped.append(wave.shape[1])
        return wave

    tower_of(name, 5, 3)(torch.ones(2, 5), torch.ones(2, 3, WIDTH), drop)
    assert {256, 128, 64} <= set(dropped)


def test_cross_layers_multiply_the_input_with_itself() -> None:
    tower = tower_of("dcn", 2, 1)
    assert isinstance(tower, DeepCross)
    torch.nn.init.zeros_(tower.heads.weight)
    with torch.no_grad():
        tower.heads.weight[0, 0] = 1.0  # the first input after the cross layers
    rng = np.random.default_rng(0)
    numbers, embedded = rng.normal(size=(4, 2)), rng.normal(size=(4, 1, WIDTH))
    first = np.concatenate((numbers, embedded[:, 0]), axis=1)
    wave = first
    for narrow, wide in zip(tower.narrow, tower.wide, strict=True):
        inner = wave @ narrow.weight.detach().numpy().T
        wave = first * (inner @ wide.weight.detach().numpy().T + wide.bias.detach().numpy()) + wave
    said = tower(torch.tensor(numbers).float(), torch.tensor(embedded).float(), keep)[:, 0] - tower.heads.bias[0]
    np.testing.assert_allclose(said.detach().numpy(), wave[:, 0], atol=1e-5)


def test_the_factorisation_machine_sums_over_all_pairs_of_fields() -> None:
    tower = tower_of("deepfm", 2, 4)
    assert isinstance(tower, DeepFM)
    for layer in (tower.heads, tower.linear):
        for parameter in layer.parameters():
            torch.nn.init.zeros_(parameter)
    torch.nn.init.ones_(tower.pairs.weight)
    embedded = torch.randn(5, 4, WIDTH)
    expected = sum((embedded[:, i] * embedded[:, j]).sum(1) for i, j in itertools.combinations(range(4), 2))
    said = tower(torch.randn(5, 2), embedded, keep)
    torch.testing.assert_close(said, torch.stack((expected, expected), dim=1))


@pytest.mark.parametrize("name", TOWERS)
def test_the_imputation_is_seen_in_training_only_and_learns_nothing_into_the_embeddings(name: str) -> None:
    tower = tower_of(name, 5, 3, counterfactual="dr")
    assert isinstance(tower, Imputing)
    embedded = torch.randn(6, 3, WIDTH, requires_grad=True)
    assert tower(torch.ones(6, 5), embedded, keep).shape == (6, 2)
    out = tower.train()(torch.ones(6, 5), embedded, keep)
    assert out.shape == (6, 3)
    out[:, 2].sum().backward()
    assert torch.count_nonzero(embedded.grad) == 0
    assert torch.count_nonzero(tower.heads.bias.grad) == 0
    assert torch.count_nonzero(tower.imputed.weight.grad) > 0


@pytest.mark.parametrize(("name", "counterfactual"), [("dcn", "none"), ("deepfm", "dr"), ("dcn", "ipw")])
def test_a_trained_tower_is_served_as_it_answers_in_torch(
    name: str, counterfactual: str, log: Callable[..., Examples]
) -> None:
    known, new = log(1500, counts=True), log(500, seed=1)
    rows = Rows.of(known, fit_encoding(known))
    settings = NetworkSettings(tower=name, counterfactual=counterfactual, learning_rate=0.01)
    network = fit_network(rows, seed=1, epochs=6, settings=settings)
    trained = export(network, rows.encoding)
    served = Scorer(trained.onnx, trained.encoding).logits(new.features)
    said = network.logits(*rows.encoding.apply(new.features))
    np.testing.assert_allclose(served, said, atol=1e-5, rtol=1e-5)
    # Devices convert at 0.4 and 0.1: the conversion head tells them apart.
    mobile = new.features.categorical["device"] == "mobile"
    assert said[mobile, 1].mean() > said[~mobile, 1].mean() + 0.3
