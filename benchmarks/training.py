"""How many rows a second the network learns from on one core, against the ordinary loop, two libraries, and bare arithmetic.

``python -m benchmarks.training [--rounds N] [--rows N] [--batch N ...] [--epochs N] [--json]``

Each way learns the same generated rows (20 categories of 100,000 values each, by Zipf's law, 12 numbers, a known chance of a
click), in batches of 256 and of 2,048, through hidden layers of 256, 128 and 64 units with dropout 0.2, and is judged on the
same later rows:

- **ours**: the steps of `fit_network`; **ours, whole call** counts what is done before and after them too;
- **DataLoader**: the loop that everybody writes, a `Dataset` of rows, `DataLoader`, one `nn.Embedding` per category, Adam, on our
  tower, widths and loss;
- **floor**: forward, backward and AdamW of our tower with its dropout on one batch that never changes: no look-up, no embedding
  to update, no averaging;
- **FuxiCTR**, **DeepCTR-Torch**: their own fit loops on a network of these layers, embedding width, dropout, and Adam, without the
  penalty on embeddings that DeepCTR-Torch adds by default, which would slow it down further. Where one is not installed
  (``requirements/bench.txt``), the table says so.

Every way runs on one thread and is timed by the processor time it used, so that what else runs on the machine counts little. A
speed is the median of the rounds, in brackets the least and the greatest; a ratio is the median of those within the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import logging
import statistics
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from bidloop.core.encoding import CategoryField, Encoding, NumericField
from bidloop.models.network import NetworkSettings, fit_network
from bidloop.models.network.embedding import embedding_width
from bidloop.models.network.loss import entire_space_loss
from bidloop.models.network.mlp import Mlp
from bidloop.models.network.randomness import Dice
from bidloop.models.network.training import one_thread
from bidloop.models.rows import Response, Rows
from bidloop.prediction.quality import log_loss

VALUES = (100_000,) * 20
NUMBERS = 12
BATCHES = (256, 2048)
HIDDEN = (256, 128, 64)
DROPOUT = 0.2
WIDTH = embedding_width(NUMBERS, len(VALUES))
MARKS = {"DataLoader": 7.0, "floor": 0.6, "FuxiCTR": 3.0, "DeepCTR-Torch": 3.0}
"""What ours is to reach, as a multiple of each."""


@dataclass(frozen=True)
class Part:
    """Rows: numbers float32 (n, 12), levels int64 (n, 20) with 0 for the unseen, clicks and conversions float64 (n,)."""

    numbers: NDArray[np.float32]
    levels: NDArray[np.int64]
    clicks: NDArray[np.float64]
    conversions: NDArray[np.float64]
    chance: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.clicks)


@dataclass(frozen=True)
class Data:
    """What is learned, what judges, how many values of each category were seen, and how many rows a step takes."""

    known: Part
    later: Part
    seen: list[int]
    batch: int

    def loss(self, chance: NDArray[np.floating[Any]]) -> float:
        """Log loss of clicks on the later rows."""
        one = np.ones(len(self.later))
        return log_loss(chance.astype(np.float64), one, self.later.clicks, one)


@dataclass(frozen=True)
class Timing:
    """Rows a second, and the log loss on later rows where there is one."""

    speed: float
    loss: float | None = None


Way = Callable[[Data, int, int], dict[str, Timing]]


def generate(rows: int, later: int, batch: int, seed: int = 0) -> Data:
    """Values by Zipf's law; the log odds are a sum of effects of values and numbers, and of two products of values."""
    rng, n = np.random.default_rng(seed), rows + later
    numbers = rng.normal(size=(n, NUMBERS)).astype(np.float32)
    log_odds = -2.3 + numbers @ rng.normal(0, 0.15, NUMBERS)
    levels, seen, hidden = np.zeros((n, len(VALUES)), dtype=np.int64), [], []
    for j, values in enumerate(VALUES):
        share = 1 / np.arange(1, values + 1)
        drawn = np.searchsorted(np.cumsum(share / share.sum())[:-1], rng.random(n))
        log_odds += rng.normal(0, 0.2, values)[drawn]
        hidden.append(rng.normal(0, 1, values)[drawn])
        known = np.unique(drawn[:rows])
        place = np.minimum(np.searchsorted(known, drawn), len(known) - 1)
        levels[:, j] = np.where(known[place] == drawn, place + 1, 0)
        seen.append(len(known))
    log_odds += 0.3 * (hidden[0] * hidden[1] + hidden[4] * numbers[:, 0])
    chance = 1 / (1 + np.exp(-log_odds))
    clicks = (rng.random(n) < chance).astype(np.float64)
    conversions = clicks * (rng.random(n) < 0.1)
    learned, judging = (
        Part(numbers[of], levels[of], clicks[of], conversions[of], chance[of])
        for of in (slice(0, rows), slice(rows, n))
    )
    return Data(learned, judging, seen, batch)


