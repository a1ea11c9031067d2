"""When a label is final, and how much of it is there until then: after its conversion window nothing more can arrive."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from bidloop.core.outcome import Outcomes
from bidloop.outcomes.delay import DelayModel
from bidloop.outcomes.epoch import days_us, epoch_us
from bidloop.outcomes.settings import OutcomeSettings


def is_mature(shown: NDArray[np.datetime64], as_of: datetime, settings: OutcomeSettings) -> NDArray[np.bool_]:
    """Whether the label of each row can no longer change: its later window has closed.

    Parameters
    ----------
    shown
        When each row was shown, datetime64[us] in UTC, shape (n,).
    as_of
        The present, timezone-aware.

    Returns
    -------
    ndarray
        bool, shape (n,).

    Examples
    --------
    >>> from datetime import UTC
    >>> shown = np.array(["2026-01-01", "2026-01-20"], dtype="datetime64[us]")
    >>> is_mature(shown, datetime(2026, 2, 1, tzinfo=UTC), OutcomeSettings()).tolist()
    [True, False]
    """
    window = max(settings.attribution_window_days, settings.conversion_window_days)
    return np.asarray(shown < np.datetime64(epoch_us(as_of), "us") - np.timedelta64(days_us(window), "us"), dtype=bool)


def matured(outcomes: Outcomes, model: DelayModel | None, as_of: datetime) -> NDArray[np.float64] | None:
    """Which share of the conversions that each row will have in the end is reported by now.

    The age of a row is counted from its showing: outcomes do not tell when the click came, which as a rule is seconds later.

    Parameters
    ----------
    outcomes
        Rows as known at `as_of`.
    model
        How late conversions are; `None` where nobody knows.
    as_of
        The present, timezone-aware.

    Returns
    -------
    ndarray or None
        float64 in (0, 1], shape (n,), 1 where the label is mature: what `bidloop.core.examples.Examples` takes. `None`
        without a model: then every row counts as it is.

    Examples
    --------
    >>> from datetime import UTC
    >>> from bidloop.core.opportunity import Opportunity
    >>> from bidloop.outcomes.delay import DAY, DelayCurve
    >>> now, shown = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 2, 27, tzinfo=UTC)
    >>> one, cell = np.ones(1), Opportunity(opportunity_id="o", at=shown, campaign_id="spring")
    >>> at, young = np.array(["2026-02-27"], dtype="datetime64[us]"), np.array([False])
    >>> rows = Outcomes(np.array(["i"], dtype=object), [cell], at, one, one, 0 * one, 0 * one, one, one, young)
    >>> halfway = DelayCurve(shares=(0.5, 1.0), deviations=(0.1, 0.0), conversions=90)
    >>> model = DelayModel(kind="buckets", ages=(2 * DAY, 30 * DAY), pooled=halfway, campaigns={})
    >>> matured(rows, model, now)
    array([0.5])
    """
    if model is None:
        return None
    age = (np.datetime64(epoch_us(as_of), "us") - outcomes.at) / np.timedelta64(1, "s")
    campaigns = [opportunity.campaign_id for opportunity in outcomes.opportunities]
    return np.where(outcomes.mature, 1.0, model.maturity(campaigns, age))
