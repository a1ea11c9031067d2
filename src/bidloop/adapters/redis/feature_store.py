"""Feature values now, from a Redis that several processes share."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from bidloop.adapters.redis.connection import Connection
from bidloop.adapters.redis.feature_blob import REVISION, FeatureBlob
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
from bidloop.features.plan import SEPARATOR, plan_of
from bidloop.features.source import PERSON
from bidloop.features.state import Known, advanced
from bidloop.features.values import feature_table
from bidloop.features.view import FeatureView

KEYS_PER_CALL = 10_000
"""Redis runs nothing else while it writes."""
_ANSWER_S = 10.0


class RedisFeatureStore:
    """Keeps what is known of every entity of a view in Redis; implements `bidloop.features.ports.OnlineStore`.

    Any number of processes may read, and any number may observe the same log: a fact is told apart by its position there, so that
    it counts once though all of them bring it, and though one of them was killed half-way and starts anew. To that end every
    process brings the log in its order, and all that one page of it tells in one call of `observe`. Facts from no log (position
    0) count each time that they are brought.

    One value of Redis holds an entity (`feature_blob`). A read is one round trip, for one candidate or for hundreds.

    Parameters
    ----------
    view
        The definition of the features. Each version of it has keys of its own. Its `resolution_seconds` is what one entry of an
        entity's recent past is long: at a microsecond every fact of the last `keep_seconds` is an entry by itself.
    url
        Address of the server: ``redis://host:port/db``, ``rediss://`` or ``unix://``. It must not evict keys of its own accord
        (``maxmemory-policy noeviction``), or what it dropped is missing until the store is built anew.
    clock
        Says how far the past may be settled.
    prefix
        Beginning of all keys.
    keep_seconds
        How far into the past reads are possible: longer than a request takes and than the clocks of two processes differ.
    expire_days
        An entity of which nothing new was heard for so long is dropped, with all that was known of it; 0 keeps it for ever.

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
    ) -> None:
        for name, span in (("keep_seconds", keep_seconds), ("expire_days", expire_days)):
            if not 0.0 <= span < float("inf"):
                raise ConfigurationError(f"{name} of {span}", expected="a finite number of at least 0")
        self._server = Connection(url, "features.redis_url", _ANSWER_S)
        self._plan = plan_of(view)
        self._clock = clock or SystemClock()
        self._keep, self._lag = round(keep_seconds * 1e6), round(view.lag_seconds * 1e6)
        self._expire = round(expire_days * 86_400)
        # The braces keep all keys on one node of a cluster.
        self._prefix = prefix if "{" in prefix else f"{{{prefix}}}"
        self._own = f"{self._prefix}:{view.version}:"
        self._cursor = f"{self._own}position"
        self._kinds = [quote(entity.name, safe="") for entity in self._plan.entities]
        self._blobs = [FeatureBlob(entity) for entity in self._plan.entities]
        self._write, self._reach = self._server.script("learn_features"), self._server.script("reach_position")

    @property
    def view(self) -> FeatureView:
        """The definition of the features."""
        return self._plan.view

    @property
    def position(self) -> int:
        """Up to which position of the log everything is in; 0 before anything is."""
        with self._server.asking():
            told: Any = self._server.client.get(self._cursor)
        return int(told or 0)

    def observe(self, observations: Observations | None = None, events: Sequence[tuple[int, Event]] = ()) -> None:
        """Add what became known, but for what is in already.

        Parameters
        ----------
        observations
            Of ads, in order of their positions in the log.
        events
            Of users and of the market, with their positions. Others among them add nothing.

        Raises
        ------
        InvalidInput
            When an increment is not finite, or a time is missing: then nothing is added.
        Unavailable
            When the server does not answer. What has a position in the log can be brought again as it is.
        """
        known = contributions(self._plan, observations, events)
        newest = int(known.position.max(initial=0))
        reached = self.position if newest else 0
        fresh = (known.position == 0) | (known.position > reached)
        if fresh.any():
            for portion in _portions(self._facts(known, fresh)):
                self._learn(portion)
        if newest > reached:
            with self._server.asking():
                self._reach([self._cursor], [newest])

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
            When the server does not answer.
        CorruptArtifact
            When a value in Redis is none of ours.
        """
        plan = self._plan
        instants = microseconds(opportunities, plan.view.lag_seconds)
        described = describe(plan.view, opportunities)
        keys = entity_keys(plan, opportunities, described.sources)
        distinct = [[key for key in dict.fromkeys(column) if key is not None] for column in keys]
        names = [self._names_of(i, some) for i, some in enumerate(distinct)]
        found = iter(self._values([name for some in names for name in some]))
        asked = np.array(instants, dtype=np.int64)
        earliest, latest = min(instants, default=0), max(instants, default=0)
        states: list[Floats] = []
        places: list[NDArray[np.intp] | None] = []
        for i, entity in enumerate(plan.entities):
            values = [*islice(found, len(names[i])), None]  # the last stands for rows that name no such entity
            kept = self._blobs[i].unpacked(names[i], values)
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
        return self._delete(f"{_literally(self._prefix)}:{12 * '?'}:{_person(user_id)}:*")

    def clear(self) -> None:
        """Forget everything of this version of the view, so that it can be built anew from the log.

        Nobody may observe meanwhile.
        """
        with self._server.asking():
            self._server.client.delete(self._cursor)  # first: what is half gone must not look complete
        self._delete(f"{_literally(self._own)}*")

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
            names = [self._names_of(facts.kind, facts.keys) for facts in portion]
            found = iter(self._values([name for some in names for name in some]))
            base = self._base()
            written: list[str] = []
            words: list[Any] = [self._expire]
            for facts, some in zip(portion, names, strict=True):
                values = list(islice(found, len(some)))
                blob = self._blobs[facts.kind]
                kept = blob.unpacked(some, values)
                news = facts.only(kept.news(facts))
                after = blob.packed(kept.learned(self._plan.entities[facts.kind], news, base))
                for place in np.unique(news.owner).tolist():
                    written.append(some[place])
                    words += ((values[place] or b"")[REVISION], after[place])
            changed = self._written(written, words)
            portion = [
                facts.about(np.array([name in changed for name in some], dtype=bool))
                for facts, some in zip(portion, names, strict=True)
                if not changed.isdisjoint(some)
            ]

    def _written(self, names: list[str], words: list[Any]) -> set[str]:
        """Write values; tells the keys that somebody else had written to, which are left as they are."""
        if not names:
            return set()
        with self._server.asking():
            changed: list[int] = self._write(names, words)
        return {names[place - 1] for place in changed}

    def _base(self) -> int:
        """Up to where the past may be settled now."""
        instant = instant_of(self._clock.now()) - self._keep - self._lag
        # In strides: a state that moves on with every write is rounded with every write.
        return instant - instant % max(self._keep // 10, 1)

    def _values(self, names: list[str]) -> list[bytes | None]:
        if not names:
            return []
        with self._server.asking():
            values: Any = self._server.client.mget(names)
        return list(values)

    def _names_of(self, kind: int, keys: Sequence[str]) -> list[str]:
        """Where some entities of one kind are kept."""
        entity, own = self._plan.entities[kind], self._own
        if entity.personal:
            place = entity.key.index(PERSON)
            return [f"{own}{_person(key.split(SEPARATOR)[place])}:{self._kinds[kind]}:{key}" for key in keys]
        return [f"{own}e:{self._kinds[kind]}:{key}" for key in keys]

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

    def _delete(self, pattern: str) -> int:
        """Delete the keys that match; says how many there were."""
        gone = 0
        with self._server.asking():
            client, cursor = self._server.client, -1
            while cursor:
                answer: Any = client.scan(max(cursor, 0), match=pattern, count=1_000)
                cursor, names = answer
                gone += int(client.unlink(*names)) if names else 0  # type: ignore[arg-type]
        return gone


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


def _person(user_id: str) -> str:
    """The part of a key that is the same for all that is kept of a person, in every version of a view."""
    return f"p:{hashlib.blake2b(user_id.encode(), digest_size=16).hexdigest()}"


def _literally(text: str) -> str:
    r"""A text as a pattern that matches it alone.

    >>> _literally("a*b")
    'a\\*b'
    """
    return re.sub(r"([*?\[\]\\^-])", r"\\\1", text)
