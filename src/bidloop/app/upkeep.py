"""What a house needs now and then: its history brought up to the log, what retention no longer keeps dropped, its champion
served.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from logging import getLogger

from bidloop.app.wiring import House
from bidloop.core.errors import CorruptArtifact, NotFound
from bidloop.loop import Loop
from bidloop.prediction.bundle import load_bundle

SYNC_S = 30.0
PRUNE_S = 6 * 3600.0
"""Whole days are dropped, so that a few looks a day are enough."""

CHAMPION_S = 2.0
"""How often a server looks whether another model was promoted."""

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


class ChampionWatch:
    """Has a running loop serve what another process promoted or rolled back to.

    A model that cannot be loaded, or that reads another feature view than the loop, leaves the present one in place: the log
    says so once, and each look tries again.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._told = ""

    def look(self) -> None:
        """Serve the champion, if it is another than the model that serves."""
        champion = self._loop.shelf.champion()
        if champion in (None, self._loop.predictor.version):
            self._told = ""
            return
        if trouble := self._swap(champion):
            if trouble != self._told:
                _log.warning("Model %s goes on to serve: %s", self._loop.predictor.version, trouble)
            self._told = trouble
            return
        self._told = ""
        _log.info("Model %s serves from now on.", champion)

    def _swap(self, version: str) -> str:
        """Serve a version; says why that cannot be, or nothing."""
        try:
            bundle = load_bundle(self._loop.shelf.path(version))
            if bundle.view_version != self._loop.view.version:
                return f"{version} reads another feature view. Restart to serve it."
            self._loop.serve(bundle)
        except (CorruptArtifact, NotFound) as error:
            return str(error)
        return ""
