"""The one place where told events meet the door: what waits together is taken in together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import msgspec

from bidloop.app.http.event_body import Raw
from bidloop.app.http.group_queue import GroupQueue
from bidloop.app.http.problems import BEHIND, EVENTS_UNAVAILABLE, ApiError
from bidloop.core.errors import Unavailable
from bidloop.events.intake import Door, Verdict
from bidloop.events.packing import Item
from bidloop.events.reception import Reception
from bidloop.events.rejected import Rejected

TOGETHER = 1_000_000
"""Bytes of events that are gathered to one group."""
WAITING = 64_000_000
"""Bytes of events that may wait."""
LEAST = 100
"""Bytes that the smallest event counts as, since even an empty one takes its time."""

_log = logging.getLogger("bidloop.http")


@dataclass(frozen=True)
class Taken:
    """What became of one event, and the id that it had, where it could be read."""

    verdict: Verdict
    event_id: str | None


@dataclass(frozen=True)
class _Request:
    events: Sequence[Raw]
    length: int
    source: str

    @property
    def size(self) -> int:
        return max(self.length, LEAST * len(self.events))


class EventQueue:
    """Receives and takes in the events of requests, several requests at a time, off the event loop.

    Parameters
    ----------
    reception
        From bytes to events without people in them.
    door
        Where they go in.
    on_taken
        Called after events were taken in, in a thread of its own, and not again while it is still at work.
    together, waiting
        Most bytes that are gathered to a group, and that may wait; a request beyond that is refused with 429 at once.

    Notes
    -----
    A request that fails takes none of its group with it: the group is then taken in request by request. Nothing is lost or
    doubled by that, because the door takes all of a call or none, and knows an event again by its id.
    """

    def __init__(
        self,
        reception: Reception,
        door: Door,
        on_taken: Callable[[], object] | None = None,
        *,
        together: int = TOGETHER,
        waiting: int = WAITING,
    ) -> None:
        self._reception = reception
        self._door = door
        self._on_taken = on_taken
        self._follower = ThreadPoolExecutor(1, thread_name_prefix="follow")
        self._following: asyncio.Future[object] | None = None
        self._queue: GroupQueue[_Request, list[Taken]] = GroupQueue(
            self._take_group,
            size=lambda request: request.size,
            together=together,
            waiting=waiting,
            refuse=_full,
            name="take",
        )

    async def take(self, events: Sequence[Raw], length: int, source: str) -> list[Taken]:
        """What became of each of one request's events; the accepted ones are on the disk when this returns.

        Parameters
        ----------
        events, length
            The events as they were sent, and how many bytes they are together.
        source
            What the quarantine says where a bad one came from.

        Raises
        ------
        ApiError
            When too much is waiting, or when the door does not answer.
        """
        taken = await self._queue.ask(_Request(events, length, source))
        if self._on_taken is not None and (self._following is None or self._following.done()):
            self._following = asyncio.get_running_loop().run_in_executor(self._follower, self._follow, self._on_taken)
        return taken

    def close(self) -> None:
        """Let the workers finish what they hold, and end them."""
        self._queue.close()
        self._follower.shutdown(wait=True)

    def _take_group(self, group: Sequence[_Request]) -> list[list[Taken] | ApiError]:
        try:
            items = [self._reception.receive(raw, source=one.source) for one in group for raw in one.events]
            verdicts = self._door.take(items)
        except Exception as error:
            # A server that does not answer would not answer each of them either, only later.
            if len(group) == 1 or isinstance(error, Unavailable):
                return [_told(error)] * len(group)
            return [result for request in group for result in self._take_group([request])]
        taken = iter(zip(items, verdicts, strict=True))
        return [
            [Taken(verdict, _event_id(item, raw)) for raw, (item, verdict) in zip(one.events, taken, strict=False)]
            for one in group
        ]

    @staticmethod
    def _follow(on_taken: Callable[[], object]) -> None:
        try:
            on_taken()
        except Exception:  # the events are kept; they are followed later
            _log.exception("events were taken in, but could not be followed")


class _Named(msgspec.Struct, rename="camel"):
    event_id: str | None = None


_named = msgspec.json.Decoder(_Named)


def _event_id(item: Item, raw: Raw) -> str | None:
    """The id of an event; of a bad one too, where it can be found in its bytes."""
    if not isinstance(item, Rejected):
        return item.event_id
    try:
        return _named.decode(raw).event_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _full(waiting: int) -> ApiError:
    return ApiError(BEHIND, detail=f"{waiting} bytes are waiting already.", headers={"Retry-After": "1"})


def _told(error: Exception) -> ApiError:
    """What a caller is told of a failure inside. The cause goes to the log, not to strangers."""
    _log.error("no event could be taken in", exc_info=error)
    met = (
        "Where they are kept does not answer." if isinstance(error, Unavailable) else f"It met {type(error).__name__}."
    )
    return ApiError(EVENTS_UNAVAILABLE, detail=met, headers={"Retry-After": "5"})
