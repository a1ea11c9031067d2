from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidloop.core.errors import InsufficientData, InvalidInput
from bidloop.prediction.intervals import (
    Cells,
    IntervalModel,
    Tier,
    fit_intervals,
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
    return Cells(np.clip(p * bias, 0, 1), m.astype(float), clicks.astype(float), support)


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
    assert cells.p[1] == pytest.approx(np.average(p[b], weights=w[b]))
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
    assert again.interval(0.02, 100).measured_coverage == coverage.covered
    assert again.interval(0.02, 100).level == 0.95
