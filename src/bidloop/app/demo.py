"""The whole loop, end to end: learn from a log, decide on the test days, compare with other policies, tell it all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from bidloop.adapters.ipinyou.reader import CURRENCY, TIMEZONE, read_events
from bidloop.app.report.content import Report
from bidloop.app.reporting import Played, compile_report
from bidloop.app.settings import Settings
from bidloop.app.terminal import progress
from bidloop.app.training import train
from bidloop.app.wiring import House, open_house, open_loop
from bidloop.bidding.settings import BiddingSettings, Objective
from bidloop.core.clock import Clock, ManualClock
from bidloop.core.errors import ConfigurationError
from bidloop.core.event import ClickReceived, Event, ImpressionServed
from bidloop.core.money import Money
from bidloop.events.intake import Receipt
from bidloop.events.rejected import Rejected
from bidloop.experiments.auctions import Auctions
from bidloop.experiments.auctions import Objective as Goal
from bidloop.features.settings import FeatureSettings
from bidloop.loop import Loop
from bidloop.outcomes.settings import OutcomeSettings
from bidloop.retraining.settings import RenewalSettings
from bidloop.retraining.training_set import features_as_of_then
from bidloop.simulation.account_past import account_past
from bidloop.simulation.auction_market import AuctionMarket
from bidloop.simulation.logged_market import LoggedMarket
from bidloop.simulation.market import SimulatedMarket
from bidloop.simulation.run import run
from bidloop.simulation.world import World, WorldSettings

PAST_DAYS = 10
TEST_DAYS = 3
BATCH_MINUTES = 10.0
MARKER = "this-folder-is-made-by-bidloop-demo"


@dataclass(frozen=True)
class Demonstration:
    """What a demo leaves: the report, and the settings under which what was learned can be served."""

    report: Report
    settings: Settings


def simulated(
    folder: Path, *, share: float, seed: int, world: WorldSettings | None = None, kinds: tuple[str, ...] = ()
) -> Demonstration:
    """Learn from ten days of flat bids on the simulated market, then bid for three days under budgets.

    Parameters
    ----------
    folder
        Is emptied first, if an earlier demo made it.
    share
        Each campaign's daily budget, as a share of what winning all its auctions would cost.
    world
        Another world than the default one of this seed.
    kinds
        Which models to train; all by default.
    """
    _empty(folder)
    market_world = World(world or WorldSettings(seed=seed, first_day=_a_monday(date.today())))
    budgets = market_world.budgets(share)
    settings = Settings(
        home=str(folder / "house"),
        bidding=BiddingSettings(
            objective=Objective.MAXIMIZE_VALUE,
            budgets={name: budget.amount for name, budget in budgets.items()},
            exploration_rate=0.05,
        ),
        renewal=RenewalSettings(seed=seed, kinds=kinds),
    )
    with progress("Ten days of the account's past", 1.0) as bar:
        past = account_past(market_world, range(PAST_DAYS), seed=seed, on_progress=lambda share: bar(share, ""))
    clock = ManualClock(market_world.start(PAST_DAYS))
    house = open_house(settings, clock)
    with progress("Taking the past in", len(past.events)) as bar:
        receipt = house.intake.accept(past.events, lambda done: bar(done, ""))
    loop = open_loop(settings, clock, ids=seeded_ids(seed), training=True, house=house)
    with progress("Training", 1.0) as bar:
        renewal = train(house, loop, on_progress=lambda doing, share: bar(share, doing)).renewal
    market = SimulatedMarket(
        market_world, range(PAST_DAYS, PAST_DAYS + TEST_DAYS), budgets=budgets, underway=past.underway
    )
    with progress("Bidding on three test days", 1.0) as bar:
        run(loop, market, clock, minutes=BATCH_MINUTES, objective=Goal.VALUE, on_progress=lambda share: bar(share, ""))
    rehearsal = SimulatedMarket(market_world, range(PAST_DAYS - 2, PAST_DAYS), budgets=budgets)
    played = Played(
        loop=loop,
        renewal=renewal,
        receipt=receipt,
        market=market,
        rehearsal=rehearse(loop, rehearsal),
        budgets={name: budget.amount for name, budget in budgets.items()},
        goal=Goal.VALUE,
        timezone=settings.timezone,
        truth=market.true_auctions(),
    )
    report = compile_report(
        played,
        title="The loop on a simulated market",
        subtitle=(
            f"Seed {seed}: {PAST_DAYS} days of flat, jittered bids to learn from, {TEST_DAYS} test days with budgets of "
            f"{share:.3g} of full spend, {len(market.won):,} auctions, second price."
        ),
        notes=(
            "All policies meet the same auctions, clicks and conversions; none can exceed a budget.",
            "Constant, linear and mcpc use the predictions that ours used; constant and linear are tuned on the last two "
            "days before the test with full knowledge of their prices.",
            "The hindsight optimum knows every price and every true rate beforehand; the all-knowing knows every conversion, and "
            "buys nothing else.",
            "Conversions are counted in truth, also those that are reported after the test.",
        ),
    )
    return Demonstration(report, settings)


def logged(data: Path, folder: Path, *, share: float, seed: int) -> Demonstration:
    """Learn from all but the last two days of an iPinYou log, then bid for these two days under budgets.

    Parameters
    ----------
    data
        The folder of the log.
    folder, share
        As for `simulated`.

    Notes
    -----
    Two houses are kept. `house` holds the whole log, and its renewal judges every model on the last two days. `test` holds
    what was known when these days began, and there the days are met again, with the same model.
    """
    _empty(folder)
    events, receipt, house = _take_in(data, folder, seed)
    loop = open_loop(house.settings, training=True, house=house)
    with progress("Training", 1.0) as bar:
        renewal = train(house, loop, on_progress=lambda doing, share: bar(share, doing)).renewal
    start = _last_days(events, days=2)
    budgets = _daily_budgets(events, start, share)
    settings = _auction_settings(folder / "test", seed, budgets, events)
    clock = ManualClock(start)
    test = open_house(settings, clock)
    test.intake.accept(event for event in events if event.at < start)
    shutil.copytree(house.shelf.path(renewal.version), test.shelf.folder / renewal.version)
    test.shelf.promote(renewal.version)
    loop = open_loop(settings, clock, ids=seeded_ids(seed), house=test)
    loop.start_pacing()
    market = LoggedMarket(events, timezone=TIMEZONE, start=start, budgets=budgets, seed=seed)
    with progress("Bidding on the last two days", 1.0) as bar:
        run(loop, market, clock, minutes=BATCH_MINUTES, objective=Goal.CLICKS, on_progress=lambda share: bar(share, ""))
    rehearsal = LoggedMarket(
        events, timezone=TIMEZONE, start=start - timedelta(days=2), end=start, budgets=budgets, seed=seed
    )
    played = Played(
        loop=loop,
        renewal=renewal,
        receipt=receipt,
        market=market,
        rehearsal=rehearse(loop, rehearsal),
        budgets={name: budget.amount for name, budget in budgets.items()},
        goal=Goal.CLICKS,
        timezone=TIMEZONE,
    )
    report = compile_report(
        played,
        title="The loop on the iPinYou log",
        subtitle=(
            f"Trained on all days before {start.astimezone(ZoneInfo(TIMEZONE)):%Y-%m-%d} (China time), tested on the two days "
            f"from then, with budgets of {share:.3g} of full spend; second price, market prices of won impressions."
        ),
        notes=(
            "The log samples impressions and holds every click; rows are weighted back to the whole of it.",
            f"Click rows tell no price: {market.borrowed:,} prices were borrowed from impressions like them.",
            "The log holds won impressions only: nothing can be said about auctions that the logger lost.",
            "Constant, linear and mcpc use the predictions that ours used; constant and linear are tuned on the two days "
            "before the test with full knowledge of their prices.",
            "The hindsight optimum knows every price beforehand; the all-knowing knows every click, and buys little else.",
        ),
    )
    return Demonstration(report, house.settings)


def rehearse(loop: Loop, market: AuctionMarket) -> Auctions:
    """Auctions of days that are known already, with the predictions that the present model makes for them."""
    opportunities = [opportunity for batch in market.batches(minutes=24 * 60) for opportunity in batch]
    table = features_as_of_then(loop.view, loop.history, opportunities)
    return market.auctions(loop.predictor.predict(opportunities, table))


def _take_in(data: Path, folder: Path, seed: int) -> tuple[list[Event], Receipt, House]:
    """The log's events, and the house that took them in."""
    with progress(f"Reading {data.name}", 1.0) as bar:
        items = list(read_events(data, lambda share: bar(share, "")))
    events = [item for item in items if not isinstance(item, Rejected)]
    house = open_house(_auction_settings(folder / "house", seed, {}, events))
    with progress("Taking the log in", len(items)) as bar:
        receipt = house.intake.accept(items, lambda done: bar(done, ""))
    return events, receipt, house


