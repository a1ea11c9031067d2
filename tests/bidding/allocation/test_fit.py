"""Response curves are found where the truth is known, with intervals that hold."""

from __future__ import annotations

import numpy as np
import pytest

from bidloop.bidding.allocation.days import CampaignDays
from bidloop.bidding.allocation.fit import fit_responses
from bidloop.bidding.allocation.settings import Family, ResponseSettings
from bidloop.core.errors import ConfigurationError, InsufficientData
from tests.bidding.allocation import markets

SETTINGS = ResponseSettings(draws=200)


def width(low_high: tuple[float, float]) -> float:
    return low_high[1] / low_high[0]


def test_intervals_of_the_outcome_and_of_the_elasticity_hold() -> None:
    held: list[bool] = []
    sloped: list[bool] = []
    for seed in range(15):
        truth = {"a": 0.3, "b": 0.5, "c": 0.6, "d": 0.8}
        for curve in fit_responses(markets.days(truth, seed=seed), Family.POWER, SETTINGS):
            e = truth[curve.campaign]
            for spend in (70.0, 100.0, 140.0):
                low, high = curve.interval(spend, 0.9)
                held.append(low < 40 * (spend / 100) ** e < high)
            low, high = np.quantile(curve.elasticity, [0.05, 0.95])
            sloped.append(low < e < high)
    assert 0.85 <= np.mean(held) <= 1.0
    assert 0.8 <= np.mean(sloped) <= 0.98


def test_a_campaign_with_few_days_leans_on_the_elasticity_of_the_others() -> None:
    many = markets.days(dict.fromkeys("abcdef", 0.35), per_day=200.0)
    few = markets.days({"young": 0.35}, n=5, per_day=20.0, seed=5, varies=0.1)
    together = CampaignDays(
        np.concatenate([many.campaign, few.campaign]),
        np.concatenate([many.day, few.day + np.timedelta64(79, "D")]),
        np.concatenate([many.spend, few.spend]),
        np.concatenate([many.outcome, few.outcome]),
    )
    curves = {curve.campaign: curve for curve in fit_responses(together, Family.POWER, SETTINGS)}
    young, old = curves["young"].elasticity, curves["a"].elasticity
    assert abs(np.median(young) - 0.35) < 0.12
    assert np.std(young) > 1.5 * np.std(old)


def test_a_level_that_shifts_is_not_taken_for_an_effect_of_the_spend() -> None:
    random = np.random.default_rng(2)
    n = 84
    late = np.arange(n) >= 42
    # At half time spend falls to a half, and demand rises so that as much is sold as before.
    spend = np.where(late, 50.0, 100.0) * np.exp(0.3 * random.normal(size=n))
    mean = 60 * (spend / 100) ** 0.6 * np.where(late, 2.0**0.6, 1.0)
    days = CampaignDays(
        np.full(n, "brand", dtype=object), markets.START + np.arange(n), spend, random.poisson(mean).astype(float)
    )
    [curve] = fit_responses(days, Family.POWER, SETTINGS)
    naive = np.polyfit(np.log(spend), np.log(days.outcome), 1)[0]
    assert abs(np.median(curve.elasticity) - 0.6) < 0.1 < abs(naive - 0.6)
    low, high = curve.interval(50.0, 0.9)
    assert low < 60 < high


def test_what_is_still_to_be_reported_does_not_lower_the_curve() -> None:
    days = markets.days({"brand": 0.5}, per_day=200.0)
    age = (days.last - days.day) / np.timedelta64(1, "D") + 1
    share = np.minimum(1.0, 0.1 * age)
    told = CampaignDays(days.campaign, days.day, days.spend, np.round(days.outcome * share), share)
    [curve] = fit_responses(told, Family.POWER, SETTINGS)
    low, high = curve.interval(100.0, 0.9)
    assert low < 200 < high
    [taken_as_it_is] = fit_responses(
        CampaignDays(days.campaign, days.day, days.spend, told.outcome), Family.POWER, SETTINGS
    )
    assert taken_as_it_is.outcome(100.0).mean() < 0.8 * curve.outcome(100.0).mean()


def test_of_a_campaign_that_stopped_less_is_known_the_longer_ago_it_was() -> None:
    random = np.random.default_rng(4)
    days = markets.days({"ran on": 0.5, "stopped": 0.5}, per_day=100.0)
    drift = np.exp(np.cumsum(0.1 * random.normal(size=12)))[np.arange(84) // 7]  # levels do move
    days = CampaignDays(days.campaign, days.day, days.spend, np.round(days.outcome * np.tile(drift, 2)))
    keep = (days.campaign == "ran on") | (days.day < days.last - np.timedelta64(35, "D"))
    days = CampaignDays(days.campaign[keep], days.day[keep], days.spend[keep], days.outcome[keep])
    ran, stopped = fit_responses(days, Family.POWER, SETTINGS)
    assert width(stopped.interval(100.0, 0.9)) > 1.1 * width(ran.interval(100.0, 0.9))


def test_no_campaign_may_be_given_more_than_its_reach() -> None:
    days = markets.days({"brand": 0.5})
    [curve] = fit_responses(days, Family.POWER, ResponseSettings(reach=1.2))
    assert curve.limit == pytest.approx(1.2 * np.quantile(days.spend, 0.95))


def test_the_same_days_and_seed_give_the_same_curves() -> None:
    days = markets.days({"a": 0.4, "b": 0.7})
    first, again = (fit_responses(days, Family.SATURATION, SETTINGS) for _ in range(2))
    assert all((one.outcome(80.0) == two.outcome(80.0)).all() for one, two in zip(first, again, strict=True))


def test_too_short_a_history_or_one_without_outcome_is_refused() -> None:
    days = markets.days({"brand": 0.5}, n=13)
    with pytest.raises(InsufficientData, match="13 days"):
        fit_responses(days, Family.POWER, SETTINGS)
    days = markets.days({"brand": 0.5}, n=20, per_day=0.0)
    with pytest.raises(InsufficientData, match="0 of the outcome"):
        fit_responses(days, Family.POWER, SETTINGS)


def test_a_campaign_that_never_brought_anything_has_a_low_curve_and_not_an_error() -> None:
    days = markets.days({"good": 0.5, "dead": 0.5}, n=28)
    dead = CampaignDays(days.campaign, days.day, days.spend, np.where(days.campaign == "dead", 0.0, days.outcome))
    curves = {curve.campaign: curve for curve in fit_responses(dead, Family.POWER, SETTINGS)}
    assert curves["dead"].outcome(100.0).mean() < 0.05 * curves["good"].outcome(100.0).mean()


@pytest.mark.parametrize("wrong", [{"draws": 10}, {"reach": 0.5}, {"window_days": 0}])
def test_settings_out_of_range_are_refused_by_name(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        ResponseSettings(**wrong)  # type: ignore[arg-type]
