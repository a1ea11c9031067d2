"""What counts as a sensible event, where events wait and how long they stay, and who may be recognised in them."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

NotNegative: TypeAlias = Annotated[int, Meta(ge=0)]
Positive: TypeAlias = Annotated[int, Meta(ge=1)]


class EventSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the intake.

    Parameters
    ----------
    currency
        ISO 4217 code that every amount must be in; empty accepts any, as long as each event is in one currency. The account's
        own takes its place where the program is wired.
    earliest_year
        First year, UTC, that is taken for a date. What is older is taken for a date that was misread.
    future_tolerance_hours
        How far ahead of the clock an event may be. One day, because a report's date begins up to 14 hours earlier in
        Auckland than in London.
    chunk
        Events per transaction: larger is faster, smaller loses less work when a run is cut off.
    retention_days
        Days after which an event is dropped from the database, counted from its writing; 0 keeps all. Its id stays known.
    expectations
        Whether each report is examined as a whole before it is taken in, by Great Expectations
        (``pip install bidloop[expectations]``).
    """

    currency: str = ""
    earliest_year: int = 2000
    future_tolerance_hours: float = 24.0
    chunk: Positive = 5_000
    retention_days: NotNegative = 0
    expectations: bool = False


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where events wait between the door and the log.

    Parameters
    ----------
    url
        ``redis://host:port/db``; empty has the door write straight to the log.
    name, group
        Names of the stream and of its group of consumers.
    recent_seconds
        How long the stream remembers an event's id, so that a sender's retry is answered as a duplicate. The log knows it for
        ever.
    max_behind_items, max_behind_seconds
        When the consumers are further behind than this, the door answers 429 and its senders wait.
    reclaim_seconds
        A consumer that was silent for so long is taken for dead, and its entries are given to another one.
    max_attempts
        An entry that has failed so often is moved to the dead letters.
    """

    url: str = ""
    name: str = "bidloop:events"
    group: str = "absorb"
    recent_seconds: Positive = 600
    max_behind_items: int = 1_000_000
    max_behind_seconds: float = 300.0
    reclaim_seconds: float = 30.0
    max_attempts: Positive = 20


class PrivacySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may be recognised in events.

    Parameters
    ----------
    key_file
        File with the secret that pseudonyms are made with; empty means ``privacy.key`` in the home folder. Machines that share a
        database share it.
    assume_consent
        What holds where an event says nothing of consent. Leave it off unless your senders have asked already.
    """

    key_file: str = ""
    assume_consent: bool = False
