"""What the addresses of the prediction API answer, and those for operators."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from zoneinfo import ZoneInfo

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from bidloop.app.http.body import BodyReader, contradicts
from bidloop.app.http.border import answer_of, opportunity_of, record_of, too_early
from bidloop.app.http.decision_queue import DecisionQueue, drivers_of
from bidloop.app.http.incoming import read_body
from bidloop.app.http.metrics import MEDIA_TYPE, Metrics
from bidloop.app.http.problems import UNAVAILABLE, UNKNOWN_DECISION, WRONG_FIELDS, ApiError
from bidloop.app.http.schema import CampaignData, DecisionRecord, FieldError, Health, Readiness
from bidloop.core.decision import Decision
from bidloop.core.errors import NotFound
from bidloop.core.opportunity import Opportunity
from bidloop.core.prediction import POOLED
from bidloop.events.privacy import Privacy
from bidloop.loop import Loop

_encode = msgspec.json.Encoder().encode
_id = re.compile(r"[0-9A-Za-z_.:-]{1,128}")


class Routes:
    """The answers of one application.

    Parameters
    ----------
    loop
        The loop that decides.
    queue, metrics
        Where decisions are made, and where they are counted.
    takes_events
        Whether events are taken in at the moment.
    timezone, currency
        The account's.
    privacy
        What takes people out of what is asked.
    max_body_bytes, max_batch
        Larger bodies are refused with 413, longer batches with 422.
    """

    def __init__(
        self,
        loop: Loop,
        queue: DecisionQueue,
        metrics: Metrics,
        *,
        takes_events: Callable[[], bool],
        timezone: ZoneInfo,
        currency: str,
        privacy: Privacy,
        max_body_bytes: int,
        max_batch: int,
    ) -> None:
        self._loop = loop
        self._queue = queue
        self._metrics = metrics
        self._takes_events = takes_events
        self._timezone = timezone
        self._currency = currency
        self._privacy = privacy
        self._max_body_bytes = max_body_bytes
        self._one = BodyReader(CampaignData, contradiction=contradicts)
        self._many = BodyReader(
            list[CampaignData], contradiction=lambda rows: any(map(contradicts, rows)), longest=max_batch
        )

    async def predict(self, request: Request) -> Response:
        """One cell in, its prediction and bid out, with what the model leaned on."""
        body = await read_body(request, self._max_body_bytes)
        started = time.perf_counter_ns()
        [opportunity] = self._opportunities({"": self._one.read(body)})
        [explained] = await self._queue.decide([opportunity], explain=True)
        answer = answer_of(explained.decision, milliseconds=_since(started), drivers=explained.drivers)
        self._metrics.count([explained.decision])
        return _json(answer)

    async def predict_batch(self, request: Request) -> Response:
        """A list of cells in, a list of answers out in the same order."""
        body = await read_body(request, self._max_body_bytes)
        started = time.perf_counter_ns()
        opportunities = self._opportunities({f"[{i}].": row for i, row in enumerate(self._many.read(body))})
        decisions = (
            [explained.decision for explained in await self._queue.decide(opportunities)] if opportunities else []
        )
        elapsed = _since(started)
        self._metrics.count(decisions)
        return _json([answer_of(decision, milliseconds=elapsed) for decision in decisions])

    async def decision(self, request: Request) -> Response:
        """The record of one decision."""
        decision_id = request.path_params["decision_id"]
        if not _id.fullmatch(decision_id):
            raise _unknown_decision(decision_id)
        return _json(await run_in_threadpool(self._record, decision_id))

    async def healthz(self, request: Request) -> Response:
        """The process is up."""
        return _json(Health(status="up"))

    async def readyz(self, request: Request) -> Response:
        """Decisions can be recorded and read."""
        try:
            await run_in_threadpool(self._loop.decisions.recent, 1)
        except Exception as error:
            raise ApiError(
                UNAVAILABLE,
                detail=f"The decision log does not answer ({type(error).__name__}).",
                headers={"Retry-After": "5"},
            ) from error
        version = self._loop.predictor.version
        return _json(
            Readiness(
                status="ready",
                model_version=version,
                degraded=version == POOLED,
                takes_events=self._takes_events(),
            )
        )

    async def metrics(self, request: Request) -> Response:
        """The figures for Prometheus."""
        return Response(self._metrics.page(), headers={"Content-Type": MEDIA_TYPE})

    def _opportunities(self, rows: Mapping[str, CampaignData]) -> list[Opportunity]:
        """What is asked, by where it stands in the body.

        Raises
        ------
        ApiError
            When an hour is asked for of which nothing is known any more.
        """
        now, earliest = self._loop.clock.now(), self._loop.features.earliest
        wrong = [
            FieldError(path=f"{place}{error.path}", found=error.found, expected=error.expected)
            for place, row in rows.items()
            if (error := too_early(row, now=now, timezone=self._timezone, earliest=earliest)) is not None
        ]
        if wrong:
            raise ApiError(WRONG_FIELDS, wrong)
        return [
            opportunity_of(row, now=now, timezone=self._timezone, currency=self._currency, privacy=self._privacy)
            for row in rows.values()
        ]

    def _record(self, decision_id: str) -> DecisionRecord:
        try:
            decision: Decision = self._loop.decision(decision_id)
        except NotFound as error:
            raise _unknown_decision(decision_id) from error
        return record_of(decision, drivers_of(self._loop, decision))


def _unknown_decision(decision_id: str) -> ApiError:
    shown = decision_id if len(decision_id) <= 64 else f"{decision_id[:64]}…"
    wrong = FieldError(path="id", found=shown, expected="the decisionId of an answer")
    return ApiError(UNKNOWN_DECISION, [wrong])


def _since(started: int) -> float:
    return (time.perf_counter_ns() - started) / 1e6


def _json(answer: object) -> Response:
    return Response(_encode(answer), media_type="application/json")
