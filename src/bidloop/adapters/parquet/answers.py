"""The answers of the joins as words of the core."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias

import msgspec
from numpy.typing import NDArray

from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import FURTHER, Observations, Outcomes
from bidloop.outcomes.maturity import is_mature
from bidloop.outcomes.settings import OutcomeSettings

Columns: TypeAlias = Mapping[str, NDArray[Any]]

_decode = msgspec.json.Decoder(Opportunity).decode


def observations_of(columns: Columns) -> Observations:
    """The rows that `joins.OBSERVATIONS` answers."""
    return Observations(
        at=columns["at_utc"],
        opportunities=[_decode(text) for text in columns["opportunity"]],
        impressions=columns["impressions"],
        clicks=columns["clicks"],
        conversions=columns["conversions"],
        value=columns["value"],
        cost=columns["cost"],
        spent_at=columns["spent_at_utc"],
        further={name: columns[name] for name in FURTHER},
        position=columns["known"],
    )


def outcomes_of(columns: Columns, as_of: datetime, settings: OutcomeSettings) -> Outcomes:
    """The rows that `joins.OUTCOMES` answers, as known at an instant."""
    return Outcomes(
        impression_id=columns["impression_id"].astype(object),
        opportunities=[_decode(text) for text in columns["opportunity"]],
        at=columns["at_utc"],
        impressions=columns["impressions"],
        clicks=columns["clicks"],
        conversions=columns["conversions"],
        value=columns["value"],
        cost=columns["cost"],
        weight=columns["weight"],
        mature=is_mature(columns["at_utc"], as_of, settings),
        valued=columns["valued"],
    )
