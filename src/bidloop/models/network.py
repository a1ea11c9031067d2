"""The performance network: a 128-wide input, 256-128-64 hidden units, and two heads that share them.

Numbers and one embedding per category make the input. The heads give the chance of a click given an impression and of a
conversion given a click. Both are learned on all impressions (ESMM: Ma et al., "Entire Space Multi-Task Model", 2018,
arXiv 1804.07931): the loss is that of clicks over impressions plus that of clicks that convert over impressions, so
that the conversion head is not trained on the clicked few alone and served to all. We fit counts as well as single
impressions (binomial), and hide each category at random, so that the embedding of the unseen is trained and no single
field is leaned on.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bidloop.core.encoding import Encoding
from bidloop.core.errors import ConfigurationError
from bidloop.models.candidate import Parameters
from bidloop.models.graph import Graph
from bidloop.models.level import level
from bidloop.models.levels import add_levels, levels
from bidloop.models.relative import Relative
from bidloop.models.rows import Rows

INPUT_WIDTH = 128
HIDDEN = (256, 128, 64)
DROPOUT = 0.2
HIDDEN_CATEGORIES = 0.35
"""Share of category values that training replaces by the unseen one."""
SMALLEST_EMBEDDING, LARGEST_EMBEDDING = 2, 8
"""Wider embeddings of rare values learn the training rows by heart, and held-out days lose."""
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-4
AVERAGING = 0.99
"""Decay per step of the running average of the weights, which is what predicts."""
MOST_EPOCHS = 6
PATIENCE = 1
USUAL_EPOCHS = 3
SMALLEST_BATCH, LARGEST_BATCH = 256, 2048
STEPS_PER_EPOCH = 150
FEWEST_CONVERSIONS = 20


def embedding_widths(numbers: int, seen: list[int]) -> list[int]:
    """How the 128 inputs are shared out: what the numbers leave, by the logarithm of each category's number of values.

    No embedding is wider than 8, nor than its category has values. Inputs that are left over are 0.

    Raises
    ------
    ConfigurationError
        When there are more features than the input has room for.

    Examples
    --------
    >>> embedding_widths(28, [3, 5000])
    [4, 8]
    """
    room = INPUT_WIDTH - numbers
    if room < SMALLEST_EMBEDDING * len(seen):
        raise ConfigurationError(
            f"{numbers} numbers and {len(seen)} categories",
            expected=f"numbers + {SMALLEST_EMBEDDING} × categories of at most {INPUT_WIDTH}, the network's input",
            remedy="Take features out of the view.",
        )
    share = np.log2(2.0 + np.array(seen, dtype=np.float64))
    widths = np.floor(room * share / share.sum()).astype(int) if seen else np.zeros(0, dtype=int)
    return [
        int(min(max(SMALLEST_EMBEDDING, width), count + 1, LARGEST_EMBEDDING))
        for width, count in zip(widths, seen, strict=True)
    ]


class PerformanceNetwork(nn.Module):
    """Two log odds from numbers and levels of categories.

    Parameters
    ----------
    numbers
        Number of numeric columns, standardised.
    seen
        Number of seen values of each category; level 0 is the unseen.
    """

    def __init__(self, numbers: int, seen: list[int]) -> None:
        super().__init__()
        widths = embedding_widths(numbers, seen)
        self.embeddings = nn.ModuleList(
            nn.Embedding(count + 1, width) for count, width in zip(seen, widths, strict=True)
        )
        for table in self.embeddings.parameters():
            nn.init.normal_(table, std=0.05)
        self.padding = INPUT_WIDTH - numbers - sum(widths)
        sizes = (INPUT_WIDTH, *HIDDEN)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.heads = nn.Linear(HIDDEN[-1], 2)

    def forward(self, numeric: Tensor, places: Tensor) -> Tensor:
        """Log odds of a click and of a conversion given a click, shape (n, 2)."""
        if self.training and places.shape[1]:
            places = places * (torch.rand(places.shape) >= HIDDEN_CATEGORIES)
        parts = [numeric, *(table(places[:, j]) for j, table in enumerate(self.embeddings))]
        wave = functional.pad(torch.cat(parts, dim=1), (0, self.padding))
        for layer in self.hidden:
            wave = functional.dropout(functional.relu(layer(wave)), DROPOUT, self.training)
        out: Tensor = self.heads(wave)
        return out


def entire_space_loss(log_odds: Tensor, clicked: Tensor, unclicked: Tensor, converted: Tensor) -> Tensor:
    """Sum of the losses of clicks and of clicks that convert, both over impressions, in nats per impression.

    Parameters
    ----------
    log_odds
        Shape (n, 2).
    clicked, unclicked, converted
        Weighted counts, shape (n,); `converted` is part of `clicked`.

    Examples
    --------
    >>> even = torch.zeros(1, 2)  # a half, and a half of that
    >>> loss = entire_space_loss(even, torch.ones(1), torch.zeros(1), torch.zeros(1))
    >>> round(loss.item(), 4) == round(float(np.log(2) - np.log(1 - 0.25)), 4)
    True
    """
    total = clicked + unclicked
    click = clicked * functional.logsigmoid(log_odds[:, 0]) + unclicked * functional.logsigmoid(-log_odds[:, 0])
    both = functional.logsigmoid(log_odds[:, 0]) + functional.logsigmoid(log_odds[:, 1])
    neither = torch.log1p(-torch.exp(both).clamp(max=1 - 1e-6))
    convert = converted * both + (total - converted) * neither
    return -(click + convert).sum() / total.sum()


@dataclass(frozen=True)
class Network:
    """A trained network with the scale of its numbers.

    Parameters
    ----------
    module
        The network, its weights averaged over the last steps.
    centre, scale
        Mean and standard deviation of the numeric columns in training, shape (columns,).
    shift
        What sampling and the noise of the last steps added to the log odds of a click: without it, predictions sum to
        the clicks of the training rows.
    conversion
        Log odds of a conversion for all rows where there were too few to learn from; `None` where the head was trained.
    epochs
        Passes over the rows.
    """

    encoding: Encoding
    module: PerformanceNetwork
    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    shift: float
    conversion: float | None
    epochs: int
    name: str = "network"

    @property
    def parameters(self) -> Parameters:
        """Shape and training of the network."""
        return {
            "input": INPUT_WIDTH,
            "hidden": "-".join(map(str, HIDDEN)),
            "dropout": DROPOUT,
            "epochs": self.epochs,
            "learning_rate": LEARNING_RATE,
        }

    def logits(self, numeric: NDArray[np.float32], categories: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log odds of n rows, shape (n, 2)."""
        numbers = (Relative(self.encoding).logs(numeric) - self.centre) / self.scale
        self.module.eval()
        with torch.inference_mode():
            out = self.module(torch.from_numpy(numbers), _places(self.encoding, categories)).numpy().astype(np.float64)
        out[:, 0] -= self.shift
        if self.conversion is not None:
            out[:, 1] = self.conversion
        return np.asarray(out)

    def build(self, graph: Graph) -> str:
        """Look-ups, three layers and the heads; the shift goes into the bias."""
        parts = []
        if len(self.centre):
            numbers = graph.add("Sub", Relative(self.encoding).add(graph, log=True), graph.constant(self.centre))
            parts.append(graph.add("Div", numbers, graph.constant(self.scale)))
        for j, table in enumerate(self.module.embeddings.parameters()):
            parts.append(
                graph.add("Gather", graph.constant(_array(table)), add_levels(graph, self.encoding, j), axis=0)
            )
        wave = graph.add("Concat", *parts, axis=1)
        used = INPUT_WIDTH - self.module.padding
        for layer in self.module.hidden:
            weights = _array(layer.get_parameter("weight"))[:, :used]
            bias = graph.constant(_array(layer.get_parameter("bias")))
            wave = graph.add("Relu", graph.add("Gemm", wave, graph.constant(weights), bias, transB=1))
            used = len(weights)
        weights, bias_array = _array(self.module.heads.weight).copy(), _array(self.module.heads.bias).copy()
        bias_array[0] -= self.shift
        if self.conversion is not None:
            weights[1], bias_array[1] = 0.0, self.conversion
        return graph.add("Gemm", wave, graph.constant(weights), graph.constant(bias_array), transB=1)


