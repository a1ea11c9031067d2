"""From rows to a trained network: epochs, when to stop, and where to go on after a kill."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bidloop.models.candidate import OnEpoch
from bidloop.models.encoding import require_features
from bidloop.models.level import level, levelled_loss
from bidloop.models.network.checkpoint import UNLOADABLE, Checkpoint, fingerprint, unpacked
from bidloop.models.network.distributed import Team
from bidloop.models.network.embedding import EmbeddingTable, embedding_width
from bidloop.models.network.network import Network
from bidloop.models.network.settings import NetworkSettings
from bidloop.models.network.towers import make_tower
from bidloop.models.network.training import Training, one_thread
from bidloop.models.relative import Relative
from bidloop.models.rows import Rows

USUAL_EPOCHS = 3
FEWEST_CONVERSIONS = 20

logger = logging.getLogger(__name__)


def fit_network(
    rows: Rows,
    later: Rows | None = None,
    *,
    seed: int,
    settings: NetworkSettings | None = None,
    epochs: int = USUAL_EPOCHS,
    checkpoints: Path | None = None,
    on_epoch: OnEpoch | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Network:
    """Train the network; the same seed gives the same weights.

    Where torch.distributed is initialised (see `distributed`), all its processes train the one network together, and each
    gets it. They must be given the same rows.

    Parameters
    ----------
    later
        Rows of later days; training stops where they no longer gain. Without them it takes exactly `epochs`.
    settings
        The specification's network by default.
    checkpoints
        Folder of what a killed training goes on from, to the last bit, when it is called again with the same arguments.
        The file is removed when training ends.
    on_epoch
        Told the epoch and the held-out loss of clicks after it, in nats; needs `later`. What it raises ends the training.
    on_progress
        Told the share of the steps that is done.

    Raises
    ------
    ConfigurationError
        When there are more features than the input has room for.
    InsufficientData
        When no feature differs between rows.
    Diverged
        When the network's numbers left all bounds.
    """
    settings = settings or NetworkSettings()
    require_features(len(Relative(rows.encoding).names) + len(rows.encoding.categories))
    with one_thread():
        course = _Course(rows, later, seed, settings, epochs)
        if checkpoints is not None:
            course.take_up(checkpoints)
        course.run(on_epoch or (lambda epoch, loss: None), on_progress or (lambda share: None))
        return _levelled(course.best, rows)


def _levelled(network: Network, rows: Rows) -> Network:
    """The network whose predictions sum to what happened; a conversion head that was not trained says the average anyway."""
    log_odds = network.logits(rows.numeric, rows.categories)
    click, conversion = network.shift
    click -= level(log_odds[:, 0], rows.click, 0.0)
    if network.conversion is None:
        conversion -= level(log_odds[:, 1], rows.conversion, 0.0)
    return dataclasses.replace(network, shift=(click, conversion))


class _Course:
    """Where a training stands: the next step, and the best network so far."""

    def __init__(self, rows: Rows, later: Rows | None, seed: int, settings: NetworkSettings, epochs: int) -> None:
        self.rows, self.later, self.seed, self.settings = rows, later, seed, settings
        self.limit = epochs if later is None else settings.most_epochs
        self.team = Team.present()
        self.checkpoint: Checkpoint | None = None
        self._begin()

    def _begin(self) -> None:
        """Stand before the first step."""
        rows = self.rows
        self.epoch, self.step, self.least = 1, 0, np.inf
        learned = rows.conversion.enough(FEWEST_CONVERSIONS)
        constant = None if learned else rows.conversion.base - rows.conversion.shift
        numbers = Relative(rows.encoding).logs(rows.numeric)
        centre = numbers.mean(axis=0, dtype=np.float64).astype(np.float32)
        scale = np.maximum(numbers.std(axis=0, dtype=np.float64), 1e-6).astype(np.float32)
        self.training = self._fresh((numbers - centre) / scale)
        tower, table = self.training.averaged()
        shift = rows.click.shift, 0.0
        self.best = Network(rows.encoding, self.settings, tower, table, centre, scale, shift, constant, 0)

    def _fresh(self, numbers: NDArray[np.float32]) -> Training:
        rows, settings = self.rows, self.settings
        device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        seen = [len(field.seen) for field in rows.encoding.categories]
        width = embedding_width(numbers.shape[1], len(seen), settings.widest_embedding)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            tower = make_tower(settings, numbers.shape[1], len(seen), width)
            table = EmbeddingTable(seen, width, settings, device)
        with torch.no_grad():
            bases = [rows.click.base, rows.conversion.base - rows.conversion.shift]
            tower.heads.bias.copy_(torch.tensor(bases))
        return Training(tower, table, numbers, rows, settings=settings, seed=self.seed, team=self.team, device=device)

    def run(self, on_epoch: OnEpoch, on_progress: Callable[[float], None]) -> None:
        steps = self.training.steps
        while not self.ended:
            while self.step < steps:
                self.training.step(self.epoch, self.step)
                self.step += 1
                if self.team.leads:
                    on_progress(((self.epoch - 1) * steps + self.step) / (self.limit * steps))
                    if self.checkpoint is not None and self.checkpoint.due and self.step < steps:
                        self.checkpoint.write(self._state())
            loss = self._judge()
            self.epoch, self.step = self.epoch + 1, 0
            if self.team.leads:
                if self.checkpoint is not None:
                    self.checkpoint.write(self._state())
                if self.later is not None:
                    on_epoch(self.epoch - 1, loss)
        if self.team.leads:
            on_progress(1.0)
            if self.checkpoint is not None:
                self.checkpoint.remove()

    @property
    def ended(self) -> bool:
        """Whether the epochs are used up, or later rows have not gained for too long."""
        if self.epoch > self.limit:
            return True
        return self.later is not None and self.epoch - 1 - self.best.epochs > self.settings.patience

    def _judge(self) -> float:
        """Keep the present network if it is the best so far; the held-out loss."""
        if self.later is None and self.epoch < self.limit:
            return np.inf
        tower, table = self.training.averaged()
        present = dataclasses.replace(self.best, tower=tower, table=table, epochs=self.epoch)
        loss = -np.inf
        if self.later is not None:
            loss = levelled_loss(present.logits(self.later.numeric, self.later.categories)[:, 0], self.later.click)
            loss = self.team.number_of_the_first(loss, self.training.device)
        if loss < self.least:
            self.best, self.least = present, loss
        return loss

    def take_up(self, folder: Path) -> None:
        """Go on where a training of the same rows, settings and seed was killed, if one was."""
        training, team = self.training, self.team
        content = b""
        if team.leads:
            plain = (self.seed, self.limit)
            name = fingerprint(self.rows, self.later, self.settings, plain, training.state())
            self.checkpoint = Checkpoint(folder, name)
            content = self.checkpoint.read()
        content = team.bytes_of_the_first(content, training.device)
        if not content:
            return
        try:
            self._load(unpacked(content))
        except UNLOADABLE as error:
            logger.warning("A checkpoint of this training cannot be loaded (%s); training starts anew", error)
            self._begin()

    def _state(self) -> dict[str, Tensor]:
        best = {f"best.tower.{name}": value for name, value in self.best.tower.state_dict().items()}
        position = torch.tensor([self.epoch, self.step, self.best.epochs])
        least = torch.tensor(self.least, dtype=torch.float64)
        return {**self.training.state(), **best, "best.table": self.best.table, "position": position, "least": least}

    def _load(self, state: Mapping[str, Tensor]) -> None:
        self.training.load(state)
        self.epoch, self.step, epochs = (int(value) for value in state["position"])
        self.least = float(state["least"])
        best = {name.removeprefix("best.tower."): of for name, of in state.items() if name.startswith("best.tower.")}
        self.best.tower.load_state_dict(best)
        self.best = dataclasses.replace(self.best, table=state["best.table"], epochs=epochs)
