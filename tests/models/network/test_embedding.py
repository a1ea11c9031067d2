"""The table of embeddings: rows that a step does not name rest, and their averages are exact nevertheless."""

from __future__ import annotations

import pytest
import torch

from bidloop.core.errors import ConfigurationError
from bidloop.models.network.averaging import Averaging
from bidloop.models.network.embedding import EmbeddingTable, embedding_width
from bidloop.models.network.settings import NetworkSettings

EVERY = slice(None)


@pytest.mark.parametrize(("numbers", "fields"), [(0, 1), (100, 3), (20, 50), (5, 0), (126, 1)])
def test_numbers_and_embeddings_never_exceed_the_input(numbers: int, fields: int) -> None:
    assert 2 <= embedding_width(numbers, fields) <= 8
    assert numbers + fields * embedding_width(numbers, fields) <= 128


def test_too_many_features_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="127 numbers"):
        embedding_width(127, 1)


def make_table(averaging: float = 0.9, decay: float = 0.0) -> EmbeddingTable:
    torch.manual_seed(0)
    settings = NetworkSettings(averaging=averaging, weight_decay=decay, learning_rate=0.01)
    return EmbeddingTable([4, 2], 3, settings, torch.device("cpu"))


def learn(table: EmbeddingTable, rows: torch.Tensor, slope: torch.Tensor, step: int) -> None:
    """A step on the loss Σ slope · embedding."""
    named = table.named(rows)
    embedded = table.embedded(named, EVERY)
    (embedded * slope).sum().backward()
    table.update(named, table.gradient(named, EVERY, embedded), step)


def test_a_batch_reads_the_rows_that_it_names() -> None:
    table = make_table()
    rows = torch.tensor([[1, 5], [1, 7], [4, 5]])
    named = table.named(rows)
    assert named.rows.tolist() == [1, 4, 5, 7]
    assert torch.equal(table.embedded(named, EVERY), table.state[:, :3][rows])
    assert torch.equal(table.embedded(named, slice(1, 3)), table.state[:, :3][rows[1:3]])


def test_the_gradient_of_a_row_is_the_sum_over_its_mentions() -> None:
    table = make_table()
    rows, slope = torch.tensor([[1, 5], [1, 5], [2, 5]]), torch.randn(3, 2, 3)
    named = table.named(rows)
    embedded = table.embedded(named, EVERY)
    (embedded * slope).sum().backward()
    found = table.gradient(named, EVERY, embedded)
    torch.testing.assert_close(found[0], slope[0, 0] + slope[1, 0])
    torch.testing.assert_close(found[2], slope[:, 1].sum(0))


def test_rows_that_every_step_names_learn_as_with_torch_s_adamw() -> None:
    table = make_table(decay=0.1)
    weights = torch.nn.Parameter(table.state[:, :3].clone())
    optimiser = torch.optim.AdamW([weights], lr=0.01, weight_decay=0.1)
    rows = torch.arange(len(weights))[:, None]
    for step in range(1, 40):
        slope = torch.randn(len(weights), 1, 3)
        learn(table, rows, slope, step)
        optimiser.zero_grad()
        (weights[:, None] * slope).sum().backward()
        optimiser.step()
        torch.testing.assert_close(table.state[:, :3], weights.detach(), atol=1e-6, rtol=1e-5)


def test_rows_that_are_not_named_stay_as_they_are() -> None:
    table = make_table()
    before = table.state.clone()
    learn(table, torch.tensor([[2, 6]]), torch.ones(1, 2, 3), 1)
    changed = (table.state != before).any(dim=1)
    assert torch.nonzero(changed).flatten().tolist() == [2, 6]


@pytest.mark.parametrize("averaging", [0.0, 0.5, 0.9, 0.99])
def test_the_average_is_that_of_a_table_averaged_whole_at_every_step(averaging: float) -> None:
    table, plain = make_table(averaging), Averaging(averaging)
    generator = torch.Generator().manual_seed(1)
    average = table.state[:, :3].clone()
    for step in range(1, 120):
        rows = torch.randint(0, 8 if step % 3 else 2, (2, 1), generator=generator)
        learn(table, rows, torch.randn(2, 1, 3, generator=generator), step)
        average = plain.kept(step) * average + (1 - plain.kept(step)) * table.state[:, :3]
        torch.testing.assert_close(table.averaged(step), average, atol=1e-6, rtol=1e-5)
