"""The event stream on Redis Streams."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis

from bidloop.adapters.redis.connection import Connection, says
from bidloop.core.errors import ConfigurationError, InvalidInput
from bidloop.events.ports import Delivery, Lag, Parcel, Published
from bidloop.events.settings import StreamSettings

PARCELS_PER_ENTRY = 1_000
BYTES_PER_ENTRY = 1_000_000
PARCELS_PER_CALL = 100_000
"""Redis runs nothing else while it publishes, and takes a million words in one command."""

DEAD_LETTERS = 10_000

# A server that hangs must not hang its clients: an answer takes at most this long, and nobody waits longer for an entry.
_ANSWER_S = 10.0
_LONGEST_WAIT_S = 5.0

_STATES: dict[int, Published] = {ord("f"): "fresh", ord("k"): "known", ord("c"): "changed"}
_log = logging.getLogger("bidloop.stream")

T = TypeVar("T")


class RedisEventStream:
    """Lets events wait in a Redis stream; implements `bidloop.events.ports.EventStream`.

    One entry of the stream carries up to a thousand events. All that belongs together happens in one script on the server,
    so that no crash can come between: to look whether an event is known, to remember it and to write it; to finish an entry
    and to count it. Making one asks nothing of the server, which may be down; the group is made when it is missed.

    Parameters
    ----------
    settings
        Where the server is, and what the stream and its group are called.

    Raises
    ------
    ConfigurationError
        For an address that is none.
    """

    def __init__(self, settings: StreamSettings) -> None:
        self._server = Connection(settings.url, "stream.url", _ANSWER_S)
        self._client, self._asking, script = self._server.client, self._server.asking, self._server.script
        self._settings = settings
        self._stream, self._group = settings.name, settings.group
        # The braces keep all keys on one node of a cluster: a key without any is hashed whole.
        tag = self._stream if "{" in self._stream else f"{{{self._stream}}}"
        self._recent = f"{tag}:recent:"
        self._published, self._finished = f"{tag}:published", f"{tag}:finished:{self._group}"
        self._dead = f"{tag}:dead"
        self._sizes: dict[str, int] = {}
        self._publish, self._join = script("publish"), script("groups", "join")
        self._reclaim, self._done, self._bury = script("reclaim"), script("groups", "done"), script("bury")
        self._lag, self._trim = script("groups", "lag"), script("groups", "trim")

    @classmethod
    def open(cls, settings: StreamSettings) -> RedisEventStream:
        """A stream whose server answers and whose group is there; warns where the server may lose what it acknowledged.

        Raises
        ------
        ConfigurationError
            For an address that is none, or credentials that the server does not take.
        Unavailable
            When the server does not answer.
        """
        stream = cls(settings)
        try:
            stream._make_group()
            stream._warn_of_loss()
        except BaseException:
            stream.close()
            raise
        return stream

    def publish(self, parcels: Sequence[Parcel]) -> list[Published]:
        """Write the parcels that are not known of late, all or none.

        Raises
        ------
        InvalidInput
            For more than `PARCELS_PER_CALL` of them.
        """
        if not parcels:
            return []
        if len(parcels) > PARCELS_PER_CALL:
            raise InvalidInput(
                f"{len(parcels):,} parcels at once",
                expected=f"at most {PARCELS_PER_CALL:,}",
                remedy="Publish them in several calls.",
            )
        keys: list[str] = [self._stream, self._published]
        words: list[Any] = [self._settings.recent_seconds, PARCELS_PER_ENTRY, BYTES_PER_ENTRY]
        for parcel in parcels:
            keys.append(self._recent + parcel.key.hex())
            words += (parcel.line, parcel.digest if parcel.key else b"")
        with self._asking():
            return [_STATES[letter] for letter in self._publish(keys, words)]

    def take(self, consumer: str, limit: int, wait_seconds: float) -> list[Delivery]:
        """The next entries that nobody has, up to `limit`, waiting for the first if there is none (at most 5 s)."""
        block = int(1000 * min(wait_seconds, _LONGEST_WAIT_S)) or None

        def read() -> Any:
            return self._client.xreadgroup(self._group, consumer, {self._stream: ">"}, count=limit, block=block)

        taken = self._with_group(read)
        return [self._delivery(entry, fields) for _, entries in taken or () for entry, fields in entries]

    def reclaim(self, consumer: str, limit: int, idle_seconds: float) -> list[Delivery]:
        """Entries that were taken and not finished for so long, by whomever."""
        words: list[Any] = [self._group, consumer, int(1000 * idle_seconds), limit]
        claimed = self._with_group(lambda: self._reclaim([self._stream], words))
        return [
            self._delivery(entry, dict(zip(fields[::2], fields[1::2], strict=True)), attempts)
            for entry, attempts, fields in claimed
        ]

    def done(self, entries: Sequence[str]) -> None:
        """Say that entries are stored; they are never handed out again."""
        if not entries:
            return
        words: list[Any] = [self._group]
        for entry in entries:
            words += (entry, self._sizes.get(entry, b""))
        with self._asking():
            self._done([self._stream, self._finished], words)
        for entry in entries:
            self._sizes.pop(entry, None)

    def bury(self, delivery: Delivery, reason: str) -> None:
        """Move an entry to the dead letters, of which the last ten thousand or so are kept, and be done with it."""
        keys = [self._stream, self._finished, self._dead]
        size = self._sizes.get(delivery.entry, delivery.lines.count(b"\n") + 1)
        words: list[Any] = [self._group, delivery.entry, DEAD_LETTERS, size, delivery.lines, reason, delivery.attempts]
        with self._asking():
            self._bury(keys, words)
        self._sizes.pop(delivery.entry, None)

    def dead(self, limit: int = 100) -> list[tuple[Delivery, str]]:
        """The entries that were buried last, newest first, each with the reason."""
        with self._asking():
            letters: Any = self._client.xrevrange(self._dead, count=limit)
        return [
            (
                Delivery(fields[b"entry"].decode(), fields[b"lines"], int(fields[b"attempts"])),
                fields[b"reason"].decode(errors="replace"),
            )
            for _, fields in letters
        ]

    def lag(self) -> Lag:
        """How far the consumers are behind."""
        keys = [self._stream, self._published, self._finished]
        entries, items, milliseconds = self._with_group(lambda: self._lag(keys, [self._group]))
        return Lag(entries, items, milliseconds / 1000)

    def trim(self) -> int:
        """Drop the entries behind which every group has finished all; says how many."""
        keys = [self._stream, self._published, self._finished]
        dropped: int = self._with_group(lambda: self._trim(keys, [self._group]))
        return dropped

    def latest(self) -> str:
        """Id of the entry that was published last; empty before the first."""
        told: Any = self._with_group(lambda: self._client.xinfo_stream(self._stream))
        latest: str = told["last-generated-id"].decode()
        return "" if latest == "0-0" else latest

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def _delivery(self, entry: bytes, fields: dict[bytes, bytes], attempts: int = 1) -> Delivery:
        delivery = Delivery(entry.decode(), fields.get(b"lines", repr(fields).encode()), attempts)
        # What somebody else wrote there is read as a line, and kept aside as an unreadable one; it was never counted.
        self._sizes[delivery.entry] = delivery.lines.count(b"\n") + 1 if b"lines" in fields else 0
        return delivery

    def _make_group(self) -> None:
        with self._asking():
            self._join([self._stream, self._published, self._finished], [self._group])

    def _with_group(self, call: Callable[[], T]) -> T:
        """The answer to a call that needs the group, which is made where it is missing."""
        with self._asking():
            try:
                return call()
            except redis.ResponseError as error:
                if not says(error, "NOGROUP", "no such key"):
                    raise
            self._make_group()
            return call()

    def _warn_of_loss(self) -> None:
        try:
            with self._asking():
                told: Any = self._client.config_get("appendonly", "maxmemory", "maxmemory-policy")
        except (redis.ResponseError, ConfigurationError):
            return  # a hosted server that does not show its settings
        if told.get("appendonly") == "no":
            _log.warning(
                "Redis at %s keeps nothing on disk (appendonly no): events that it acknowledged are lost when it crashes. "
                "Set 'appendonly yes', and 'appendfsync always' to survive a power cut as well.",
                self._server.where,
            )
        if int(told.get("maxmemory", 0)) and told.get("maxmemory-policy", "").startswith("allkeys"):
            _log.warning(
                "Redis at %s may drop the whole stream when its memory is full (maxmemory-policy %s). "
                "Set 'maxmemory-policy noeviction': then senders are told to wait.",
                self._server.where,
                told["maxmemory-policy"],
            )
