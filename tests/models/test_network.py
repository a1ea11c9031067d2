"""The network's shape and its loss over the entire space."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bidloop.core.errors import ConfigurationError
from bidloop.models.network import INPUT_WIDTH, PerformanceNetwork, embedding_widths, entire_space_loss


def test_the_input_is_128_wide_and_the_hidden_layers_are_256_128_64() -> None:
    network = PerformanceNetwork(10, [3, 500, 20])
    assert [(layer.in_features, layer.out_features) for layer in network.hidden] == [(128, 256), (256, 128), (128, 64)]
    assert network.heads.out_features == 2


@pytest.mark.parametrize(("numbers", "seen"), [(0, [5]), (100, [2, 9, 1000]), (20, [10_000] * 50), (5, [])])
def test_numbers_and_embeddings_never_exceed_the_input(numbers: int, seen: list[int]) -> None:
    assert numbers + sum(embedding_widths(numbers, seen)) <= INPUT_WIDTH


def test_too_many_features_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="127 numbers"):
        embedding_widths(127, [5])


def test_the_loss_has_the_gradient_of_finite_differences() -> None:
    rng = np.random.default_rng(0)
    point = torch.tensor(rng.normal(size=(6, 2)), requires_grad=True)
    clicked, unclicked = torch.tensor(rng.uniform(1, 4, 6)), torch.tensor(rng.uniform(1, 9, 6))
    counts = clicked, unclicked, clicked * torch.tensor(rng.uniform(0, 1, 6))
    assert torch.autograd.gradcheck(lambda z: entire_space_loss(z, *counts), point)


def test_the_loss_is_least_at_the_true_rates() -> None:
    counts = torch.tensor([20.0]), torch.tensor([80.0]), torch.tensor([5.0])
    best = entire_space_loss(torch.logit(torch.tensor([[0.2, 0.25]])), *counts)
    for p, q in ((0.25, 0.25), (0.15, 0.25), (0.2, 0.4), (0.2, 0.1)):
        assert entire_space_loss(torch.logit(torch.tensor([[p, q]])), *counts) > best
