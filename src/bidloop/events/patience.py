"""Patience with a server that is away for a while."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from bidloop.core.errors import Unavailable

_SHORTEST_S, _LONGEST_S = 0.1, 5.0
_log = logging.getLogger("bidloop.absorb")

T = TypeVar("T")


class Patience:
    """Asks a server until it answers, ever more rarely; says once that it is away, and once that it is back.

    Parameters
    ----------
    whom
        What is asked, as the log shall name it.
    stop
        When it is set, patience ends with the server's own `Unavailable`.

    Examples
    --------
    >>> Patience("The clock", threading.Event()).ask(lambda: "noon")
    'noon'
    """

    def __init__(self, whom: str, stop: threading.Event) -> None:
        self._whom = whom
        self._stop = stop
        self._since: float | None = None
        self._delay = _SHORTEST_S

    def ask(self, call: Callable[[], T]) -> T:
        """The answer to a call that may raise `Unavailable`, which is made again until it does not."""
        while True:
            try:
                answer = call()
            except Unavailable as error:
                self.wait(error)
            else:
                self.answered()
                return answer

    def wait(self, error: Unavailable) -> None:
        """Wait a while after a call that was not answered."""
        if self._since is None:
            self._since = time.monotonic()
            _log.warning("%s does not answer, nothing is lost; waiting for it. %s", self._whom, error)
        if self._stop.wait(self._delay * random.uniform(0.5, 1.0)):
            raise error
        self._delay = min(2 * self._delay, _LONGEST_S)

    def answered(self) -> None:
        """Note that the server is there."""
        if self._since is not None:
            _log.info("%s answers again after %.1f s.", self._whom, time.monotonic() - self._since)
        self._since, self._delay = None, _SHORTEST_S
