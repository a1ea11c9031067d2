"""Settings: environment over file over defaults, and unknown keys are errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from bidloop.app.settings import load_settings
from bidloop.core.errors import ConfigurationError


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "bidloop.toml"
    file.write_text('currency = "EUR"\n[bidding]\nmax_bid = 2.5\nmax_step = 0.3\n')
    settings = load_settings(file, {"BIDLOOP_BIDDING__MAX_BID": "3.5"})
    assert (settings.currency, settings.bidding.max_bid, settings.bidding.max_step) == ("EUR", 3.5, 0.3)
    assert settings.home == ".bidloop"


def test_an_override_of_the_command_line_wins_over_everything(tmp_path: Path) -> None:
    settings = load_settings(None, {"BIDLOOP_HOME": "elsewhere"}, {"home": "here", "http": {"port": 0}})
    assert (settings.home, settings.http.port) == ("here", 0)


def test_an_unknown_setting_in_a_room_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    file = tmp_path / "bidloop.toml"
    file.write_text("[bidding]\nmax_bidd = 2.5\n")
    with pytest.raises(ConfigurationError, match=r"bidding\.max_bidd.*Did you mean 'bidding\.max_bid'"):
        load_settings(file, {})


def test_a_value_of_a_wrong_type_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"setting http\.port: Expected `int`"):
        load_settings(None, {"BIDLOOP_HTTP__PORT": "eighty"})


@pytest.mark.parametrize(
    "name", ["EVENTS__CHUNK=0", "EVENTS__RETENTION_DAYS=-1", "STREAM__RECENT_SECONDS=0", "STREAM__MAX_ATTEMPTS=0"]
)
def test_a_setting_under_which_events_would_be_lost_is_refused(name: str) -> None:
    name, _, value = name.partition("=")
    with pytest.raises(ConfigurationError, match=f"setting {name.lower().replace('__', '[.]')}"):
        load_settings(None, {f"BIDLOOP_{name}": value})


def test_a_room_that_is_no_table_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"setting bidding = '3'; expected a table"):
        load_settings(None, {"BIDLOOP_BIDDING": "3"})


def test_a_named_file_that_is_missing_is_an_error_and_the_default_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {}).currency == "USD"
    with pytest.raises(ConfigurationError, match="no settings file"):
        load_settings(tmp_path / "none.toml", {})


def test_a_file_that_is_no_toml_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "bidloop.toml"
    file.write_text("currency: EUR")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_settings(file, {})
