"""`bidloop absorb`: from the stream into the log, until it is told to stop."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from bidloop.app.commands.options import Config, Home, Json, settings_of
from bidloop.core.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from bidloop.events.absorber import Absorbed
    from bidloop.events.ports import EventStream

_LINE_S, _LOG_S = 1.0, 30.0
_log = logging.getLogger("bidloop.absorb")


def absorb(
    consumer: Annotated[
        str,
        typer.Option(help="Name of this consumer; several on one machine need one each. [default: the host's name]"),
    ] = "",
    until_empty: Annotated[bool, typer.Option("--until-empty", help="End when nothing is left to do.")] = False,
    home: Home = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Take the events that wait in the stream into the log, and outcomes and training sets along, until Ctrl-C.

    Ctrl-C or SIGTERM has it finish what it holds; a second one ends it at once, and then, too, nothing is lost.
    """
    import msgspec

    from bidloop.app.terminal import err, print_json, print_table
    from bidloop.app.upkeep import looked_after
    from bidloop.app.wiring import open_house
    from bidloop.events.absorber import Absorber

    settings = settings_of(config, home)
    if not settings.stream.url:
        raise ConfigurationError(
            "no stream: events go straight to the log, and there is nothing to absorb",
            expected="the address of a Redis",
            remedy="Set stream.url, here and for `bidloop serve`.",
        )
    consumer = consumer or socket.gethostname()
    line = err.status("Waiting for events") if err.is_terminal else None
    with _log_lines(err), _stop_signals() as stop:
        house = open_house(settings)
        assert house.stream is not None
        absorber = Absorber(
            house.stream,
            house.log,
            house.seal,
            house.clock,
            consumer=consumer,
            events=msgspec.structs.replace(settings.events, currency=settings.currency),
            settings=settings.stream,
            on_progress=_Progress(house.stream, line),
        )
        gc.freeze()  # what is there now stays; the collector need not look through it for every few thousand events
        _log.info("Consumer %s of %s takes events; Ctrl-C ends.", consumer, settings.stream.name)
        with line or nullcontext(), looked_after(house):
            absorbed = absorber.run(stop, until_empty=until_empty)
        behind = _behind(house.stream)
        house.close()
    receipt = absorbed.receipt
    if as_json:
        told = {"accepted": receipt.accepted, "duplicates": receipt.duplicates, "rejected": receipt.rejected}
        print_json(
            {"consumer": consumer, **told, "entries": absorbed.entries, "buried": absorbed.buried, "behind": behind}
        )
        return
    print_table(
        "Absorbed",
        [
            {"what": "accepted", "events": receipt.accepted},
            {"what": "duplicates", "events": receipt.duplicates},
            *({"what": f"rejected: {code}", "events": count} for code, count in sorted(receipt.rejected.items())),
            {"what": "still behind", "events": behind},
        ],
    )


class _Progress:
    """Says how it goes: a line that changes on a terminal, and elsewhere one in the log now and then."""

    def __init__(self, stream: EventStream, line: Status | None) -> None:
        self._stream = stream
        self._line = line
        self._every = _LOG_S if line is None else _LINE_S
        self._last = time.monotonic()
        self._accepted = 0

    def __call__(self, absorbed: Absorbed) -> None:
        now, receipt = time.monotonic(), absorbed.receipt
        if now - self._last < self._every:
            return
        rate = (receipt.accepted - self._accepted) / (now - self._last)
        self._last, self._accepted = now, receipt.accepted
        behind = _behind(self._stream)
        told = (
            f"{receipt.accepted:,} accepted ({rate:,.0f}/s), {receipt.duplicates:,} duplicates, "
            f"{sum(receipt.rejected.values()):,} rejected, {'?' if behind is None else f'{behind:,}'} behind"
        )
        if self._line is None:
            _log.info("%s", told)
        else:
            self._line.update(told)


def _behind(stream: EventStream) -> int | None:
    """How many events wait; `None` where the stream does not answer."""
    try:
        return stream.lag().items
    except Unavailable:
        return None


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; the second one ends the process at once."""
    stop = threading.Event()

    def stop_once(number: int, frame: object) -> None:
        stop.set()
        for each in before:
            signal.signal(each, signal.SIG_DFL)

    before = {number: signal.signal(number, stop_once) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _log_lines(console: Console) -> Iterator[None]:
    """Shows what the program logs on standard error, above the line that changes if there is one."""
    from rich.logging import RichHandler

    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False)
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("bidloop")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