def ours(data: Data, seed: int, epochs: int) -> dict[str, Timing]:
    """`fit_network` as it is, except that it hides no categories, which none of the others does."""
    encoding = Encoding(
        "benchmark",
        tuple(NumericField(f"n{i}", 0.0, 0.0, 1.0) for i in range(NUMBERS)),
        tuple(CategoryField(f"c{j}", (f"c{j}",), k, tuple(range(1, k + 1))) for j, k in enumerate(data.seen)),
    )
    known, one = data.known, np.ones(len(data.known))
    click, conversion = Response.of(known.clicks, one, one), Response.of(known.conversions, known.clicks, one)
    rows = Rows(encoding, known.numbers, known.levels, click, conversion, one)
    steps, ticks = -(-len(rows) // data.batch) * epochs, [time.process_time()]
    settings = NetworkSettings(batch=data.batch, hidden=HIDDEN, dropout=DROPOUT, hidden_categories=0.0)
    network = fit_network(
        rows, seed=seed, settings=settings, epochs=epochs, on_progress=lambda share: ticks.append(time.process_time())
    )
    whole = time.process_time() - ticks[0]
    loss = data.loss(_chance(network.logits(data.later.numbers, data.later.levels)[:, 0]))
    return {
        "ours": Timing((len(rows) * epochs - data.batch) / (ticks[steps] - ticks[1]), loss),
        "ours, whole call": Timing(len(rows) * epochs / whole, loss),
    }


class RowByRow(Dataset[tuple[Tensor, ...]]):
    """The rows as a `Dataset` is usually written."""

    def __init__(self, part: Part) -> None:
        self.columns = tuple(map(torch.from_numpy, (part.numbers, part.levels, part.clicks, part.conversions)))

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, row: int) -> tuple[Tensor, ...]:
        return tuple(column[row] for column in self.columns)


class Ordinary(nn.Module):
    """Our tower on one `nn.Embedding` per category."""

    def __init__(self, seen: list[int]) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(count + 1, WIDTH) for count in seen)
        for table in self.embeddings.parameters():
            nn.init.normal_(table, std=0.05)
        self.tower = Mlp(NUMBERS, len(seen), WIDTH, HIDDEN)

    def forward(self, numbers: Tensor, levels: Tensor) -> Tensor:
        embedded = torch.stack([table(levels[:, j]) for j, table in enumerate(self.embeddings)], dim=1)
        out: Tensor = self.tower(numbers, embedded, lambda wave: functional.dropout(wave, DROPOUT, self.training))
        return out


def data_loader(data: Data, seed: int, epochs: int) -> dict[str, Timing]:
    """The ordinary loop."""
    torch.manual_seed(seed)
    module = Ordinary(data.seen)
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-3)
    loader = DataLoader(RowByRow(data.known), batch_size=data.batch, shuffle=True)
    start = time.process_time()
    for _ in range(epochs):
        for numbers, levels, clicked, converted in loader:
            optimiser.zero_grad()
            loss = entire_space_loss(module(numbers, levels), clicked, 1 - clicked, converted)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    speed = len(data.known) * epochs / (time.process_time() - start)
    with torch.inference_mode():
        log_odds = module.eval()(torch.from_numpy(data.later.numbers), torch.from_numpy(data.later.levels))
    return {"DataLoader": Timing(speed, data.loss(_chance(log_odds[:, 0].double().numpy())))}


