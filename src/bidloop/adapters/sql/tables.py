"""The tables. What changes here needs a migration beside it; a test compares the two."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, Text, UniqueConstraint

REVISION = "0001"
"""The migration that these tables correspond to."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself in an INTEGER column alone, PostgreSQL wants 64 bits.
_Position = BigInteger().with_variant(Integer(), "sqlite")

events = Table(
    "events",
    metadata,
    Column("position", _Position, primary_key=True, autoincrement=True),
    Column("event_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False, doc="Microseconds since 1970, UTC."),
    Column("payload", Text, nullable=False, doc="The event as JSON."),
    UniqueConstraint("event_id"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("position", _Position, primary_key=True, autoincrement=True),
    Column("digest", Text, nullable=False, doc="Hash of source, line, code and row: the same row is kept once."),
    Column("code", Text, nullable=False),
    Column("payload", Text, nullable=False, doc="The rejected row as JSON."),
    UniqueConstraint("digest"),
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
