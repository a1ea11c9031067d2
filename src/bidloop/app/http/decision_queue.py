"""The one place where requests for bids meet the loop: what waits together is decided together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from bidloop.app.http.body import ROOT
from bidloop.app.http.group_queue import GroupQueue
from bidloop.app.http.problems import UNAVAILABLE, WRONG_FIELDS, ApiError
from bidloop.app.http.schema import FieldError
from bidloop.core.decision import Decision
from bidloop.core.errors import BidloopError, InvalidInput, Unavailable
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
    """One request's opportunities."""

    opportunities: Sequence[Opportunity]
    explain: bool


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
        self._queue: GroupQueue[_Request, list[Explained]] = GroupQueue(
            self._decide_group,
            size=lambda request: len(request.opportunities),
            together=together,
            waiting=waiting,
            refuse=_full,
            name="decide",
        )

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
        return await self._queue.ask(_Request(opportunities, explain))

    def close(self) -> None:
        """Let the worker finish what it holds, and end it."""
        self._queue.close()

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


def _full(waiting: int) -> ApiError:
    return ApiError(UNAVAILABLE, detail=f"{waiting} cells are waiting already.", headers={"Retry-After": "1"})


def _told(error: Exception) -> ApiError:
    """What a caller is told of a failure inside. The cause goes to the log, not to strangers."""
    if isinstance(error, InvalidInput):
        wrong = FieldError(
            path=error.path or ROOT, found=error.found, expected=error.expected or "a value that makes sense"
        )
        return ApiError(WRONG_FIELDS, [wrong])
    _log.error("no decision could be made", exc_info=error)
    if isinstance(error, Unavailable):  # whose words name the server and its account
        detail = "The database does not answer."
    elif isinstance(error, BidloopError):
        detail = str(error)
    else:
        detail = f"The server met {type(error).__name__}."
    return ApiError(UNAVAILABLE, detail=detail, headers={"Retry-After": "5"})
