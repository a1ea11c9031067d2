from __future__ import annotations

import tracemalloc

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidloop.core.errors import InsufficientData, InvalidInput
from bidloop.prediction.intervals import (
    Cells,
    IntervalModel,
    Spread,
    Tier,
    counted_well,
    fit_intervals,
    fit_spread,
    group_cells,
    measure_coverage,
)


def world(
    cells: int,
    seed: int,
    *,
    rate: float = 0.03,
    concentration: float = 400,
    elasticity: float = 0.0,
    traffic: float = 1.0,
    bias: float = 1.0,
) -> Cells:
    """Cells whose true rates lie around the predicted ones with a beta distribution: a beta-binomial world.

    A tenth of the cells has no past; the coming impressions of the others go with the past ones, with a wide spread.
    """
    rng = np.random.default_rng(seed)
    p = np.clip(rate * np.exp(rng.normal(0, 0.7, cells) - 0.245), 1e-5, 0.6)
    support = np.where(rng.random(cells) < 0.1, 0, np.exp(rng.normal(6, 1.5, cells)))
    m = np.maximum(1, rng.poisson(np.exp(rng.normal(0, 0.6, cells)) * traffic * np.where(support > 0, support, 30)))
    s = concentration * (p / rate) ** -elasticity
    clicks = rng.binomial(m, rng.beta(p * s, (1 - p) * s))
    one = np.ones(cells)
    return Cells(np.clip(p * bias, 0, 1), m.astype(float), clicks.astype(float), support, one, one)


