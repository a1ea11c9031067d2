"""The one place where requests meet the loop: what waits together is decided together.

A decision is on the disk before it is answered, and forcing it there takes longer than making it. So while one group of
decisions is being written, the requests that come in meanwhile gather, and are decided and written as the next group.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bidloop.app.http.body import ROOT
from bidloop.app.http.problems import UNAVAILABLE, WRONG_FIELDS, ApiError
from bidloop.app.http.schema import FieldError
from bidloop.core.decision import Decision
from bidloop.core.errors import BidloopError, InvalidInput
from bidloop.core.opportunity import Opportunity
from bidloop.core.prediction import Attribution
from bidloop.loop import Loop

_log = logging.getLogger("bidloop.http")


@dataclass(frozen=True)
class Explained:
    """A decision with what the model leaned on."""

    decision: Decision
    drivers: Sequence[Attribution] = ()


@dataclass(frozen=True)
class _Request:
    """One request's opportunities, and where its answer is awaited."""

    opportunities: Sequence[Opportunity]
    explain: bool
    answer: asyncio.Future[list[Explained]]


class DecisionQueue:
    """Decides for requests, several at a time, off the event loop.

    Parameters
    ----------
    loop
        The loop that decides.
    together
        Most opportunities that requests are gathered to; a larger batch goes alone.
    waiting
        Most opportunities that may wait; a request beyond it is refused with 503 at once rather than served late.

    Notes
    -----
    A request that fails takes none of its group with it: the group is then decided request by request. Nothing of a
    failed group was recorded, because the loop records all decisions of a call or none.
    """

    def __init__(self, loop: Loop, *, together: int = 128, waiting: int = 20_000) -> None:
        self._loop = loop
        self._together = together
        self._most_waiting = waiting
        self._waiting: list[_Request] = []
        self._length = 0
        self._drain: asyncio.Task[None] | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="decide")

    async def decide(self, opportunities: Sequence[Opportunity], *, explain: bool = False) -> list[Explained]:
        """The recorded decisions for one request's opportunities, in order.

        Parameters
        ----------
        explain
            Whether to say what the model leaned on for each.

        Raises
        ------
        ApiError
            When too many are waiting, or when the loop cannot decide or record.
        """
        if self._length + len(opportunities) > self._most_waiting and self._waiting:
            raise ApiError(
                UNAVAILABLE, detail=f"{self._length} cells are waiting already.", headers={"Retry-After": "1"}
            )
        answer: asyncio.Future[list[Explained]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(opportunities, explain, answer))
        self._length += len(opportunities)
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._serve())
        return await answer

    def close(self) -> None:
        """Let the worker finish what it holds, and end it."""
        self._worker.shutdown(wait=True)

    async def _serve(self) -> None:
        while self._waiting:
            group = self._next_group()
            results = await asyncio.get_running_loop().run_in_executor(self._worker, self._decide_group, group)
            for request, result in zip(group, results, strict=True):
                if request.answer.done():  # the caller went away
                    continue
                if isinstance(result, ApiError):
                    request.answer.set_exception(result)
                else:
                    request.answer.set_result(result)

    def _next_group(self) -> list[_Request]:
        size = taken = 0
        for request in self._waiting:
            if taken and size + len(request.opportunities) > self._together:
                break
            size += len(request.opportunities)
            taken += 1
        group, self._waiting = self._waiting[:taken], self._waiting[taken:]
        self._length -= size
        return group

    def _decide_group(self, group: Sequence[_Request]) -> list[list[Explained] | ApiError]:
        try:
            decisions = iter(self._loop.decide_many([o for request in group for o in request.opportunities]))
        except Exception as error:
            if len(group) == 1:
                return [_told(error)]
            return [result for request in group for result in self._decide_group([request])]
        return [[self._explained(next(decisions), request.explain) for _ in request.opportunities] for request in group]

    def _explained(self, decision: Decision, explain: bool) -> Explained:
        return Explained(decision, drivers_of(self._loop, decision) if explain else ())


def drivers_of(loop: Loop, decision: Decision) -> Sequence[Attribution]:
    """What the model leaned on; nothing where that model is gone, which must not cost the answer."""
    try:
        return loop.attributions(decision)
    except Exception:
        _log.exception("no attributions for decision %s", decision.decision_id)
        return ()


def _told(error: Exception) -> ApiError:
    """What a caller is told of a failure inside. The cause goes to the log, not to strangers."""
    if isinstance(error, InvalidInput):
        wrong = FieldError(
            path=error.path or ROOT, found=error.found, expected=error.expected or "a value that makes sense"
        )
        return ApiError(WRONG_FIELDS, [wrong])
    _log.error("no decision could be made", exc_info=error)
    known = isinstance(error, BidloopError)
    detail = str(error) if known else f"The server met {type(error).__name__}."
    return ApiError(UNAVAILABLE, detail=detail, headers={"Retry-After": "5"})
