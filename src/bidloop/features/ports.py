"""What the loop asks of a store of online features."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from bidloop.core.event import Event
from bidloop.core.feature_table import FeatureTable
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Observations
from bidloop.features.view import FeatureView


class OnlineStore(Protocol):
    """Remembers what was observed and answers with feature values.

    An implementation keeps two promises: the values are those of `features.training.point_in_time` to 1e-9, and the
    order in which observations arrive does not matter.
    """

    @property
    def view(self) -> FeatureView:
        """The definition of the features."""
        ...

    def observe(self, observations: Observations | None = None, events: Sequence[tuple[int, Event]] = ()) -> None:
        """Add what became known of ads, and what users did and what happened in the market, with positions in the log."""
        ...

    def rebuilding(self) -> AbstractContextManager[None]:
        """While a log is read from its beginning: who publishes what became known does so once, at the end."""
        ...

    def read(self, opportunities: Sequence[Opportunity]) -> FeatureTable:
        """The values at each opportunity's own `at`, from observations whose time lies strictly before it."""
        ...

    @property
    def earliest(self) -> datetime | None:
        """The earliest instant that can be asked for now; `None` where any can."""
        ...

    def settle(self, before: datetime) -> None:
        """Free what only reads of before an instant need; from then on these may be refused."""
        ...

    def forget(self, user_id: str) -> int:
        """Forget a person, by pseudonym; says of how many entities."""
        ...
