"""The world does what its settings say."""

from __future__ import annotations

from dataclasses import fields
from datetime import date

import msgspec
import numpy as np
import pytest
from scipy import stats

from bidloop.core.errors import ConfigurationError, InvalidInput, NotFound
from bidloop.core.opportunity import Charge
from bidloop.simulation.calendar import instant
from bidloop.simulation.settings import Drift, WorldSettings
from bidloop.simulation.world import DayTruth, World

WILD = WorldSettings(ctr=0.4, conversion_rate=0.5)
"""Many clicks and conversions, to measure what happens after them."""


def columns(truth: DayTruth) -> dict[str, np.ndarray]:
    named = {"ctr": truth.ctr, "conversion_rate": truth.conversion_rate, "floor": truth.floor}
    for part in (truth.cells, truth.potential):
        named |= {field.name: getattr(part, field.name) for field in fields(part)}
    return named


def same(one: DayTruth, other: DayTruth) -> bool:
    return all(np.array_equal(column, columns(other)[name]) for name, column in columns(one).items())


def z_score(hits: np.ndarray, chance: np.ndarray) -> float:
    return float((hits.sum() - chance.sum()) / np.sqrt((chance * (1 - chance)).sum()))


def log_odds(p: np.ndarray) -> np.ndarray:
    return np.log(p / (1 - p))


def test_the_same_seed_is_the_same_world_and_another_seed_is_not(world: World) -> None:
    assert same(world.day(3), World(WorldSettings()).day(3))
    assert not np.array_equal(
        world.day(3).potential.price[:100], World(WorldSettings(seed=43)).day(3).potential.price[:100]
    )


def test_a_day_is_the_same_whichever_days_were_looked_at_before(world: World) -> None:
    later = World(WorldSettings())
    later.day(9)
    assert same(later.day(2), world.day(2))


def test_a_day_before_the_first_is_refused(world: World) -> None:
    with pytest.raises(InvalidInput, match="day -1"):
        world.day(-1)


def test_the_number_of_auctions_follows_the_weekday(world: World) -> None:
    settings = world.settings
    shape = np.array(settings.weekday_shape)
    expected = settings.auctions_per_day * shape / shape.mean()
    counts = np.array([len(world.day(day)) for day in range(7)])
    assert np.all(np.abs(counts - expected) < 4 * np.sqrt(expected))


def test_traffic_over_the_day_has_the_shape_of_the_settings(world: World) -> None:
    cells = world.day(0).cells
    shape = np.array(world.settings.hour_shape)
    counts = np.bincount(cells.hour, minlength=24)
    assert stats.chisquare(counts, shape / shape.sum() * len(cells)).pvalue > 0.001
    assert np.all(np.diff(cells.at) >= np.timedelta64(0, "us"))


def test_devices_and_locations_have_about_the_shares_of_the_settings(world: World) -> None:
    cells, settings = world.day(0).cells, world.settings
    for column, shares in ((cells.device, settings.device_shares), (cells.location, settings.location_shares)):
        found = np.bincount(column, minlength=len(shares)) / len(cells)
        assert np.allclose(found, shares, atol=0.03)


def test_the_mean_rates_are_those_of_the_settings(world: World) -> None:
    week = [world.day(day) for day in range(7)]
    assert np.concatenate([day.ctr for day in week]).mean() == pytest.approx(0.045, rel=0.03)
    assert np.concatenate([day.conversion_rate for day in week]).mean() == pytest.approx(0.09, rel=0.03)


def test_clicks_come_at_their_true_rate_among_rare_and_among_frequent_ones(world: World) -> None:
    days = [world.day(day) for day in range(5)]
    chance, click = np.concatenate([d.ctr for d in days]), np.concatenate([d.potential.click for d in days])
    for part in np.array_split(np.argsort(chance), 10):
        assert abs(z_score(click[part], chance[part])) < 4
    assert chance[click].mean() > 1.5 * chance[~click].mean()


def test_conversions_come_at_their_true_rate_and_only_after_clicks() -> None:
    day = World(WILD).day(0)
    potential, clicked = day.potential, day.potential.click
    assert not np.any(potential.conversion & ~clicked)
    chance, conversion = day.conversion_rate[clicked], potential.conversion[clicked]
    for part in np.array_split(np.argsort(chance), 10):
        assert abs(z_score(conversion[part], chance[part])) < 4


def test_an_order_is_worth_what_its_campaign_says_on_average_and_spreads_log_normally() -> None:
    world = World(WILD)
    day = world.day(0)
    bought = day.potential.conversion
    for number, name in enumerate(world.names.campaigns):
        values = day.potential.value[bought & (day.cells.campaign == number)] / 1e6
        assert abs(values.mean() - world.true_order_value(name)) < 4 * values.std() / np.sqrt(len(values))
        assert np.log(values).std() == pytest.approx(world.settings.order_value_noise, rel=0.1)
    assert not day.potential.value[~bought].any()


