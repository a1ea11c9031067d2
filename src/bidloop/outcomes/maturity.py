"""When a label is final: after its conversion window nothing more can arrive."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

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
