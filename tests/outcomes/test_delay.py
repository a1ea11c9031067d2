"""How late conversions are is learned from those that are known, and says what is still to come."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bidloop.core.outcome import ConversionDelays
from bidloop.outcomes.delay import DAY, LEAST, DelayModel, Kind
from bidloop.outcomes.delay_fit import fit_delay_model
from bidloop.outcomes.run_off import RunOff, bucket_edges

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]
WINDOW = 30.0


def exponential(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.exponential(5.0, n)


def heavy(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return 4.0 * rng.weibull(0.6, n)


def two_bumps(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return np.where(rng.random(n) < 0.6, rng.exponential(0.3, n), np.abs(rng.normal(7, 1, n)))


def known(
    draw: Draw, n: int, *, seed: int = 0, days: float = 30.0, stretches: dict[str, float] | None = None
) -> ConversionDelays:
    """What is known of n conversions at the end of so many days."""
    rng = np.random.default_rng(seed)
    stretches = stretches or {"spring": 1.0}
    which = rng.integers(0, len(stretches), n)
    delay = draw(rng, n) * np.array(list(stretches.values()))[which] * DAY
    age = rng.uniform(0, days * DAY, n)
    seen = (delay <= age) & (delay <= WINDOW * DAY)
    return of(np.array(list(stretches), dtype=object)[which][seen], delay[seen], delay[seen], age[seen])


def of(
    campaign: NDArray[np.object_],
    earliest: NDArray[np.float64],
    latest: NDArray[np.float64],
    age: NDArray[np.float64],
    count: NDArray[np.float64] | None = None,
) -> ConversionDelays:
    at = np.zeros(len(age), dtype="datetime64[us]")
    return ConversionDelays(campaign, at, earliest, latest, age, np.ones(len(age)) if count is None else count)


def fitted(delays: ConversionDelays, kind: Kind | None = None) -> DelayModel:
    model = fit_delay_model(delays, window_days=WINDOW, kind=kind)
    assert model is not None
    return model


def truth(draw: Draw, days: NDArray[np.float64], stretch: float = 1.0) -> NDArray[np.float64]:
    delay = np.sort(draw(np.random.default_rng(99), 200_000) * stretch)
    delay = delay[delay <= WINDOW]
    return np.searchsorted(delay, days) / len(delay)


@pytest.mark.parametrize(
    ("draw", "kind"),
    [(exponential, "exponential"), (heavy, "weibull"), (two_bumps, "buckets")],
    ids=["exponential", "weibull", "buckets"],
)
def test_the_shape_is_chosen_that_the_conversions_have_and_its_curve_is_theirs(draw: Draw, kind: Kind) -> None:
    delays = known(draw, 6000)
    model = fitted(delays)
    assert model.kind == kind
    days = np.arange(1.0, 15.0)
    said = model.maturity(["spring"] * len(days), days * DAY)
    np.testing.assert_allclose(said, truth(draw, days), atol=0.03)
    # What is known is too quick: taken as it is, it would say that more is there than is.
    taken_as_it_is = np.searchsorted(np.sort(delays.latest), days * DAY) / len(delays)
    assert np.abs(said - truth(draw, days)).max() < 0.3 * np.abs(taken_as_it_is - truth(draw, days)).max()


def test_campaigns_are_late_each_in_its_own_way_and_few_conversions_say_little() -> None:
    stretches = {"quick": 0.3, "usual": 1.0, "slow": 2.0}
    many, few = known(exponential, 9000, stretches=stretches), known(exponential, 12, seed=1, stretches={"new": 0.1})
    both = of(
        *(
            np.concatenate((getattr(many, name), getattr(few, name)))
            for name in ("campaign", "earliest", "latest", "age")
        )
    )
    model = fitted(both)
    for name, stretch in stretches.items():
        days = np.arange(1.0, 15.0)
        said = model.maturity([name] * len(days), days * DAY)
        np.testing.assert_allclose(said, truth(exponential, days, stretch), atol=0.05)
    alone = float(few.latest.mean())
    assert alone < model.mean_delay("new") < model.mean_delay()
    assert model.mean_delay("unknown") == model.mean_delay()


def test_intervals_of_the_curve_hold() -> None:
    stretches = {"a": 0.5, "b": 1.0, "c": 1.0, "d": 1.5}
    held = []
    for seed in range(10):
        model = fitted(known(exponential, 3000, seed=seed, stretches=stretches), "exponential")
        for name, stretch in stretches.items():
            curve = model.curve(name, points=31)
            real = truth(exponential, np.array(curve.ages) / DAY, stretch)
            held += [curve.lower[i] <= real[i] <= curve.upper[i] for i in (1, 3, 7)]
            assert curve.upper[3] - curve.lower[3] < 0.2
    assert np.mean(held) > 0.9


def test_a_curve_rises_from_nothing_to_all_within_its_interval() -> None:
    for kind in ("exponential", "weibull", "buckets"):
        model = fitted(known(two_bumps, 400), kind)
        curve = model.curve("spring", points=50)
        assert (curve.ages[0], curve.shares[0], curve.ages[-1], curve.shares[-1]) == (0.0, 0.0, WINDOW * DAY, 1.0)
        assert all(a <= b for a, b in zip(curve.shares, curve.shares[1:], strict=False))
        assert all(0 <= a <= b <= c <= 1 for a, b, c in zip(curve.lower, curve.shares, curve.upper, strict=True))
        assert model.curve(None).conversions == model.pooled.conversions


def test_daily_figures_told_again_and_again_tell_the_same_delays() -> None:
    rng = np.random.default_rng(3)
    tellings = np.arange(1.0, 31.0)
    rows = []
    for day in range(30):
        delay = exponential(rng, 150)
        for age in tellings[tellings <= 30 - day]:
            gained = float(np.sum((delay > age - 1) & (delay <= age)))
            if gained:  # nothing is told of a day on which nothing came
                rows.append((age - 1, age, 30.0 - day, gained))
    earliest, latest, age, count = np.array(rows).T
    model = fitted(of(np.full(len(rows), "spring", dtype=object), earliest * DAY, latest * DAY, age * DAY, count))
    days = np.arange(1.0, 15.0)
    np.testing.assert_allclose(model.maturity(["spring"] * 14, days * DAY), truth(exponential, days), atol=0.03)


def test_a_short_log_leaves_the_tail_to_the_window() -> None:
    model = fitted(known(exponential, 8000, days=6.0), "buckets")
    assert 0.5 < model.maturity(["spring"], [6 * DAY])[0] < 0.95  # 70 % in truth; six days cannot tell well
    assert model.maturity(["spring"], [WINDOW * DAY])[0] == 1.0


def test_where_nothing_tells_of_delays_there_is_no_model() -> None:
    nothing = known(exponential, 0)
    assert fit_delay_model(nothing, window_days=WINDOW) is None
    told_once = of(np.array(["a"], dtype=object), np.zeros(1), np.array([3 * DAY]), np.array([3 * DAY]))
    assert fit_delay_model(told_once, window_days=WINDOW) is None


def test_a_single_report_row_that_tells_of_many_is_enough_for_an_exponential() -> None:
    spring = np.array(["spring"], dtype=object)
    model = fitted(of(spring, np.zeros(1), np.array([2 * DAY]), np.array([20 * DAY]), np.array([900.0])))
    assert model.kind == "exponential"
    assert 0.9 < model.maturity(["spring"], [2 * DAY])[0] < 1.0


def test_a_model_is_plain_data() -> None:
    model = fitted(known(two_bumps, 300, stretches={"a": 1.0, "größe": 2.0}))
    assert msgspec.json.decode(msgspec.json.encode(model), type=DelayModel) == model


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 40 * DAY), st.floats(0, 60 * DAY), st.floats(1e-3, 1e4), st.sampled_from(["a", "b"])),
        max_size=30,
    ),
    st.sampled_from(["exponential", "weibull", "buckets", None]),
    st.booleans(),
)
def test_whatever_is_told_maturity_is_a_share_that_never_falls(
    told: list[tuple[float, float, float, str]], kind: Kind | None, wide: bool
) -> None:
    delay, age, count = (np.array([row[i] for row in told], dtype=float) for i in range(3))
    campaign = np.array([row[3] for row in told], dtype=object)
    model = fit_delay_model(of(campaign, delay * (not wide), delay, age, count), window_days=WINDOW, kind=kind)
    if model is None:
        return
    for name in ("a", "nobody"):
        share = model.maturity([name] * 80, np.linspace(-DAY, 35 * DAY, 80))
        assert np.isfinite(share).all()
        assert (share >= LEAST).all()
        assert (np.diff(share) >= -1e-12).all()
        assert share[-1] == 1.0
        curve = model.curve(name)
        assert np.isfinite(curve.lower).all()
        assert np.isfinite(curve.upper).all()
        assert 0 <= model.mean_delay(name) <= WINDOW * DAY


def test_without_a_prior_the_free_hazards_are_the_product_limit_by_hand() -> None:
    delays = of(
        np.full(4, "a", dtype=object), np.array([0.5, 0.6, 1.5, 0.4]) * DAY, np.array([0.5, 0.6, 1.5, 0.4]) * DAY,
        np.array([2.0, 2.0, 2.0, 1.0]) * DAY,
    )  # fmt: skip
    run_off = RunOff.of(delays, np.array([1.0, 2.0]) * DAY)
    events, at_risk = run_off.hazards(np.array([0.5, 1.0]))
    # The click of one day says nothing: whatever the delays, a conversion that is known of it lies in the first bucket.
    assert (events.tolist(), at_risk.tolist()) == ([2, 1], [2, 3])
    shares = np.array([1 - events[1] / at_risk[1], 1.0])
    around = [
        run_off.log_likelihood(np.array([share, 1.0])) for share in (shares[0] - 0.05, shares[0], shares[0] + 0.05)
    ]
    assert int(np.argmax(around)) == 1
    assert bucket_edges(delays, WINDOW * DAY)[-1] == WINDOW * DAY
