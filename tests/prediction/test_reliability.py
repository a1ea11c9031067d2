import numpy as np
import pytest

from bidloop.prediction import quality, reliability


def test_ece_sees_predictions_that_are_too_high_and_bins_hold_equal_mass() -> None:
    rng = np.random.default_rng(5)
    p = rng.uniform(0.05, 0.3, 20_000)
    m, w = np.full(20_000, 50.0), np.ones(20_000)
    c = rng.binomial(50, p).astype(float)
    assert reliability.ece(p, m, c, w) < 0.002
    assert reliability.ece(p * 1.2, m, c, w) == pytest.approx(0.2 * p.mean(), rel=0.05)
    curve = reliability.reliability_curve(p, m, c, w, bins=10)
    assert len(curve) == 10
    assert max(b.impressions for b in curve) / min(b.impressions for b in curve) < 1.01
    assert sum(b.lower <= b.predicted <= b.upper for b in curve) >= 8


def test_sigma_p_over_sigma_y_is_told_by_group() -> None:
    quality_ = quality.evaluate([0.1, 0.2, 0.1], [10, 10, 5], [1, 1, 0], fields={"device": ["a", "b", "c"]})
    assert quality_.calibration_ratio == pytest.approx(3.5 / 2)
    assert quality_.by_field["device"]["b"].ratio == pytest.approx(2)
    assert quality_.by_field["device"]["c"].ratio is None


def test_the_interval_of_a_ratio_holds_the_truth_as_often_as_stated() -> None:
    rng = np.random.default_rng(11)
    n, held = 400, 0
    for _ in range(n):
        p = rng.uniform(0.01, 0.2, 300)
        weight = rng.choice([1.0, 4.0], 300)
        clicks = (rng.random(300) < p).astype(float)
        group = reliability.calibration_by_group(p, np.ones(300), clicks, weight, ["all"] * 300)["all"]
        assert group.upper is not None
        held += group.lower <= 1 <= group.upper
    assert 0.9 <= held / n <= 0.98


def test_a_group_without_a_click_has_a_lower_bound_alone() -> None:
    group = reliability.calibration_by_group([0.1], [100], [0], [1], ["x"])["x"]
    assert group.ratio is None
    assert group.upper is None
    assert group.lower > 1


def test_groups_without_an_impression_are_left_out() -> None:
    assert list(reliability.calibration_by_group([0.1, 0.1], [0, 10], [0, 1], [1, 1], ["x", "y"])) == ["y"]


def test_tiers_go_by_the_traffic_of_the_campaign_and_not_of_the_row() -> None:
    campaigns = np.array(["a"] * 60 + ["b"] * 1 + ["c"] * 35 + ["d"] * 4)
    tiers = reliability.traffic_tiers(campaigns, np.ones(100))
    assert {name: tiers[campaigns == name][0] for name in "abcd"} == {
        "a": "head",
        "c": "middle",
        "d": "tail",
        "b": "tail",
    }


def test_rare_values_are_counted_together() -> None:
    values = np.array(["x"] * 5 + ["a very long name"] * 4 + ["y"] * 2 + ["z"])
    shown = reliability.top_values(values, np.ones(12), most=2)
    assert set(shown) == {"x", "a very long name", "(other)"}
    assert (shown == "(other)").sum() == 3
