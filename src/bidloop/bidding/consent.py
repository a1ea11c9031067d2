"""Whether a bid may take the place of the one in force: stops, pins, modes and approvals."""

from __future__ import annotations

from bidloop.bidding.expectation import spend_ratio
from bidloop.bidding.guardrails import Limits
from bidloop.bidding.settings import BiddingSettings
from bidloop.core.decision import BidState
from bidloop.core.landscape import Landscape
from bidloop.core.opportunity import Opportunity


class Consent:
    """What people, and the breaker, let a bid do. The first of these that applies decides:

    1. ``stopped``: nothing is bid, whatever else is said.
    2. ``pinned``: the bid that a person fixed is bid, in every mode.
    3. ``off`` and ``preview``: the bid in force stays. That is the platform's `current_bid`; a request that states none has no bid
       in force, and nothing is bid.
    4. ``awaiting_approval``: the expected change of the cell's daily spend is above the limit, or cannot be told, and nobody has
       approved it. The bid in force stays, or where none is stated our last one. ``approved``: it moves to the new bid, at most
       to the approved one.
    5. ``applied``.

    Pinned and standing bids are kept within the advertiser's caps and the auction's floor, and the ledger still follows. Not to
    take part spends nothing and needs no approval.

    Parameters
    ----------
    landscape
        Usable, or `None`.
    bounds
        Where caps and floors are.
    """

    __slots__ = ("_approve_above", "_bounds", "_landscape", "_opportunity", "_plain", "_state")

    def __init__(
        self,
        settings: BiddingSettings,
        opportunity: Opportunity,
        landscape: Landscape | None,
        state: BidState,
        bounds: Limits,
    ) -> None:
        self._approve_above = settings.approve_above
        self._opportunity = opportunity
        self._landscape = landscape
        self._state = state
        self._bounds = bounds
        self._plain = not state.stopped and state.pinned is None and state.mode == "apply"

    @property
    def given(self) -> bool:
        """Whether every bid may be sent."""
        return self._plain and self._approve_above is None

    def decide(self, bid: int) -> tuple[int, str]:
        """The bid that may be sent, and the code of what decided.

        Parameters
        ----------
        bid
            In micros, within caps and floors.
        """
        if self._plain:
            return self._approve(bid) if bid > 0 else (0, "no_bid")
        state = self._state
        if state.stopped:
            return 0, "stopped"
        if state.pinned is not None:
            return self._bounds.bound(state.pinned.micros)[0], "pinned"
        current = self._opportunity.current_bid
        standing = 0 if current is None else self._bounds.bound(current.micros)[0]
        return standing, "preview" if state.mode == "preview" else "off"

    def change(self, bid: int) -> float | None:
        """Expected change of the cell's daily spend in account currency, or `None` where it cannot be told."""
        spend = self._state.daily_spend
        if spend is None or spend.micros <= 0:  # what spent nothing so far tells no ratio
            return None
        ratio = spend_ratio(self._opportunity, self._landscape, self._current, bid)
        return None if ratio is None else spend.amount * (ratio - 1)

    @property
    def _current(self) -> int:
        current = self._opportunity.current_bid or self._state.previous_bid
        return 0 if current is None else current.micros

    def _approve(self, bid: int) -> tuple[int, str]:
        if self._approve_above is None:
            return bid, "applied"
        stays = self._bounds.bound(self._current)[0]
        if bid == stays:
            return bid, "applied"
        change = self.change(bid)
        if change is not None and abs(change) <= self._approve_above:
            return bid, "applied"
        if self._state.approved is not None and (approved := self._bounds.bound(self._state.approved.micros)[0]) > 0:
            if bid > stays and approved > stays:
                return min(bid, approved), "approved"
            if bid < stays and approved < stays:
                return max(bid, approved), "approved"
        return stays, "awaiting_approval"
