"""What this room needs from outside: the record of decisions, and the history of events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from bidloop.core.decision import Decision
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import BidOutcomes, Observations, Outcomes


class DecisionLog(Protocol):
    """The immutable record of every answer. A decision that is recorded survives the process."""

    def record(self, decisions: Sequence[Decision]) -> None:
        """Write decisions, all or none, durably before it returns; the same decision twice is kept once.

        Raises
        ------
        InvalidInput
            When a decision cannot be read back as it is (NaN in it), or its id stands for another decision already.
        """
        ...

    def get(self, decision_id: str) -> Decision:
        """One decision as it was recorded, to the last bit.

        Raises
        ------
        NotFound
            When there is none of this id.
        """
        ...

    def recent(self, limit: int) -> list[Decision]:
        """The latest decisions, newest first."""
        ...

    def opportunities(self, ids: Sequence[str]) -> dict[str, Opportunity]:
        """What the decisions of these ids were about; unknown ids are left out."""
        ...

    def bids(self, ids: Sequence[str]) -> dict[str, Money]:
        """What was bid in the decisions of these ids; unknown ids are left out."""
        ...


class History(Protocol):
    """All that happened, ready to be learned from."""

    def sync(self) -> int:
        """Take over the events that the log has gained since the last time; says how many."""
        ...

    def outcomes(
        self, start: datetime | None = None, end: datetime | None = None, as_of: datetime | None = None
    ) -> Outcomes:
        """What came of everything shown in ``start <= at < end``, as it was known at `as_of`.

        Parameters
        ----------
        start, end
            Range of the time of showing; `None` leaves it open.
        as_of
            Nothing later than this instant counts: a click or conversion after it has not happened yet. `None` is the
            time of the latest event.
        """
        ...

    def observations(self, start: datetime | None = None, end: datetime | None = None) -> Observations:
        """The increments of what was known in ``start <= at < end``, in the order of the log."""
        ...

    def bids(self, start: datetime | None = None, end: datetime | None = None) -> BidOutcomes:
        """What became of the bids for ``start <= at < end``, in order of time: what a bid landscape is learned from.

        A bid that neither won nor is known to have lost is not there.
        """
        ...
