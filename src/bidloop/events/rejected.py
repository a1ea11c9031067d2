"""A row or event that is kept aside because it makes no sense."""

from __future__ import annotations

from datetime import datetime

import msgspec

from bidloop.core.errors import RejectedRow


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """One row or event that was not taken in, with all that is needed to find it and to mend it at its source.

    Parameters
    ----------
    source
        File, API route or stream that it came from.
    position
        Line in a file, counted from 1 with the header; 0 where the source has no lines.
    code
        Short stable word to count by, such as ``clicks_exceed_impressions``.
    reason
        The same for a person: what was found and what would have been right.
    raw
        The row as it was read.
    at
        When it was kept aside, UTC; `None` until the intake has seen it.

    Examples
    --------
    >>> error = RejectedRow("negative_spend", "spend -3.00", expected="0 or more")
    >>> Rejected.of(error, source="report.csv", position=7, raw="2026-01-01,-3.00").reason
    'spend -3.00; expected 0 or more'
    """

    source: str
    position: int
    code: str
    reason: str
    raw: str
    at: datetime | None = None

    @classmethod
    def of(cls, error: RejectedRow, *, source: str, position: int, raw: str) -> Rejected:
        """The record of an error that was raised for one row."""
        return cls(source=source, position=position, code=error.code, reason=str(error), raw=raw)