def arguments(cells: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return cells.p, cells.impressions, cells.clicks, cells.support


def keeps_its_promise(lower: np.ndarray, upper: np.ndarray, cells: Cells) -> bool:
    """The check that an interval of a stated 95 % must pass: 93 to 97 % of the realised coming rates lie inside."""
    realised = cells.clicks / cells.impressions
    return bool(0.93 <= np.mean((realised >= lower) & (realised <= upper)) <= 0.97)


WORLDS = {
    "over-dispersed": {},
    "strongly over-dispersed": {"concentration": 100},
    "hardly over-dispersed": {"concentration": 5000},
    "spread in proportion to the rate": {"elasticity": 1.0},
    "a display rate of 0.2 %": {"rate": 0.002, "concentration": 4000},
    "a display rate of 0.1 % with little traffic": {"rate": 0.001, "concentration": 4000, "traffic": 0.2},
    "a rate of 10 %": {"rate": 0.1, "concentration": 50},
    "predictions 15 % too high": {"bias": 1.15},
}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_intervals_cover_the_coming_rates_of_later_cells_as_often_as_they_say(name: str, seed: int) -> None:
    model = fit_intervals(*arguments(world(4000, seed, **WORLDS[name])))
    later = world(20_000, 100 + seed, **WORLDS[name])
    assert keeps_its_promise(*model.bounds(later.p, later.support), later)
    coverage = measure_coverage(model, *arguments(later))
    assert 0.93 <= coverage.covered <= 0.97
    assert coverage.covered == pytest.approx(1 - coverage.below - coverage.above)
    # A tier of cells with next to no expected clicks cannot be covered less than they are without any.
    assert all(tier.covered >= 0.92 for tier in coverage.tiers)
    assert len(coverage.tiers) >= 3


def test_intervals_hold_for_low_and_for_high_rates_and_not_only_on_average() -> None:
    model = fit_intervals(*arguments(world(6000, 7)))
    later = world(30_000, 107)
    lower, upper = model.bounds(later.p, later.support)
    realised = later.clicks / later.impressions
    inside = (realised >= lower) & (realised <= upper)
    fifth = np.digitize(later.p, np.quantile(later.p, [0.2, 0.4, 0.6, 0.8]))
    assert all(0.92 <= inside[fifth == i].mean() <= 0.98 for i in range(5))


def test_intervals_that_do_not_know_rates_fail_the_same_check() -> None:
    later = world(20_000, 100)
    p, m = later.p, later.impressions
    plus_minus = np.clip(p - 0.95, 0, 1), np.clip(p + 0.95, 0, 1)
    assert not keeps_its_promise(*plus_minus, later), "an interval of ± 0.95 covers everything and says nothing"
    error = 1.96 * np.sqrt(p * (1 - p) / m)
    assert not keeps_its_promise(p - error, p + error, later), "a Wald interval does not know over-dispersion"
    of_past = 1.96 * np.sqrt(p * (1 - p) / np.maximum(later.support, 1))
    assert not keeps_its_promise(p - of_past, p + of_past, later), "nor does one on the past impressions"


def test_the_fit_finds_the_dispersion_of_the_world() -> None:
    model = fit_intervals(*arguments(world(8000, 3, concentration=400)))
    assert model.elasticity == 0
    assert all(300 < tier.concentration < 530 for tier in model.tiers[1:])
    relative = fit_intervals(*arguments(world(8000, 3, concentration=400, elasticity=1)))
    assert relative.elasticity == 1


def test_more_traffic_makes_narrower_intervals_and_a_higher_level_wider_ones() -> None:
    cells = world(4000, 1, concentration=2000)
    model = fit_intervals(*arguments(cells))
    widths = [
        model.interval(0.03, support).upper - model.interval(0.03, support).lower for support in (10, 400, 20_000)
    ]
    assert widths[0] > widths[1] > widths[2]
    wide = fit_intervals(*arguments(cells), level=0.99)
    narrow = fit_intervals(*arguments(cells), level=0.8)
    assert wide.interval(0.03, 400).upper > model.interval(0.03, 400).upper > narrow.interval(0.03, 400).upper
    later = world(20_000, 200, concentration=2000)
    assert measure_coverage(narrow, *arguments(later)).covered == pytest.approx(0.8, abs=0.03)
    assert measure_coverage(wide, *arguments(later)).covered == pytest.approx(0.99, abs=0.006)


@given(
    p=st.floats(0, 1),
    support=st.one_of(st.just(float("nan")), st.just(float("inf")), st.floats(-10, 1e12)),
    concentration=st.floats(1e-3, 1e9),
    noise=st.floats(1e-9, 1),
    tail=st.floats(0, 0.3),
    elasticity=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_bounds_lie_inside_zero_and_one_around_the_rate_for_any_input(
    p: float, support: float, concentration: float, noise: float, tail: float, elasticity: float
) -> None:
    tiers = (Tier(0, concentration, noise, tail, tail, 99), Tier(100, concentration * 2, noise / 2, 0.025, tail, 99))
    model = IntervalModel(level=0.95, reference=0.02, elasticity=elasticity, tiers=tiers)
    interval = model.interval(p, support)
    assert 0 <= interval.lower <= p <= interval.upper <= 1


def test_a_cell_that_will_mostly_see_no_click_has_zero_inside() -> None:
    model = fit_intervals(*arguments(world(4000, 0)))
    assert model.interval(0.005, 0).lower == 0
    assert model.interval(0.03, 50_000).lower > 0


def test_fractional_counts_of_weighted_rows_are_welcome() -> None:
    cells = world(3000, 5)
    model = fit_intervals(cells.p, cells.impressions * 1.37, cells.clicks, cells.support)
    assert 0 < model.interval(0.02, 500).upper < 1


def test_rows_become_cells_with_their_weighted_counts() -> None:
    rng = np.random.default_rng(0)
    keys = rng.choice(["a", "b", "c"], 500)
    p, c, w = rng.uniform(0, 0.1, 500), (rng.random(500) < 0.05).astype(float), rng.uniform(1, 3, 500)
    cells = group_cells(keys, p, np.ones(500), c, np.full(500, np.nan), w)
    b = keys == "b"
    assert len(cells) == 3
    assert cells.impressions[1] == pytest.approx(w[b].sum())
    assert cells.clicks[1] == pytest.approx((w * c)[b].sum())
    assert cells.p[1] == p[b][0], "as predicted before any of the rest was seen"
    assert (cells.support == 0).all()


def test_single_impressions_are_refused_because_an_interval_is_of_a_rate() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InsufficientData, match="group_cells"):
        fit_intervals(rng.uniform(0, 0.1, 500), np.ones(500), rng.integers(0, 2, 500), np.ones(500))


def test_too_few_cells_are_refused() -> None:
    with pytest.raises(InsufficientData):
        fit_intervals(*arguments(world(40, 0)))


@pytest.mark.parametrize(
    ("column", "value", "path"),
    [(0, np.nan, "p"), (0, 1.2, "p"), (1, np.inf, "impressions"), (2, 1e9, "clicks"), (3, -1, "support")],
)
def test_cells_that_make_no_sense_are_named(column: int, value: float, path: str) -> None:
    columns = [array.copy() for array in arguments(world(100, 0))]
    columns[column][3] = value
    with pytest.raises(InvalidInput) as caught:
        fit_intervals(*columns)
    assert caught.value.path == path


def test_an_interval_carries_the_coverage_that_was_measured_and_survives_json() -> None:
    model = fit_intervals(*arguments(world(2000, 0)))
    assert model.interval(0.02, 100).measured_coverage is None
    coverage = measure_coverage(model, *arguments(world(2000, 1)))
    measured = msgspec.structs.replace(model, measured_coverage=coverage.covered)
    again = msgspec.json.decode(msgspec.json.encode(measured), type=IntervalModel)
    assert again == measured
    assert again.spread is not None
    assert again.interval(0.02, 100).measured_coverage == coverage.covered
    assert again.interval(0.02, 100).level == 0.95


def world_with_a_past(cells: int, seed: int, spread: Spread, *, rate: float = 0.03) -> tuple[Cells, np.ndarray]:
    """Cells whose true rates lie around the predicted ones the closer, the more was seen of them; and these true rates."""
    rng = np.random.default_rng(seed)
    p = np.clip(rate * np.exp(rng.normal(0, 0.7, cells) - 0.245), 1e-5, 0.6)
    support = np.where(rng.random(cells) < 0.1, 0, np.exp(rng.normal(5.5, 1.5, cells)))
    m = 1.0 + rng.poisson(np.exp(rng.normal(4, 1.2, cells)))
    truth = rng.beta(*spread.beta(p, support))
    return Cells(p, m, rng.binomial(m.astype(int), truth).astype(float), support, np.ones(cells), np.ones(cells)), truth


SPREADS = {
    "as usual": Spread(unknown=0.5, learning=0.7, floor=0.1, cells=0),
    "new cells hardly known": Spread(unknown=0.9, learning=1.0, floor=0.1, cells=0),
    "a model that knows nearly all": Spread(unknown=0.2, learning=0.5, floor=0.05, cells=0),
    "rates that move from day to day": Spread(unknown=0.6, learning=0.8, floor=0.3, cells=0),
}


def covers(lower: np.ndarray, upper: np.ndarray, truth: np.ndarray, support: np.ndarray) -> bool:
    """93 to 97 % of the true rates lie inside, and 90 to 99 % of those of cells without much of a past."""
    inside = (truth >= lower) & (truth <= upper)
    sparse = support <= np.quantile(support, 0.2)
    return bool(0.93 <= inside.mean() <= 0.97 and 0.9 <= inside[sparse].mean() <= 0.99)


@pytest.mark.parametrize("name", SPREADS)
def test_credible_intervals_cover_the_true_rates_of_later_cells_as_often_as_they_say(name: str) -> None:
    cells, _ = world_with_a_past(8000, 1, SPREADS[name])
    spread = fit_spread(*arguments(cells))
    later, truth = world_with_a_past(20_000, 2, SPREADS[name])
    assert covers(*spread.bounds(later.p, later.support, level=0.95), truth, later.support)
    p, n = later.p, np.maximum(later.support, 1)
    assert not covers(np.clip(p - 0.95, 0, 1), np.clip(p + 0.95, 0, 1), truth, later.support), "says nothing"
    wald = 1.96 * np.sqrt(p * (1 - p) / n)
    assert not covers(p - wald, p + wald, truth, later.support), "counts the past alone"


def test_the_true_rate_is_known_better_than_the_coming_one_and_the_better_the_more_was_seen() -> None:
    cells, _ = world_with_a_past(8000, 3, SPREADS["as usual"])
    model = fit_intervals(*arguments(cells))
    assert model.spread is not None
    p, support = np.full(3, 0.03), np.array([0.0, 500.0, 50_000.0])
    lower, upper = model.spread.bounds(p, support, level=model.level)
    width = upper - lower
    assert width[0] > width[1] > width[2]
    coming = model.bounds(p, support)
    assert (width < coming[1] - coming[0]).all()


def test_without_evidence_the_spread_is_the_usual_one_and_with_much_of_it_the_worlds() -> None:
    few, _ = world_with_a_past(3, 4, SPREADS["new cells hardly known"], rate=0.001)
    assert fit_spread(*arguments(few)).unknown == pytest.approx(0.5, rel=0.1)
    many, _ = world_with_a_past(40_000, 4, SPREADS["new cells hardly known"])
    assert fit_spread(*arguments(many)).unknown == pytest.approx(0.9, rel=0.12)


def test_counts_are_covered_as_stated_by_a_right_spread_and_less_by_one_that_is_too_sure() -> None:
    cells, _ = world_with_a_past(6000, 5, SPREADS["rates that move from day to day"], rate=0.05)
    right = fit_intervals(*arguments(cells))
    later, _ = world_with_a_past(20_000, 6, SPREADS["rates that move from day to day"], rate=0.05)
    coverage = measure_coverage(right, *arguments(later))
    assert coverage.counts_covered == pytest.approx(0.95, abs=0.008)
    sure = msgspec.structs.replace(right, spread=Spread(unknown=0.05, learning=1.0, floor=0.02, cells=1))
    measured = measure_coverage(sure, *arguments(later)).counts_covered
    assert measured is not None
    assert measured < 0.9
    told = coverage.told(right)
    assert told.spread is not None
    assert (told.measured_coverage, told.spread.measured_coverage) == (coverage.covered, coverage.counts_covered)


def test_a_model_of_before_there_were_spreads_can_still_be_read_and_measured() -> None:
    model = fit_intervals(*arguments(world(2000, 0)))
    plain = msgspec.to_builtins(model)
    del plain["spread"]
    older = msgspec.json.decode(msgspec.json.encode(plain), type=IntervalModel)
    assert older.spread is None
    assert measure_coverage(older, *arguments(world(2000, 1))).counts_covered is None


@given(
    p=st.floats(0, 1),
    support=st.one_of(st.just(float("nan")), st.just(float("inf")), st.floats(-10, 1e12)),
    unknown=st.floats(1e-3, 10),
    learning=st.floats(1e-3, 10),
    floor=st.floats(1e-4, 10),
    level=st.floats(0.01, 0.999),
)
def test_true_rates_lie_inside_zero_and_one_around_the_rate_for_any_input(
    p: float, support: float, unknown: float, learning: float, floor: float, level: float
) -> None:
    spread = Spread(unknown=unknown, learning=learning, floor=floor, cells=1)
    [lower], [upper] = spread.bounds([p], [support], level=level)
    assert 0 <= lower <= p <= upper <= 1


def test_conversions_of_single_clicks_teach_a_spread_where_that_is_asked_for() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0.02, 0.2, 500)
    few = (p, np.ones(500), (rng.random(500) < p).astype(float), np.full(500, 5.0))
    model = fit_intervals(*few, single=True)
    assert model.spread is not None
    lower, upper = model.spread.bounds([0.1], [5.0], level=0.95)
    assert 0 < lower[0] < 0.07 < 0.14 < upper[0] < 0.5


