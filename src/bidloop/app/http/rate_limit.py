"""How much one sender may send: a bucket each, which fills at the allowed rate and holds a burst."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

MOST = 10_000
"""Buckets that are remembered: strangers' addresses are many. Who has not sent for longest is forgotten first."""


class RateLimit:
    """Counts what senders send.

    Parameters
    ----------
    per_second
        What a sender may send in the long run; 0 sets no limit.
    burst
        What it may send at once after a while of silence.
    clock
        Seconds that only ever grow.

    Notes
    -----
    A token bucket. What is larger than the burst passes when the bucket is full, and is then paid off: so there is nothing
    that could never be sent, and the rate is kept all the same.

    Examples
    --------
    >>> now = 0.0
    >>> limit = RateLimit(10, burst=20, clock=lambda: now)
    >>> limit.wait("shop", 20), limit.wait("shop", 5), limit.wait("another", 5)
    (0.0, 0.5, 0.0)
    """

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._burst = max(burst, 1.0)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, sender: str, amount: float) -> float:
        """Seconds after which this would pass; 0 when it passes now, and is counted."""
        if self._rate <= 0:
            return 0.0
        now = self._clock()
        held, since = self._buckets.get(sender, (self._burst, now))
        held = min(self._burst, held + (now - since) * self._rate)
        missing = min(amount, self._burst) - held
        if missing > 1e-9:
            return missing / self._rate
        self._buckets[sender] = (held - amount, now)
        self._buckets.move_to_end(sender)
        if len(self._buckets) > MOST:
            self._buckets.popitem(last=False)
        return 0.0


def sender_of(address: str) -> str:
    """Whose bucket an address draws from: its own, or that of its IPv6 network, of which one customer has all.

    >>> sender_of("192.0.2.7"), sender_of("2001:db8::1"), sender_of("2001:db8::ffff:2")
    ('192.0.2.7', '2001:db8::/64', '2001:db8::/64')
    """
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((known, 64), strict=False)) if known.version == 6 else address
