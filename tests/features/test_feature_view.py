from __future__ import annotations

import msgspec
import pytest

from bidloop.core.errors import ConfigurationError
from bidloop.features.view import CategoryFeature, FeatureView, MeasureFeature, RateFeature
from bidloop.features.views import campaign_view, display_view

FALL_BACK = ("ctr", "conversion_rate", "impressions")
ACCOUNT = RateFeature(name="account", key=(), parent="", values=FALL_BACK)
CELL = RateFeature(name="cell", key=("device",), values=FALL_BACK)
TWICE = RateFeature(name="twice", key=("device",), values=("impressions",))
NEEDED = {f"{rate}_{value}" for rate in ("account", "cell") for value in FALL_BACK}


@pytest.mark.parametrize("view", [campaign_view(), display_view(["slot"]), display_view(["slot", "domain"], ["floor"])])
def test_every_ready_view_has_the_features_that_predictions_fall_back_on(view):
    assert set(view.numeric_names) >= NEEDED


def test_the_version_is_the_same_on_every_machine():
    assert campaign_view().version == campaign_view("UTC").version
    assert campaign_view("Europe/Berlin").version != campaign_view().version
    assert FeatureView(name="small", rates=(ACCOUNT, CELL)).version == "4d667f306b26"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"timezone": "Asia/Shanghai"},
        {"base_ctr": 0.02},
        {"cyclic": ("hour",)},
        {"measures": (MeasureFeature(name="floor", measure="slot_floor"),)},
        {"rates": (ACCOUNT, msgspec.structs.replace(CELL, strength=3.0))},
        {"rates": (ACCOUNT, msgspec.structs.replace(CELL, half_life_days=3.0))},
    ],
)
def test_any_change_of_the_definition_changes_the_version(change):
    view = FeatureView(name="small", rates=(ACCOUNT, CELL))
    assert msgspec.structs.replace(view, **change).version != view.version


def test_a_view_survives_being_written_and_read():
    view = display_view(["slot", "domain"], ["floor"], "Asia/Shanghai")
    read = msgspec.json.decode(msgspec.json.encode(view), type=FeatureView)
    assert read == view
    assert read.version == view.version


def test_a_cell_is_drawn_towards_its_first_attribute():
    *_, cell = display_view(["domain", "slot"]).rates
    assert (cell.key, cell.parent) == (("campaign_id", "attributes.domain", "attributes.slot"), "domain")


def test_a_single_attribute_makes_the_cell_alone():
    *_, cell = display_view(["slot"]).rates
    assert (cell.key, cell.parent) == (("campaign_id", "attributes.slot"), "campaign")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"rates": ()}, "'account' first"),
        ({"rates": (CELL,)}, "'account' first"),
        ({"rates": (ACCOUNT,)}, "without the rate 'cell'"),
        ({"rates": (ACCOUNT, msgspec.structs.replace(CELL, key=()))}, "without the rate 'cell'"),
        ({"rates": (ACCOUNT, msgspec.structs.replace(CELL, values=("ctr",)))}, "predictions fall back on"),
        ({"rates": (ACCOUNT, msgspec.structs.replace(CELL, parent="campaign"))}, "parent 'campaign'"),
        ({"rates": (ACCOUNT, msgspec.structs.replace(CELL, key=("user_id",)))}, "source 'user_id'"),
        ({"rates": (ACCOUNT, msgspec.structs.replace(CELL, key=("device", "device")))}, "named twice"),
        ({"rates": (ACCOUNT, msgspec.structs.replace(CELL, half_life_days=0.0))}, "half-life 0.0"),
        ({"rates": (ACCOUNT, msgspec.structs.replace(CELL, strength=float("nan")))}, "strength nan"),
        (
            {"rates": (ACCOUNT, CELL, TWICE, msgspec.structs.replace(TWICE, values=("ctr",)))},
            "two rates named 'twice'",
        ),
        ({"categories": (CategoryFeature(name="hour_sin", source="device"),)}, "used twice: hour_sin"),
        ({"categories": (CategoryFeature(name="city", source="attributes."),)}, "source 'attributes.'"),
        ({"categories": (CategoryFeature(name="minute", source="time.minute"),)}, "source 'time.minute'"),
        ({"timezone": "Mars/Olympus"}, "timezone 'Mars/Olympus'"),
        ({"base_ctr": 0.0}, "base_ctr of 0.0"),
        ({"base_conversion_rate": float("nan")}, "base_conversion_rate of nan"),
    ],
)
def test_a_view_that_contradicts_itself_is_refused_with_the_reason(wrong, words):
    with pytest.raises(ConfigurationError, match=words):
        FeatureView(**{"name": "wrong", "rates": (ACCOUNT, CELL), **wrong})
