"""What one bid costs: the eight stages with their record, and the money that is held for it; microseconds of CPU.

``python -m benchmarks.decide [--bids 20000] [--rounds 5] [--json]``

Peers in the same run: for the stages the bare formula (value × multiplier, capped) without stages, reasons or propensity; for the
ledger a reservation and its release in the database (SQLite) for each bid. Predicting is not in it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.ledger import SqlLedger
from bidloop.bidding.ledger.leases import Leases
from bidloop.bidding.ledger.settings import LedgerSettings
from bidloop.bidding.ledger.window import Window, Windows, of_campaign
from bidloop.bidding.pipeline import Bidder
from bidloop.bidding.settings import BiddingSettings, Objective
from bidloop.core.clock import SystemClock
from bidloop.core.decision import BidState
from bidloop.core.landscape import Landscape
from bidloop.core.money import Money
from bidloop.core.opportunity import Auction, Opportunity
from bidloop.core.prediction import Interval, Prediction

UNDERWAY = 1_000
"""Bids that are held at the same time."""


def cpu(work: Callable[[], object], times: int) -> float:
    """Microseconds of CPU of one call."""
    began = time.process_time_ns()
    for _ in range(times):
        work()
    return (time.process_time_ns() - began) / times / 1_000


def stages(bids: int) -> dict[str, float]:
    """One whole `Bidder.bid`, by auction and by whether other bids are tried, beside the bare formula."""
    grid = np.linspace(0.05, 10.0, 200)
    landscape = Landscape(grid, 1 - np.exp(-grid / 2), 0.05, 10.0)
    prediction = Prediction(
        ctr=0.03,
        conversion_rate=0.05,
        ctr_interval=Interval(0.02, 0.04, 0.95),
        order_value=Money.of(80),
        model_version="v1",
        support=1e4,
    )
    state = BidState(multiplier=0.7, remaining=Money.of(50), previous_bid=Money.of("2.1"), draw=0.3)
    taken = {}
    for auction in Auction:
        about = Opportunity(
            opportunity_id="o",
            at=datetime(2026, 1, 1, tzinfo=UTC),
            campaign_id="brand",
            keyword="shoes",
            auction=auction,
        )
        for rate in (0.0, 0.05):
            settings = BiddingSettings(
                objective=Objective.TARGET_ROAS, target_roas=1.5, max_bid=5.0, max_step=0.5, exploration_rate=rate
            )
            bidder = Bidder(settings)
            name = f"{auction.value.replace('_', ' ')}, exploration {'on' if rate else 'off'}"
            taken[name] = cpu(lambda bidder=bidder, about=about: bidder.bid(about, prediction, landscape, state), bids)  # type: ignore[misc]
    taken["bare formula"] = cpu(
        lambda: min(5_000_000, round(prediction.conversion_rate * 80.0 / 1.5 * state.multiplier * 1e6)), bids
    )
    return taken


def money(bids: int) -> dict[str, float]:
    """What is asked and held for one bid, and let go again, beside a reservation in the database."""
    with tempfile.TemporaryDirectory() as folder:
        engine = open_database(Path(folder) / "bidloop.db")
        ledger, now = SqlLedger(engine), datetime.now(UTC)
        leases = Leases(
            ledger,
            lambda name, day: {Window(of_campaign(name), f"day:{day}"): 10**15},
            "UTC",
            LedgerSettings(),
            SystemClock(),
        )
        leases.available("brand", now)
        names = [str(number) for number in range(UNDERWAY)]

        def leased() -> None:
            for name in names:
                leases.available("brand", now)
                leases.hold(name, "brand", now, 1_000, 300.0)
            leases.settle((name, 0) for name in names)

        windows, later = Windows().of("brand", now), now + timedelta(minutes=1)
        number = iter(range(10**9))

        def reserved() -> None:
            name = f"bid {next(number)}"
            ledger.reserve(name, windows, 1_000, later, later)
            ledger.release(name)

        taken = {
            "held from a lease": cpu(leased, max(1, bids // UNDERWAY)) / UNDERWAY,
            "reserved in the database": cpu(reserved, max(10, bids // 100)),
        }
        engine.dispose()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bids", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rounds = [stages(asked.bids) | money(asked.bids) for _ in range(asked.rounds)]
    told = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    if asked.json:
        print(json.dumps(told, indent=2))
        return
    print(f"microseconds of CPU per bid, medians of {asked.rounds} rounds")
    for name, microseconds in told.items():
        print(f"  {name:40} {microseconds:8.2f}")
    print(
        f"a lease costs {told['held from a lease'] / told['reserved in the database']:.4f} of a reservation in the database"
    )


if __name__ == "__main__":
    main()