def test_delays_are_exponential_with_the_means_of_the_settings() -> None:
    potential = World(WILD).day(0).potential
    clicks = (potential.click_at - potential.at)[potential.click] / np.timedelta64(1_000_000, "us")
    reports = (potential.conversion_at - potential.click_at)[potential.conversion] / np.timedelta64(3_600_000_000, "us")
    assert stats.kstest(clicks, stats.expon(scale=20.0).cdf).pvalue > 0.001
    assert stats.kstest(reports, stats.expon(scale=36.0).cdf).pvalue > 0.001
    assert stats.kstest(reports, stats.expon(scale=40.0).cdf).pvalue < 0.001


def test_prices_follow_the_value_of_a_cell_by_as_much_as_competitors_know() -> None:
    for knowledge in (0.0, 0.4, 1.0):
        quiet = WorldSettings(competitor_knowledge=knowledge, user_spread=0.0, floor_level=0.0, price_spread=0.0)
        day = World(quiet).day(0)
        worth = np.log(day.ctr * day.conversion_rate * day.order_value)
        fit = stats.linregress(worth, np.log(day.potential.price))
        assert abs(fit.slope - knowledge) < 4 * fit.stderr
        residual = np.log(day.potential.price) - fit.slope * worth - fit.intercept
        assert residual.std() == pytest.approx(quiet.price_noise, rel=0.03)


def test_no_price_is_below_its_floor_and_without_a_level_there_are_no_floors(world: World) -> None:
    day = world.day(0)
    assert np.all(day.potential.price >= day.floor)
    assert day.floor.min() > 0
    assert (day.potential.price == day.floor).any()
    free = World(WorldSettings(floor_level=0.0))
    assert not free.day(0).floor.any()
    assert free.opportunities(free.day(0))[0].floor is None


def test_a_click_is_priced_at_what_its_impressions_cost() -> None:
    settings = WorldSettings(floor_level=0.0)
    by_mille = World(settings).day(0)
    by_click = World(msgspec.structs.replace(settings, charge=Charge.PER_CLICK)).day(0)
    assert np.allclose(by_click.potential.price * by_click.ctr * 1000, by_mille.potential.price, rtol=1e-4)


def test_other_prices_leave_people_and_their_clicks_as_they_were(world: World) -> None:
    dear = World(WorldSettings(price_level=1.2, price_noise=0.1)).day(1)
    plain = world.day(1)
    assert np.array_equal(dear.cells.user, plain.cells.user)
    assert np.array_equal(dear.potential.click, plain.potential.click)
    assert dear.potential.price.mean() > 1.5 * plain.potential.price.mean()


def test_a_drift_changes_nothing_before_its_day_and_shifts_the_log_odds_from_then_on(world: World) -> None:
    drifted = World(WorldSettings(drifts=(Drift(day=2, ctr_shift=0.5, conversion_rate_shift=-0.3, price_factor=1.5),)))
    assert same(drifted.day(1), world.day(1))
    before, after = world.day(2), drifted.day(2)
    assert np.array_equal(before.cells.user, after.cells.user)
    assert np.allclose(log_odds(after.ctr) - log_odds(before.ctr), 0.5)
    assert np.allclose(log_odds(after.conversion_rate) - log_odds(before.conversion_rate), -0.3)
    free = before.potential.price > before.floor
    assert np.allclose(after.potential.price[free] / before.potential.price[free], 1.5, atol=1e-6)
    assert drifted.budgets() == world.budgets()


def test_a_drift_of_the_cells_has_the_spread_that_it_says(world: World) -> None:
    drifted = World(WorldSettings(drifts=(Drift(day=0, ctr_spread=0.6),)))
    change = log_odds(drifted.day(4).ctr) - log_odds(world.day(4).ctr)
    assert change.std() == pytest.approx(0.6, rel=0.35)
    assert np.array_equal(drifted.day(4).conversion_rate, world.day(4).conversion_rate)


def test_true_rates_are_told_for_opportunities_of_any_day() -> None:
    world = World(WorldSettings(auctions_per_day=1000, drifts=(Drift(day=1, ctr_shift=0.4),)))
    days = [world.day(0), world.day(1)]
    both = [o for day in days for o in world.opportunities(day)]
    assert np.allclose(world.true_ctr(both), np.concatenate([day.ctr for day in days]), rtol=1e-12)
    rates = np.concatenate([day.conversion_rate for day in days])
    assert np.allclose(world.true_conversion_rate(both), rates, rtol=1e-12)
    assert len(world.true_ctr([])) == 0


