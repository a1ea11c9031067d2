"""Feature values now, from a Redis that several processes share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from itertools import islice
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from bidloop.adapters.redis.feature_blob import REVISION, FeatureBlob
from bidloop.adapters.redis.feature_keys import FeatureKeys
from bidloop.adapters.redis.feature_server import FeatureServer
from bidloop.adapters.redis.kept_states import Facts, Floats
from bidloop.core.clock import Clock, SystemClock
from bidloop.core.errors import ConfigurationError, InvalidInput
from bidloop.core.event import Event
from bidloop.core.feature_table import FeatureTable
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Observations
from bidloop.features.contributions import Contributions, contributions
from bidloop.features.described import describe
from bidloop.features.keys import absences, entity_keys
from bidloop.features.local_time import instant_of, microseconds
from bidloop.features.planning import plan_of
from bidloop.features.state import Known, advanced
from bidloop.features.values import feature_table
from bidloop.features.view import FeatureView

KEYS_PER_CALL = 10_000
"""Redis runs nothing else while it writes."""


class RedisFeatureStore:
    """Keeps what is known of every entity of a view in Redis; implements `bidloop.features.ports.OnlineStore`.

    Any number of processes may read, and any number may observe the same log: a fact is told apart by its position there, so that
    it counts once though all of them bring it, and though one of them was killed half-way and starts anew. To that end every
    process brings the log in its order, and all that one page of it tells in one call of `observe`. Facts from no log (position
    0) count each time that they are brought.

    One value of Redis holds an entity (`feature_blob`). A read is one round trip, for one candidate or for hundreds.

    A Redis that comes back with less than it had confirmed is noticed by every process that was running (`feature_server`): they
    raise `Unavailable` until one that starts anew has brought what is missing.

    Parameters
    ----------
    view
        The definition of the features. Each version of it has keys of its own. Its `resolution_seconds` is what one entry of an
        entity's recent past is long: at a microsecond every fact of the last `keep_seconds` is an entry by itself.
    url
        Address of the server: ``redis://host:port/db``, ``rediss://`` or ``unix://``. It must not evict keys of its own accord
        (``maxmemory-policy noeviction``), or what it dropped is missing until the store is built anew.
    clock
        Says, with the server's own, how far the past may be settled: by the earlier of the two, so that one wrong clock settles
        nothing too early.
    prefix
        Beginning of all keys.
    keep_seconds
        How far into the past reads are possible: longer than a request takes and than the clocks of two processes differ.
    expire_days
        An entity of which nothing new was heard for so long is dropped, with all that was known of it; 0 keeps it for ever.
    answer_seconds
        How long a read waits for the server; after that, reads are refused at once for a second. Whoever decides on a bid has no
        more time than that.

    Raises
    ------
    ConfigurationError
        For an address that is none, or a span below 0.
    """

    def __init__(
        self,
        view: FeatureView,
        url: str,
        *,
        clock: Clock | None = None,
        prefix: str = "bidloop:features",
        keep_seconds: float = 15.0,
        expire_days: float = 0.0,
        answer_seconds: float = 0.25,
    ) -> None:
        for name, span in (("keep_seconds", keep_seconds), ("expire_days", expire_days)):
            if not 0.0 <= span < float("inf"):
                raise ConfigurationError(f"{name} of {span}", expected="a finite number of at least 0")
        if not 0.0 < answer_seconds < float("inf"):
            raise ConfigurationError(f"answer_seconds of {answer_seconds}", expected="a finite number above 0")
        self._plan = plan_of(view)
        self._clock = clock or SystemClock()
        self._keep, self._lag = round(keep_seconds * 1e6), round(view.lag_seconds * 1e6)
        self._keys = FeatureKeys(self._plan, prefix)
        self._server = FeatureServer(
            url, self._keys, answer_seconds=answer_seconds, expire_seconds=round(expire_days * 86_400)
        )
        self._write = self._server.write
        self._blobs = [FeatureBlob(entity, self._plan.amounts) for entity in self._plan.entities]

    @property
    def view(self) -> FeatureView:
        """The definition of the features."""
        return self._plan.view

    @property
    def position(self) -> int:
        """Up to which position of the log everything is in; 0 before anything is."""
        return self.told[0]

    @property
    def told(self) -> tuple[int, str]:
        """That position, and the digest (`digest_of`) of the event there, empty where none was told.

        A log that holds another event there, or none, is not the one that the store was filled from.
        """
        return self._server.told()

    @property
    def earliest(self) -> datetime | None:
        """The earliest instant that can be asked for now."""
        return self._clock.now() - timedelta(microseconds=self._keep)

    def settle(self, before: datetime) -> None:
        """Nothing to do: what is older than `keep_seconds` is settled with every write."""

    def observe(self, observations: Observations | None = None, events: Sequence[tuple[int, Event]] = ()) -> None:
        """Add what became known, but for what is in already.

        Parameters
        ----------
        observations
            Of ads, in order of their positions in the log.
        events
            All that the page of the log holds, with their positions. Those of ads add nothing: they come as observations.

        Raises
        ------
        InvalidInput
            When an increment is not finite, or a time is missing: then nothing is added.
        Unavailable
            When the server does not answer, or has lost what it knew. What has a position in the log can be brought again as it
            is.
        """
        known = contributions(self._plan, observations, events)
        last, event = max(events, key=itemgetter(0), default=(0, None))
        newest = max(int(known.position.max(initial=0)), last)
        reached = self._server.position() if newest else 0
        fresh = (known.position == 0) | (known.position > reached)
        if fresh.any():
            for portion in _portions(self._facts(known, fresh)):
                self._learn(portion)
        if newest > reached:
            self._server.reach(newest, digest_of(event.event_id) if event and last == newest else "")

    def rebuilding(self) -> AbstractContextManager[None]:
        """While a log is read from its beginning; nothing is put off here, since what is in already is passed over."""
        return nullcontext()

    def read(self, opportunities: Sequence[Opportunity]) -> FeatureTable:
        """The values at each opportunity's own `at`, from observations whose time lies strictly before it, less the lag.

        Raises
        ------
        InvalidInput
            When an instant carries no timezone, or lies further back than the store can tell.
        Unavailable
            When the server does not answer, did not within the last second, or has lost what it knew.
        CorruptArtifact
            When a value in Redis is none of ours.
        """
        plan = self._plan
        instants = microseconds(opportunities, plan.view.lag_seconds)
        described = describe(plan.view, opportunities)
        keys = entity_keys(plan, opportunities, described.sources)
        distinct = [[key for key in dict.fromkeys(column) if key is not None] for column in keys]
        names = [self._keys.of(i, some) for i, some in enumerate(distinct)]
        found = iter(self._server.read([name for some in names for name in some]))
        asked = np.array(instants, dtype=np.int64)
        earliest, latest = min(instants, default=0), max(instants, default=0)
        states: list[Floats] = []
        places: list[NDArray[np.intp] | None] = []
        for i, entity in enumerate(plan.entities):
            values = [*islice(found, len(names[i])), None]  # the last stands for rows that name no such entity
            kept = self._blobs[i].unpacked(values)
            rows = _places(keys[i], distinct[i])
            if earliest < kept.base.max():
                self._check_settled(instants, kept.base[rows].tolist())
            # What the candidates of one request share is reckoned once.
            shared = earliest == latest and plan.determined[i] and len(rows) > 0
            at = np.full(len(values), earliest) if shared else asked
            each, since = kept.at(entity, np.arange(len(values)) if shared else rows, at)
            states.append(advanced(entity, each, at - since))
            places.append(rows if shared else None)
        known = Known(tuple(states), tuple(places))
        return feature_table(plan, described, known, instants, opportunities, absences(keys))

    def forget(self, user_id: str) -> int:
        """Forget a person, by pseudonym, in all versions of the view; says of how many entities."""
        return self._server.delete(self._keys.of_person(user_id))

    def clear(self) -> None:
        """Forget everything of this version of the view, so that it can be built anew from the log.

        Nobody may observe meanwhile.
        """
        self._server.clear()

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def _facts(self, known: Contributions, fresh: NDArray[np.bool_]) -> list[Facts]:
        """Those of the facts that are fresh, by kind of entity."""
        found = []
        for i in range(len(self._plan.entities)):
            rows, inputs = known.to(self._plan, i)
            mine = fresh[rows]
            rows = rows[mine]
            about = [str(known.keys[i][row]) for row in rows.tolist()]
            keys = list(dict.fromkeys(about))
            found.append(Facts(i, keys, _places(about, keys), known.due[rows], known.position[rows], inputs[mine]))
        return found

    def _learn(self, portion: list[Facts]) -> None:
        """Write what some facts add; where somebody else wrote meanwhile, read that and add to it."""
        while portion:
            names = [self._keys.of(facts.kind, facts.keys) for facts in portion]
            latest, now = self._server.latest([name for some in names for name in some])
            found, base = iter(latest), self._base(now)
            written: list[str] = []
            words: list[bytes] = []
            for facts, some in zip(portion, names, strict=True):
                values = list(islice(found, len(some)))
                blob = self._blobs[facts.kind]
                kept = blob.unpacked(values)
                news = facts.only(kept.news(facts))
                after = blob.packed(kept.learned(self._plan.entities[facts.kind], news, base))
                for place in np.unique(news.owner).tolist():
                    written.append(some[place])
                    words += ((values[place] or b"")[REVISION], after[place])
            changed = self._write(written, words)
            portion = [
                facts.about(np.array([name in changed for name in some], dtype=bool))
                for facts, some in zip(portion, names, strict=True)
                if not changed.isdisjoint(some)
            ]

    def _base(self, servers_now: int) -> int:
        """Up to where the past may be settled now."""
        instant = min(instant_of(self._clock.now()), servers_now) - self._keep - self._lag
        # In strides: a state that moves on with every write is rounded with every write.
        return instant - instant % max(self._keep // 10, 1)

    def _check_settled(self, instants: list[int], base: list[int]) -> None:
        for instant, settled in zip(instants, base, strict=True):
            if instant >= settled:
                continue
            raise InvalidInput(
                f"a read as of {np.datetime64(instant + self._lag, 'us')}Z",
                path="at",
                expected=f"an instant from {np.datetime64(settled + self._lag, 'us')}Z on: the store keeps {self._keep / 1e6:g} s",
                remedy="Raise keep_seconds, or compute features of the past with bidloop.features.training.point_in_time.",
            )


def digest_of(event_id: str) -> str:
    """What a store notes of the last event that it was told, to know its log by.

    >>> digest_of("a")
    '40f89e395b66422f'
    """
    return hashlib.blake2b(event_id.encode(), digest_size=8).hexdigest()


def _places(keys: Sequence[str | None], distinct: Sequence[str]) -> NDArray[np.intp]:
    """Where among the distinct ones each key stands; nobody stands behind them."""
    if len(distinct) == len(keys):
        return np.arange(len(keys))
    number: dict[str | None, int] = {key: i for i, key in enumerate(distinct)}
    number[None] = len(distinct)
    return np.fromiter(map(number.__getitem__, keys), dtype=np.intp, count=len(keys))


def _portions(found: list[Facts]) -> Iterator[list[Facts]]:
    """The facts, so many at a time that one call writes them."""
    portion: list[Facts] = []
    for facts in found:
        for start in range(0, len(facts.keys), KEYS_PER_CALL):
            part = facts.about((np.arange(len(facts.keys)) // KEYS_PER_CALL) == start // KEYS_PER_CALL)
            if portion and sum(len(one.keys) for one in portion) + len(part.keys) > KEYS_PER_CALL:
                yield portion
                portion = []
            portion.append(part)
    if portion:
        yield portion
