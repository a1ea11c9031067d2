"""Steps of training: rows that stay in memory, batches that are lists of row numbers, and weights that predict by their average."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bidloop.core.encoding import Encoding
from bidloop.models.levels import levels
from bidloop.models.network.distributed import Team
from bidloop.models.network.embedding import EmbeddingTable
from bidloop.models.network.loss import entire_space_loss
from bidloop.models.network.randomness import Dice, order_of_rows
from bidloop.models.network.settings import NetworkSettings
from bidloop.models.network.towers import Tower
from bidloop.models.rows import Rows

SMALLEST_BATCH, LARGEST_BATCH = 256, 2048
STEPS_PER_EPOCH = 150


@contextmanager
def one_thread() -> Iterator[None]:
    """One core per process, and the thread count that was set before again afterwards.

    Sums are taken in an order that depends on the number of threads. With one, the same seed gives the same weights on a
    machine of two cores and on one of ninety-six, as the trees do, and what is served beside keeps its cores. Layers this
    small gain little from a second thread; processes do better (`distributed`).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def labels(rows: Rows) -> NDArray[np.float32]:
    """What the loss takes of each row: clicked, unclicked, converted and maturity, shape (n, 4).

    Conversions are put on the scale of the clicks that they are part of.
    """
    conversion = rows.conversion
    in_population = conversion.positive + conversion.negative * np.exp(conversion.shift)
    share = np.divide(conversion.positive, in_population, out=np.zeros(len(rows)), where=in_population > 0)
    converted = rows.click.positive * share * rows.maturity
    return np.column_stack((rows.click.positive, rows.click.negative, converted, rows.maturity)).astype(np.float32)


class Training:
    """A network in training.

    Parameters
    ----------
    tower
        What stands on the inputs.
    table
        The embeddings.
    numbers
        Standardised, float32, shape (n, d).
    rows
        What to learn from.
    seed
        Of the order of rows, hidden categories and dropout.
    team
        The processes that train together.
    """

    def __init__(
        self,
        tower: Tower,
        table: EmbeddingTable,
        numbers: NDArray[np.float32],
        rows: Rows,
        *,
        settings: NetworkSettings,
        seed: int,
        team: Team,
        device: torch.device,
    ) -> None:
        self.tower, self.table = tower.to(device).train(), table
        self.settings, self.seed, self.team, self.device = settings, seed, team, device
        self.numbers = torch.from_numpy(numbers).to(device)
        self.places = torch.from_numpy(places(rows.encoding, rows.categories)).to(device) + table.unseen
        self.labels, self.shift = torch.from_numpy(labels(rows)).to(device), rows.click.shift
        self.batch = settings.batch or int(np.clip(len(rows) // STEPS_PER_EPOCH, SMALLEST_BATCH, LARGEST_BATCH))
        self.steps = -(-len(rows) // self.batch)
        self.done = 0
        self._order: tuple[int, Tensor] = (0, torch.zeros(0, dtype=torch.int64))
        self._parameters = list(tower.parameters())
        self._optimiser = torch.optim.AdamW(
            self._parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self._average = copy.deepcopy(self.tower)

    def step(self, epoch: int, step: int) -> None:
        """Learn from one batch, the `step`-th of its epoch from 0."""
        batch = self._rows_of(epoch)[step * self.batch : (step + 1) * self.batch]
        part = self.team.part(len(batch))
        dice = Dice(self.seed, epoch, step, len(batch), part, self.settings.dropout, self.device)
        mentioned = self.places.index_select(0, batch)
        hidden = dice.hidden(mentioned.shape[1], self.settings.hidden_categories)
        named = self.table.named(torch.where(hidden, self.table.unseen, mentioned))
        embedded = self.table.embedded(named, part)
        self._optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            log_odds = self.tower(self.numbers.index_select(0, batch[part]), embedded, dice.drop)
        loss = entire_space_loss(
            self.team.gathered(log_odds.float(), len(batch)),
            *self.labels.index_select(0, batch).unbind(1),
            counterfactual=self.settings.counterfactual,
            weight=self.settings.counterfactual_weight,
            shift=self.shift,
        )
        loss.backward()  # type: ignore[no-untyped-call]
        gradient = self.table.gradient(named, part, embedded)
        self.team.add_up([*(p.grad for p in self._parameters if p.grad is not None), gradient])
        self.done += 1
        self._optimiser.step()
        self.table.update(named, gradient, self.done)
        taken = 1 - self.table.averaging.kept(self.done)
        with torch.no_grad():
            for average, parameter in zip(self._average.parameters(), self._parameters, strict=True):
                average.lerp_(parameter, taken)

    def averaged(self) -> tuple[Tower, Tensor]:
        """What predicts: a copy of the tower and of the embeddings, their weights averaged over the last steps."""
        tower = copy.deepcopy(self._average).cpu().eval()
        return tower.requires_grad_(False), self.table.averaged(self.done).cpu()

    def state(self) -> dict[str, Tensor]:
        """All that a later step depends on, by name; the tensors are not copies."""
        moments = {
            f"moments.{i}.{name}": value
            for i, kept in self._optimiser.state_dict()["state"].items()
            for name, value in kept.items()
        }
        tower = {f"tower.{name}": value for name, value in self.tower.state_dict().items()}
        average = {f"average.{name}": value for name, value in self._average.state_dict().items()}
        return {"done": torch.tensor(self.done), "table": self.table.state, **tower, **average, **moments}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""

        def under(name: str) -> dict[str, Tensor]:
            return {key.removeprefix(name): value for key, value in state.items() if key.startswith(name)}

        self.done = int(state["done"])
        self.table.state.copy_(state["table"])
        self.tower.load_state_dict(under("tower."))
        self._average.load_state_dict(under("average."))
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in under("moments.").items():
            i, name = key.split(".")
            moments.setdefault(int(i), {})[name] = value
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": moments, "param_groups": groups})

    def _rows_of(self, epoch: int) -> Tensor:
        if self._order[0] != epoch:
            self._order = epoch, order_of_rows(self.seed, epoch, len(self.numbers)).to(self.device)
        return self._order[1]


def places(encoding: Encoding, categories: NDArray[np.int64]) -> NDArray[np.int64]:
    """Level of each category in its own field, 0 for the unseen, shape (n, fields)."""
    columns = [levels(field, categories[:, j]) for j, field in enumerate(encoding.categories)]
    return np.column_stack(columns) if columns else np.zeros((len(categories), 0), dtype=np.int64)
