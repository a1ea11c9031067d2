"""The loop that serves production goes through the simulated market."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from bidloop.app.settings import Settings
from bidloop.app.wiring import open_loop
from bidloop.core.clock import ManualClock
from bidloop.core.event import ConversionReported
from bidloop.experiments.tally import Tally
from bidloop.features.settings import FeatureSettings
from bidloop.loop import Loop
from bidloop.simulation.market import SimulatedMarket
from bidloop.simulation.run import run
from bidloop.simulation.world import World, WorldSettings

DAYS = range(2)


@pytest.fixture(scope="module")
def busy() -> World:
    return World(WorldSettings(auctions_per_day=600, ctr=0.3, conversion_rate=0.3))


def go(world: World, home: Path) -> tuple[Loop, SimulatedMarket, Tally]:
    clock, made = ManualClock(world.start(0)), count()
    market = SimulatedMarket(world, DAYS, budgets=world.budgets(0.3))
    settings = Settings(home=str(home), features=FeatureSettings(view="campaign"))
    loop = open_loop(settings, clock, ids=lambda _: f"{next(made):032x}")
    return loop, market, run(loop, market, clock, minutes=60)


@pytest.fixture(scope="module")
def gone(busy: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Loop, SimulatedMarket, Tally]:
    return go(busy, tmp_path_factory.mktemp("home"))


def test_the_loop_s_history_is_the_market_s_truth_less_what_is_still_to_come(
    gone: tuple[Loop, SimulatedMarket, Tally],
) -> None:
    loop, market, tally = gone
    late = [event for event in market.underway if isinstance(event, ConversionReported)]
    clicks_underway = len(market.underway) - len(late)
    loop.history.sync()
    known = loop.history.observations()
    assert known.impressions.sum() == tally.impressions > 100
    assert known.clicks.sum() == tally.clicks - clicks_underway
    assert known.conversions.sum() == tally.conversions - len(late)
    assert known.cost.sum() == pytest.approx(tally.spend, rel=1e-5)
    assert late


def test_the_loop_knows_what_it_spent_and_keeps_its_budgets(
    busy: World, gone: tuple[Loop, SimulatedMarket, Tally]
) -> None:
    loop, _, tally = gone
    spent = 0
    for name, budget in busy.budgets(0.3).items():
        for day in DAYS:
            of_day = loop.pacer.spent(name, busy.start(day))
            assert of_day <= budget
            spent += of_day.micros
    assert spent / 1e6 == pytest.approx(tally.spend, rel=1e-5)


def test_the_same_world_and_ids_give_the_same_decisions(
    busy: World, gone: tuple[Loop, SimulatedMarket, Tally], tmp_path: Path
) -> None:
    _, _, again = go(busy, tmp_path / "again")
    assert again == gone[2]
