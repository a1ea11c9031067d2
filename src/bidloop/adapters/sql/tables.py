"""The tables. What changes here needs a migration beside it; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

REVISION = "0003"
"""The migration that these tables correspond to."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# SQLite numbers rows by itself in an INTEGER column alone, PostgreSQL wants 64 bits.
_Position = BigInteger().with_variant(Integer(), "sqlite")

events = Table(
    "events",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False, doc="Order of writing; never used again."),
    Column("day", Integer, primary_key=True, autoincrement=False, doc="Day of writing, since 1970, UTC."),
    Column("type", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False, doc="When it happened: microseconds since 1970, UTC."),
    Column("person", Text, doc="Pseudonym of who it tells of, where it tells of somebody."),
    Column("payload", Text, nullable=False, doc="The event as JSON."),
    postgresql_partition_by="RANGE (day)",
    sqlite_with_rowid=False,
)
Index(
    "ix_events_person",
    events.c.person,
    postgresql_where=events.c.person.isnot(None),
    sqlite_where=events.c.person.isnot(None),
)

event_keys = Table(
    "event_keys",
    metadata,
    Column("key", LargeBinary, primary_key=True, doc="Hash of an event id that was told; kept for ever."),
    Column("digest", BigInteger, nullable=False, doc="Hash of the content that was told first."),
    sqlite_with_rowid=False,
)

log_head = Table(
    "log_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, doc="Always 1. Who locks this row may write events."),
    Column("position", BigInteger, nullable=False, doc="The position that was given out last."),
)

offsets = Table(
    "offsets",
    metadata,
    Column("source", Text, primary_key=True),
    Column("position", Text, nullable=False, doc="How far the source has been taken in, in its own terms."),
)

erasures = Table(
    "erasures",
    metadata,
    Column("person", Text, primary_key=True, doc="Pseudonym of somebody who is to be forgotten."),
    Column("at_us", BigInteger, nullable=False, doc="Everything of before this instant is."),
)

house = Table(
    "house",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False, doc="What all who open this database have to agree on."),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("position", _Position, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False, doc="Keyed hash of source, line, code and row: the same row is kept once."),
    Column("code", Text, nullable=False),
    Column("state", Text, nullable=False, doc="waiting, replayed, or dismissed."),
    Column("payload", Text, nullable=False, doc="The rejected row as JSON, without its bytes."),
    Column("raw", LargeBinary, nullable=False, doc="The row's bytes."),
    Column("sealed", Boolean, nullable=False, doc="Whether the bytes are sealed; those of version 0001 are not."),
    UniqueConstraint("name"),
    Index(None, "code"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("position", _Position, primary_key=True, autoincrement=True),
    Column("decision_id", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False, doc="Microseconds since 1970, UTC."),
    Column("payload", Text, nullable=False, doc="The decision as JSON."),
    UniqueConstraint("decision_id"),
    Index(None, "at_us"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("digest", Text, nullable=False, doc="SHA-256 of the secret, which itself is kept nowhere."),
    Column("created_us", BigInteger, nullable=False),
    Column("revoked_us", BigInteger),
)

budgets = Table(
    "budgets",
    metadata,
    Column("owner", Text, primary_key=True, doc="account, or campaign: and its id."),
    Column("spell", Text, primary_key=True, doc="day:2026-03-01, month:2026-03 or total."),
    Column("limit_micros", BigInteger, doc="NULL where nothing limits it."),
    Column("configured", BigInteger, doc="The limit that the settings asked for last."),
    Column("spent", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    CheckConstraint("reserved >= 0", name="reserved"),
    sqlite_with_rowid=False,
)

reservations = Table(
    "reservations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("windows", Text, nullable=False, doc="The budgets it draws on, as JSON."),
    Column("amount", BigInteger, nullable=False, doc="What it holds, in micros; 0 once it is closed."),
    Column("until_us", BigInteger, nullable=False, doc="Nothing new is bid from it after this."),
    Column("returns_us", BigInteger, nullable=False, doc="When what it holds goes back by itself."),
    Column("state", Text, nullable=False, doc="open, committed, released or expired."),
    Column("committed", BigInteger, doc="What it was committed with."),
    Column("binds", Text, doc="The window that kept it from being all that was asked for, as JSON."),
    Index(None, "state", "returns_us"),
)