def test_users_of_one_cell_differ_by_the_spread_of_the_settings() -> None:
    world = World(WorldSettings(auctions_per_day=4000, users=100_000, user_spread=0.5))
    known = world.opportunities(world.day(0))
    anonymous = [msgspec.structs.replace(o, user_id="") for o in known]
    for rate in (world.true_ctr, world.true_conversion_rate):
        difference = log_odds(rate(known)) - log_odds(rate(anonymous))
        assert difference.std() == pytest.approx(0.5, rel=0.1)
        assert difference.mean() == pytest.approx(0.0, abs=0.04)


def test_someone_unknown_counts_as_an_average_user() -> None:
    world = World(WorldSettings(auctions_per_day=500))
    alike = World(WorldSettings(auctions_per_day=500, user_spread=0.0))
    anonymous = [msgspec.structs.replace(o, user_id="") for o in world.opportunities(world.day(0))]
    stranger = [msgspec.structs.replace(o, user_id="user-999999") for o in anonymous]
    assert np.array_equal(world.true_ctr(anonymous), world.true_ctr(stranger))
    # The two worlds differ in nothing else than their users, and in the intercept that keeps the mean rate.
    shift = log_odds(world.true_ctr(anonymous)) - log_odds(alike.true_ctr(anonymous))
    assert shift.std() < 1e-9


def test_a_keyword_that_the_world_does_not_have_is_named(world: World) -> None:
    known = world.opportunities(world.day(0))[0]
    with pytest.raises(NotFound, match="keyword 'rent a boat'"):
        world.true_ctr([msgspec.structs.replace(known, keyword="rent a boat")])


@pytest.mark.parametrize("first_day", [date(2026, 3, 8), date(2026, 11, 1), date(2026, 7, 1)])
def test_a_day_lasts_from_local_midnight_to_midnight_also_when_clocks_change(first_day: date) -> None:
    world = World(WorldSettings(first_day=first_day, timezone="America/New_York", auctions_per_day=2000))
    cells = world.day(0).cells
    assert cells.at[0] >= instant(world.start(0))
    assert cells.at[-1] < instant(world.start(1))
    day, weekday, hour = world.calendar.local(cells.at)
    assert not day.any()
    assert np.array_equal(hour, cells.hour)
    assert set(weekday.tolist()) == {first_day.weekday()}


def test_budgets_are_the_stated_share_of_what_winning_everything_costs(world: World) -> None:
    cost = np.zeros(5)
    for number in range(7):
        day = world.day(number)
        cost += np.bincount(day.cells.campaign, day.potential.price / 1e9, minlength=5) / 7
    budgets = np.array([world.budgets(0.25)[name].amount for name in world.names.campaigns])
    assert np.allclose(budgets, 0.25 * cost, rtol=0.05)
    with pytest.raises(InvalidInput, match="share of nan"):
        world.budgets(float("nan"))


def test_keyword_rates_learned_on_some_days_predict_a_later_one_better_than_the_mean_and_worse_than_the_truth(
    world: World,
) -> None:
    past, later = [world.day(day) for day in range(7)], world.day(7)

    def key(day: DayTruth) -> np.ndarray:
        return (day.cells.campaign * 12 + day.cells.keyword) * 3 + day.cells.device

    def log_loss(p: np.ndarray) -> float:
        return float(-np.where(later.potential.click, np.log(p), np.log(1 - p)).mean())

    shown = np.bincount(np.concatenate([key(day) for day in past]), minlength=180)
    clicked = np.bincount(
        np.concatenate([key(day) for day in past]), np.concatenate([day.potential.click for day in past]), minlength=180
    )
    mean = clicked.sum() / shown.sum()
    learned = ((clicked + 100 * mean) / (shown + 100))[key(later)]
    constant, best = log_loss(np.full(len(later), mean)), log_loss(later.ctr)
    assert log_loss(learned) < constant - 0.4 * (constant - best)
    assert best < log_loss(learned) - 0.05 * (constant - best)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ctr": 0.0}, "ctr"),
        ({"conversion_rate": float("nan")}, "conversion_rate"),
        ({"auctions_per_day": 0}, "auctions_per_day"),
        ({"price_noise": -1.0}, "price_noise"),
        ({"price_noise": float("inf")}, "price_noise"),
        ({"hour_shape": (1.0,) * 23}, "hour_shape"),
        ({"device_shares": (1.0, 0.0, 1.0)}, "device_shares"),
        ({"campaigns": ("a", "a")}, "campaigns"),
        ({"locations": ()}, "location_shares"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"drifts": (Drift(price_factor=0.0),)}, "drifts"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_name(change: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        WorldSettings(**change)  # type: ignore[arg-type]


def test_an_unknown_setting_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError, match="auctions_a_day"):
        msgspec.convert({"auctions_a_day": 5}, WorldSettings)
