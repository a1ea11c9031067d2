"""All embeddings in one table, of which a training step reads and writes only the rows that its batch names.

A batch of 2,048 impressions names some thousands of values out of hundreds of thousands. An ordinary optimiser walks
through the whole table at each step, gradients, moments and averages included. Here a step looks up each value that its batch
names once, with all that is known of it in one stretch of memory, and puts it back: the cost is that of the batch, however
large the table.

The moments of a row move when the row is named (lazy Adam, as in `torch.optim.SparseAdam`). The running average of
the weights is exact nevertheless: while a row rests its weight stands still and the average closes in on it by the same
factor at each step, so what was missed is one power (`averaged`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bidloop.core.errors import ConfigurationError
from bidloop.models.network.averaging import Averaging
from bidloop.models.network.deep import INPUT_WIDTH
from bidloop.models.network.settings import NetworkSettings

SMALLEST_EMBEDDING = 2
SPREAD = 1e-3
"""Standard deviation of fresh embeddings."""
FIRST_DECAY, SECOND_DECAY, TINY = 0.9, 0.999, 1e-8
"""Adam's own (Kingma and Ba, 2015), as in torch."""


def embedding_width(numbers: int, fields: int, widest: int = 8) -> int:
    """Numbers per embedding: what the 128 inputs leave beside the numbers, the same for every category.

    Raises
    ------
    ConfigurationError
        When there are more features than the input has room for.

    Examples
    --------
    >>> embedding_width(28, 20), embedding_width(28, 2)
    (5, 8)
    """
    room = INPUT_WIDTH - numbers
    if room < SMALLEST_EMBEDDING * fields:
        raise ConfigurationError(
            f"{numbers} numbers and {fields} categories",
            expected=f"numbers + {SMALLEST_EMBEDDING} × categories of at most {INPUT_WIDTH}, the network's input",
            remedy="Take features out of the view.",
        )
    return min(widest, room // fields) if fields else widest


@dataclass(frozen=True)
class Named:
    """What a batch names of the table.

    Parameters
    ----------
    rows
        Each row of the table once, int64, ascending, shape (u,).
    place
        Where in `rows` each value of the batch is, int64, shape (n, fields).
    state
        Copy of those rows, shape (u, 4 · width + 1).
    """

    rows: Tensor
    place: Tensor
    state: Tensor


class EmbeddingTable:
    """One row per value of each category, the unseen value first.

    Parameters
    ----------
    seen
        Number of seen values of each category.
    width
        Numbers per embedding.
    settings
        Learning rate, weight decay and averaging.

    Notes
    -----
    `state` holds in each row the weight, Adam's two moments, how far the average is from the weight, and the step that
    wrote the row last: float32, shape (rows, 4 · width + 1). A float32 counts 16 million steps exactly.
    """

    def __init__(self, seen: Sequence[int], width: int, settings: NetworkSettings, device: torch.device) -> None:
        sizes = torch.tensor([count + 1 for count in seen], dtype=torch.int64)
        self.unseen = (torch.cumsum(sizes, 0) - sizes).to(device)
        self.width = width
        self.settings, self.averaging = settings, Averaging(settings.averaging)
        state = torch.zeros(int(sizes.sum()), 4 * width + 1)
        state[:, :width] = torch.empty(len(state), width).normal_(std=SPREAD)
        self.state = state.to(device)

    def named(self, rows: Tensor) -> Named:
        """Look up a batch; `rows` of the table, int64, shape (n, fields)."""
        once, place = torch.unique(rows, return_inverse=True)
        return Named(once, place, self.state.index_select(0, once))

    def embedded(self, named: Named, part: slice) -> Tensor:
        """Embeddings of a part of the batch, shape (n, fields, width), ready to collect their gradient."""
        place = named.place[part]
        weights = named.state[:, : self.width].index_select(0, place.flatten())
        return weights.view(*place.shape, self.width).requires_grad_()

    def gradient(self, named: Named, part: slice, embedded: Tensor) -> Tensor:
        """The gradient that `embedded` collected, summed over mentions of the same row, shape (u, width)."""
        total = torch.zeros(len(named.rows), self.width, device=self.state.device)
        if embedded.grad is not None:
            total.index_add_(0, named.place[part].flatten(), embedded.grad.view(-1, self.width))
        return total

    def update(self, named: Named, gradient: Tensor, step: int) -> None:
        """Adam on the rows that were named, with weight decay, and their averages brought up to this step, the first being 1."""
        settings, state = self.settings, named.state
        weight, first, second, lag = state[:, :-1].view(len(state), 4, self.width).unbind(1)
        last = state[:, -1:]
        first.lerp_(gradient, 1 - FIRST_DECAY)
        second.mul_(SECOND_DECAY).addcmul_(gradient, gradient, value=1 - SECOND_DECAY)
        rate = settings.learning_rate / (1 - FIRST_DECAY**step)
        spread = second.sqrt().div_(math.sqrt(1 - SECOND_DECAY**step)).add_(TINY)
        move = (first / spread).mul_(-rate).sub_(weight, alpha=settings.learning_rate * settings.weight_decay)
        weight.add_(move)
        # A row that was never named before has no lag, whatever is said to be kept of it.
        missed = self.averaging.kept_since(last.clamp(min=1.0), max(step - 1, 1))
        lag.mul_(missed).sub_(move).mul_(self.averaging.kept(step))
        last.fill_(step)
        self.state.index_copy_(0, named.rows, state)

    def averaged(self, step: int) -> Tensor:
        """The averages of all rows after so many steps, shape (rows, width)."""
        weight, lag = self.state[:, : self.width], self.state[:, 3 * self.width : 4 * self.width]
        return weight + lag * self.averaging.kept_since(self.state[:, -1:].clamp(min=1.0), max(step, 1))