def floor(data: Data, seed: int, epochs: int) -> dict[str, Timing]:
    """Arithmetic alone."""
    torch.manual_seed(seed)
    tower = Mlp(NUMBERS, len(data.seen), WIDTH, HIDDEN)
    optimiser = torch.optim.AdamW(tower.parameters(), lr=1e-3, fused=True)
    numbers, embedded = (
        torch.randn(data.batch, NUMBERS),
        torch.randn(data.batch, len(data.seen), WIDTH).requires_grad_(),
    )
    clicked = (torch.rand(data.batch) < 0.1).float()
    counts = clicked, 1 - clicked, clicked * (torch.rand(data.batch) < 0.1)
    steps, start = len(data.known) * epochs // data.batch, time.process_time()
    for step in range(steps):
        optimiser.zero_grad(set_to_none=True)
        embedded.grad = None
        dice = Dice(seed, 0, step, data.batch, slice(0, data.batch), DROPOUT, torch.device("cpu"))
        entire_space_loss(tower(numbers, embedded, dice.drop), *counts).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return {"floor": Timing(steps * data.batch / (time.process_time() - start))}


def fuxictr(data: Data, seed: int, epochs: int) -> dict[str, Timing]:
    """FuxiCTR's trainer, loader and layers, put together as its own DNN is."""
    with _stand_ins({"ray": {}, "ray.data": {"SaveMode": None, "TaskPoolStrategy": None}, "ray.data.datasource": {},
                     "ray.data.datasource.filename_provider": {"FilenameProvider": object}}):  # fmt: skip
        models, layers = import_module("fuxictr.pytorch.models"), import_module("fuxictr.pytorch.layers")
        maps, npz = import_module("fuxictr.features"), import_module("fuxictr.pytorch.dataloaders.npz_dataloader")

    class DNN(models.BaseModel):  # type: ignore[misc, name-defined]
        def __init__(self, features: Any, folder: str) -> None:
            # Judged after the fit and by us: no evaluation within it, and no best weights to go back to.
            super().__init__(features, eval_steps=1 << 60, verbose=0, model_root=folder, metrics=["logloss"])
            self.embedding_layer = layers.FeatureEmbedding(features, WIDTH)
            self.mlp = layers.MLP_Block(
                input_dim=features.sum_emb_out_dim(), output_dim=1, hidden_units=list(HIDDEN), hidden_activations="relu",
                output_activation=self.output_activation, dropout_rates=DROPOUT, batch_norm=False,
            )  # fmt: skip
            self.compile("adam", "binary_crossentropy", 1e-3)
            self.reset_parameters()

        def forward(self, inputs: Any) -> dict[str, Tensor]:
            embedded = self.embedding_layer(self.get_inputs(inputs), flatten_emb=True)
            return {"y_pred": self.mlp(embedded)}

        def load_weights(self, checkpoint: str) -> None:
            pass

    torch.manual_seed(seed)
    features = maps.FeatureMap("benchmark", "")
    for i in range(NUMBERS):
        features.features[f"n{i}"] = {"source": "", "type": "numeric", "embedding_dim": 1}
    for j, count in enumerate(data.seen):
        features.features[f"c{j}"] = {
            "source": "",
            "type": "categorical",
            "vocab_size": count + 1,
            "embedding_dim": WIDTH,
        }
    features.labels = ["click"]
    with tempfile.TemporaryDirectory() as folder:
        loaders = []
        for name, part in (("known", data.known), ("later", data.later)):
            path = f"{folder}/{name}.npz"
            columns: dict[str, Any] = OrderedDict((f"n{i}", part.numbers[:, i]) for i in range(NUMBERS))
            columns |= {f"c{j}": part.levels[:, j] for j in range(len(data.seen))}
            np.savez(path, allow_pickle=False, **columns, click=part.clicks)
            loaders.append(npz.NpzDataLoader(features, path, data.batch, shuffle=name == "known", num_workers=0))
        model = DNN(features, folder)
        start = time.process_time()
        model.fit(loaders[0], epochs=epochs)
        seconds = time.process_time() - start
        return {"FuxiCTR": Timing(len(data.known) * epochs / seconds, data.loss(model.predict(loaders[1])))}


