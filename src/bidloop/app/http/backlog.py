"""How far the consumers of the stream are behind, and when its senders had better come back."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from bidloop.app.http.problems import BEHIND, ApiError
from bidloop.events.ports import EventStream, Lag
from bidloop.events.settings import StreamSettings

LOOKS = 10
"""The rate at which the backlog falls is taken over so many looks."""
SOONEST, LATEST = 1, 60
"""Seconds that a sender is asked to wait."""


class Backlog:
    """Remembers the last looks at the stream's lag.

    Parameters
    ----------
    stream
        The stream.
    settings
        How far its consumers may be behind.
    clock
        Seconds that only ever grow.
    """

    def __init__(
        self, stream: EventStream, settings: StreamSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._settings = settings
        self._clock = clock
        self._looks: deque[tuple[float, Lag]] = deque(maxlen=LOOKS)
        self.answers = False
        """Whether the stream answered when it was looked at last."""

    @property
    def lag(self) -> Lag | None:
        """What was seen last; `None` before the first look."""
        return self._looks[-1][1] if self._looks else None

    @property
    def behind(self) -> bool:
        """Whether the consumers are further behind than they may be."""
        lag = self.lag
        return lag is not None and (
            lag.items > self._settings.max_behind_items or lag.oldest_seconds > self._settings.max_behind_seconds
        )

    def look(self) -> None:
        """Ask the stream."""
        try:
            lag = self._stream.lag()
        except Exception:
            self.answers = False
            raise
        self._looks.append((self._clock(), lag))
        self.answers = True

    def check(self) -> None:
        """Refuse a sender while the consumers are too far behind.

        Raises
        ------
        ApiError
            A 429 with the seconds after which, at the pace of the last looks, they have caught up.
        """
        lag = self.lag
        if lag is not None and self.behind:
            raise ApiError(
                BEHIND,
                detail=f"{lag.items:,} events wait to be stored, the oldest for {lag.oldest_seconds:.0f} s.",
                headers={"Retry-After": str(self.seconds())},
            )

    def seconds(self) -> int:
        """After how many seconds, at the pace of the last looks, the consumers are no longer too far behind."""
        (since, first), (until, last) = self._looks[0], self._looks[-1]
        elapsed = until - since
        waits = [
            _wait(last.items - self._settings.max_behind_items, first.items - last.items, elapsed),
            _wait(
                last.oldest_seconds - self._settings.max_behind_seconds,
                first.oldest_seconds - last.oldest_seconds,
                elapsed,
            ),
        ]
        return math.ceil(min(max(SOONEST, *waits), LATEST))


def _wait(excess: float, fallen: float, elapsed: float) -> float:
    """Seconds until an excess is gone that has fallen so far in the time that elapsed."""
    if excess <= 0:
        return 0
    return excess * elapsed / fallen if fallen > 0 else LATEST
