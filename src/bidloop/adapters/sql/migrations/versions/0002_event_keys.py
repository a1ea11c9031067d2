"""Event ids are known for ever, events are kept by day, rejected rows are sealed; offsets, erasures, API keys."""

from __future__ import annotations

import time

import msgspec
import sqlalchemy as sa
from alembic import op

from bidloop.core.event import CampaignReported, Event
from bidloop.events.identity import content, content_digest, event_key

revision = "0002"
down_revision = "0001"

_PAGE = 5_000
_POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.rename_table("events", "events_0001")
    op.rename_table("quarantine", "quarantine_0001")
    op.drop_index("ix_quarantine_code", "quarantine_0001")
    _create()
    _move_events()
    _move_quarantine()
    op.drop_table("events_0001")
    op.drop_table("quarantine_0001")


def _create() -> None:
    op.create_table(
        "events",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("person", sa.Text(), nullable=True),
        sa.Column("payload", sa.Text(), nullable=False),
        # PostgreSQL keeps a constraint's name when its table is renamed, so these are not those of 0001.
        sa.PrimaryKeyConstraint("position", "day", name="pk_events_day"),
        postgresql_partition_by="RANGE (day)",
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_events_person",
        "events",
        ["person"],
        postgresql_where=sa.text("person IS NOT NULL"),
        sqlite_where=sa.text("person IS NOT NULL"),
    )
    op.create_table(
        "event_keys",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_event_keys"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "log_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_log_head"),
    )
    op.create_table(
        "offsets",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", name="pk_offsets"),
    )
    op.create_table(
        "erasures",
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("person", name="pk_erasures"),
    )
    op.create_table(
        "house",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_house"),
    )
    op.create_table(
        "quarantine",
        sa.Column("position", _POSITION, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_quarantine_sealed"),
        sa.UniqueConstraint("name", name="uq_quarantine_name"),
    )
    op.create_index("ix_quarantine_code", "quarantine", ["code"])
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("revoked_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_keys"),
    )


def _move_events() -> None:
    connection, day = op.get_bind(), int(time.time() // 86_400)
    decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
    last = 0
    while page := connection.execute(
        sa.text(
            "SELECT position, type, at_us, payload FROM events_0001 WHERE position > :last ORDER BY position LIMIT :n"
        ),
        {"last": last, "n": _PAGE},
    ).all():
        rows, keys = [], []
        for position, kind, at_us, payload in page:
            event = decoder.decode(payload)
            if isinstance(event, CampaignReported) and event.event_id.startswith("report:"):
                # Such an id named cell and period already: told again with other figures, the row is restated.
                event = msgspec.structs.replace(event, row_id=event.event_id)
            written = content(event)
            keys.append({"key": event_key(event.event_id), "digest": content_digest(event, written)})
            rows.append({"position": position, "day": day, "type": kind, "at_us": at_us, "payload": written.decode()})
        connection.execute(sa.text("INSERT INTO event_keys (key, digest) VALUES (:key, :digest)"), keys)
        connection.execute(
            sa.text(
                "INSERT INTO events (position, day, type, at_us, payload) VALUES (:position, :day, :type, :at_us, :payload)"
            ),
            rows,
        )
        last = page[-1].position
    connection.execute(sa.text("INSERT INTO log_head (id, position) VALUES (1, :last)"), {"last": last})


def _move_quarantine() -> None:
    connection = op.get_bind()
    for position, digest, code, payload in connection.execute(
        sa.text("SELECT position, digest, code, payload FROM quarantine_0001 ORDER BY position")
    ).all():
        row = msgspec.json.decode(payload)
        raw = row.pop("raw").encode()
        connection.execute(
            sa.text(
                "INSERT INTO quarantine (position, name, code, state, payload, raw, sealed)"
                " VALUES (:position, :name, :code, 'waiting', :payload, :raw, :sealed)"
            ),
            {
                "position": position,
                "name": digest,
                "code": code,
                "payload": msgspec.json.encode(row | {"type": "rejected", "raw": ""}).decode(),
                "raw": raw,
                "sealed": False,
            },
        )


def downgrade() -> None:
    raise NotImplementedError("the ids of erased and pruned events cannot be given back to version 0001")
