"""What the loop asks of a store of online features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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

    def observe(self, observations: Observations) -> None:
        """Add what became known."""
        ...

    def read(self, opportunities: Sequence[Opportunity]) -> FeatureTable:
        """The values at each opportunity's own `at`, from observations whose time lies strictly before it."""
        ...
