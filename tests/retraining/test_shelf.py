"""The bundles there are, and which of them serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from bidloop.core.errors import NotFound
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
    assert sorted(path.name for path in shelf.folder.iterdir()) == ["champion", "v1", "v2"]


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
