from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidloop.core.errors import InvalidInput
from bidloop.core.money import Money
from bidloop.prediction.order_value import OrderValue, fit_order_value


def orders(sizes: dict[str, tuple[int, float]], seed: int = 0, sigma: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Log-normal order values: (number, mean) by campaign."""
    rng = np.random.default_rng(seed)
    names = np.repeat(list(sizes), [n for n, _ in sizes.values()])
    values = np.concatenate([mean * np.exp(rng.normal(0, sigma, n) - sigma**2 / 2) for n, mean in sizes.values()])
    return names, values


def test_a_campaign_with_many_orders_keeps_its_own_average_and_one_with_few_is_drawn_to_the_pool() -> None:
    many = {f"c{i}": (400, float(mean)) for i, mean in enumerate(np.random.default_rng(1).uniform(40, 120, 20))}
    names, values = orders(many | {"tiny": (1, 500.0)})
    worth = fit_order_value(names, np.ones(len(names)), values, currency="USD")
    assert worth is not None
    for name, (_, mean) in many.items():
        assert worth.by_campaign[name] == pytest.approx(mean, rel=0.12)
    own = values[names == "tiny"][0]
    assert worth.pooled < worth.by_campaign["tiny"] < own


def test_pooling_beats_raw_averages_where_orders_are_few() -> None:
    rng = np.random.default_rng(2)
    truth = {f"c{i}": float(mean) for i, mean in enumerate(rng.normal(60, 8, 200))}
    names, values = orders({name: (3, mean) for name, mean in truth.items()}, seed=3)
    worth = fit_order_value(names, np.ones(len(names)), values, currency="USD")
    assert worth is not None
    pooled_error = np.mean([(worth.by_campaign[name] - mean) ** 2 for name, mean in truth.items()])
    raw_error = np.mean([(values[names == name].mean() - mean) ** 2 for name, mean in truth.items()])
    constant_error = np.var(list(truth.values()))
    assert pooled_error < raw_error / 3
    assert pooled_error < constant_error * 1.1


def test_one_giant_order_does_not_make_a_campaign_look_rich() -> None:
    names, values = orders({"a": (200, 50.0), "b": (200, 50.0), "c": (200, 50.0)})
    plain = fit_order_value(names, np.ones(600), values, currency="USD")
    values[0] = 50_000
    giant = fit_order_value(names, np.ones(600), values, currency="USD")
    assert plain is not None
    assert giant is not None
    assert values[names == "a"].mean() > 250
    assert giant.by_campaign["a"] / giant.by_campaign["b"] < 1.3


def test_one_wrong_order_raises_all_estimates_by_no_more_than_stated() -> None:
    names, values = orders({f"c{i}": (20, 50.0) for i in range(50)})
    plain = fit_order_value(names, np.ones(1000), values, currency="USD")
    values[0] *= 1e6
    wrong = fit_order_value(names, np.ones(1000), values, currency="USD")
    assert plain is not None
    assert wrong is not None
    assert 1.0 < wrong.by_campaign["c1"] / plain.by_campaign["c1"] < 1 + 1.5 * 1000 ** (-1 / 3)
    assert wrong.by_campaign["c0"] / plain.by_campaign["c0"] < 1.5


def test_the_total_of_all_orders_is_kept() -> None:
    sizes = {"a": (500, 20.0), "b": (100, 80.0), "c": (3, 40.0)}
    names, values = orders(sizes, sigma=1.5)
    worth = fit_order_value(names, np.ones(603), values, currency="USD")
    assert worth is not None
    assert sum(n * worth.by_campaign[name] for name, (n, _) in sizes.items()) == pytest.approx(values.sum())


def test_the_total_of_very_heavy_tails_is_nearly_kept() -> None:
    rng = np.random.default_rng(4)
    totals = []
    for _ in range(20):
        values = 20 * (rng.pareto(1.5, 10_000) + 1)
        worth = fit_order_value(np.repeat(np.arange(100), 100).astype(str), np.ones(10_000), values, currency="USD")
        assert worth is not None
        totals.append(sum(worth.by_campaign.values()) / 100 / 60)
    assert 0.92 < np.mean(totals) < 1.0


def test_campaigns_that_do_not_differ_are_pooled_completely() -> None:
    names, values = orders({f"c{i}": (4, 30.0) for i in range(50)}, sigma=0.05)
    rotated = np.tile(values[:4], 50)
    worth = fit_order_value(names, np.ones(200), rotated, currency="EUR")
    assert worth is not None
    assert list(worth.by_campaign.values()) == pytest.approx([worth.pooled] * 50)
    assert worth.of("c1").currency == "EUR"


def test_a_campaign_with_very_many_orders_gets_its_own_average_whatever_the_shape_of_its_values() -> None:
    rng = np.random.default_rng(5)
    names, values = orders({f"c{i}": (50, 60.0) for i in range(60)})
    odd = np.where(rng.random(20_000) < 0.5, 1.0, 120.0)  # half of its orders are samples, the rest are dear
    worth = fit_order_value(np.append(names, ["odd"] * 20_000), np.ones(23_000), np.append(values, odd), currency="USD")
    assert worth is not None
    assert worth.by_campaign["odd"] == pytest.approx(odd.mean(), rel=0.1)


def test_rows_with_several_conversions_count_by_order_and_weights_undo_sampling() -> None:
    worth = fit_order_value(["a", "a", "a"], [2, 0, 1], [40.0, 0.0, 50.0], [1, 1, 2], currency="USD")
    assert worth is not None
    assert worth.of("a") == Money.of(35, "USD")
    assert worth.orders == 3


def test_report_rows_tell_nearly_what_their_single_orders_tell() -> None:
    truth = {f"c{i}": float(mean) for i, mean in enumerate(np.random.default_rng(6).uniform(40, 120, 30))}
    names, values = orders({name: (200, mean) for name, mean in truth.items()}, sigma=1.0)
    single = fit_order_value(names, np.ones(len(names)), values, currency="USD")
    length = np.resize([20, 5], 30)  # orders to a row, which must not matter
    rows = [
        (f"c{i}", float(length[i]), part.sum())
        for i in range(30)
        for part in values[i * 200 : i * 200 + 200].reshape(-1, length[i])
    ]
    report = fit_order_value(*map(list, zip(*rows, strict=True)), currency="USD")
    assert single is not None
    assert report is not None
    ratio = np.array([report.by_campaign[name] / single.by_campaign[name] for name in truth])
    assert np.abs(np.log(ratio)).max() < 0.25
    assert abs(np.log(ratio[length == 20]).mean() - np.log(ratio[length == 5]).mean()) < 0.08


def test_without_a_told_value_there_is_no_order_value_rather_than_a_made_up_one() -> None:
    assert fit_order_value(["a"], [0], [0.0], currency="USD") is None
    assert fit_order_value([], [], [], currency="USD") is None


def test_a_conversion_told_to_be_worth_nothing_counts_and_one_that_tells_nothing_does_not() -> None:
    names, values = orders({f"c{i}": (40, 50.0) for i in range(20)})
    half = np.arange(800) % 2 == 0
    told = fit_order_value(names, np.ones(800), np.where(half, values, 0.0), currency="USD")
    untold = fit_order_value(names, half, np.where(half, values, 0.0), currency="USD")
    assert told is not None
    assert untold is not None
    assert untold.pooled == pytest.approx(50, rel=0.1)
    assert told.pooled == pytest.approx(untold.pooled / 2, rel=0.1)


def test_refunds_lower_the_value_and_more_refunds_than_sales_make_it_negative() -> None:
    names, values = orders({f"c{i}": (40, 50.0) for i in range(20)})
    refunded = np.where(np.arange(800) % 4 == 0, -values, values)
    worth = fit_order_value(names, np.ones(800), refunded, currency="USD")
    assert worth is not None
    assert worth.pooled == pytest.approx(refunded.mean(), rel=0.1)
    loss = fit_order_value(names, np.ones(800), -values, currency="USD")
    assert loss is not None
    assert loss.of("c1") == Money.of(loss.pooled) < Money.of(0)
    assert loss.interval("c1") is None


def test_amounts_of_two_currencies_are_never_averaged() -> None:
    with pytest.raises(InvalidInput, match="EUR, USD") as caught:
        fit_order_value(["a", "a"], [1, 1], [5.0, 6.0], currency=["USD", "EUR"])
    assert caught.value.path == "currency"
    worth = fit_order_value(["a", "a"], [1, 1], [5.0, 6.0], currency=["EUR", "EUR"])
    assert worth is not None
    assert worth.of("a").currency == "EUR"
    with pytest.raises(InvalidInput, match="1 currencies for 2 rows"):
        fit_order_value(["a", "a"], [1, 1], [5.0, 6.0], currency=["EUR"])


def test_cells_that_differ_get_their_own_value_and_small_ones_their_campaigns() -> None:
    sizes = {
        f"{c}/{device}": (100, mean) for c in "abcdefghijkl" for device, mean in (("phone", 40.0), ("desktop", 80.0))
    }
    keys, values = orders(sizes | {"a/tablet": (5, 60.0)})
    campaigns, cells = np.array([key.split("/") for key in keys]).T
    worth = fit_order_value(campaigns, np.ones(len(keys)), values, currency="USD", cells=cells)
    assert worth is not None
    for name in "abcdefghijkl":
        phone, whole, desktop = (worth.of(name, cell) for cell in ("phone", None, "desktop"))
        assert phone < whole < desktop
        assert phone.amount == pytest.approx(40, rel=0.2)
        assert desktop.amount == pytest.approx(80, rel=0.2)
        bounds = worth.interval(name, "phone")
        assert bounds is not None
        assert bounds[0] < phone < bounds[1] < whole
    assert worth.of("a", "tablet") == worth.of("a")
    assert worth.interval("a", "tablet") == worth.interval("a")
    assert worth.of("never seen", "phone") == worth.of("never seen")


def test_an_interval_covers_the_true_value_as_often_as_it_says() -> None:
    """Of campaigns with few orders and with many, and of campaigns never seen."""
    rng = np.random.default_rng(7)
    covered, unseen = [], []
    for _ in range(15):
        truth = 60 * rng.lognormal(0, 0.4, 140)
        size = np.maximum(1, rng.lognormal(3, 1.5, 100).astype(int))
        campaign = np.repeat(np.arange(100), size)
        values = truth[campaign] * rng.lognormal(-0.5, 1.0, len(campaign))
        worth = fit_order_value(campaign.astype(str), np.ones(len(values)), values, currency="USD")
        assert worth is not None
        for i, true in enumerate(truth):
            bounds = worth.interval(str(i))
            assert bounds is not None
            (covered if i < 100 else unseen).append(bounds[0].amount <= true <= bounds[1].amount)
    assert 0.93 < np.mean(covered) < 0.97
    assert 0.90 < np.mean(unseen) < 0.98


def test_an_interval_widens_with_its_level_and_narrows_with_orders() -> None:
    names, values = orders({"many": (2000, 50.0), "few": (20, 50.0)} | {f"c{i}": (30, 30.0 + 5 * i) for i in range(12)})
    worth = fit_order_value(names, np.ones(len(names)), values, currency="USD")
    assert worth is not None
    widths = {}
    for name, level in (("many", 0.95), ("few", 0.95), ("few", 0.99), ("never seen", 0.95)):
        bounds = worth.interval(name, level=level)
        assert bounds is not None
        assert bounds[0] < worth.of(name) < bounds[1]
        widths[name, level] = (bounds[1] - bounds[0]).micros
    assert widths["many", 0.95] < widths["few", 0.95] < widths["few", 0.99]
    assert widths["few", 0.95] < widths["never seen", 0.95] * 1.01
    with pytest.raises(InvalidInput):
        worth.interval("few", level=1.0)


def test_nobody_says_how_sure_a_handful_of_orders_is() -> None:
    worth = fit_order_value(["a", "a", "b"], [1, 1, 1], [5.0, 6.0, 7.0], currency="USD")
    assert worth is not None
    assert worth.interval("a") is None
    names, values = orders({"a": (50, 20.0), "b": (50, 30.0)})
    two = fit_order_value(names, np.ones(100), values, currency="USD")
    assert two is not None
    assert two.interval("a") is not None
    assert two.interval("never seen") is None  # two campaigns do not tell how far a third may lie from them


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from("abcd"),
            st.sampled_from("xyz"),
            st.floats(0, 1e6),
            st.floats(-1e12, 1e12) | st.sampled_from([0.0, 1e-9, 50.0]),
            st.floats(0, 1e4),
        ),
        max_size=60,
    )
)
def test_whatever_is_told_every_amount_is_finite_and_lies_in_its_interval(
    rows: list[tuple[str, str, float, float, float]],
) -> None:
    campaigns, cells, conversions, value, weight = zip(*rows, strict=True) if rows else ((),) * 5
    worth = fit_order_value(campaigns, conversions, value, weight, currency="USD", cells=cells)
    if worth is None:
        return
    for name in "abcde":
        for cell in (None, "x"):
            amount, bounds = worth.of(name, cell), worth.interval(name, cell)
            assert np.isfinite(amount.amount)
            if bounds is not None:
                assert bounds[0] <= amount <= bounds[1]


def test_a_value_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        fit_order_value(["a", "b"], [1, 1], [5.0, float("nan")], currency="USD")
    assert caught.value.path == "value"


def test_order_values_survive_json() -> None:
    names, values = orders({"a": (30, 50.0), "b": (30, 90.0)})
    worth = fit_order_value(names, np.ones(60), values, currency="USD", cells=["x", "y"] * 30)
    assert msgspec.json.decode(msgspec.json.encode(worth), type=OrderValue) == worth


def test_an_order_value_of_an_earlier_version_still_answers_but_knows_no_interval() -> None:
    told = b'{"pooled":20.0,"by_campaign":{"shoes":62.5},"currency":"USD","orders":40.0,"strength":5.0}'
    worth = msgspec.json.decode(told, type=OrderValue)
    assert worth.of("shoes", "phone") == Money.of("62.5")
    assert worth.interval("shoes") is None


def test_a_price_that_was_paid_several_times_is_no_accident() -> None:
    """Nine in ten orders are worth 10, the tenth 500: the average is 59, and a cut at so many times the usual would miss it."""
    shares = []
    for seed in range(20):
        values = np.where(np.random.default_rng(seed).random(200) < 0.1, 500.0, 10.0)
        worth = fit_order_value(["a"] * 200, np.ones(200), values, currency="USD")
        assert worth is not None
        shares.append(worth.of("a").amount / values.mean())
    assert np.median(shares) == pytest.approx(1.0, abs=0.02)
