"""The application, and the process that serves it."""

from __future__ import annotations

import contextlib
import math
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from importlib.metadata import version
from types import FrameType
from zoneinfo import ZoneInfo

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bidloop.app.http.backlog import Backlog
from bidloop.app.http.client_address import is_own, networks
from bidloop.app.http.decision_queue import DecisionQueue
from bidloop.app.http.doorkeeper import Doorkeeper, Handler
from bidloop.app.http.event_queue import EventQueue
from bidloop.app.http.event_routes import EventRoutes
from bidloop.app.http.keyring import Keyring
from bidloop.app.http.metrics import Measured, Metrics
from bidloop.app.http.openapi import EVENTS, OPERATIONS, Operation, description
from bidloop.app.http.problems import BROKEN, UNKNOWN_ADDRESS, WRONG_METHOD, ApiError, nearest
from bidloop.app.http.rate_limit import RateLimit
from bidloop.app.http.reference import HEADERS, page
from bidloop.app.http.routes import Routes
from bidloop.app.http.schema import FieldError
from bidloop.app.http.watch import watching
from bidloop.app.settings import Settings
from bidloop.app.upkeep import CHAMPION_S, ChampionWatch
from bidloop.app.wiring import House
from bidloop.core.errors import ConfigurationError
from bidloop.loop import Loop

DRAIN_SECONDS = 30
"""How long requests in flight may take to finish after the process was told to end."""

LOOK_SECONDS = 1.0
"""How often keys, log and backlog are looked at."""
SETTLE_SECONDS = 600.0
"""How often the memory of features that nobody can ask for any more is freed."""

ADDRESSES = tuple(operation.path for operation in OPERATIONS)


def create_app(loop: Loop, settings: Settings, house: House) -> Starlette:
    """The API over a loop.

    Parameters
    ----------
    loop
        The loop that decides; the application does not close it.
    settings
        Timezone, currency and the limits of the API.
    house
        The way in for events, and the keys.
    """
    http = settings.http
    keyring = Keyring(house.keys, http.keys, http.host)
    requests = RateLimit(http.requests_per_second, math.ceil(http.requests_per_second))
    doorkeeper = Doorkeeper(keyring, networks(http.trusted_proxies), requests)
    backlog = None if house.stream is None else Backlog(house.stream, settings.stream)
    metrics = Metrics(
        loop.predictor, None if backlog is None else lambda: backlog.lag, features=loop.health, clock=house.clock
    )
    decisions = DecisionQueue(loop)
    # What waits in a stream is stored by another process, and the loop follows the log by itself.
    events = EventQueue(house.reception, house.door, loop.follow if house.stream is None else None)
    telling = EventRoutes(
        events,
        metrics,
        doorkeeper,
        backlog=backlog,
        limit=RateLimit(http.events_per_second, http.events_burst),
        clock=house.clock,
        max_bytes=http.max_events_bytes,
        max_events=http.max_events,
        assume_consent=settings.privacy.assume_consent,
    )
    routes = Routes(
        loop,
        decisions,
        metrics,
        takes_events=telling.takes_events,
        timezone=ZoneInfo(settings.timezone),
        currency=settings.currency,
        privacy=house.privacy,
        max_body_bytes=http.max_body_bytes,
        max_batch=http.max_batch,
    )
    document = description(
        version("bidloop"), max_batch=http.max_batch, max_body_bytes=http.max_body_bytes, max_events=http.max_events
    )
    alone = is_own(http.host) and http.keys != "required"
    figures = routes.metrics if alone else doorkeeper.guarded(routes.metrics, "admin")
    handlers = {
        "predict": doorkeeper.guarded(routes.predict, "predict"),
        "predictBatch": doorkeeper.guarded(routes.predict_batch, "predict"),
        "decision": doorkeeper.guarded(routes.decision, "predict"),
        "events": telling.events,
        "pixel": telling.pixel,
        "health": routes.healthz,
        "readiness": routes.readyz,
        "metrics": figures,
        "openapi": _constant(msgspec.json.encode(document), "application/json", {}),
        "docs": _constant(page(document).encode(), "text/html", HEADERS),
    }

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(watching(keyring.look, LOOK_SECONDS))
            # What other processes write, importers and absorbers, is learned as well.
            await stack.enter_async_context(watching(loop.follow, LOOK_SECONDS))
            await stack.enter_async_context(watching(ChampionWatch(loop).look, CHAMPION_S))
            await stack.enter_async_context(watching(loop.settle, SETTLE_SECONDS))
            if backlog is not None:
                await stack.enter_async_context(watching(backlog.look, LOOK_SECONDS))
            yield
        decisions.close()
        events.close()

    async def told(request: Request, error: Exception) -> Response:
        problem = _problem(request, error)
        metrics.problems.labels(problem.kind.anchor).inc()
        return problem.response(request.url.path)

    app = Starlette(
        routes=[_route(operation, handlers[operation.name], http.cors_origins) for operation in OPERATIONS],
        middleware=[Middleware(Measured, metrics, ADDRESSES)],
        exception_handlers={ApiError: told, HTTPException: told, Exception: told},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a misspelt address gets a problem that names the right one
    return app


def _route(operation: Operation, handler: Handler, origins: Sequence[str]) -> Route:
    methods = [operation.method.upper()]
    middleware = []
    if operation.path == EVENTS and origins:
        methods.append("OPTIONS")
        headers = ["Authorization", "Content-Encoding", "Content-Type", "Prefer"]
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=origins,
                allow_methods=["POST"],
                allow_headers=headers,
                expose_headers=["Retry-After"],
            )
        )
    return Route(operation.path.replace("{id}", "{decision_id}"), handler, methods=methods, middleware=middleware)


