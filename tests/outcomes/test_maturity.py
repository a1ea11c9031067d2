"""A label is final when nothing can change it any more."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Outcomes
from bidloop.outcomes.delay import DAY, DelayCurve, DelayModel
from bidloop.outcomes.maturity import is_mature, matured
from bidloop.outcomes.settings import OutcomeSettings


@pytest.mark.parametrize(("clicks", "conversions"), [(1.0, 7.0), (7.0, 1.0)])
def test_a_label_is_mature_when_the_longer_window_has_closed(clicks: float, conversions: float) -> None:
    settings = OutcomeSettings(attribution_window_days=clicks, conversion_window_days=conversions)
    shown = np.array(["2026-02-28T23:59:59.999999", "2026-03-01T00:00:00", "2026-03-05"], dtype="datetime64[us]")
    # A response exactly at the end of the window still counts, so the row of that instant is not final yet.
    assert is_mature(shown, datetime(2026, 3, 8, tzinfo=UTC), settings).tolist() == [True, False, False]


def test_rows_of_an_unknown_delay_count_as_they_are_and_mature_rows_in_full() -> None:
    now, at = (
        datetime(2026, 3, 8, tzinfo=UTC),
        np.array(["2026-01-01", "2026-03-01", "2026-03-07"], dtype="datetime64[us]"),
    )
    cells = [Opportunity(opportunity_id=name, at=now, campaign_id=name) for name in ("slow", "slow", "new")]
    zero = np.zeros(3)
    mature = is_mature(at, now, OutcomeSettings())
    rows = Outcomes(np.array(["a", "b", "c"], dtype=object), cells, at, zero, zero, zero, zero, zero, zero, mature)
    assert matured(rows, None, now) is None
    slow, pooled = (DelayCurve(shares=(share, 1.0), deviations=(0.1, 0.0), conversions=50.0) for share in (0.4, 0.6))
    model = DelayModel(kind="buckets", ages=(7 * DAY, 90 * DAY), pooled=pooled, campaigns={"slow": slow})
    known = matured(rows, model, now)
    assert known is not None
    # The first is mature: what the model believes of so old a click does not matter any more.
    np.testing.assert_allclose(known, [1.0, 0.4, 0.6 / 7])
