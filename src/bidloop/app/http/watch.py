"""Looks at something again and again, beside the requests, so that no request has to wait for the look."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

_log = logging.getLogger("bidloop.http")


@contextlib.asynccontextmanager
async def watching(look: Callable[[], object], seconds: float) -> AsyncIterator[None]:
    """Look at once, and then every so many seconds in a thread, for as long as the context lasts.

    A look that fails is told in the log, the first time of several in a row, and what was seen last goes on to hold.
    """
    failing = await _try(look, failing=False)

    async def go_on() -> None:
        nonlocal failing
        while True:
            await asyncio.sleep(seconds)
            failing = await _try(look, failing)

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _try(look: Callable[[], object], failing: bool) -> bool:
    try:
        await asyncio.to_thread(look)
    except Exception as error:
        if not failing:
            _log.warning("%s: %s", getattr(look, "__qualname__", look), error)
        return True
    return False
