"""Days of a simulated world as a market to bid in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from bidloop.core.errors import InvalidInput
from bidloop.core.event import Event
from bidloop.core.money import Money
from bidloop.experiments.auctions import Auctions
from bidloop.simulation.auction_market import AuctionMarket
from bidloop.simulation.market_day import MarketDay
from bidloop.simulation.world import DayTruth, World


class SimulatedMarket(AuctionMarket):
    """Consecutive days of a world, to be bid for through a loop.

    Parameters
    ----------
    world
        Whose days.
    days
        Numbers of the days, without gaps, such as ``range(14, 17)``.
    budgets
        Daily budget by campaign, which the market keeps to and states with every opportunity; `None` for none.
    underway
        Events of earlier days that are still to be told.

    Raises
    ------
    InvalidInput
        When there are no days, or days before the world's first.

    Examples
    --------
    Bids that are far too high win everything, and pay the market price:

    >>> from bidloop.simulation.auction_market import Bid
    >>> from bidloop.simulation.world import WorldSettings
    >>> world = World(WorldSettings(auctions_per_day=500))
    >>> market = SimulatedMarket(world, range(1))
    >>> for batch in market.batches(minutes=60):
    ...     events = market.settle_bids([Bid(o.opportunity_id, o.opportunity_id, 10**12) for o in batch])
    >>> tally = market.tally()
    >>> tally.win_rate, abs(tally.spend - market.auctions().cost.sum()) < 1e-6
    (1.0, np.True_)
    """

    def __init__(
        self,
        world: World,
        days: range,
        *,
        budgets: Mapping[str, Money] | None = None,
        underway: Iterable[Event] = (),
    ) -> None:
        if not days or days.step != 1 or days.start < 0:
            raise InvalidInput(f"days {days}", path="days", expected="a range of consecutive days from 0 on")
        self.world = world
        self._truths: list[DayTruth] = []
        super().__init__(
            self._played(days, budgets),
            start=world.start(days.start),
            end=world.start(days.stop),
            budgets=budgets,
            outages=world.outage_spans(),
            tells_losing_price=world.settings.tells_losing_price,
            underway=underway,
        )

    def true_auctions(self) -> Auctions:
        """The auctions gone through so far, with the true rates and order values as their predictions."""
        columns = [np.column_stack((t.ctr, t.conversion_rate, t.order_value)) for t in self._truths]
        everything = [np.ones(len(truth), dtype=bool) for truth in self._truths]
        return self._auctions(everything, np.concatenate([np.zeros((0, 3)), *columns]))

    def _played(self, days: range, budgets: Mapping[str, Money] | None) -> Iterator[MarketDay]:
        for number in days:
            truth = self.world.day(number)
            self._truths.append(truth)
            yield MarketDay(self.world.opportunities(truth, budgets), truth.potential)