def deepctr_torch(data: Data, seed: int, epochs: int) -> dict[str, Timing]:
    """DeepCTR-Torch's wide-and-deep model with nothing on the wide side."""
    # Its own file of this name asks the network for the newest version.
    with _stand_ins({"deepctr_torch.utils": {"check_version": lambda version: None}}):
        library, kinds = import_module("deepctr_torch.models"), import_module("deepctr_torch.inputs")
    columns = [kinds.SparseFeat(f"c{j}", count + 1, WIDTH) for j, count in enumerate(data.seen)]
    columns += [kinds.DenseFeat(f"n{i}", 1) for i in range(NUMBERS)]

    def inputs(part: Part) -> dict[str, Any]:
        return {f"c{j}": part.levels[:, j] for j in range(len(data.seen))} | {
            f"n{i}": part.numbers[:, i] for i in range(NUMBERS)
        }

    with contextlib.redirect_stdout(io.StringIO()):
        model = library.WDL([], columns, HIDDEN, l2_reg_embedding=0, dnn_dropout=DROPOUT, seed=seed)
        model.compile("adam", "binary_crossentropy")
        start = time.process_time()
        model.fit(inputs(data.known), data.known.clicks, batch_size=data.batch, epochs=epochs, verbose=0)
        seconds = time.process_time() - start
        said = model.predict(inputs(data.later), data.batch)[:, 0]
    return {"DeepCTR-Torch": Timing(len(data.known) * epochs / seconds, data.loss(said))}


WAYS: dict[str, Way] = {
    "ours": ours,
    "DataLoader": data_loader,
    "floor": floor,
    "FuxiCTR": fuxictr,
    "DeepCTR-Torch": deepctr_torch,
}
NEEDED = {"FuxiCTR": ("fuxictr", "polars", "h5py"), "DeepCTR-Torch": ("deepctr_torch",)}


def run(data: Data, rounds: int, epochs: int) -> dict[str, list[Timing]]:
    """Every way in turn, round after round; a way whose library is missing is left out."""
    found: dict[str, list[Timing]] = {}
    with one_thread():
        for seed in range(rounds):
            for name, way in WAYS.items():
                if all(importlib.util.find_spec(package) for package in NEEDED.get(name, ())):
                    for label, timing in way(data, seed, epochs).items():
                        found.setdefault(label, []).append(timing)
    return found


@contextlib.contextmanager
def _stand_ins(modules: dict[str, dict[str, Any]]) -> Iterator[None]:
    """While a library is imported, modules of these names and contents stand in for what it names but we do not use."""
    for name, content in modules.items():
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__dict__.update(content, __path__=[])
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


def _chance(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument(
        "--batch", type=int, action="append", help="rows a step; may be repeated [default: 256 and 2048]"
    )
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    logging.getLogger().setLevel(logging.WARNING)
    data = generate(arguments.rows, max(1, arguments.rows // 8), 0)
    truth = data.loss(data.later.chance)
    found = {
        batch: run(replace(data, batch=batch), arguments.rounds, arguments.epochs)
        for batch in arguments.batch or BATCHES
    }
    if arguments.json:
        told = {
            str(batch): {name: [{"speed": t.speed, "loss": t.loss} for t in timings] for name, timings in ways.items()}
            for batch, ways in found.items()
        }
        print(json.dumps({"values_seen": sum(data.seen), "truth": truth, "batches": told}))
        return
    print(f"{arguments.rows:,} rows, {sum(data.seen):,} values of {len(data.seen)} categories, {NUMBERS} numbers")
    for batch, ways in found.items():
        print(
            f"\n{f'batch of {batch:,}':<17} {'rows/s':>9} {'':19} {'ours ÷ it':>9} {'mark':>5}  log loss of later rows"
        )
        _print(ways)
    print(f"{'the truth':<17} {'':9} {'':19} {'':9} {'':5}  {truth:.5f}")


def _print(ways: dict[str, list[Timing]]) -> None:
    for name in ["ours", "ours, whole call", *MARKS]:
        if name not in ways:
            print(f"{name:<17} not installed (requirements/bench.txt)")
            continue
        speeds = [timing.speed for timing in ways[name]]
        ratio = statistics.median(a.speed / b.speed for a, b in zip(ways["ours"], ways[name], strict=True))
        losses = [timing.loss for timing in ways[name] if timing.loss is not None]
        mark = f"≥ {MARKS[name]:g}" if name in MARKS else ""
        bounds = f"[{min(speeds):,.0f}, {max(speeds):,.0f}]"
        loss = f"{statistics.median(losses):.5f}" if losses else ""
        print(f"{name:<17} {statistics.median(speeds):9,.0f} {bounds:19} {ratio:9.2f} {mark:>5}  {loss}")


if __name__ == "__main__":
    main()
