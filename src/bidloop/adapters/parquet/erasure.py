"""A person taken out of the rows of a part."""

from __future__ import annotations

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from bidloop.core.event import Event
from bidloop.core.opportunity import Opportunity
from bidloop.events.privacy import person_of

_encode = msgspec.json.Encoder().encode
_event: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_opportunity = msgspec.json.Decoder(Opportunity)


def without_person(table: pa.Table, user_id: str) -> tuple[pa.Table, int]:
    """The rows without a person, and how many of them are gone or changed.

    What the person did is deleted. What happened to ads stays, and names nobody any more: its rows hold no identifier but
    that of the opportunity.

    Parameters
    ----------
    table
        Columns as in `rows.SCHEMA`.
    user_id
        The person's pseudonym, by which the event log knows them too (`bidloop.events.privacy.person_of`).
    """
    gone = {row for row, text in _naming(table, "payload", user_id) if person_of(_event.decode(text)) == user_id}
    about = {row: _opportunity.decode(text) for row, text in _naming(table, "opportunity", user_id)}
    about = {row: opportunity for row, opportunity in about.items() if opportunity.user_id == user_id}
    if about:
        texts = table.column("opportunity").to_pylist()
        for row, opportunity in about.items():
            texts[row] = _encode(msgspec.structs.replace(opportunity, user_id="")).decode()
        place = table.schema.get_field_index("opportunity")
        table = table.set_column(place, table.schema.field(place), pa.array(texts, pa.string()))
    if gone:
        table = table.filter(pa.array([row not in gone for row in range(table.num_rows)]))
    return table, len(gone) + len(about)


def _naming(table: pa.Table, column: str, name: str) -> list[tuple[int, str]]:
    """The rows in whose JSON a name stands somewhere: few, so that only these need to be read."""
    texts = table.column(column)
    found = pc.fill_null(pc.match_substring(texts, _encode(name).decode()), False)
    rows = pc.indices_nonzero(found).to_pylist()
    return list(zip(rows, texts.take(pa.array(rows, pa.int64())).to_pylist(), strict=True))
