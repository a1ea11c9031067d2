"""What a store of features asks of Redis, and how it notices that Redis has lost something."""

from __future__ import annotations

import logging
import threading
from time import monotonic
from typing import Any

import redis

from bidloop.adapters.redis.connection import Connection
from bidloop.adapters.redis.feature_keys import FeatureKeys
from bidloop.core.errors import Unavailable

_log = logging.getLogger(__name__)

_SETTING = "features.redis_url"
_WRITE_S = 10.0
_SILENCE_S = 1.0
"""For so long nobody who reads waits again for a server that has just not answered."""


class FeatureServer:
    """The values of one version of a view, and up to which position of the log they tell.

    A Redis that crashed, was flushed or failed over may come back with less than it had confirmed. The position that it notes is
    then less than this process has seen, and nothing is read or written any more until another process has filled it again:
    what is missing is behind the process that goes on, which would pass it over for good.

    Parameters
    ----------
    url
        Address of the server.
    keys
        Where everything is kept.
    answer_seconds
        How long a read waits for an answer. A write may take longer: nobody waits for it.
    expire_seconds
        How long a value is kept after it was written; 0 for ever.
    """

    def __init__(self, url: str, keys: FeatureKeys, *, answer_seconds: float, expire_seconds: int) -> None:
        self._keys, self._expire = keys, expire_seconds
        self._reads = Connection(url, _SETTING, answer_seconds)
        self._writes = Connection(url, _SETTING, _WRITE_S)
        self._learn, self._reach = self._writes.script("learn_features"), self._writes.script("reach_position")
        self._seen = 0
        self._seeing = threading.Lock()
        self._silent_until = 0.0
        self._looked_at_policy = False

    def told(self) -> tuple[int, str]:
        """Up to which position everything is in, and a digest of the event there; whatever this process has seen before."""
        with self._writes.asking():
            answer: Any = self._writes.client.mget([self._keys.position, self._keys.told])
        position, digest = answer
        return int(position or 0), (digest or b"").decode()

    def position(self) -> int:
        """Up to which position everything is in.

        Raises
        ------
        Unavailable
            When the server does not answer, or has lost what it knew.
        """
        seen = self._seen
        with self._writes.asking():
            answer: Any = self._writes.client.get(self._keys.position)
        position = self._checked(answer, seen)
        self._silent_until = 0.0
        if not self._looked_at_policy:
            self._looked_at_policy = True
            self._look_at_policy()
        return position

    def read(self, names: list[str]) -> list[bytes | None]:
        """The values under some keys, in one round trip that does not wait long.

        Raises
        ------
        Unavailable
            When the server does not answer, or did not within the last second, or has lost what it knew.
        """
        if not names:
            return []
        if monotonic() < self._silent_until:
            raise Unavailable(
                f"Redis at {self._reads.where} gave no answer a moment ago",
                expected="a server that answers",
                remedy=f"Start it, or set {_SETTING}; it is asked again after {_SILENCE_S:g} s.",
            )
        seen = self._seen
        try:
            with self._reads.asking():
                answer: Any = self._reads.client.mget([self._keys.position, *names])
        except Unavailable:
            self._silent_until = monotonic() + _SILENCE_S
            raise
        self._checked(answer[0], seen)
        return list(answer[1:])

    def latest(self, names: list[str]) -> tuple[list[bytes | None], int]:
        """The values under some keys, to write to them, and the server's time in microseconds since 1970 UTC."""
        with self._writes.asking(), self._writes.client.pipeline(transaction=False) as pipe:
            pipe.mget(names)
            pipe.time()
            values, (seconds, us) = pipe.execute()
        return values, seconds * 1_000_000 + us

    def write(self, names: list[str], words: list[bytes]) -> set[str]:
        """Write values, given of each the revision that was read and the new value.

        Returns
        -------
        The keys that somebody else had written to meanwhile; they are left as they are.

        Raises
        ------
        Unavailable
            When the server does not answer, or has lost what it knew: then nothing is written.
        """
        if not names:
            return set()
        with self._writes.asking():
            changed: list[int] | None = self._learn([self._keys.position, *names], [self._expire, self._seen, *words])
        if changed is None:
            raise _lost()
        return {names[place - 1] for place in changed}

    def reach(self, position: int, digest: str) -> None:
        """Note up to which position everything is in, and a digest of the event there.

        Raises
        ------
        Unavailable
            When the server does not answer, or has lost what it knew: then nothing is noted.
        """
        seen = self._seen
        with self._writes.asking():
            noted: int | None = self._reach([self._keys.position, self._keys.told], [position, digest, seen])
        if noted is None:
            raise _lost()
        self._checked(noted, seen)

    def delete(self, pattern: str) -> int:
        """Delete the keys that match; says how many there were."""
        gone = 0
        with self._writes.asking():
            client, cursor = self._writes.client, -1
            while cursor:
                answer: Any = client.scan(max(cursor, 0), match=pattern, count=1_000)
                cursor, names = answer
                gone += int(client.unlink(*names)) if names else 0  # type: ignore[arg-type]
        return gone

    def clear(self) -> None:
        """Delete everything of this version."""
        with self._writes.asking():
            self._writes.client.delete(self._keys.position)  # first: what is half gone must not look complete
        with self._seeing:
            self._seen = 0
        self.delete(self._keys.all())

    def close(self) -> None:
        """Close the connections."""
        self._reads.close()
        self._writes.close()

    def _checked(self, noted: bytes | int | None, seen: int) -> int:
        """The position that is noted, given what had been seen before it was asked for: less than that was lost."""
        position = int(noted or 0)
        if position < seen:
            raise _lost()
        with self._seeing:
            self._seen = max(self._seen, position)
        return position

    def _look_at_policy(self) -> None:
        try:
            memory: Any = self._writes.client.info("memory")
        except redis.RedisError:  # not everybody may ask
            return
        policy = memory.get("maxmemory_policy", "noeviction")
        if memory.get("maxmemory") and policy != "noeviction":
            _log.warning(
                "Redis at %s drops keys when its memory is full (maxmemory-policy %s): features then are wrong until the store is "
                "built anew. Set maxmemory-policy noeviction.",
                self._writes.where,
                policy,
            )


def _lost() -> Unavailable:
    return Unavailable("Redis has lost what it knew", remedy="Start one process anew: it fills the store from the log.")
