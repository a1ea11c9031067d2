"""`bidloop check`: what cannot start is told before it is started."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bidloop.app.checking import Finding, findings, what_changed
from bidloop.app.settings import Settings
from bidloop.app.wiring import open_house
from bidloop.features.amounts import Amount
from bidloop.features.settings import FeatureSettings
from bidloop.features.view import FeatureView
from bidloop.features.views import campaign_view


def looked(home: Path, **features: Any) -> dict[str, Finding]:
    return {one.what: one for one in findings(Settings(home=str(home), features=FeatureSettings(**features)))}


def test_an_empty_home_lacks_events_and_a_model_and_nothing_is_wrong(tmp_path: Path) -> None:
    found = looked(tmp_path)
    assert {what for what, one in found.items() if one.state != "fine"} == {"events", "model"}
    assert all(one.state != "wrong" for one in found.values())
    assert (found["feature store"].detail, found["lineage"].detail) == ("in each process", "nobody is told")


def test_a_store_that_is_not_there_or_has_no_address_is_wrong(tmp_path: Path) -> None:
    found = looked(tmp_path, store="redis", redis_url="redis://127.0.0.1:1", resolution_seconds=1.0)
    assert found["feature store"].state == "wrong"
    assert "127.0.0.1:1" in found["feature store"].detail
    assert found["lineage"].state == "fine"  # one does not keep the other from being looked at
    found = looked(tmp_path, store="redis")
    assert found["feature store"].state == "wrong"
    assert "without an address" in found["feature store"].detail


def test_a_store_that_answers_is_fine(tmp_path: Path, redis_url: str) -> None:
    found = looked(tmp_path, store="redis", redis_url=redis_url, resolution_seconds=1.0)
    assert (found["feature store"].state, found["feature store"].detail) == ("fine", "redis, answers")


def test_a_target_of_lineage_that_is_none_is_wrong(tmp_path: Path) -> None:
    assert looked(tmp_path, lineage="ftp://me:geheim@host")["lineage"].state == "wrong"
    told = looked(tmp_path, lineage="http://me:geheim@marquez:5000")["lineage"]
    assert (told.state, told.detail) == ("fine", "trainings are told to http://marquez:5000")
    file = tmp_path / "deep" / "lineage.jsonl"
    assert looked(tmp_path, lineage=str(file))["lineage"].state == "fine"
    assert not file.parent.exists()  # looking writes nothing


def test_lineage_without_its_client_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openlineage.client", None)
    told = looked(tmp_path, lineage="lineage.jsonl")["lineage"]
    assert (told.state, "pip install bidloop[lineage]" in told.detail) == ("wrong", True)


def test_a_kept_view_that_is_damaged_is_told_of(tmp_path: Path) -> None:
    house = open_house(Settings(home=str(tmp_path)))
    version = house.views.keep(campaign_view())
    house.close()
    assert looked(tmp_path)["kept views"].state == "fine"
    file = tmp_path / "views" / f"{version}.json"
    file.write_bytes(file.read_bytes()[:-30])
    told = looked(tmp_path)["kept views"]
    assert (told.state, file.name in told.detail) == ("wrong", True)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (campaign_view("Europe/Paris"), "the view's timezone is another"),
        (campaign_view(measures=["quality_score"]), "'quality_score' is new"),
        (campaign_view(half_life_days=7.0), "over of 'account_ctr' is another"),
        (
            msgspec.structs.replace(campaign_view(), amounts=(Amount(name="carts", event="form_submitted"),)),
            "the view's amount 'carts' (no feature changes by it) is another",
        ),
    ],
)
def test_what_changed_since_a_model_was_trained_is_said_in_words(now: FeatureView, said: str) -> None:
    told = what_changed(campaign_view(), now)
    assert said in told
    assert not re.search(r"[.?:] ?;|^;|; *;|[.?:;]$", told)
    assert what_changed(now, campaign_view())
