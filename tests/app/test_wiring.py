"""From settings to a house and a loop."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bidloop.app.checking import findings
from bidloop.app.settings import Settings
from bidloop.app.wiring import champion, open_house, open_loop, view_of
from bidloop.bidding.settings import BiddingSettings
from bidloop.core.clock import ManualClock
from bidloop.core.errors import ConfigurationError, CorruptArtifact, NotFound
from bidloop.core.event import CampaignReported
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.core.prediction import POOLED
from bidloop.features.settings import FeatureSettings
from bidloop.features.views import campaign_view, display_view

NOW = datetime(2026, 6, 3, 14, tzinfo=UTC)


def a_row(name: str, **about: Any) -> CampaignReported:
    at = NOW - timedelta(days=1)
    opportunity = Opportunity(opportunity_id=name, at=at, campaign_id="shoes", **about)
    return CampaignReported(
        event_id=name, at=at, opportunity=opportunity, impressions=100, clicks=3, conversions=0, spend=Money.of(2)
    )


def test_an_empty_home_is_set_up_and_opening_it_again_finds_it_as_it_was(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path / "a" / "b"))
    loop = open_loop(settings, ManualClock(NOW))
    loop.absorb([a_row("r1")])
    house = open_house(settings)
    assert house.log.counts() == {"campaign_reported": 1}
    assert champion(house) is None
    assert loop.predictor.version == POOLED


@pytest.mark.parametrize("home", ["file", "file/home"])
def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path, home: str) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ConfigurationError, match="--home"):
        open_house(Settings(home=str(tmp_path / home)))


def test_a_database_that_is_none_is_told_from_one_that_is_empty(tmp_path: Path) -> None:
    (tmp_path / "bidloop.db").write_text("this is no database, and long enough to be looked at" * 100)
    with pytest.raises(CorruptArtifact, match=r"bidloop\.db"):
        open_house(Settings(home=str(tmp_path)))


def test_the_view_follows_what_the_log_carries(tmp_path: Path) -> None:
    house = open_house(Settings(home=str(tmp_path)), ManualClock(NOW))
    assert view_of(house).version == campaign_view("UTC").version
    house.intake.accept([a_row("plain", measures={"quality": 0.5})])
    assert view_of(house).version == campaign_view("UTC", ("quality",)).version
    house.intake.accept([a_row("display", attributes={"slot": "top", "domain": "a.example"})])
    expected = display_view(("domain", "slot"), ("quality",), "UTC", cell=("domain",))
    assert view_of(house).version == expected.version


@pytest.mark.parametrize(
    ("features", "name"),
    [
        (FeatureSettings(view="campaign"), "campaign"),
        (FeatureSettings(view="display", attributes=("slot",)), "display"),
        (FeatureSettings(attributes=("slot",)), "display"),
    ],
)
def test_the_settings_may_choose_the_view(tmp_path: Path, features: FeatureSettings, name: str) -> None:
    house = open_house(Settings(home=str(tmp_path), features=features), ManualClock(NOW))
    house.intake.accept([a_row("display", attributes={"slot": "top", "domain": "a.example"})])
    view = view_of(house)
    assert view.name == name
    assert "domain" not in view.categorical_names


def test_a_view_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    house = open_house(Settings(home=str(tmp_path), features=FeatureSettings(view="search")))
    with pytest.raises(ConfigurationError, match="auto, campaign, display, ipinyou"):
        view_of(house)


@pytest.mark.parametrize(
    ("attributes", "measures"),
    [
        ({"position": "top", "slot": "a", "": "nothing"}, {"position": 1.5, "slot_ctr": 0.1, "floor": 1.0}),
        ({"slot": "a", "device": "phone", "campaign": "c", "slot_ctr": "b"}, {"account_ctr": 0.5, "hour": 3.0}),
        ({}, {"account_ctr": 0.5, "hour": 3.0, "quality": 1.0}),
    ],
)
def test_whatever_events_call_their_facts_the_house_opens(
    tmp_path: Path, attributes: dict[str, str], measures: dict[str, float]
) -> None:
    house = open_house(Settings(home=str(tmp_path)), ManualClock(NOW))
    house.intake.accept([a_row("r1", attributes=attributes, measures=measures)])
    view = open_loop(house.settings, house=house).view
    assert view.name == ("display" if attributes else "campaign")
    assert {"slot", "floor", "quality"} & {*attributes, *measures} <= {*view.categorical_names, *view.numeric_names}


def test_a_restatement_that_takes_impressions_back_does_not_keep_the_house_from_opening(tmp_path: Path) -> None:
    row = msgspec.structs.replace(a_row("r1"), row_id="r")
    less = msgspec.structs.replace(row, event_id="r2", impressions=90, known_at=NOW - timedelta(hours=3))
    rows = {"restated": [row, less], "as it is": [msgspec.structs.replace(less, known_at=None)]}
    loops = []
    for name, told in rows.items():
        settings = Settings(home=str(tmp_path / name), bidding=BiddingSettings(daily_budget=10.0))
        assert open_loop(settings, ManualClock(NOW)).absorb(told).accepted == len(told)
        loops.append(open_loop(settings, ManualClock(NOW), ids=lambda _: "0" * 32))
    about = Opportunity(opportunity_id="o", at=NOW, campaign_id="shoes")
    restated, plain = (loop.decide(about).state for loop in loops)
    assert restated == plain


def test_the_champion_s_view_is_served_and_the_settings_view_is_trained(tmp_path: Path, put_model: Any) -> None:
    put_model(tmp_path)
    settings = Settings(home=str(tmp_path), features=FeatureSettings(view="display", attributes=("slot",)))
    serving, training = (open_loop(settings, ManualClock(NOW), training=training) for training in (False, True))
    assert serving.view.version == campaign_view().version
    assert training.view.name == "display"
    about = Opportunity(opportunity_id="o", at=NOW, campaign_id="shoes")
    assert "view_mismatch" not in serving.decide(about).degraded


@pytest.mark.parametrize("damage", ["cut short", "gone"])
def test_a_champion_that_cannot_be_loaded_keeps_nobody_from_training_another(
    tmp_path: Path, put_model: Any, damage: str
) -> None:
    graph = tmp_path / "models" / put_model(tmp_path) / "performance.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    if damage == "gone":
        shutil.rmtree(graph.parent)
    with pytest.raises((CorruptArtifact, NotFound)):
        open_loop(Settings(home=str(tmp_path)))
    loop = open_loop(Settings(home=str(tmp_path)), training=True)
    assert loop.predictor.version == POOLED


def test_a_champion_that_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "champion").write_text("v0123456789ab\n")
    with pytest.raises(NotFound, match="no model 'v0123456789ab'"):
        open_loop(Settings(home=str(tmp_path)))


def test_the_bidding_settings_that_ever_decided_are_kept(tmp_path: Path) -> None:
    policies = set()
    for budget in (10.0, 20.0, 10.0):
        bidding = BiddingSettings(daily_budget=budget, currency="USD")
        loop = open_loop(Settings(home=str(tmp_path), currency="EUR", timezone="Europe/Berlin", bidding=bidding))
        assert (loop.bidder.settings.currency, loop.bidder.settings.timezone) == ("EUR", "Europe/Berlin")
        policies.add(loop.bidder.policy)
    assert len(policies) == 2
    assert {file.stem for file in (tmp_path / "policies").iterdir()} == policies


def test_a_database_is_opened_with_the_key_that_it_was_written_with_or_not_at_all(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path))
    open_house(settings).close()
    open_house(settings).close()
    (tmp_path / "privacy.key").unlink()
    with pytest.raises(ConfigurationError, match="another privacy key"):
        open_house(settings)
    open_house(settings, new_key=True).close()
    open_house(settings).close()


def test_ready_made_signals_and_ones_own_stand_behind_the_view(tmp_path: Path) -> None:
    own = tmp_path / "features.toml"
    own.write_text('[[signals]]\nkind = "recency"\nname = "last_click"\nentity = "campaign"\namount = "clicks"\n')
    features = FeatureSettings(
        signals=("campaign", "user", "calendar", "market"), country="DE", series=("cci",), definitions=str(own),
        use=("ctr_7d", "user_recency", "is_holiday", "cci", "last_click"), resolution_seconds=1.0,
    )  # fmt: skip
    view = view_of(open_house(Settings(home=str(tmp_path), features=features)))
    assert view.numeric_names[-5:] == features.use
    assert view.tick == 1_000_000


@pytest.mark.parametrize(
    "facts", [{"attributes": {"keyword": "a", "user": "b", "slot": "c"}}, {"measures": {"ctr_7d": 1.0}}]
)
def test_what_events_call_their_facts_takes_no_name_from_a_signal(tmp_path: Path, facts: dict[str, Any]) -> None:
    settings = Settings(home=str(tmp_path), features=FeatureSettings(signals=("campaign", "user")))
    house = open_house(settings, ManualClock(NOW))
    house.intake.accept([a_row("r1", **facts)])
    view = view_of(house)
    assert view.key_of("keyword") == ("campaign_id", "ad_group_id", "keyword")
    assert view.key_of("user") == ("user_id",)
    assert view.numeric_names.count("ctr_7d") == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"signals": ("campaign",), "use": ("ctr_7",)}, "'ctr_7', which no view defines.*Did you mean 'ctr_7d'"),
        ({"use": ("ctr_7d",)}, "no signals are defined"),
        ({"signals": ("calendar",), "country": "Germany"}, "holidays of 'Germany'"),
        ({"definitions": "nowhere.toml"}, "No such file"),
    ],
)
def test_a_feature_that_there_is_not_is_refused_before_anything_starts(
    tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    house = open_house(Settings(home=str(tmp_path), features=FeatureSettings(**wrong)))
    with pytest.raises(ConfigurationError, match=said):
        view_of(house)
    [finding] = [found for found in findings(house.settings) if found.what == "feature view"]
    assert finding.state == "wrong"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (FeatureSettings(store="redis"), "without an address.*features.redis_url"),
        (FeatureSettings(store="redis", redis_url="redis://127.0.0.1:1"), "resolution_seconds = 1"),
    ],
)
def test_a_shared_store_without_what_it_needs_is_refused(tmp_path: Path, settings: FeatureSettings, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        open_loop(Settings(home=str(tmp_path), features=settings))
