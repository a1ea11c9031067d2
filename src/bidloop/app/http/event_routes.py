"""What the addresses answer to which events are told."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from bidloop.app.http.backlog import Backlog
from bidloop.app.http.doorkeeper import Doorkeeper
from bidloop.app.http.event_body import split
from bidloop.app.http.event_queue import EventQueue, Taken
from bidloop.app.http.event_schema import EventAnswer, EventsAnswer
from bidloop.app.http.incoming import read_events
from bidloop.app.http.metrics import Metrics
from bidloop.app.http.pixel import GIF, HEADERS, event_of
from bidloop.app.http.problems import TOO_FAST, WRONG_FIELDS, ApiError
from bidloop.app.http.rate_limit import RateLimit
from bidloop.app.http.schema import FieldError
from bidloop.core.clock import Clock

LARGE = 64_000
"""Bodies of more bytes are split beside the event loop, so that nobody has to wait for it."""

_encode = msgspec.json.Encoder().encode


class EventRoutes:
    """Takes events in.

    Parameters
    ----------
    queue, metrics
        Where events go in, and where they are counted.
    doorkeeper
        Says who asks.
    backlog
        How far the stream's consumers are behind; `None` where there is no stream.
    limit
        How many events a sender may send.
    clock
        The present, for a pixel that tells no time.
    max_bytes, max_events
        Larger bodies are refused with 413, more events with 422.
    assume_consent
        What holds where a pixel says nothing of consent.
    """

    def __init__(
        self,
        queue: EventQueue,
        metrics: Metrics,
        doorkeeper: Doorkeeper,
        *,
        backlog: Backlog | None,
        limit: RateLimit,
        clock: Clock,
        max_bytes: int,
        max_events: int,
        assume_consent: bool,
    ) -> None:
        self._queue = queue
        self._metrics = metrics
        self._doorkeeper = doorkeeper
        self._backlog = backlog
        self._limit = limit
        self._clock = clock
        self._max_bytes = max_bytes
        self._max_events = max_events
        self._assume_consent = assume_consent

    async def events(self, request: Request) -> Response:
        """Events in, what became of each out."""
        if request.method == "OPTIONS":  # one that asks whether a script may send is answered before it comes here
            raise HTTPException(405)
        sender = self._doorkeeper.admit(request, "ingest")
        verbose = _verbose(request)
        if self._backlog is not None:
            self._backlog.check()
        media, body = await read_events(request, self._max_bytes)
        events = (
            await run_in_threadpool(split, media, body, self._max_events)
            if len(body) > LARGE
            else split(media, body, self._max_events)
        )
        self._check_rate(sender, len(events))
        taken = await self._queue.take(events, len(body), "api") if events else []
        self._metrics.count_events(one.verdict for one in taken)
        return Response(_encode(_answer(taken, verbose)), media_type="application/json")

    async def pixel(self, request: Request) -> Response:
        """An image, always: a broken one on a customer's page is worse than an event that is missing."""
        if request.method == "HEAD":  # who asks whether there is an image has not seen it
            return Response(headers=dict(HEADERS), media_type="image/gif")
        parameters = dict(request.query_params)
        token = parameters.pop("key", "")
        try:
            sender = self._doorkeeper.admit(request, "ingest", token)
            if self._backlog is not None:
                self._backlog.check()
            self._check_rate(sender, 1)
            event = event_of(
                parameters,
                request,
                now=self._clock.now(),
                address=self._doorkeeper.address(request),
                agreed=self._assume_consent,
            )
            [taken] = await self._queue.take([event], len(event), "pixel")
        except ApiError as error:
            self._metrics.problems.labels(error.kind.anchor).inc()
            said = f"refused; code={error.kind.anchor}"
        else:
            self._metrics.count_events([taken.verdict])
            code = taken.verdict.code
            said = f"{taken.verdict.status}; code={code}" if code else taken.verdict.status
        return Response(GIF, media_type="image/gif", headers={**HEADERS, "X-Bidloop": said})

    def takes_events(self) -> bool:
        """Whether events are taken in at the moment, as far as is known without trying."""
        return self._backlog is None or (self._backlog.answers and not self._backlog.behind)

    def _check_rate(self, sender: str, events: int) -> None:
        if seconds := self._limit.wait(sender, events):
            raise ApiError(
                TOO_FAST,
                detail=f"{events:,} events are more than this sender may send now.",
                headers={"Retry-After": str(math.ceil(seconds))},
            )


def _verbose(request: Request) -> bool:
    """Whether the answer names every event, or the rejected ones alone."""
    asked = request.query_params.get("verbose")
    if asked not in (None, "true", "false"):
        wrong = FieldError(path="verbose", found=repr(asked[:40]), expected="true or false")
        raise ApiError(WRONG_FIELDS, [wrong])
    return asked == "true" or (asked is None and "return=minimal" not in request.headers.get("prefer", ""))


def _answer(taken: Sequence[Taken], verbose: bool) -> EventsAnswer:
    statuses = [one.verdict.status for one in taken]
    return EventsAnswer(
        accepted=statuses.count("accepted"),
        duplicates=statuses.count("duplicate"),
        rejected=statuses.count("rejected"),
        events=[
            EventAnswer(
                index=index,
                event_id=one.event_id,
                status=one.verdict.status,
                code=one.verdict.code or None,
                reason=one.verdict.reason or None,
            )
            for index, one in enumerate(taken)
            if verbose or one.verdict.status == "rejected"
        ],
    )
