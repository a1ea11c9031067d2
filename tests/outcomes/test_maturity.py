"""A label is final when nothing can change it any more."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from bidloop.outcomes.maturity import is_mature
from bidloop.outcomes.settings import OutcomeSettings


@pytest.mark.parametrize(("clicks", "conversions"), [(1.0, 7.0), (7.0, 1.0)])
def test_a_label_is_mature_when_the_longer_window_has_closed(clicks: float, conversions: float) -> None:
    settings = OutcomeSettings(attribution_window_days=clicks, conversion_window_days=conversions)
    shown = np.array(["2026-02-28T23:59:59.999999", "2026-03-01T00:00:00", "2026-03-05"], dtype="datetime64[us]")
    # A response exactly at the end of the window still counts, so the row of that instant is not final yet.
    assert is_mature(shown, datetime(2026, 3, 8, tzinfo=UTC), settings).tolist() == [True, False, False]
