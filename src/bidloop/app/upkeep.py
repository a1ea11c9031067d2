"""What a house needs now and then: its history brought up to the log, and what retention no longer keeps dropped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from logging import getLogger

from bidloop.app.wiring import House

SYNC_S = 30.0
PRUNE_S = 6 * 3600.0
"""Whole days are dropped, so that a few looks a day are enough."""

_log = getLogger("bidloop.upkeep")


@contextmanager
def looked_after(house: House) -> Iterator[None]:
    """Looks after a house in a thread beside the work, and has the history follow once more at the end."""
    ended = threading.Event()

    def look() -> None:
        pruned = float("-inf")
        while True:
            if time.monotonic() - pruned >= PRUNE_S:
                _try(lambda: prune(house), "retention")
                pruned = time.monotonic()
            if ended.wait(SYNC_S):
                return
            _try(house.history.sync, "the history")

    thread = threading.Thread(target=look, name="upkeep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _try(house.history.sync, "the history")


def prune(house: House, days: int | None = None) -> int:
    """Drop events that were written longer ago than retention keeps them; says how many.

    The history takes them over before, and keeps them.

    Parameters
    ----------
    days
        How long to keep; by default as the settings say, and for ever where they say nothing.
    """
    keep = house.settings.events.retention_days if days is None else days
    if not keep:
        return 0
    house.history.sync()
    return house.log.prune(house.clock.now() - timedelta(days=keep))


def _try(work: Callable[[], object], what: str) -> None:
    try:
        work()
    except Exception as error:  # the log has everything, and the next time makes up for it
        _log.warning("%s has to wait: %s", what.capitalize(), error)
