"""A home folder that has learned from a small simulated past, and copies of it to try things on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bidloop.app.settings import Settings
from bidloop.app.wiring import open_house, open_loop
from bidloop.bidding.settings import BiddingSettings
from bidloop.core.clock import ManualClock
from bidloop.events.intake import Receipt
from bidloop.loop import Loop
from bidloop.outcomes.settings import OutcomeSettings
from bidloop.retraining.renewal import Renewal
from bidloop.retraining.settings import RenewalSettings
from bidloop.simulation.account_past import AccountPast, account_past
from bidloop.simulation.world import World, WorldSettings

PAST_DAYS = 6


@dataclass(frozen=True)
class Taught:
    """A house that took six days of flat bids in and trained on them; its folder is to be copied, not changed."""

    world: World
    past: AccountPast
    settings: Settings
    receipt: Receipt
    renewal: Renewal

    def copy_to(self, home: Path, **bidding: Any) -> Settings:
        """The settings of a copy of the home folder, with other bidding settings if asked for."""
        shutil.copytree(self.settings.home, home)
        return self.settings_of(home, **bidding)

    def settings_of(self, home: Path, **bidding: Any) -> Settings:
        return msgspec.structs.replace(
            self.settings, home=str(home), bidding=msgspec.structs.replace(self.settings.bidding, **bidding)
        )

    def clock(self) -> ManualClock:
        """The first midnight after the past."""
        return ManualClock(self.world.start(PAST_DAYS))


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    world = World(
        WorldSettings(
            seed=5,
            auctions_per_day=1500,
            campaigns=("running-shoes", "city-bikes", "garden-tools"),
            keywords=6,
            ad_groups=2,
            devices=("desktop", "mobile"),
            device_shares=(0.4, 0.6),
            locations=("US-CA", "US-TX"),
            location_shares=(0.6, 0.4),
            ctr=0.12,
            conversion_rate=0.3,
            conversion_delay_hours=6.0,
        )
    )
    settings = Settings(
        home=str(tmp_path_factory.mktemp("taught") / "home"),
        outcomes=OutcomeSettings(attribution_window_days=1.0, conversion_window_days=1.0),
        bidding=BiddingSettings(
            budgets={name: budget.amount for name, budget in world.budgets(0.25).items()}, exploration_rate=0.05
        ),
        renewal=RenewalSettings(seed=5, kinds=("constant", "logistic")),
    )
    past = account_past(world, range(PAST_DAYS), seed=5)
    clock = ManualClock(world.start(PAST_DAYS))
    house = open_house(settings, clock)
    receipt = house.intake.accept(past.events)
    renewal = open_loop(settings, clock, training=True, house=house).renew()
    return Taught(world, past, settings, receipt, renewal)


@pytest.fixture
def open_copy(taught: Taught, tmp_path: Path) -> Callable[..., Loop]:
    """Opens a loop over a copy of the taught home: again over the same copy when called again."""

    def open_it(**bidding: Any) -> Loop:
        home = tmp_path / "home"
        settings = taught.settings_of(home, **bidding) if home.exists() else taught.copy_to(home, **bidding)
        return open_loop(settings, taught.clock())

    return open_it
