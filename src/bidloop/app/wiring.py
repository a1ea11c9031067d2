"""The one place that chooses adapters: from settings to a running loop."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from bidloop.adapters.ipinyou.reader import ATTRIBUTES
from bidloop.adapters.ipinyou.view import ipinyou_view
from bidloop.adapters.parquet.history import ParquetHistory
from bidloop.adapters.sql.api_keys import SqlApiKeys
from bidloop.adapters.sql.database import agreed, open_database
from bidloop.adapters.sql.decision_log import SqlDecisionLog
from bidloop.adapters.sql.event_log import SqlEventLog
from bidloop.adapters.sql.ledger import SqlLedger
from bidloop.adapters.sql.quarantine import SqlQuarantine
from bidloop.app.settings import Settings
from bidloop.bidding.ledger.caps import SettingsCaps
from bidloop.bidding.ledger.leases import Leases
from bidloop.bidding.pacing.pacer import Pacer
from bidloop.bidding.pacing.traffic import TrafficShape
from bidloop.bidding.pipeline import Bidder
from bidloop.bidding.settings import BiddingSettings
from bidloop.core.clock import Clock, SystemClock
from bidloop.core.errors import ConfigurationError, CorruptArtifact, NotFound, Unavailable
from bidloop.core.outcome import Observations
from bidloop.events.intake import Door, Intake
from bidloop.events.ports import EventLog
from bidloop.events.privacy import Privacy, load_key
from bidloop.events.publisher import Publisher
from bidloop.events.reception import Reception
from bidloop.events.sealing import Seal
from bidloop.events.settings import StreamSettings
from bidloop.features.catalogue import Catalogue
from bidloop.features.definitions import read_definitions
from bidloop.features.health import FeatureHealth
from bidloop.features.online import InProcessStore
from bidloop.features.ports import OnlineStore
from bidloop.features.signal_sets import (
    SignalSet,
    calendar_signals,
    campaign_signals,
    chosen,
    market_signals,
    user_signals,
    with_signals,
)
from bidloop.features.view import FeatureView
from bidloop.features.views import campaign_view, display_view
from bidloop.loop import Loop
from bidloop.outcomes.joining import Joiner
from bidloop.prediction.bundle import Bundle, load_bundle
from bidloop.prediction.predictor import Predictor
from bidloop.retraining.shelf import Shelf

if TYPE_CHECKING:
    from bidloop.adapters.redis.event_stream import RedisEventStream

VIEWS = ("auto", "campaign", "display", "ipinyou")

SHORTEST_STEP = 0.1
"""Shortest steps of time, in seconds, of a view whose values are shared."""

_log = getLogger("bidloop.wiring")


@dataclass(frozen=True)
class House:
    """What one account has: its database, its history, its models, and the doors to them.

    Parameters
    ----------
    name
        What its database is known by, so that several accounts may share a server.
    ledger, log, quarantine, decisions, keys
        In the database.
    stream
        Where events wait for `bidloop absorb`; `None` where they go straight to the log.
    intake, door, reception
        The way into the log; the way in for events from outside, which is the intake or the stream; and what reads them.
    shelf, views
        The models, and the feature views that were ever used.
    privacy, seal
        What takes people out of events, and what seals bytes that may name them.
    connections
        What `close` gives back.
    """

    name: str
    home: Path
    settings: Settings
    clock: Clock
    ledger: SqlLedger
    log: SqlEventLog
    quarantine: SqlQuarantine
    decisions: SqlDecisionLog
    keys: SqlApiKeys
    stream: RedisEventStream | None
    history: ParquetHistory
    intake: Intake
    door: Door
    reception: Reception
    privacy: Privacy
    seal: Seal
    shelf: Shelf
    views: Catalogue
    connections: ExitStack

    def close(self) -> None:
        """Give back the connections to database and stream."""
        self.connections.close()


def open_house(settings: Settings, clock: Clock | None = None, *, new_key: bool = False) -> House:
    """Open what the settings name; an empty home folder or database is set up, an older one is migrated.

    Parameters
    ----------
    clock
        By default the machine's own.
    new_key
        Whether the privacy key may be another one than before, and holds from now on.

    Raises
    ------
    ConfigurationError
        When the home folder cannot be made, the database cannot be opened, or the privacy key is not the one that the database
        was written with: the same person would get another pseudonym, in silence.
    """
    home = Path(settings.home)
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"home folder {home} cannot be made: {error.strerror}",
            expected="a folder that can be written to",
            remedy="Set --home.",
        ) from error
    clock = clock or SystemClock()
    connections = ExitStack()
    engine = open_database(settings.database or home / "bidloop.db")
    connections.callback(engine.dispose)
    key = load_key(Path(settings.privacy.key_file) if settings.privacy.key_file else home / "privacy.key")
    seal, privacy = Seal(key), Privacy(key, settings.privacy)
    fingerprint = seal.name(b"privacy key")
    if agreed(engine, "privacy key", fingerprint, anew=new_key) != fingerprint:
        connections.close()
        raise ConfigurationError(
            "another privacy key than the one that this database was written with",
            expected="the same key file on every machine that opens it",
            remedy="Set privacy.key_file. If the old key is gone for good, run 'bidloop privacy new-key'.",
        )
    # An amount in another currency would stand in the log for good, and no budget could be kept from then on.
    sensible = msgspec.structs.replace(settings.events, currency=settings.currency)
    log, decisions = SqlEventLog(engine, seal), SqlDecisionLog(engine)
    stream = _open_stream(settings.stream)
    if stream is not None:
        connections.callback(stream.close)
    intake = Intake(log, clock, sensible)
    return House(
        name=agreed(engine, "name", secrets.token_hex(8)),
        home=home,
        settings=settings,
        clock=clock,
        ledger=SqlLedger(engine),
        log=log,
        quarantine=SqlQuarantine(engine, seal),
        decisions=decisions,
        keys=SqlApiKeys(engine),
        stream=stream,
        history=ParquetHistory(home / "history", log, decisions, settings.outcomes),
        intake=intake,
        door=intake if stream is None else Publisher(stream, seal),
        reception=Reception(privacy, clock, sensible),
        privacy=privacy,
        seal=seal,
        shelf=Shelf(home / "models"),
        views=Catalogue(home / "views", clock),
        connections=connections,
    )


def _open_stream(settings: StreamSettings) -> RedisEventStream | None:
    if not settings.url:
        return None
    from bidloop.adapters.redis.event_stream import RedisEventStream

    try:
        return RedisEventStream.open(settings)
    except Unavailable:  # what does not need it works without it, and what does waits for it
        return RedisEventStream(settings)


def open_loop(
    settings: Settings,
    clock: Clock | None = None,
    *,
    ids: Callable[[Clock], str] | None = None,
    training: bool = False,
    house: House | None = None,
) -> Loop:
    """Wire a loop over the home folder, and bring its in-process state back from the log.

    Parameters
    ----------
    clock
        By default the machine's own.
    ids
        Where decision ids come from; seeded ones make a simulation repeatable.
    training
        Whether the loop is opened to train: then the feature view is the one of the settings, not the champion's.
    house
        An open home folder, where there is one already.
    """
    house = house or open_house(settings, clock)
    signals_of(settings)  # a model pins its view, but settings that are wrong are told before anything starts
    try:
        bundle = champion(house)
        predictor = Predictor(bundle, settings.prediction)
    except (CorruptArtifact, NotFound) as error:
        if not training:
            raise
        _log.warning("The model that serves cannot be loaded, and training goes on without it: %s", error)
        bundle, predictor = None, Predictor(None, settings.prediction)
    view = view_of(house) if training or bundle is None else msgspec.convert(bundle.view, FeatureView)
    bidding = msgspec.structs.replace(settings.bidding, timezone=settings.timezone, currency=settings.currency)
    joiner = Joiner(house.decisions, settings.outcomes)
    # Training looks at what was known, not at what is: it fills no store that others use.
    features = InProcessStore(view) if training else open_store(house, view)
    if settings.features.store == "redis":
        _heal(features, house.log)
    health = FeatureHealth(view)
    known, position = _learned(house, joiner, features, health)
    # What a restatement takes back or adds belongs to the period of its row, and leaves it with what is told of it last.
    periods, of = np.unique(known.at if known.spent_at is None else known.spent_at, return_inverse=True)
    shown = np.maximum(0.0, np.bincount(of, known.impressions, minlength=len(periods)))
    traffic = TrafficShape.learn(periods, shown, timezone=settings.timezone)
    loop = Loop(
        clock=house.clock,
        view=view,
        features=features,
        predictor=predictor,
        bidder=Bidder(bidding),
        pacer=Pacer(bidding, traffic),
        leases=_leases(house, bidding),
        intake=house.intake,
        log=house.log,
        joiner=joiner,
        history=house.history,
        decisions=house.decisions,
        shelf=house.shelf,
        policies=_remember(bidding, house.home / "policies"),
        renewal=settings.renewal,
        outcomes=settings.outcomes,
        ids=ids,
        health=health,
    )
    house.views.keep(view)
    loop.rebuild(known, position)
    return loop


def _leases(house: House, bidding: BiddingSettings) -> Leases:
    leases = Leases(house.ledger, SettingsCaps(bidding), bidding.timezone, bidding.ledger, house.clock)
    house.connections.callback(leases.close)
    return leases


def open_store(house: House, view: FeatureView) -> OnlineStore:
    """The store of feature values that the settings ask for.

    Raises
    ------
    ConfigurationError
        When a store that is shared has no address, or the view no steps of time.
    """
    settings = house.settings.features
    if settings.store == "memory":
        return InProcessStore(view)
    if settings.store == "feast":
        from bidloop.adapters.feast.repository import FeastRepository
        from bidloop.adapters.feast.store import FeastStore

        online: Literal["redis", "sqlite"] = "redis" if settings.redis_url else "sqlite"
        repository = FeastRepository(house.home / "feast", online=online, redis_url=settings.redis_url)
        return FeastStore(view, repository, clock=house.clock, keep_seconds=settings.keep_seconds)
    if not settings.redis_url:
        raise ConfigurationError("features.store = 'redis' without an address", expected="features.redis_url")
    if view.resolution_seconds < SHORTEST_STEP:
        raise ConfigurationError(
            f"features.store = 'redis' with features.resolution_seconds = {settings.resolution_seconds:g}",
            expected=f"at least {SHORTEST_STEP:g}: a shared store keeps what is new step by step",
            remedy="Set features.resolution_seconds = 1 and train again.",
        )
    from bidloop.adapters.redis.feature_store import RedisFeatureStore

    store = RedisFeatureStore(
        view,
        settings.redis_url,
        clock=house.clock,
        prefix=f"bidloop:features:{house.name}",
        keep_seconds=settings.keep_seconds,
        expire_days=settings.expire_days,
        answer_seconds=settings.answer_seconds,
    )
    house.connections.callback(store.close)
    return store


def _heal(features: OnlineStore, log: EventLog) -> None:
    """Empty a shared store that has learned what the log does not hold, as after a backup was restored."""
    from bidloop.adapters.redis.feature_store import RedisFeatureStore, digest_of

    if not isinstance(features, RedisFeatureStore):
        return
    position, digest = features.told
    found = [event for at, event in log.read(position - 1, 1) if at == position] if position and digest else []
    # An event that was pruned or erased tells nothing.
    if position > log.head() or any(digest_of(event.event_id) != digest for event in found):
        _log.warning(
            "The store of features tells of another past than the log, which was taken back: it is built anew."
        )
        features.clear()


def shared_features(house: House) -> OnlineStore | None:
    """The store of feature values that others use as well; `None` where each process has its own."""
    if house.settings.features.store == "memory":
        return None
    return open_store(house, served_view(house))


def served_view(house: House) -> FeatureView:
    """The feature view of the model that serves, or before the first training that of the settings."""
    bundle = champion(house)
    return view_of(house) if bundle is None else msgspec.convert(bundle.view, FeatureView)


def champion(house: House) -> Bundle | None:
    """The bundle that serves, or `None` before the first training."""
    version = house.shelf.champion()
    return None if version is None else load_bundle(house.shelf.path(version))


def view_of(house: House) -> FeatureView:
    """The feature view that the settings ask for, given what the log carries.

    Raises
    ------
    ConfigurationError
        When the settings name a view, a signal or an economic series that there is none of, or a definition is wrong.
    """
    wanted = house.settings.features
    view = chosen(_base_view(house, signals_of(house.settings)), wanted.use)
    if wanted.resolution_seconds:
        view = msgspec.structs.replace(view, resolution_seconds=wanted.resolution_seconds)
    return view


def signals_of(settings: Settings) -> Callable[[FeatureView], FeatureView]:
    """What adds the signals that the settings ask for to a view.

    Raises
    ------
    ConfigurationError
        When the settings name what there is none of, or a definition is wrong.
    """
    wanted = settings.features
    if wanted.view not in VIEWS:
        raise ConfigurationError(f"features.view = {wanted.view!r}", expected=f"one of {', '.join(VIEWS)}")
    ready: dict[str, Callable[[], SignalSet]] = {
        "campaign": lambda: campaign_signals(settings.currency),
        "user": user_signals,
        "calendar": lambda: calendar_signals(wanted.country, wanted.subdivision),
        "market": lambda: market_signals(wanted.series),
    }
    sets = [ready[name]() for name in wanted.signals]
    if wanted.definitions:
        sets.append(read_definitions(Path(wanted.definitions)))
    # What is wrong with the signals is said here, before what events call their facts is suspected.
    chosen(with_signals(campaign_view(), *sets), wanted.use)
    return lambda view: with_signals(view, *sets)


def _base_view(house: House, complete: Callable[[FeatureView], FeatureView]) -> FeatureView:
    """The view that suits what the log carries, completed; what cannot stand beside the rest is not looked at."""
    settings, wanted = house.settings, house.settings.features
    house.history.sync()
    logged = house.history.attributes()
    if wanted.view == "ipinyou" or (wanted.view == "auto" and set(logged) == set(ATTRIBUTES)):
        return complete(ipinyou_view())
    attributes, measures = wanted.attributes, wanted.measures
    told = house.history.measures()
    if wanted.view == "campaign" or (wanted.view == "auto" and not (attributes or logged)):
        measures = measures or _distinct(told, lambda names: complete(campaign_view(measures=names)))
        return complete(campaign_view(settings.timezone, measures))
    attributes = attributes or _distinct(logged, lambda names: complete(display_view(names)))
    measures = measures or _distinct(told, lambda names: complete(display_view(attributes, names)))
    return complete(display_view(attributes, measures, settings.timezone, cell=wanted.cell or attributes[:1]))


def _distinct(told: Sequence[str], view: Callable[[Sequence[str]], FeatureView]) -> tuple[str, ...]:
    """Those names of attributes or measures that a view can hold beside all others: no event may keep it from being made."""
    with suppress(ConfigurationError):
        view(told)
        return tuple(told)
    kept: tuple[str, ...] = ()
    for name in told:
        try:
            view((*kept, name))
        except ConfigurationError as error:
            _log.warning("What events call %r is not looked at: %s", name, error)
        else:
            kept += (name,)
    return kept


def _learned(house: House, joiner: Joiner, features: OnlineStore, health: FeatureHealth) -> tuple[Observations, int]:
    """Have the store of features learn all that is known, in its order; says what the log tells of ads, and up to where."""
    position, pages, covered = 0, [joiner.join(())], 0
    with features.rebuilding():
        page = house.log.read(position)
        if (page[0][0] if page else house.log.head() + 1) > 1:  # the log was pruned; the history still has all
            covered = _learned_from_history(house, features)
        while page:
            known = joiner.join([event for _, event in page], [at for at, _ in page])
            position = page[-1][0]
            if position > covered:
                features.observe(_behind(known, covered), [(at, event) for at, event in page if at > covered])
            health.saw(event for _, event in page)
            pages.append(known)
            page = house.log.read(position)
    together = Observations(
        at=np.concatenate([known.at for known in pages]),
        opportunities=[opportunity for known in pages for opportunity in known.opportunities],
        impressions=np.concatenate([known.impressions for known in pages]),
        clicks=np.concatenate([known.clicks for known in pages]),
        conversions=np.concatenate([known.conversions for known in pages]),
        value=np.concatenate([known.value for known in pages]),
        cost=np.concatenate([known.cost for known in pages]),
        spent_at=np.concatenate([known.at if known.spent_at is None else known.spent_at for known in pages]),
        position=np.concatenate([np.zeros(0, np.int64), *(k.position for k in pages if k.position is not None)]),
    )
    return together, position


def _learned_from_history(house: House, features: OnlineStore) -> int:
    """Have the store learn what the history tells, as training does; says up to which position that is."""
    house.history.sync()
    covered = house.history.position()
    features.observe(house.history.observations(), house.history.happenings())
    return covered


def _behind(known: Observations, position: int) -> Observations:
    """What became known behind a position."""
    if known.position is None or not len(known) or known.position[0] > position:
        return known
    rows = np.flatnonzero(known.position > position)
    return known.take(rows)


def _remember(bidding: BiddingSettings, folder: Path) -> Path:
    """Keep the bidding settings by version, so that a decision made under them can be made again."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{bidding.version}.json"
    if not file.exists():
        temporary = file.with_suffix(".part")
        temporary.write_bytes(msgspec.json.encode(bidding))
        os.replace(temporary, file)
    return folder
