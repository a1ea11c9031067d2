"""What this room needs from outside: the record of decisions, and the history of events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from bidloop.core.decision import Decision
from bidloop.core.event import Event
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import BidOutcomes, ConversionDelays, Observations, Outcomes


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

    def of_user(self, user_id: str) -> list[Decision]:
        """The decisions for a person, by pseudonym, in the order in which they were made."""
        ...

    def erase(self, user_id: str) -> int:
        """Leave a person out of the decisions that were made for them; says how many. Their bids stay what they were."""
        ...


class History(Protocol):
    """All that happened, ready to be learned from."""

    def sync(self) -> int:
        """Take over the events that the log has gained since the last time; says how many."""
        ...

    def latest(self) -> datetime | None:
        """Up to which instant this knows what happened: the time of the latest event, or of the latest restatement.

        `None` where nothing happened.
        """
        ...

    def outcomes(
        self, start: datetime | None = None, end: datetime | None = None, as_of: datetime | None = None
    ) -> Outcomes:
        """What came of everything shown in ``start <= at < end``, as it was known at `as_of`.

        A report row that was told several times is one row, with the figures told last of those known at `as_of`; its
        `impression_id` is its `row_id`.

        Parameters
        ----------
        start, end
            Range of the time of showing; `None` leaves it open.
        as_of
            Nothing later than this instant counts: a click, conversion, retraction or restated report row after it has not
            happened yet. `None` is the time of the latest event, or of the latest restatement.
        """
        ...

    def delays(self, as_of: datetime | None = None) -> ConversionDelays:
        """How long every conversion took that counts in `outcomes` of the same instant, in order of time.

        Report rows tell of it only where some of them were told again, and only by tellings that say when the platform told them.
        A row that is not told again, though rows of its age are, is one that gained nothing.

        Parameters
        ----------
        as_of
            Nothing later than this instant counts; `None` is the time of the latest event, or of the latest restatement.
        """
        ...

    def observations(self, start: datetime | None = None, end: datetime | None = None) -> Observations:
        """The increments of what was known in ``start <= at < end``, in the order in which they became known.

        The same as the `Joiner` says of the same log, as long as nothing came so late that the joiner had forgotten what
        it belongs to: the history forgets nothing.
        """
        ...

    def happenings(self, start: datetime | None = None, end: datetime | None = None) -> list[tuple[int, Event]]:
        """What users did and what happened in the market in ``start <= at < end``, with positions, in the order of the log."""
        ...

    def bids(self, start: datetime | None = None, end: datetime | None = None) -> BidOutcomes:
        """What became of the bids for ``start <= at < end``, in order of time: what a bid landscape is learned from.

        One row for each impression that was served, each bid of which a notice says that it won, and each lost bid. What
        an event does not tell of opportunity, bid and price is what the others of the same impression tell, and in the
        end the decision record. A bid that neither won nor is known to have lost is not there.
        """
        ...

    def erase(self, user_id: str) -> int:
        """Forget a person: what they did is deleted, and from what happened to ads they are left out; says how many rows.

        Erase them in the event log first, or the next `sync` may bring them back.

        Parameters
        ----------
        user_id
            The person's pseudonym.

        Raises
        ------
        InvalidInput
            When it is empty.
        """
        ...
