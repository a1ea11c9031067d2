"""Several processes that decide, over one store of features."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bidloop.app.forgetting import erase_person
from bidloop.app.settings import Settings
from bidloop.app.wiring import open_house, open_loop
from bidloop.core.clock import ManualClock
from bidloop.core.errors import InvalidInput
from bidloop.core.event import ClickReceived, ConversionReported, Event, ImpressionServed, PageViewed
from bidloop.core.feature_table import FeatureTable
from bidloop.core.opportunity import Opportunity
from bidloop.features.settings import FeatureSettings
from bidloop.loop import Loop

NOW = datetime(2026, 6, 3, 14, tzinfo=UTC)


def settings_of(home: Path, redis_url: str, store: str = "redis") -> Settings:
    features = FeatureSettings(
        store=store, redis_url=redis_url if store == "redis" else "", signals=("campaign", "user"), resolution_seconds=1.0,
        answer_seconds=10.0,
    )  # fmt: skip
    return Settings(home=str(home), features=features)


def cell(at: datetime, user: str = "p.anna") -> Opportunity:
    return Opportunity(opportunity_id="o", at=at, campaign_id="shoes", keyword="trail", device="mobile", user_id=user)


def happened(number: int, at: datetime) -> list[Event]:
    name = f"i{number}"
    return [
        ImpressionServed(event_id=f"{name}:i", at=at, impression_id=name, opportunity=cell(at)),
        ClickReceived(event_id=f"{name}:c", at=at + timedelta(seconds=3), impression_id=name),
        PageViewed(event_id=f"{name}:p", at=at + timedelta(seconds=5), user_id="p.anna"),
    ]


def assert_same(one: FeatureTable, other: FeatureTable) -> None:
    assert tuple(one.numeric) == tuple(other.numeric)
    for name, column in one.numeric.items():
        np.testing.assert_allclose(column, other.numeric[name], rtol=1e-9, atol=1e-9, err_msg=name)


def opened(home: Path, redis_url: str, store: str = "redis") -> Loop:
    return open_loop(settings_of(home, redis_url, store), ManualClock(NOW))


def test_what_one_process_learns_another_one_knows_once(tmp_path: Path, redis_url: str) -> None:
    one, other = opened(tmp_path, redis_url), opened(tmp_path, redis_url)
    for number in range(20):
        (one, other)[number % 2].absorb(happened(number, NOW - timedelta(hours=20 - number)))
    one.follow()
    other.follow()
    alone = opened(tmp_path, redis_url, "memory")
    asked = [cell(NOW + timedelta(minutes=1)), cell(NOW, user="p.else"), cell(NOW, user="")]
    for loop in (one, other):
        assert_same(loop.features.read(asked), alone.features.read(asked))
    assert_same(
        opened(tmp_path, redis_url).features.read(asked), alone.features.read(asked)
    )  # nothing is learned again
    row = one.features.read(asked[:1]).row(0).numeric
    assert row["user_page_views_7d"] == pytest.approx(19, abs=1.5)
    assert row["ctr_7d"] is not None
    assert row["ctr_7d"] > 0.5


def test_the_past_that_is_no_longer_kept_is_refused_with_what_to_do(tmp_path: Path, redis_url: str) -> None:
    loop = opened(tmp_path, redis_url)
    loop.absorb(happened(1, NOW - timedelta(hours=5)))
    with pytest.raises(InvalidInput, match=r"keeps 15 s.*keep_seconds"):
        loop.decide(cell(NOW - timedelta(hours=4)))


def test_a_person_who_is_forgotten_is_gone_from_the_shared_store(tmp_path: Path, redis_url: str) -> None:
    house = open_house(settings_of(tmp_path, redis_url), ManualClock(NOW))
    loop = open_loop(house.settings, house=house)
    anna = house.privacy.pseudonym("user_id", "anna")
    loop.absorb([msgspec.structs.replace(event, user_id=anna) for event in happened(1, NOW - timedelta(hours=1))])
    asked = [cell(NOW, user=anna)]
    assert loop.features.read(asked).row(0).numeric["user_page_views_7d"] > 0.9
    assert erase_person(house, "anna")["features"] > 0
    assert loop.features.read(asked).row(0).numeric["user_page_views_7d"] == 0.0


def test_a_log_that_was_taken_back_has_the_store_built_anew(tmp_path: Path, redis_url: str) -> None:
    settings = settings_of(tmp_path, redis_url)
    open_house(settings, ManualClock(NOW)).close()
    backup = (tmp_path / "bidloop.db").read_bytes()
    house = open_house(settings, ManualClock(NOW))
    open_loop(settings, house=house).absorb(happened(1, NOW - timedelta(hours=5)))
    house.close()
    for file in tmp_path.glob("bidloop.db*"):
        file.unlink()
    (tmp_path / "bidloop.db").write_bytes(backup)
    assert opened(tmp_path, redis_url).features.read([cell(NOW)]).row(0).numeric["user_page_views_7d"] == 0.0


def test_a_log_that_was_taken_back_and_has_grown_again_is_noticed(tmp_path: Path, redis_url: str) -> None:
    settings = settings_of(tmp_path, redis_url)
    open_house(settings, ManualClock(NOW)).close()
    backup = (tmp_path / "bidloop.db").read_bytes()
    house = open_house(settings, ManualClock(NOW))
    open_loop(settings, house=house).absorb(happened(1, NOW - timedelta(hours=5)))
    house.close()
    for file in tmp_path.glob("bidloop.db*"):
        file.unlink()
    (tmp_path / "bidloop.db").write_bytes(backup)
    house = open_house(settings, ManualClock(NOW))
    house.log.append([event for number in (2, 3) for event in happened(number, NOW - timedelta(hours=2))])
    house.close()
    told = opened(tmp_path, redis_url).features.read([cell(NOW)])
    assert_same(told, opened(tmp_path, redis_url, "memory").features.read([cell(NOW)]))


def test_two_accounts_share_a_server_and_know_nothing_of_each_other(tmp_path: Path, redis_url: str) -> None:
    one, other = opened(tmp_path / "one", redis_url), opened(tmp_path / "other", redis_url)
    one.absorb(happened(1, NOW - timedelta(hours=5)))
    assert other.features.read([cell(NOW)]).row(0).numeric["user_page_views_7d"] == 0.0


def test_a_team_with_feast_reads_what_the_loop_learned(tmp_path: Path, redis_url: str) -> None:
    loop = opened(tmp_path, redis_url, "feast")
    loop.absorb(happened(1, NOW - timedelta(hours=5)))
    alone = opened(tmp_path, redis_url, "memory")
    assert_same(loop.features.read([cell(NOW)]), alone.features.read([cell(NOW)]))
    assert_same(opened(tmp_path, redis_url, "feast").features.read([cell(NOW)]), alone.features.read([cell(NOW)]))


@pytest.mark.parametrize("store", ["memory", "redis", "feast"])
def test_a_running_process_forgets_who_was_erased_elsewhere(tmp_path: Path, redis_url: str, store: str) -> None:
    loop = opened(tmp_path, redis_url, store)
    eraser = open_house(settings_of(tmp_path, redis_url, store), ManualClock(NOW))
    anna = eraser.privacy.pseudonym("user_id", "anna")
    [shown, click, page] = happened(1, NOW - timedelta(hours=1))
    about = msgspec.structs.replace(shown.opportunity, user_id=anna)  # type: ignore[union-attr]
    shown = msgspec.structs.replace(shown, opportunity=about, user_id=anna)
    loop.absorb([shown, msgspec.structs.replace(page, user_id=anna)])
    asked = [cell(NOW, user=anna)]
    assert loop.features.read(asked).row(0).numeric["user_page_views_7d"] > 0.9
    assert erase_person(eraser, "anna")["events"] == 2
    sold = ConversionReported(event_id="sold", at=NOW - timedelta(minutes=5), impression_id="i1")
    loop.absorb([click, sold])  # of an impression that was anna's
    row = loop.features.read(asked).row(0).numeric
    assert row["user_page_views_7d"] == 0.0
    assert row["user_recency"] is None
    assert row["ctr_7d"] > 0.03  # the ad was shown and clicked all the same
    assert loop.features.forget(anna) == 0  # there was nothing of hers left


@pytest.mark.parametrize("store", ["memory", "redis"])
def test_after_retention_a_new_process_knows_what_training_knows(tmp_path: Path, redis_url: str, store: str) -> None:
    house = open_house(settings_of(tmp_path, redis_url, "memory"), ManualClock(NOW))
    loop = open_loop(house.settings, house=house)
    for number in range(10):
        loop.absorb(happened(number, NOW - timedelta(hours=20 - number)))
    house.history.sync()
    house.log.prune(datetime.now(UTC) + timedelta(days=2))
    assert house.log.read() == []
    loop.absorb(happened(11, NOW - timedelta(hours=2)))
    assert_same(opened(tmp_path, redis_url, store).features.read([cell(NOW)]), loop.features.read([cell(NOW)]))