def _auction_settings(home: Path, seed: int, budgets: Mapping[str, Money], events: Sequence[Event]) -> Settings:
    """Most clicks for the budget. A click is worth ten times what one has cost: more than any budget here can use up."""
    impressions = [event for event in events if isinstance(event, ImpressionServed)]
    spend = sum(event.price.amount * event.weight for event in impressions if event.price is not None)
    clicks = sum(isinstance(event, ClickReceived) for event in events)
    return Settings(
        home=str(home),
        timezone=TIMEZONE,
        currency=CURRENCY,
        features=FeatureSettings(view="ipinyou"),
        outcomes=OutcomeSettings(attribution_window_days=1.0, conversion_window_days=1.0),
        bidding=BiddingSettings(
            objective=Objective.MAXIMIZE_CLICKS,
            click_value=round(10 * spend / max(1, clicks), 2),
            budgets={name: budget.amount for name, budget in budgets.items()},
        ),
        renewal=RenewalSettings(seed=seed),
    )


def _last_days(events: Sequence[Event], days: int) -> datetime:
    """Midnight, in the account's timezone, at which the last days begin."""
    last = max(event.at for event in events if isinstance(event, ImpressionServed)).astimezone(ZoneInfo(TIMEZONE))
    return datetime(last.year, last.month, last.day, tzinfo=last.tzinfo) - timedelta(days=days - 1)


