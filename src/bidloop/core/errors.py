"""What can go wrong, as one tree.

::

    BidloopError
    ├── InvalidInput            a value from outside does not make sense
    │   └── RejectedRow         one row or event of many; kept in quarantine with its reason
    ├── ConfigurationError      settings, feature views or wiring contradict each other
    ├── NotFound                a decision, model or file that was named does not exist
    ├── InsufficientData        too little data to fit or to judge; says how much is missing
    ├── Diverged                a model's numbers left all bounds while it was fitted
    ├── CorruptArtifact         a stored file fails its checksum or cannot be read
    └── Unavailable             a server that is needed does not answer; nothing was lost, try again

A message says what was found, what would have been right and what to do. The same three are kept as attributes, so that
a program can use them without parsing the sentence. Nothing here knows about HTTP.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BidloopError(Exception):
    """Base of every error that Bidloop raises on purpose.

    Parameters
    ----------
    found
        What was there, in words that name the value.
    expected
        What would have been right.
    remedy
        What the reader can do about it.

    Examples
    --------
    >>> error = BidloopError("no file 'a.csv'", expected="an existing CSV file", remedy="Check the path.")
    >>> print(error)
    no file 'a.csv'; expected an existing CSV file. Check the path.
    """

    def __init__(self, found: str, *, expected: str = "", remedy: str = "") -> None:
        self.found = found
        self.expected = expected
        self.remedy = remedy
        message = found
        if expected:
            message += f"; expected {expected}"
        if remedy:
            message = f"{message.rstrip('.')}. {remedy}"
        super().__init__(message)


class InvalidInput(BidloopError):
    """A value from outside does not make sense. `path` says where it stands, in dotted form (`historicalMetrics.ctr`)."""

    def __init__(self, found: str, *, path: str = "", expected: str = "", remedy: str = "") -> None:
        self.path = path
        super().__init__(found, expected=expected, remedy=remedy)


class RejectedRow(InvalidInput):
    """One row or event that is kept aside. `code` is a short stable word for counting, such as `clicks_exceed_impressions`."""

    def __init__(self, code: str, found: str, *, path: str = "", expected: str = "", remedy: str = "") -> None:
        self.code = code
        super().__init__(found, path=path, expected=expected, remedy=remedy)


class ConfigurationError(BidloopError):
    """Settings, feature views or wiring contradict each other."""


class NotFound(BidloopError):
    """Something that was named does not exist."""


class InsufficientData(BidloopError):
    """There is too little data to fit or to judge."""


class Diverged(BidloopError):
    """A model's numbers left all bounds while it was fitted."""


class CorruptArtifact(BidloopError):
    """A stored file fails its checksum or cannot be read."""


class Unavailable(BidloopError):
    """A server that is needed does not answer. Nothing was lost or half-written: the same again later is right."""


def closest(name: str, known: Iterable[str]) -> str:
    """A question that offers the most similar name, or nothing.

    >>> closest("cklicks", ["clicks", "cost"])
    "Did you mean 'clicks'?"
    """
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {found[0]!r}?" if found else ""
