"""What Prometheus reads: requests, their duration, decisions, degraded answers, the model that serves, how its features are."""

from __future__ import annotations

import time
from collections import Counter as CountOf
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bidloop.core.clock import Clock, SystemClock
from bidloop.core.decision import Decision
from bidloop.events.intake import Verdict
from bidloop.events.ports import Lag
from bidloop.features.health import FeatureHealth
from bidloop.prediction.predictor import Predictor

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The figures of one application, in a registry of its own.

    Parameters
    ----------
    predictor
        Asked at each reading for the model that serves, so that a hot swap shows.
    lag
        Asked at each reading how far the stream's consumers are behind; `None` where there is no stream.
    features
        Asked at each reading how the values were that decisions read; `None` where nobody counts them.
    clock
        Tells the time, to which the age of the newest event is counted; by default the machine's own.
    """

    def __init__(
        self,
        predictor: Predictor,
        lag: Callable[[], Lag | None] | None = None,
        features: FeatureHealth | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._registry.register(_ModelCollector(predictor))
        if lag is not None:
            self._registry.register(_LagCollector(lag))
        if features is not None:
            self._registry.register(_FeatureCollector(features, clock or SystemClock()))
        self.requests = Counter(
            "bidloop_http_requests", "Requests answered.", ("route", "method", "status"), registry=self._registry
        )
        self.duration = Histogram(
            "bidloop_http_request_seconds",
            "Time from the request to the end of its answer.",
            ("route",),
            buckets=SECONDS,
            registry=self._registry,
        )
        self.in_flight = Gauge("bidloop_http_in_flight", "Requests being answered.", registry=self._registry)
        self.decisions = Counter("bidloop_decisions", "Decisions answered.", registry=self._registry)
        self.no_bids = Counter("bidloop_decisions_without_bid", "Decisions not to take part.", registry=self._registry)
        self.degraded = Counter(
            "bidloop_decisions_degraded",
            "Decisions that were less than they should be.",
            ("reason",),
            registry=self._registry,
        )
        self.events = Counter(
            "bidloop_events",
            "Events told; the code says why they were rejected.",
            ("status", "code"),
            registry=self._registry,
        )
        self.problems = Counter("bidloop_http_problems", "Problem documents sent.", ("kind",), registry=self._registry)

    def count(self, decisions: Sequence[Decision]) -> None:
        """Count decisions that were answered."""
        self.decisions.inc(len(decisions))
        for decision in decisions:
            if decision.bid.micros == 0:
                self.no_bids.inc()
            for reason in decision.degraded:
                self.degraded.labels(reason).inc()

    def count_events(self, verdicts: Iterable[Verdict]) -> None:
        """Count events that were answered."""
        for (status, code), n in CountOf((verdict.status, verdict.code) for verdict in verdicts).items():
            self.events.labels(status, code).inc(n)

    def page(self) -> bytes:
        """All figures in Prometheus's text format."""
        return generate_latest(self._registry)


class _ModelCollector(Collector):
    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def collect(self) -> Iterable[Metric]:
        info = GaugeMetricFamily(
            "bidloop_model_info", "The model that serves; its value is always 1.", labels=("version",)
        )
        info.add_metric((self._predictor.version,), 1)
        yield info


class _LagCollector(Collector):
    def __init__(self, lag: Callable[[], Lag | None]) -> None:
        self._lag = lag

    def collect(self) -> Iterable[Metric]:
        lag = self._lag()
        if lag is None:
            return
        yield GaugeMetricFamily("bidloop_events_lag_items", "Events that wait in the stream.", lag.items)
        yield GaugeMetricFamily("bidloop_events_lag_entries", "Entries of the stream that they are in.", lag.entries)
        yield GaugeMetricFamily("bidloop_events_lag_oldest_seconds", "Age of the oldest.", lag.oldest_seconds)


class _FeatureCollector(Collector):
    def __init__(self, health: FeatureHealth, clock: Clock) -> None:
        self._health = health
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        health = self._health
        yield CounterMetricFamily("bidloop_feature_reads", "Reads of feature values.", health.reads)
        yield CounterMetricFamily("bidloop_feature_read_failures", "Reads that failed.", health.failures)
        tallies = health.tallies()
        yield CounterMetricFamily("bidloop_feature_rows", "Rows whose values were counted.", health.rows)
        missing = CounterMetricFamily("bidloop_feature_missing", "Values that were missing.", labels=("feature",))
        outside = CounterMetricFamily(
            "bidloop_feature_out_of_range", "Values outside the range that is declared.", labels=("feature",)
        )
        for name, tally in tallies.items():
            missing.add_metric((name,), tally.missing)
            if tally.bounded:
                outside.add_metric((name,), tally.outside)
        yield missing
        yield outside
        fresh = GaugeMetricFamily(
            "bidloop_feature_freshness_seconds",
            "Time since the newest event, by the type of events that features are made of.",
            labels=("event",),
        )
        now = self._clock.now()
        for kind, at in health.newest.items():
            if kind in health.types:
                fresh.add_metric((kind,), max(0.0, (now - at).total_seconds()))
        yield fresh


class Measured:
    """An ASGI layer that counts and times each request.

    Parameters
    ----------
    app
        The application below.
    metrics
        Where to count.
    routes
        The known addresses; all others are counted as ``other``, so that strangers cannot make the labels grow.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: Sequence[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._plain = {route for route in routes if "{" not in route}
        self._templates = {route.partition("{")[0]: route for route in routes if "{" in route}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with _Timing(self._metrics, self._route(scope["path"]), scope["method"]) as timing:

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    timing.status = message["status"]
                await send(message)

            await self._app(scope, receive, watched)

    def _route(self, path: str) -> str:
        if path in self._plain:
            return path
        return next((route for prefix, route in self._templates.items() if path.startswith(prefix)), "other")


class _Timing:
    def __init__(self, metrics: Metrics, route: str, method: str) -> None:
        self._metrics = metrics
        self._route = route
        self._method = method if method in METHODS else "other"
        self.status = 500

    def __enter__(self) -> _Timing:
        self._metrics.in_flight.inc()
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._metrics.in_flight.dec()
        self._metrics.duration.labels(self._route).observe(time.perf_counter() - self._started)
        self._metrics.requests.labels(self._route, self._method, str(self.status)).inc()
