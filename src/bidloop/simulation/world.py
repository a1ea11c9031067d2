"""A small world whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import InvalidInput
from bidloop.core.money import Money
from bidloop.core.opportunity import Charge, Opportunity
from bidloop.simulation.calendar import Calendar, instant, moments
from bidloop.simulation.names import Names, user_name, user_number
from bidloop.simulation.potential import Potential
from bidloop.simulation.prices import CENT, Prices, cents, micros
from bidloop.simulation.randomness import stream
from bidloop.simulation.rates import Rate
from bidloop.simulation.settings import WorldSettings
from bidloop.simulation.traffic import Cells, Traffic

__all__ = ["DayTruth", "World", "WorldSettings"]

TYPICAL_AUCTIONS = 40_000
"""Size of the sample from which levels, budgets and present bids are set."""


@dataclass(frozen=True)
class DayTruth:
    """All that is true of one day's n auctions.

    Parameters
    ----------
    day
        Number of the day.
    cells
        What the auctions are for.
    ctr, conversion_rate
        True P(click | impression) and P(conversion | click) of this user in this cell, float64, shape (n,).
    order_value
        True E[value | conversion], account currency, float64, shape (n,).
    floor
        Floor prices in micros of the unit that bids are in, int64, shape (n,); 0 where there is none.
    potential
        Market prices, clicks, conversions, their times and values.
    """

    day: int
    cells: Cells
    ctr: NDArray[np.float64]
    conversion_rate: NDArray[np.float64]
    order_value: NDArray[np.float64]
    floor: NDArray[np.int64]
    potential: Potential

    def __len__(self) -> int:
        return len(self.ctr)


class World:
    """Campaigns, users and competitors, fixed by the seed; any day of it can be looked at on its own.

    Clicks and conversions follow logit models with interactions (`log_odds`), market prices are log-normal and
    correlated with value (`prices`), conversions are reported after an exponential delay. A drift changes the truth
    from its day on, while the same people search for the same things, with the same luck.

    Parameters
    ----------
    settings
        What the world is like.

    Examples
    --------
    >>> world = World(WorldSettings(auctions_per_day=2000))
    >>> monday = world.day(0)
    >>> opportunities = world.opportunities(monday)
    >>> opportunities[0].campaign_id in world.names.campaigns
    True
    >>> bool(np.allclose(world.true_ctr(opportunities), monday.ctr))
    True
    """

    def __init__(self, settings: WorldSettings) -> None:
        self.settings = settings
        self.names = Names(settings)
        self.calendar = Calendar(settings.first_day, settings.timezone)
        self._traffic = Traffic(settings, self.calendar, self.names.ad_group_of)
        self._ctr = Rate(settings, "ctr")
        self._conversion_rate = Rate(settings, "conversion_rate")
        spread = stream(settings.seed, "order values").normal(0, settings.order_value_spread, len(settings.campaigns))
        relative = np.exp(spread) / (self._traffic.campaign_shares @ np.exp(spread))
        self._order_value = settings.order_value * relative
        self._user_names = [user_name(number) for number in range(settings.users)]
        self._set_levels()

    def start(self, day: int) -> datetime:
        """Local midnight at which the day begins, in UTC."""
        return self.calendar.start(day)

    def day(self, day: int) -> DayTruth:
        """The truth of one day.

        Raises
        ------
        InvalidInput
            When the day lies before the world's first.
        """
        if day < 0:
            raise InvalidInput(f"day {day}", path="day", expected="0, the first day, or a later one")
        settings, cells = self.settings, self._traffic.day(day)
        ctr, conversion_rate = self._ctr.of(cells, day), self._conversion_rate.of(cells, day)
        price, floor = self._prices_of(cells, ctr, self._price_factor(day), stream(settings.seed, "prices", day))
        potential = self._outcomes(day, cells, ctr, conversion_rate, price)
        order_value = self._order_value[cells.campaign]
        return DayTruth(day, cells, ctr, conversion_rate, order_value, floor, potential)

    def opportunities(self, truth: DayTruth, budgets: Mapping[str, Money] | None = None) -> list[Opportunity]:
        """A day's auctions as the engine gets to see them, in order of time.

        Parameters
        ----------
        budgets
            Each campaign's budget of the day, to be stated with every opportunity.
        """
        names, settings, cells = self.names, self.settings, truth.cells
        budgets = budgets or {}
        bids = self.current_bids()
        floors = {value: Money(value, settings.currency) for value in np.unique(truth.floor).tolist() if value > 0}
        return [
            Opportunity(
                opportunity_id=f"sim-{truth.day:04d}-{row:06d}",
                at=at,
                campaign_id=(campaign_id := names.campaigns[campaign]),
                ad_group_id=names.ad_groups[campaign][ad_group],
                keyword=names.keywords[campaign][keyword],
                device=names.devices[device],
                location=names.locations[location],
                user_id=self._user_names[user],
                auction=settings.auction,
                charge=settings.charge,
                currency=settings.currency,
                floor=floors.get(floor),
                current_bid=bids[campaign_id],
                budget=budgets.get(campaign_id),
            )
            for row, (at, campaign, ad_group, keyword, device, location, user, floor) in enumerate(
                zip(
                    moments(cells.at),
                    cells.campaign.tolist(),
                    cells.ad_group.tolist(),
                    cells.keyword.tolist(),
                    cells.device.tolist(),
                    cells.location.tolist(),
                    cells.user.tolist(),
                    truth.floor.tolist(),
                    strict=True,
                )
            )
        ]

    def true_ctr(self, opportunities: Sequence[Opportunity]) -> NDArray[np.float64]:
        """True P(click | impression) of each opportunity at its own time, float64, shape (n,).

        A user whom the world does not know, such as an empty `user_id`, counts as an average one.

        Raises
        ------
        NotFound
            When an opportunity names a campaign, keyword, device or location that this world does not have.
        """
        return self._true_rate(self._ctr, opportunities)

    def true_conversion_rate(self, opportunities: Sequence[Opportunity]) -> NDArray[np.float64]:
        """True P(conversion | click) of each opportunity at its own time; see `true_ctr`."""
        return self._true_rate(self._conversion_rate, opportunities)

    def true_order_value(self, campaign_id: str) -> float:
        """True mean value of a campaign's conversions, in account currency."""
        return float(self._order_value[self.names.campaigns.index(campaign_id)])

    def current_bids(self) -> dict[str, Money]:
        """The account's flat bid for each campaign before any optimisation."""
        return dict(self._current_bids)

    def budgets(self, share: float | None = None) -> dict[str, Money]:
        """A daily budget for each campaign, in whole cents.

        Parameters
        ----------
        share
            Of what winning all its auctions would cost on a mean day, before drift; `None` takes the settings'.

        Raises
        ------
        InvalidInput
            When the share is not a finite number of at least 0.
        """
        share = self.settings.budget_share if share is None else share
        if not 0 <= share < np.inf:
            raise InvalidInput(f"a budget share of {share}", path="share", expected="a finite number of at least 0")
        amounts = cents(share * self._cost_of_everything).tolist()
        return {
            name: Money(amount, self.settings.currency)
            for name, amount in zip(self.names.campaigns, amounts, strict=True)
        }

    def outage_spans(self) -> list[tuple[np.datetime64, np.datetime64, tuple[str, ...]]]:
        """When tracking fails: from, until (datetime64[us] in UTC) and what is lost."""
        spans: list[tuple[np.datetime64, np.datetime64, tuple[str, ...]]] = []
        for outage in self.settings.outages:
            start = self.start(outage.day) + timedelta(hours=outage.hour)
            spans.append((instant(start), instant(start + timedelta(hours=outage.hours)), tuple(outage.loses)))
        return spans

    def _set_levels(self) -> None:
        """Set what holds on average: the mean rates, the price level, budgets, present bids."""
        settings, cells = self.settings, self._traffic.sample(TYPICAL_AUCTIONS)
        self._ctr.set_mean(cells, settings.ctr)
        self._conversion_rate.set_mean(cells, settings.conversion_rate)
        self._typical_ctr = settings.ctr
        self._prices = Prices(settings, float(self._worth(cells).mean()))
        ctr = self._ctr.of(cells, day=None)
        price, _ = self._prices_of(cells, ctr, 1.0, stream(settings.seed, "typical prices"))
        cost = price / 1e6 * (ctr if settings.charge is Charge.PER_CLICK else 0.001)
        self._cost_of_everything = np.zeros(len(settings.campaigns))
        self._current_bids = {}
        for number, name in enumerate(self.names.campaigns):
            rows = cells.campaign == number
            self._cost_of_everything[number] = cost[rows].sum() / len(cells) * settings.auctions_per_day
            median = np.median(price[rows]) if rows.any() else np.median(price)
            bid = round(settings.current_bid_level * float(median) / CENT) * CENT
            self._current_bids[name] = Money(max(CENT, bid), settings.currency)

    def _worth(self, cells: Cells) -> NDArray[np.float64]:
        """What an impression of each cell is worth before any drift: what competitors have an idea of."""
        rates = self._ctr.of(cells, None, users=False) * self._conversion_rate.of(cells, None, users=False)
        return np.asarray(rates * self._order_value[cells.campaign])

    def _prices_of(
        self, cells: Cells, ctr: NDArray[np.float64], factor: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The lowest bid that wins, and the floor below it, in micros of the unit that bids are in."""
        competing = self._prices.competing(cells, self._worth(cells), factor, rng)
        floor = self._prices.floors(cells)
        if self.settings.charge is Charge.PER_CLICK:
            competing, floor = competing / ctr, floor / self._typical_ctr
        else:
            competing, floor = competing * 1000.0, floor * 1000.0
        floors = cents(floor)
        return np.maximum(np.maximum(micros(competing), floors), 1), floors

    def _outcomes(
        self,
        day: int,
        cells: Cells,
        ctr: NDArray[np.float64],
        conversion_rate: NDArray[np.float64],
        price: NDArray[np.int64],
    ) -> Potential:
        settings, n = self.settings, len(cells)
        luck = stream(settings.seed, "outcomes", day)
        click = luck.random(n) < ctr
        conversion = (luck.random(n) < conversion_rate) & click
        click_at = cells.at + _microseconds(settings.click_delay_seconds * luck.exponential(size=n))
        conversion_at = click_at + _microseconds(3600.0 * settings.conversion_delay_hours * luck.exponential(size=n))
        noise = settings.order_value_noise
        # The mean of a log-normal is exp(mu + sigma² / 2): taking half the variance off keeps the mean what it says.
        order = self._order_value[cells.campaign] * np.exp(noise * luck.normal(size=n) - noise**2 / 2)
        value = np.where(conversion, np.maximum(cents(order), CENT), 0)
        return Potential(cells.at, price, click, conversion, click_at, conversion_at, value, np.ones(n))

    def _true_rate(self, rate: Rate, opportunities: Sequence[Opportunity]) -> NDArray[np.float64]:
        if not opportunities:
            return np.zeros(0)
        numbers = self.names.numbers(opportunities)
        users = np.array([user_number(o.user_id) for o in opportunities], dtype=np.intp)
        at = np.array([instant(o.at) for o in opportunities])
        day, weekday, hour = self.calendar.local(at)
        keyword = numbers["keyword"]
        cells = Cells(
            at,
            numbers["campaign_id"],
            self.names.ad_group_of[keyword],
            keyword,
            numbers["device"],
            numbers["location"],
            np.where(users < self.settings.users, users, -1),
            weekday,
            hour,
        )
        return rate.of(cells, day)

    def _price_factor(self, day: int) -> float:
        return float(np.prod([drift.price_factor for drift in self.settings.drifts if drift.day <= day]))


def _microseconds(seconds: NDArray[np.float64]) -> NDArray[np.timedelta64]:
    return np.rint(seconds * 1e6).astype("timedelta64[us]")
