"""API keys: how they are made, kept and revoked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from bidloop.adapters.sql.api_keys import SqlApiKeys
from bidloop.adapters.sql.database import open_database
from bidloop.app.cli import app
from bidloop.app.settings import load_settings
from bidloop.app.wiring import open_house
from bidloop.core.api_key import key_id_of, new_key
from bidloop.core.errors import InvalidInput, NotFound

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    postgresql = request.param == "postgresql"
    engine = open_database(request.getfixturevalue("postgres_url") if postgresql else tmp_path / "keys.db")
    yield engine
    engine.dispose()


def test_a_token_opens_its_key_and_no_other():
    (shop, token), (other, another) = (new_key("shop", ["ingest"], NOW) for _ in range(2))
    assert key_id_of(token) == shop.key_id
    assert shop.opened_by(token)
    assert not shop.opened_by(another)
    assert not shop.opened_by(token.replace(shop.key_id, other.key_id))
    assert not shop.opened_by(f"bl_{shop.key_id}_{shop.digest}")
    for wrong in ("", "bl_", "bl__", f"bl_{shop.key_id}", f"bl_{shop.key_id}_", "bl_\ud800_x", "é" * 9):
        assert not shop.opened_by(wrong)


def test_what_is_kept_of_a_key_does_not_hold_its_secret():
    key, token = new_key("shop", ["ingest"], NOW)
    assert token.rpartition("_")[2] not in repr(key)


def test_the_scope_of_an_administrator_is_every_scope():
    key, _ = new_key("ops", ["admin"], NOW)
    assert key.allows("ingest")
    assert key.allows("predict")
    tracker, _ = new_key("site", ["ingest", "ingest"], NOW)
    assert tracker.scopes == ("ingest",)
    assert not tracker.allows("admin")


@pytest.mark.parametrize(
    ("name", "scopes", "path"),
    [("shop", [], "scopes"), ("shop", ["ingest", "root"], "scopes"), ("  ", ["ingest"], "name"), ("a\n", ["ingest"], "name"),
     ("x" * 101, ["ingest"], "name")],
)  # fmt: skip
def test_a_key_without_a_name_or_with_an_unknown_scope_is_refused(name, scopes, path):
    with pytest.raises(InvalidInput) as told:
        new_key(name, scopes, NOW)
    assert told.value.path == path


def test_keys_are_kept_as_they_were_made(engine):
    keys = SqlApiKeys(engine)
    made = [new_key(f"schlüssel {i}", ["predict", "ingest"], NOW + timedelta(seconds=i))[0] for i in (2, 0, 1)]
    for key in made:
        keys.add(key)
    assert keys.list() == sorted(made, key=lambda key: key.created_at)


def test_a_key_is_revoked_once_and_for_all(engine):
    keys = SqlApiKeys(engine)
    (key, _), (other, _) = new_key("shop", ["ingest"], NOW), new_key("other", ["ingest"], NOW)
    keys.add(key)
    keys.add(other)
    assert keys.revoke(key.key_id, NOW + timedelta(days=1)).revoked_at == NOW + timedelta(days=1)
    assert keys.revoke(key.key_id, NOW + timedelta(days=2)).revoked_at == NOW + timedelta(days=1)
    assert {one.key_id: one.revoked_at for one in keys.list()} == {
        key.key_id: NOW + timedelta(days=1),
        other.key_id: None,
    }


def test_a_key_that_there_is_not_cannot_be_revoked(engine):
    with pytest.raises(NotFound, match=r"no API key 'nosuch'.*bidloop keys list"):
        SqlApiKeys(engine).revoke("nosuch", NOW)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_key_is_made_on_the_command_line_shown_once_listed_and_revoked(tmp_path):
    home = ("--home", str(tmp_path))
    token = run("keys", "create", "The shop", "--scope", "ingest", "--scope", "predict", *home).strip()
    keys = open_house(load_settings(environment={}, overrides={"home": str(tmp_path)})).keys
    [key] = keys.list()
    assert key.opened_by(token)
    assert (key.name, key.scopes) == ("The shop", ("ingest", "predict"))
    told = run("keys", "list", "--json", *home)
    [row] = json.loads(told)
    assert (row["id"], row["name"], row["scopes"], row["revoked"]) == (key.key_id, "The shop", "ingest, predict", "")
    assert token.rpartition("_")[2] not in told
    run("keys", "revoke", key.key_id, *home)
    assert keys.list()[0].revoked_at is not None
    made = json.loads(run("keys", "create", "ops", "--scope", "admin", "--json", *home))
    assert key_id_of(made["token"]) == made["id"]
