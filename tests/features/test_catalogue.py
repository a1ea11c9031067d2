"""Feature views are kept once, found by the beginning of their version, and refused when they are damaged."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bidloop.core.clock import ManualClock
from bidloop.core.errors import CorruptArtifact, NotFound
from bidloop.features.catalogue import Catalogue, find_version
from bidloop.features.signal_sets import calendar_signals, campaign_signals, market_signals, user_signals, with_signals
from bidloop.features.view import FeatureView
from bidloop.features.views import campaign_view, display_view

NOW = datetime(2026, 3, 1, tzinfo=UTC)
EVERYTHING = with_signals(
    campaign_view("Europe/Berlin", ["quality_score"]),
    campaign_signals("EUR"),
    user_signals(),
    calendar_signals("DE", "BY"),
    market_signals(["gdp"]),
)


@pytest.mark.parametrize("view", [campaign_view(), EVERYTHING, display_view(["slot"])], ids=lambda view: view.version)
def test_a_view_comes_back_as_it_was(tmp_path: Path, view: FeatureView) -> None:
    catalogue = Catalogue(tmp_path / "views")
    version = catalogue.keep(view)
    assert version == view.version
    assert catalogue.view(version) == view
    assert catalogue.view(version[:5]) == view
    assert [path.name for path in (tmp_path / "views").iterdir()] == [f"{version}.json"]


def test_a_view_is_kept_once_and_versions_come_in_the_order_of_keeping(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    catalogue = Catalogue(tmp_path, clock)
    views = [EVERYTHING, campaign_view(), display_view(["slot"])]
    for day, view in enumerate(views):
        clock.set(NOW + timedelta(days=day))
        catalogue.keep(view)
    clock.set(NOW + timedelta(days=99))
    catalogue.keep(EVERYTHING)
    kept = catalogue.versions()
    assert [one.version for one in kept] == [view.version for view in views]
    assert [one.kept_at for one in kept] == [NOW + timedelta(days=day) for day in range(3)]


def test_an_empty_catalogue_knows_nothing(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / "views")
    assert catalogue.versions() == []
    with pytest.raises(NotFound, match="no feature view '58d0'"):
        catalogue.view("58d0")


def test_a_beginning_that_several_have_is_refused_and_a_misspelt_one_gets_the_closest() -> None:
    versions = ["58d08977b803", "58d1aaaaaaaa", "a1c3b7f00d21"]
    assert find_version("58d0", versions) == "58d08977b803"
    with pytest.raises(NotFound, match="58d08977b803, 58d1aaaaaaaa all begin with '58d'"):
        find_version("58d", versions)
    with pytest.raises(NotFound, match="Did you mean 'a1c3b7f00d21'"):
        find_version("a1c3b7f00d12", versions)
    with pytest.raises(NotFound):
        find_version("", versions)


@pytest.mark.parametrize(
    ("found", "damage"),
    [
        ("the definition of", lambda told: told["view"].__setitem__("lag_seconds", 60.0)),
        ("unknown field", lambda told: told["view"].__setitem__("lags", 60.0)),
        ("parent", lambda told: told["view"]["rates"][1].__setitem__("parent", "nobody")),
        ("missing required field", lambda told: told.pop("view")),
    ],
)
def test_a_definition_that_was_tampered_with_is_refused(tmp_path: Path, found: str, damage: object) -> None:
    catalogue = Catalogue(tmp_path)
    file = tmp_path / f"{catalogue.keep(campaign_view())}.json"
    told = json.loads(file.read_text())
    damage(told)  # type: ignore[operator]
    file.write_text(json.dumps(told))
    with pytest.raises(CorruptArtifact, match=found):
        catalogue.view(campaign_view().version)


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    file = tmp_path / f"{catalogue.keep(campaign_view())}.json"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(CorruptArtifact, match=file.name):
        catalogue.versions()
    assert catalogue.names() == [file.stem]
    other = catalogue.keep(EVERYTHING)
    assert catalogue.view(other) == EVERYTHING  # only what is asked for is read