def test_cells_that_a_sample_cannot_count_are_told() -> None:
    keys = ["few"] * 2 + ["many"] * 12 + ["clicks"] * 3
    weight = [300.0] * 14 + [1.0] * 3
    assert counted_well(keys, np.ones(17), weight).tolist() == [False] * 2 + [True] * 12 + [False] * 3


@pytest.mark.parametrize(("learning", "lower", "upper"), [(0.2, 0.12, 0.35), (1.0, 0.7, 1.4), (4.0, 2.5, 6.0)])
def test_the_fit_finds_how_much_a_past_event_teaches(learning: float, lower: float, upper: float) -> None:
    cells, _ = world_with_a_past(8000, 1, Spread(unknown=0.8, learning=learning, floor=0.05, cells=0))
    assert lower < fit_spread(*arguments(cells)).learning < upper


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_young_cells_teach_the_spread_of_the_rate_that_will_be_reached_in_the_end(share: float) -> None:
    """What is reported by now is a share of the conversions; the past behind the predicted rate is known in full."""
    truth = Spread(unknown=0.6, learning=1.0, floor=0.05, cells=0)
    rng = np.random.default_rng(5)
    p, past = np.clip(0.1 * np.exp(rng.normal(0, 0.4, 20_000)), 0, 0.5), np.exp(rng.normal(5, 1.5, 20_000))
    m, rates = 1 + rng.poisson(np.exp(rng.normal(3, 1, 20_000))), rng.beta(*truth.beta(p, past))
    reported = np.full(20_000, share)
    model = fit_intervals(p, m, rng.binomial(m, rates * share), past, single=True, reported=reported)
    assert model.spread is not None
    lower, upper = model.spread.bounds(p, past, level=0.95)
    inside, dense = (lower <= rates) & (rates <= upper), past > np.quantile(past, 0.8)
    assert 0.93 < inside.mean() < 0.97
    assert 0.93 < inside[dense].mean() < 0.98
    told = measure_coverage(model, p, m, rng.binomial(m, rates * share), past, reported=reported)
    assert told.true_width == pytest.approx(np.mean(upper - lower)), "of the rate in the end, as it is answered"


