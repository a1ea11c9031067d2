"""Settings that make no sense are refused, with what would be right."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bidloop.bidding.pacing.settings import PacingSettings
from bidloop.bidding.settings import BiddingSettings, Objective
from bidloop.core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"max_bid": 0.0}, "max_bid"),
        ({"max_bid": float("nan")}, "max_bid"),
        ({"daily_budget": float("inf")}, "daily_budget"),
        ({"budgets": {"brand": -1.0}}, "budgets.brand"),
        ({"min_bid": 2.0, "max_bid": 1.0}, "min_bid"),
        ({"exploration_rate": 1.0}, "exploration_rate"),
        ({"exploration_ratio": 1.0}, "exploration_ratio"),
        ({"exploration_steps": 0}, "exploration_steps"),
        ({"exploration_floor": 0.0}, "exploration_floor"),
        ({"exploration_rate": 0.1, "exploration_steps": 5, "exploration_floor": 0.02}, "exploration_floor"),
        ({"max_cpc": -1.0}, "max_cpc"),
        ({"min_bid": 1e10}, "min_bid"),
        ({"approve_above": 0.0}, "approve_above"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"objective": Objective.TARGET_CPA}, "target_cpa"),
        ({"objective": Objective.TARGET_ROAS}, "target_roas"),
        ({"objective": Objective.MAXIMIZE_CLICKS}, "click_value"),
        ({"objective": Objective.MAXIMIZE_CONVERSIONS}, "conversion_value"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_name(setting: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        BiddingSettings(**setting)
    assert refused.value.found.startswith(f"bidding.{named} = ")
    assert refused.value.expected


@pytest.mark.parametrize(
    "setting",
    [{"window": 0.0}, {"initial_multiplier": 1.5}, {"min_multiplier": 0.0}, {"finish_early": 0.7}, {"max_step": -1.0}],
)
def test_a_pacing_knob_out_of_its_range_is_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=f"bidding.pacing.{next(iter(setting))}"):
        PacingSettings(**setting)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="max_bit"):
        msgspec.convert({"max_bit": 3.0}, BiddingSettings)


def test_settings_survive_a_file() -> None:
    settings = BiddingSettings(
        objective=Objective.TARGET_ROAS, target_roas=4.0, budgets={"brand": 30.0}, pacing=PacingSettings(window=0.1)
    )
    again = msgspec.toml.decode(msgspec.toml.encode(settings), type=BiddingSettings) if _has_toml() else settings
    assert msgspec.json.decode(msgspec.json.encode(settings), type=BiddingSettings) == settings == again


def _has_toml() -> bool:
    try:
        msgspec.toml.encode({})
    except ImportError:
        return False
    return True


def test_a_campaign_may_have_a_budget_of_its_own() -> None:
    settings = BiddingSettings(daily_budget=10.0, budgets={"brand": 30.0})
    assert (settings.budget_of("brand"), settings.budget_of("other")) == (30.0, 10.0)
