"""What was spent, booked from the event log, and only then given back to whoever held it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from logging import getLogger

from bidloop.bidding.ledger.balance import Charge
from bidloop.bidding.ledger.leases import Leases
from bidloop.core.clock import Clock
from bidloop.core.errors import Unavailable
from bidloop.core.event import BidLost, ClickReceived, Event, ImpressionServed
from bidloop.core.money import MICROS
from bidloop.core.outcome import Observations

LOG = "log"
"""What the ledger calls the event log."""
RENEW = timedelta(seconds=1)
"""How often leases are looked after."""

_log = getLogger(__name__)


class Books:
    """Keeps the ledger behind the event log: each charge is spent once, in the windows in which it was bid for.

    A charge is booked first and what was held for it let go afterwards, so that in between it is counted twice and never not at
    all. Where the ledger does not answer, charges wait here, and all that is held stays held. Safe to call from several threads.

    Parameters
    ----------
    leases
        Which hold money for the bids underway, and are looked after here.
    """

    def __init__(self, leases: Leases, clock: Clock) -> None:
        self._leases = leases
        self._clock = clock
        self._charges: list[Charge] = []
        self._settled: list[tuple[str, int]] = []
        self._position = 0
        self._renewed: datetime | None = None
        self._waiting, self._turn = threading.Lock(), threading.Lock()

    def start(self, observations: Observations, position: int) -> None:
        """Book what the log tells up to a position beyond what the ledger knows of it."""
        known = self._leases.ledger.position(LOG)
        with self._waiting:
            self._charges = list(self._charges_of(observations, known))
            self._position = position
        self.keep()

    def note(self, observations: Observations, events: Iterable[Event], position: int) -> None:
        """Take down what the log tells up to a position; `keep` books it."""
        charges, settled = list(self._charges_of(observations, 0)), list(_settled(events))
        with self._waiting:
            self._charges += charges
            self._settled += settled
            self._position = position

    def keep(self) -> None:
        """Book what was taken down, let go what was held for it, and look after the leases now and then."""
        with self._turn:  # one at a time: a later position that is booked first would leave out what came before it
            with self._waiting:
                position, charges, settled = self._position, self._charges, self._settled
                self._charges, self._settled = [], []
            try:
                if charges or settled:
                    self._leases.ledger.book(LOG, position, charges)
                    self._leases.settle(settled)
            except Unavailable:
                with self._waiting:
                    self._charges, self._settled = charges + self._charges, settled + self._settled
                _log.warning("The ledger does not answer; %d charges wait to be booked.", len(charges))
                return  # nothing that is held may be let go while charges wait
            now = self._clock.now()
            if self._renewed is None or now - self._renewed >= RENEW:
                self._renewed = now
                self._leases.renew()

    def _charges_of(self, observations: Observations, known: int) -> Iterator[Charge]:
        position = observations.position
        if position is None:
            return
        for i in ((observations.cost != 0) & (position > known)).nonzero()[0].tolist():
            about = observations.opportunities[i]
            windows = self._leases.windows.of(about.campaign_id, about.at)
            yield Charge(int(position[i]), windows, round(observations.cost[i] * MICROS))


def _settled(events: Iterable[Event]) -> Iterator[tuple[str, int]]:
    """Which bids are settled, and what they were charged in micros."""
    for event in events:
        if isinstance(event, BidLost):
            yield event.impression_id, 0
        elif isinstance(event, ImpressionServed | ClickReceived) and event.price is not None:
            yield event.impression_id, max(0, event.price.micros)