@pytest.mark.parametrize(("trials", "told"), [(0.0, False), (0.3, False), (300.0, True)])
def test_counts_that_cannot_tell_a_wide_interval_from_a_narrow_one_measure_nothing(trials: float, told: bool) -> None:
    truth = Spread(unknown=0.6, learning=1.0, floor=0.1, cells=0)
    rng = np.random.default_rng(2)
    p, past = 0.05 * np.exp(rng.normal(0, 0.4, 6000)), np.exp(rng.normal(2, 1, 6000))
    m = 1 + rng.poisson(trials, 6000)
    counts = p, m, rng.binomial(m, rng.beta(*truth.beta(p, past))), past
    model = fit_intervals(*counts, single=True)
    assert (measure_coverage(model, *counts).counts_covered is not None) == told
    sure = msgspec.structs.replace(model, spread=Spread(unknown=0.02, learning=1.0, floor=0.01, cells=1))
    measured = measure_coverage(sure, *counts)
    assert (measured.counts_covered is not None and measured.counts_covered < 0.9) == told
    assert measured.told(sure).spread.measured_coverage == measured.counts_covered


@pytest.mark.parametrize(("of_clicks", "of_rest"), [(10.0, 10.0), (1.0, 290.0)], ids=["evenly", "all clicks kept"])
def test_a_sampled_log_teaches_the_spread_of_the_whole_one(of_clicks: float, of_rest: float) -> None:
    truth = Spread(unknown=0.3, learning=1.0, floor=0.05, cells=0)
    rng = np.random.default_rng(2)
    rate, traffic = (0.05, 400) if of_clicks > 1 else (0.001, 20_000)
    p, past = rate * np.exp(rng.normal(0, 0.4, 8000)), np.exp(rng.normal(6, 1, 8000)) * 0.05 / rate
    rates, m = rng.beta(*truth.beta(p, past)), 1 + rng.poisson(traffic, 8000)
    clicks = rng.binomial(m, rates)
    kept, rest = rng.binomial(clicks, 1 / of_clicks), rng.binomial(m - clicks, 1 / of_rest)
    cells = group_cells(
        np.tile(np.arange(8000), 2), np.tile(p, 2), np.append(kept, rest), np.append(kept, 0 * rest), np.tile(past, 2),
        np.repeat([of_clicks, of_rest], 8000),
    )  # fmt: skip
    spread = fit_intervals(*arguments(cells), design=cells.design).spread
    assert spread is not None
    sparse, dense = spread.variance([rate] * 2, [0, 500 / rate]) / truth.variance([rate] * 2, [0, 500 / rate])
    assert 0.7 < sparse < 1.6
    assert 0.5 < dense < 2.0
    careless = fit_intervals(*arguments(cells)).spread
    assert careless is not None
    assert careless.variance([rate], [500 / rate])[0] > 2 * spread.variance([rate], [500 / rate])[0]


def test_counts_of_many_busy_cells_are_measured_in_bounded_memory() -> None:
    rng = np.random.default_rng(0)
    p, m, past = np.full(20_000, 0.05), np.full(20_000, 5000), np.full(20_000, 5000.0)
    spread = Spread(unknown=0.5, learning=1.0, floor=0.1, cells=0)
    tier = Tier(0, 2000, 0.001, 0.025, 0.025, 500)
    model = IntervalModel(level=0.95, reference=0.05, elasticity=0, tiers=(tier,), spread=spread)
    clicks = rng.binomial(m, rng.beta(*spread.beta(p, past)))
    tracemalloc.start()
    coverage = measure_coverage(model, p, m, clicks, past)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert coverage.counts_covered == pytest.approx(0.95, abs=0.006)
    assert most < 120e6, "the five million smaller counts, at 8 bytes for each of several columns, are not held at once"