def fit_network(
    rows: Rows,
    later: Rows | None = None,
    *,
    seed: int,
    epochs: int = USUAL_EPOCHS,
) -> Network:
    """Train the network.

    Parameters
    ----------
    later
        Rows of later days; training stops where they no longer gain. Without them it takes exactly `epochs`.
    """
    numbers = Relative(rows.encoding).logs(rows.numeric)
    centre = numbers.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = np.maximum(numbers.std(axis=0, dtype=np.float64), 1e-6).astype(np.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = PerformanceNetwork(len(centre), [len(field.seen) for field in rows.encoding.categories])
        with torch.no_grad():
            module.heads.bias.copy_(torch.tensor([rows.click.base, rows.conversion.base - rows.conversion.shift]))
        learned = rows.conversion.enough(FEWEST_CONVERSIONS)
        constant = None if learned else rows.conversion.base - rows.conversion.shift

        training = _Training(module, (numbers - centre) / scale, rows)
        best, least = Network(rows.encoding, module, centre, scale, rows.click.shift, constant, 0), np.inf
        for epoch in range(1, (epochs if later is None else MOST_EPOCHS) + 1):
            training.epoch()
            if later is None and epoch < epochs:
                continue
            present = dataclasses.replace(best, module=training.averaged(), epochs=epoch)
            # At the later days' own level: a day that is better for all says nothing of how many epochs are too many.
            loss = -np.inf if later is None else _loss_at_own_level(present, later)
            if loss < least:
                best, least = present, loss
            elif epoch - best.epochs > PATIENCE:
                break
    log_odds = best.logits(rows.numeric, rows.categories)[:, 0]
    return dataclasses.replace(best, shift=best.shift - level(log_odds, rows.click, 0.0))


def _loss_at_own_level(network: Network, later: Rows) -> float:
    log_odds = network.logits(later.numeric, later.categories)[:, 0]
    return later.click.loss(log_odds + level(log_odds, later.click, 0.0) + later.click.shift)


class _Training:
    """The rows as tensors, the optimiser, and the running average of the weights."""

    def __init__(self, module: PerformanceNetwork, numbers: NDArray[np.float32], rows: Rows) -> None:
        self.module = module
        self.average = torch.optim.swa_utils.AveragedModel(
            module,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGING),  # type: ignore[no-untyped-call]
        )
        self.optimiser = torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self.numbers, self.places = torch.from_numpy(numbers), _places(rows.encoding, rows.categories)
        conversion = rows.conversion
        in_population = conversion.positive + conversion.negative * np.exp(conversion.shift)
        share = np.divide(conversion.positive, in_population, out=np.zeros(len(rows)), where=in_population > 0)
        self.clicked, self.unclicked = _tensor(rows.click.positive), _tensor(rows.click.negative)
        self.converted = self.clicked * _tensor(share)
        self.batch = int(np.clip(len(rows) // STEPS_PER_EPOCH, SMALLEST_BATCH, LARGEST_BATCH))

    def epoch(self) -> None:
        self.module.train()
        order = torch.randperm(len(self.numbers))
        for start in range(0, len(order), self.batch):
            part = order[start : start + self.batch]
            self.optimiser.zero_grad(set_to_none=True)
            log_odds = self.module(self.numbers[part], self.places[part])
            counts = self.clicked[part], self.unclicked[part], self.converted[part]
            entire_space_loss(log_odds, *counts).backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            self.average.update_parameters(self.module)

    def averaged(self) -> PerformanceNetwork:
        weights = self.average.module
        assert isinstance(weights, PerformanceNetwork)
        return copy.deepcopy(weights).eval()


def _places(encoding: Encoding, categories: NDArray[np.int64]) -> Tensor:
    columns = [levels(field, categories[:, j]) for j, field in enumerate(encoding.categories)]
    return torch.from_numpy(np.column_stack(columns) if columns else np.zeros((len(categories), 0), dtype=np.int64))


def _tensor(column: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(column.astype(np.float32))


def _array(parameter: Tensor) -> NDArray[np.float32]:
    return np.asarray(parameter.detach().numpy(), dtype=np.float32)
