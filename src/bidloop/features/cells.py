"""Which cell an opportunity belongs to: the finest key of the view, which rates and intervals speak of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bidloop.core.opportunity import Opportunity
from bidloop.features.local_time import LocalTimes
from bidloop.features.source import column
from bidloop.features.view import CELL, FeatureView


def cell_keys(view: FeatureView, opportunities: Sequence[Opportunity]) -> NDArray[np.object_]:
    """Name of each opportunity's cell, object array of `str`, shape (n,).

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from bidloop.features.views import campaign_view
    >>> cell = Opportunity(opportunity_id="1", at=datetime(2026, 1, 1, tzinfo=UTC), campaign_id="a", device="mobile")
    >>> cell_keys(campaign_view(), [cell]).tolist()
    ['a · · · mobile ·']
    """
    [key] = [rate.key for rate in view.rates if rate.name == CELL]
    times = LocalTimes(opportunities if any(source.startswith("time.") for source in key) else (), view.timezone)
    columns = [column(source, opportunities, times) for source in key]
    return np.array([" · ".join(parts).strip(" ") for parts in zip(*columns, strict=True)], dtype=object)
