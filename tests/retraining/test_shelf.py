"""The bundles there are, and which of them serves."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from bidloop.core.errors import CorruptArtifact, NotFound, Unavailable
from bidloop.retraining.shelf import Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
    return Shelf(tmp_path)


def test_nothing_serves_before_the_first_promotion(shelf: Shelf, tmp_path: Path) -> None:
    assert shelf.champion() is None
    assert Shelf(tmp_path / "not there yet").champion() is None


def test_the_last_one_promoted_serves_also_for_whoever_looks_later(shelf: Shelf) -> None:
    for version in ("v1", "v2", "v1"):
        shelf.promote(version)
        assert Shelf(shelf.folder).champion() == version
    assert sorted(path.name for path in shelf.folder.iterdir()) == ["champion", "promotions.ndjson", "v1", "v2"]


@pytest.mark.parametrize("version", ["v3", "", "champion"])
def test_what_is_not_on_the_shelf_cannot_serve_and_changes_nothing(shelf: Shelf, version: str) -> None:
    shelf.promote("v2")
    with pytest.raises(NotFound, match="bidloop train"):
        shelf.promote(version)
    assert shelf.champion() == "v2"


def test_a_bundle_stands_in_the_folder_of_its_version(shelf: Shelf) -> None:
    assert shelf.path("v1") == shelf.folder / "v1"
    with pytest.raises(NotFound, match="no model 'v9'"):
        shelf.path("v9")


def test_roll_backs_go_back_one_further_each_time_and_never_to_what_was_taken_back(shelf: Shelf) -> None:
    for version in ("v3", "v4"):
        (shelf.folder / version).mkdir()
    for version in ("v1", "v2", "v2", "v3"):
        shelf.promote(version)
    assert (shelf.roll_back(), shelf.champion(), shelf.previous()) == ("v2", "v2", "v1")
    shelf.promote("v4")
    assert [shelf.roll_back(), shelf.roll_back()] == ["v2", "v1"]
    with pytest.raises(NotFound, match="no champion before"):
        shelf.roll_back()
    assert shelf.champion() == "v1"
    told = [(change.how, change.version) for change in shelf.promotions.changes()]
    assert told[-3:] == [("promoted", "v4"), ("rolled back", "v4"), ("rolled back", "v2")]


def test_a_champion_from_before_promotions_were_written_down_can_be_gone_back_to(shelf: Shelf) -> None:
    (shelf.folder / "champion").write_text("v1\n")
    assert shelf.previous() is None
    shelf.promote("v2")
    assert shelf.previous() == "v1"
    assert (shelf.roll_back(), shelf.previous()) == ("v1", None)


def test_after_a_crash_between_writing_down_and_doing_what_serves_is_believed(shelf: Shelf) -> None:
    (shelf.folder / "v3").mkdir()
    shelf.promote("v1")
    shelf.promote("v2")
    (shelf.folder / "champion").write_text("v1\n")  # v2 was written down, and never made to serve
    assert shelf.previous() is None
    shelf.promote("v3")
    assert shelf.previous() == "v1"
    with (shelf.folder / "promotions.ndjson").open("a") as file:
        file.write('{"how": "promoted", "vers')  # cut short
    assert shelf.previous() == "v1"
    shelf.promote("v2")
    assert [shelf.roll_back(), shelf.roll_back()] == ["v3", "v1"]


def test_a_champion_that_is_no_longer_on_the_shelf_is_not_gone_back_to(shelf: Shelf) -> None:
    shelf.promote("v1")
    shelf.promote("v2")
    (shelf.folder / "v1").rmdir()
    with pytest.raises(NotFound, match="no model 'v1'"):
        shelf.roll_back()
    assert (shelf.champion(), shelf.previous()) == ("v2", "v1")


def test_a_challenger_that_is_promoted_is_none_any_more(shelf: Shelf) -> None:
    shelf.promote("v1")
    shelf.propose("v2")
    assert (shelf.champion(), shelf.challenger()) == ("v1", "v2")
    shelf.promote("v1")
    assert shelf.challenger() == "v2"
    shelf.promote("v2")
    assert shelf.challenger() is None
    with pytest.raises(NotFound):
        shelf.propose("v9")


def test_many_who_promote_at_once_are_all_written_down(shelf: Shelf) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: Shelf(shelf.folder).promote("v1" if i % 2 else "v2"), range(40)))
    lines = [line for line in (shelf.folder / "promotions.ndjson").read_text().splitlines() if line]
    told = [json.loads(line)["version"] for line in lines]
    assert told[-1] == shelf.champion()
    assert all(before != after for before, after in pairwise(told)), "what serves already is not promoted again"


def test_who_promotes_or_rolls_back_from_another_champion_than_there_is_by_now_is_told(shelf: Shelf) -> None:
    shelf.promote("v1", expected=None)
    shelf.promote("v2", expected="v1")
    assert shelf.roll_back(expected="v2") == "v1"
    changes = shelf.promotions.changes()
    for change in (lambda: shelf.roll_back(expected="v2"), lambda: shelf.promote("v2", expected=None)):
        with pytest.raises(Unavailable, match="v1 serves by now"):
            change()
    assert (shelf.champion(), shelf.promotions.changes()) == ("v1", changes)


def test_a_pointer_is_on_the_disk_before_anything_is_said_of_it(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(handle: int) -> None:
        done.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        fsync(handle)

    def replaced(source: Path, target: Path) -> None:
        done.append(f"{source.name} -> {target.name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    shelf.promote("v1")
    assert done == ["promotions.ndjson", "champion.part", "champion.part -> champion", shelf.folder.name]


def test_a_pointer_that_names_nothing_is_as_none(shelf: Shelf) -> None:
    (shelf.folder / "champion").write_text("\n")
    assert shelf.champion() is None
    shelf.promote("v1")
    assert [change.version for change in shelf.promotions.changes()] == ["v1"]


def test_what_serves_is_no_challenger_and_promoting_it_changes_nothing(shelf: Shelf) -> None:
    shelf.promote("v1")
    shelf.propose("v2")
    shelf.propose("v1")
    assert shelf.challenger() is None
    changes = shelf.promotions.changes()
    shelf.promote("v1")
    assert shelf.promotions.changes() == changes


def test_only_what_is_a_whole_bundle_is_taken_on_the_shelf(shelf: Shelf) -> None:
    with shelf.room() as room:
        folder = Path(room) / "v0123456789ab"
        folder.mkdir()
        with pytest.raises(NotFound):
            shelf.adopt(folder)
        (folder / "manifest.json").write_text("{}")
        with pytest.raises(CorruptArtifact):
            shelf.adopt(folder)
    assert shelf.versions() == ["v1", "v2"]
    assert sorted(path.name for path in shelf.folder.iterdir()) == ["v1", "v2"]
