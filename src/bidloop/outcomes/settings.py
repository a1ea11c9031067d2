"""How long after an impression its clicks and conversions still count."""

from __future__ import annotations

import msgspec


class OutcomeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Attribution windows, both counted from the impression.

    Parameters
    ----------
    attribution_window_days
        A click counts up to this many days after its impression.
    conversion_window_days
        A conversion counts up to this many days after its impression, and so do its restatement and its retraction; from
        then on the row's label is mature.
    max_open_impressions
        How many impressions the joiner keeps in memory at most; the oldest go first. A later click on one of those is
        looked up in the decision log. As many named report rows are kept beside them, and a restatement of one that had
        to go counts as too late.
    """

    attribution_window_days: float = 30.0
    conversion_window_days: float = 30.0
    max_open_impressions: int = 1_000_000
