"""Tells a Bidloop server what happened, in the background."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec

from bidloop.client.courier import Courier, Delivery
from bidloop.client.spool import Spool

_log = logging.getLogger("bidloop.client")
_encode = msgspec.json.Encoder().encode


class BufferFull(Exception):
    """More events wait than may: the server is too slow or away, and `on_full` is ``"raise"``."""


class EventClient:
    """Sends events in batches from a thread of its own, and again until the server has them.

    What `send` is handed gets an id and a time when it has none, so that it is the same event however often it is sent. It is
    in memory until the server has it: `flush` says that it has, and a `spool` keeps what could not be sent when the process
    ends. In a process that is forked off the client begins anew: what waited then is sent by the process that it was handed to.

    Parameters
    ----------
    url
        Of the server, such as ``http://bidloop.internal:8080``.
    key
        Token of a key for `ingest`, where the server asks for one.
    batch, interval
        A batch is sent when it is so long, or its first event has waited for so many seconds.
    retries
        How often a batch is sent again, first after about 0.2 s, then after twice as long each time, up to 30 s, or after as long
        as the server asks for, up to 300 s. After the last one it goes to the spool; without one, to `on_rejected`.
    gzip
        Whether to send large batches compressed.
    buffer, on_full
        Most events that wait; with one more, `send` waits for room (``"block"``) or raises `BufferFull` (``"raise"``).
    on_rejected
        Told each event that the server rejected or that could not be delivered, with the reason. Called in the thread.
    spool
        Folder for what could not be delivered; what lies there is sent at the next start, and once the server answers again.

    Raises
    ------
    BufferFull
        From `send`, when asked to, and in `on_rejected`, which would wait for itself.

    Examples
    --------
    Where there is no server yet, events wait in the spool:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with EventClient("http://127.0.0.1:9", retries=0, spool=folder) as client:
    ...         client.send({"type": "page_viewed", "url": "https://shop.example/shoes"})
    ...     waiting = [msgspec.json.decode(file.read_bytes()) for file in Path(folder).iterdir()]
    >>> sorted(waiting[0])
    ['at', 'eventId', 'type', 'url']
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        batch: int = 500,
        interval: float = 1.0,
        retries: int = 10,
        gzip: bool = True,
        buffer: int = 10_000,
        on_full: Literal["block", "raise"] = "block",
        on_rejected: Callable[[dict[str, Any], str], object] | None = None,
        spool: str | os.PathLike[str] | None = None,
    ) -> None:
        self._batch = batch
        self._interval = interval
        self._buffer = buffer
        self._on_full = on_full
        self._on_rejected = on_rejected or _tell_log
        self._spool = None if spool is None else Spool(Path(spool))
        self._new_courier = partial(Courier, url, key, retries=retries, compress=gzip, wait=self._pause)
        self._deadline: float | None = None
        self._empty()
        self._start()
        _open.add(self)
        atexit.register(self.close)

    def _empty(self) -> None:
        """Hold nothing that waits, and a thread that is still to be started."""
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._sent = self._settled = 0
        self._urged = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="bidloop-client", daemon=True)

    def _start(self) -> None:
        self._courier = self._new_courier()
        self._thread.start()

    def send(self, event: Mapping[str, Any]) -> None:
        """Have an event sent; returns at once unless the buffer is full.

        Raises
        ------
        TypeError
            When the event holds what JSON has no word for.
        BufferFull
            When too much waits and `on_full` is ``"raise"``.
        RuntimeError
            After `close`.
        """
        line = _encode({"eventId": new_event_id(), "at": datetime.now(UTC), **event})
        with self._changed:
            while self._deadline is None and self._sent - self._settled >= self._buffer:
                if self._on_full == "raise" or threading.current_thread() is self._thread:
                    raise BufferFull(f"{self._buffer} events wait to be sent already")
                self._changed.wait()
            if self._deadline is not None:
                raise RuntimeError("this client is closed")
            if self._thread.ident is None:
                self._start()
            self._waiting.append((time.monotonic(), line))
            self._sent += 1
            if len(self._waiting) in (1, self._batch):  # else there is nothing new for the thread to do
                self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> bool:
        """Send what waits now; says whether all of it is settled: with the server, rejected, or in the spool.

        Parameters
        ----------
        timeout
            Most seconds to wait for that.
        """
        with self._changed:
            self._urged = target = self._sent
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._settled >= target, timeout)

    def close(self, timeout: float = 10.0) -> None:
        """Send what waits, put in the spool what is not sent after so many seconds, and end.

        A request that is under way then is waited for.
        """
        with self._changed:
            if self._deadline is None:
                self._deadline = time.monotonic() + timeout
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()
        _open.discard(self)
        atexit.unregister(self.close)

    def __enter__(self) -> EventClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _work(self) -> None:
        self._empty_spool()
        while lines := self._next_batch():
            if self._deliver(lines):
                self._empty_spool()
            with self._changed:
                self._settled += len(lines)
                self._changed.notify_all()
        self._courier.close()

    def _next_batch(self) -> list[bytes]:
        """The next events, when they are due; none when it is time to end."""
        with self._changed:
            while not self._due():
                first = self._waiting[0][0] if self._waiting else None
                self._changed.wait(None if first is None else max(0.0, first + self._interval - time.monotonic()))
            return [self._waiting.popleft()[1] for _ in range(min(self._batch, len(self._waiting)))]

    def _due(self) -> bool:
        if not self._waiting:
            return self._deadline is not None
        asked = self._deadline is not None or self._urged > self._settled
        return asked or len(self._waiting) >= self._batch or time.monotonic() >= self._waiting[0][0] + self._interval

    def _deliver(self, lines: Sequence[bytes]) -> bool:
        """Have a batch sent; says whether the server answered."""
        too_late = Delivery(undelivered=list(lines), reason="the client was closed before")
        delivery = too_late if self._late() else self._courier.deliver(lines)
        self._tell(delivery.rejected)
        if not delivery.undelivered:
            return True
        _log.warning("%d events could not be delivered: %s", len(delivery.undelivered), delivery.reason)
        try:
            if self._spool is not None:
                self._spool.put(delivery.undelivered)
                return False
        except OSError:
            _log.exception("the spool cannot be written to")
        self._tell([(line, f"undelivered: {delivery.reason}") for line in delivery.undelivered])
        return False

    def _empty_spool(self) -> None:
        """Send what an earlier run, or a time without the server, has left."""
        if self._spool is None:
            return
        for file, lines in self._spool.batches():
            if self._late():
                return
            delivery = self._courier.deliver(lines)
            self._tell(delivery.rejected)
            if delivery.undelivered:
                return
            self._spool.drop(file)

    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def _tell(self, rejected: Sequence[tuple[bytes, str]]) -> None:
        for line, reason in rejected:
            try:
                self._on_rejected(msgspec.json.decode(line), reason)
            except Exception:  # the thread has other events to send
                _log.exception("on_rejected failed")

    def _pause(self, seconds: float) -> bool:
        """Wait before the next try; says whether there is time for one."""
        with self._changed:
            until = time.monotonic() + seconds
            while (now := time.monotonic()) < until:
                if self._deadline is not None and until > self._deadline:
                    return False
                self._changed.wait(until - now)
            return True


_open: weakref.WeakSet[EventClient] = weakref.WeakSet()


def _empty_all() -> None:
    """In a child that was forked off there are no threads, and the connections are the parent's."""
    for client in list(_open):
        client._empty()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_empty_all)


def new_event_id() -> str:
    """A new id that sorts by time: a UUID of version 7.

    >>> first, second = new_event_id(), new_event_id()
    >>> len(first), first[14], first[:8] <= second[:8]
    (36, '7', True)
    """
    number = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10), "big")
    number = number & ~(0xF << 76) | 0x7 << 76  # the version
    number = number & ~(0x3 << 62) | 0x2 << 62  # the variant
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _tell_log(event: dict[str, Any], reason: str) -> None:
    """Where nobody asked for it: the id and the reason, and nothing that could name a person."""
    _log.warning("event %s was rejected: %s", event.get("eventId"), reason)
