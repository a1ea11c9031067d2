"""What the simulation needs from outside: something that decides and learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bidloop.core.decision import Decision
from bidloop.core.event import Event
from bidloop.core.opportunity import Opportunity


class Decider(Protocol):
    """A loop, as a market sees it: `bidloop.loop.Loop`, or anything that bids."""

    def decide_many(self, opportunities: Sequence[Opportunity]) -> list[Decision]:
        """One decision per opportunity, in the same order."""
        ...

    def absorb(self, events: Sequence[Event]) -> object:
        """Take in what happened."""
        ...