def _daily_budgets(events: Sequence[Event], start: datetime, share: float) -> dict[str, Money]:
    """A share of what all of a campaign's impressions of the test days cost, by day: the size of the test, told to all."""
    spent: dict[str, float] = {}
    days = set[date]()
    for event in events:
        if isinstance(event, ImpressionServed) and event.price is not None and event.opportunity and event.at >= start:
            campaign = event.opportunity.campaign_id
            spent[campaign] = spent.get(campaign, 0.0) + event.price.amount * event.weight
            days.add(event.at.astimezone(ZoneInfo(TIMEZONE)).date())
    return {name: Money.of(f"{share * total / len(days):.2f}", CURRENCY) for name, total in sorted(spent.items())}


def seeded_ids(seed: int) -> Callable[[Clock], str]:
    """Decision ids that a seed repeats: exploration draws by them, so a run can be repeated exactly.

    >>> from bidloop.core.clock import SystemClock
    >>> seeded_ids(1)(SystemClock()) == seeded_ids(1)(SystemClock())
    True
    """
    rng, made = np.random.default_rng(seed), count()

    def new(clock: Clock) -> str:
        return next(made).to_bytes(6, "big").hex() + rng.bytes(10).hex()

    return new


def _a_monday(today: date) -> date:
    """The latest Monday from which the demo's days have all passed: so what was learned is fresh when it is served.

    Only weekdays shape the world, so every Monday begins the same one.

    >>> _a_monday(date(2026, 1, 20))
    datetime.date(2026, 1, 5)
    """
    latest = today - timedelta(days=PAST_DAYS + TEST_DAYS)
    return latest - timedelta(days=latest.weekday())


def _empty(folder: Path) -> None:
    """Empty a folder that an earlier demo made; anything else there is somebody's own."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise ConfigurationError(
                f"{folder} is not empty and no demo made it",
                expected="a new folder, or one of an earlier demo",
                remedy="Name another one with --home.",
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()
