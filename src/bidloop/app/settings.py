"""One typed tree of settings: environment over `bidloop.toml` over defaults."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from bidloop.bidding.settings import BiddingSettings
from bidloop.core.errors import ConfigurationError
from bidloop.events.settings import EventSettings, PrivacySettings, StreamSettings
from bidloop.features.settings import FeatureSettings
from bidloop.outcomes.settings import OutcomeSettings
from bidloop.prediction.settings import PredictionSettings
from bidloop.retraining.registry_settings import RegistrySettings
from bidloop.retraining.settings import RenewalSettings

PREFIX = "BIDLOOP_"
NOT_SETTINGS = frozenset({"BIDLOOP_CONFIG", "BIDLOOP_DATA", "BIDLOOP_TEST_POSTGRES_URL", "BIDLOOP_TEST_REDIS_URL"})


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the API listens, whom it answers, and how much it takes.

    Parameters
    ----------
    host, port
        Address; the default answers this machine only.
    keys
        Whether callers need an API key: ``"required"``, ``"off"``, or ``"auto"``: as soon as one was ever made, or the address
        is not this machine's own.
    max_body_bytes, max_batch
        Larger requests for predictions are refused with 413, longer batches with 422.
    max_events_bytes, max_events
        The same for events; the bytes count as they arrive and, where they are compressed, as what they become.
    events_per_second, events_burst
        Events that one key (one address, where there are no keys) may send in the long run, and at once; beyond it the
        answer is 429. A rate of 0 sets no limit.
    requests_per_second
        The same for requests of any kind; 0 sets no limit.
    trusted_proxies
        Networks such as ``10.0.0.0/8`` whose ``X-Forwarded-For`` is believed.
    cors_origins
        Origins such as ``https://shop.example`` whose pages may send events by script.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    keys: Literal["auto", "required", "off"] = "auto"
    max_body_bytes: int = 2_000_000
    max_batch: int = 1000
    max_events_bytes: int = 8_000_000
    max_events: int = 10_000
    events_per_second: float = 0.0
    events_burst: int = 10_000
    requests_per_second: float = 0.0
    trusted_proxies: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set.

    Parameters
    ----------
    home
        Folder for the database, the history, the models and the reports.
    timezone
        The account's timezone (IANA name): hours of day and budget days are counted in it.
    currency
        The account's currency (ISO 4217).
    database
        ``postgresql://user@host/name``; empty keeps events, quarantine and decisions in a SQLite file in the home folder.
    """

    home: str = ".bidloop"
    timezone: str = "UTC"
    currency: str = "USD"
    database: str = ""
    events: EventSettings = EventSettings()
    stream: StreamSettings = StreamSettings()
    privacy: PrivacySettings = PrivacySettings()
    features: FeatureSettings = FeatureSettings()
    bidding: BiddingSettings = BiddingSettings()
    outcomes: OutcomeSettings = OutcomeSettings()
    prediction: PredictionSettings = PredictionSettings()
    renewal: RenewalSettings = RenewalSettings()
    registry: RegistrySettings = RegistrySettings()
    http: HttpSettings = HttpSettings()


def load_settings(
    file: Path | None = None, environment: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Read the settings.

    Parameters
    ----------
    file
        A TOML file; by default the one that ``BIDLOOP_CONFIG`` names, else ``bidloop.toml`` in the working folder if
        there is one.
    environment
        By default the process's own. ``BIDLOOP_BIDDING__MAX_BID=3`` sets ``bidding.max_bid``.
    overrides
        Nested values that win over both, such as those of the command line.

    Raises
    ------
    ConfigurationError
        For a file that is missing or is no TOML, an unknown key (with the nearest known one) or a value of a wrong type.

    Examples
    --------
    >>> load_settings(environment={"BIDLOOP_CURRENCY": "EUR"}).currency
    'EUR'
    >>> load_settings(environment={"BIDLOOP_CURENCY": "EUR"})
    Traceback (most recent call last):
    ...
    bidloop.core.errors.ConfigurationError: unknown setting 'curency'; expected one of the settings. Did you mean 'currency'?
    """
    environment = os.environ if environment is None else environment
    tree = _from_file(file, environment)
    _merge(tree, _from_environment(environment))
    _merge(tree, overrides or {})
    _refuse_unknown(tree, Settings, ())
    try:
        return msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at ")
        raise ConfigurationError(
            f"setting {path.strip('`').removeprefix('$.') or '?'}: {reason}",
            remedy="Mend it in bidloop.toml or the environment.",
        ) from error


def _from_file(file: Path | None, environment: Mapping[str, str]) -> dict[str, Any]:
    named = file or (Path(environment["BIDLOOP_CONFIG"]) if environment.get("BIDLOOP_CONFIG") else None)
    path = named or Path("bidloop.toml")
    if not path.exists():
        if named:
            raise ConfigurationError(
                f"no settings file {path}", expected="an existing TOML file", remedy="Check the path."
            )
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}", expected="a TOML file") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in environment.items():
        if name.startswith(PREFIX) and name not in NOT_SETTINGS:
            *rooms, key = name.removeprefix(PREFIX).lower().split("__")
            branch = tree
            for room in rooms:
                branch = branch.setdefault(room, {})
            branch[key] = value
    return tree


def _merge(tree: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = dict(value) if isinstance(value, Mapping) else value


def _refuse_unknown(tree: Mapping[str, Any], struct: type[msgspec.Struct], path: tuple[str, ...]) -> None:
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(struct)}
    for key, value in tree.items():
        here = (*path, key)
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            known = near[0] if near else ", ".join(sorted(fields))
            raise ConfigurationError(
                f"unknown setting {'.'.join(here)!r}",
                expected="one of the settings",
                remedy=f"Did you mean {'.'.join((*path, known))!r}?" if near else f"Known here: {known}.",
            )
        kind = fields[key]
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            if not isinstance(value, Mapping):
                raise ConfigurationError(f"setting {'.'.join(here)} = {value!r}", expected="a table of settings")
            _refuse_unknown(value, kind, here)
