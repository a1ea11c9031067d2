"""A plug: reads the log layout of the RTB benchmark into `bidloop.experiments.auctions.Auctions`."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import InvalidInput, NotFound
from bidloop.experiments.auctions import Auctions

AUCTIONS = ("test.theta.txt", "test.theta.txt.gz")
TOTALS = ("imp_train", "clk_train", "cost_train", "price_counter_train")


@dataclass(frozen=True)
class TrainingTotals:
    """What is known of the training log: its totals, and how often each price occurred.

    Parameters
    ----------
    spend
        In the unit of the price.
    price_counts
        Counts of the market prices 0, 1, 2 …, float64, shape (k,).
    """

    impressions: int
    clicks: int
    spend: float
    price_counts: NDArray[np.float64]

    @property
    def ctr(self) -> float:
        """Clicks per impression."""
        return self.clicks / self.impressions

    @property
    def mean_price(self) -> float:
        """Spend per impression."""
        return self.spend / self.impressions

    @property
    def cost_per_click(self) -> float:
        """Spend per click."""
        return self.spend / self.clicks

    def episode_budget(self, fraction: float, auctions: int) -> int:
        """Budget for so many auctions, as a fraction of what all of them would cost at the mean price."""
        return int(self.mean_price * fraction * auctions)


@dataclass(frozen=True)
class Log:
    """One campaign: its test auctions, and the totals of its training log."""

    auctions: Auctions
    training: TrainingTotals


def read_log(folder: Path) -> Log:
    r"""Read one campaign's folder.

    ``test.theta.txt`` (or ``.gz``) has a line per auction in order of time: click, market price, predicted click
    rate. ``info.json`` has the totals of the training log. Prices and spend stay in the log's own unit, where the
    price is taken as the cost of the impression; there are no times, so that a second stands for each auction.

    Raises
    ------
    NotFound
        When the folder or one of the files is missing.
    InvalidInput
        When a file cannot be read, a total is missing or zero, or an auction makes no sense.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "test.theta.txt").write_text("0 70 0.002\n1 6 0.003\n")
    ...     totals = '{"imp_train": 1000, "clk_train": 4, "cost_train": 50000, "price_counter_train": [0, 5, 995]}'
    ...     _ = (Path(folder) / "info.json").write_text(totals)
    ...     log = read_log(Path(folder))
    >>> len(log.auctions), log.training.ctr, log.training.episode_budget(1 / 2, 1000)
    (2, 0.004, 25000)
    """
    if not folder.is_dir():
        raise NotFound(f"no folder {str(folder)!r}", expected="a campaign's folder with info.json and test.theta.txt")
    file = next((folder / name for name in AUCTIONS if (folder / name).is_file()), None)
    if file is None:
        raise NotFound(
            f"no auctions in {str(folder)!r}",
            expected=f"{AUCTIONS[0]} or {AUCTIONS[1]}",
            remedy="Of the nine campaigns of the benchmark, name one whose test log is there.",
        )
    return Log(_read_auctions(file, folder.resolve().name), _read_totals(folder / "info.json"))


def _read_auctions(file: Path, campaign: str) -> Auctions:
    try:
        with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
            table = np.loadtxt(lines, dtype=np.float64, ndmin=2)
    except (OSError, EOFError, ValueError) as error:
        raise InvalidInput(
            f"{file.name} cannot be read ({error})", path=str(file), expected="lines of click, price, click rate"
        ) from error
    if table.shape[1] != 3 or not len(table):
        raise InvalidInput(f"{table.shape} values in {file.name}", path=str(file), expected="three in each line")
    return Auctions.of(click=table[:, 0], market_price=table[:, 1], ctr=table[:, 2], campaign=campaign, charge=None)


def _read_totals(file: Path) -> TrainingTotals:
    if not file.is_file():
        raise NotFound(f"no file {str(file)!r}", expected="the totals of the training log")
    try:
        info: dict[str, Any] = json.loads(file.read_text())
        totals = TrainingTotals(
            impressions=int(info["imp_train"]),
            clicks=int(info["clk_train"]),
            spend=float(info["cost_train"]),
            price_counts=np.array(info["price_counter_train"], dtype=np.float64),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidInput(
            f"{file.name}: {error!r}", path=str(file), expected=f"the totals {', '.join(TOTALS)}"
        ) from error
    if min(totals.impressions, totals.clicks, totals.spend) <= 0:
        raise InvalidInput(f"{file.name} without impressions, clicks or cost", path=str(file), expected="above 0")
    return totals