def serve(app: Starlette, host: str, port: int, *, on_start: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C; requests in flight are finished first.

    Parameters
    ----------
    host, port
        Where to listen; port 0 takes a free one.
    on_start
        Told the address, once connections are taken.

    Raises
    ------
    ConfigurationError
        When the address or the port cannot be had.
    """
    Server(app, host, port, on_start=on_start).run()


class Server(uvicorn.Server):
    """A uvicorn server that tells its address, and that ends normally after it was asked to.

    Uvicorn sends itself the same signal again once it has drained, so that a process that was stopped in good order
    looks as if it had been killed. Here the caller goes on, and the process can end with 0.

    Parameters
    ----------
    app, host, port, on_start
        As for `serve`.
    """

    def __init__(self, app: Starlette, host: str, port: int, *, on_start: Callable[[str], None] | None = None) -> None:
        self._on_start = on_start
        self._socket = _listen(host, port)
        # No logging of its own: the program that serves decides where its log goes.
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # whose X-Forwarded-For is believed is a setting, which uvicorn would forestall
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
        super().__init__(config)

    @property
    def address(self) -> str:
        """Where it listens, such as ``http://127.0.0.1:8080``."""
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until asked to end."""
        super().run(sockets or [self._socket])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections, and tell where."""
        await super().startup(sockets)
        if self._on_start is not None and not self.should_exit:
            self._on_start(self.address)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT as the wish to end; a second Ctrl-C ends at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End, in good order the first time."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65_535:
        raise _unavailable(host, port, "no such port")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise _unavailable(host, port, str(error.strerror or error).lower()) from error


def _unavailable(host: str, port: int, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"cannot listen on {host} port {port}: {reason}",
        expected="an address of this machine and a port that nobody else listens on",
        remedy="Choose another port; 0 takes a free one.",
    )


def _constant(body: bytes, media_type: str, headers: dict[str, str]) -> Handler:
    async def answer(_: Request) -> Response:
        return Response(body, media_type=media_type, headers=headers)

    return answer


def _problem(request: Request, error: Exception) -> ApiError:
    if isinstance(error, ApiError):
        return error
    path = request.url.path
    if isinstance(error, HTTPException) and error.status_code == 405:
        allowed = ", ".join(sorted({o.method.upper() for o in OPERATIONS if _matches(o.path, path)}))
        wrong = FieldError(path="method", found=request.method[:20], expected=allowed)
        return ApiError(WRONG_METHOD, [wrong], headers={"Allow": allowed})
    if isinstance(error, HTTPException) and error.status_code == 404:
        near = nearest(path, ADDRESSES)
        expected = f"perhaps {near}" if near else f"one of {', '.join(ADDRESSES)}"
        wrong = FieldError(path="path", found=path[:200], expected=expected)
        return ApiError(UNKNOWN_ADDRESS, [wrong])
    return ApiError(BROKEN, detail=f"It met {type(error).__name__}.")


def _matches(template: str, path: str) -> bool:
    return path == template or ("{" in template and path.startswith(template.partition("{")[0]))
