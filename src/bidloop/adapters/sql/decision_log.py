"""The record of decisions in a SQL table."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, Engine, insert, select, update

from bidloop.adapters.sql.database import answering, writing
from bidloop.adapters.sql.tables import decisions
from bidloop.core.decision import Decision
from bidloop.core.errors import InvalidInput, NotFound
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.outcomes.epoch import epoch_us

_IDS_PER_QUERY = 1_000


class _About(msgspec.Struct):
    """The part of a decision that the joiner needs; the rest is skipped unread."""

    opportunity: Opportunity


class _Sent(msgspec.Struct):
    """The part of a decision that the history needs of a bid that lost."""

    bid: Money


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Decision)
_about = msgspec.json.Decoder(_About)
_sent = msgspec.json.Decoder(_Sent)


class SqlDecisionLog:
    """Keeps decisions as they were made; implements `bidloop.outcomes.ports.DecisionLog`.

    Parameters
    ----------
    engine
        From `open_database`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine)

    def record(self, batch: Sequence[Decision]) -> None:
        """Write decisions in one transaction that is on the disk when this returns; all or none."""
        rows: dict[str, dict[str, object]] = {}
        for decision in batch:
            row = _row(decision)
            if rows.setdefault(decision.decision_id, row) != row:
                raise _taken(decision.decision_id)
        if not rows:
            return
        with answering(self._engine), self._writing.begin() as connection:
            for decision_id, payload in _payloads(connection, list(rows)):
                # Compared as read, so that a field which a later version adds does not make an old record differ.
                if _decode.decode(payload) != _decode.decode(str(rows.pop(decision_id)["payload"])):
                    raise _taken(decision_id)
            if rows:
                connection.execute(insert(decisions), list(rows.values()))

    def get(self, decision_id: str) -> Decision:
        """One decision as it was recorded, to the last bit."""
        with answering(self._engine), self._engine.connect() as connection:
            for _, payload in _payloads(connection, [decision_id]):
                return _decode.decode(payload)
        raise NotFound(
            f"no decision {decision_id!r}",
            expected="the decisionId of an answer from this database",
            remedy="Check the id, and that the settings name the database that served it.",
        )

    def recent(self, limit: int) -> list[Decision]:
        """The latest decisions, newest first."""
        order = (decisions.c.at_us.desc(), decisions.c.position.desc())
        with answering(self._engine), self._engine.connect() as connection:
            payloads = connection.scalars(select(decisions.c.payload).order_by(*order).limit(limit)).all()
        return [_decode.decode(payload) for payload in payloads]

    def opportunities(self, ids: Sequence[str]) -> dict[str, Opportunity]:
        """What the decisions of these ids were about; unknown ids are left out."""
        with answering(self._engine), self._engine.connect() as connection:
            found = _payloads(connection, ids)
        return {decision_id: _about.decode(payload).opportunity for decision_id, payload in found}

    def bids(self, ids: Sequence[str]) -> dict[str, Money]:
        """What was bid in the decisions of these ids; unknown ids are left out."""
        with answering(self._engine), self._engine.connect() as connection:
            found = _payloads(connection, ids)
        return {decision_id: _sent.decode(payload).bid for decision_id, payload in found}

    def of_user(self, user_id: str) -> list[Decision]:
        """The decisions for a person, by pseudonym, in the order in which they were made."""
        with answering(self._engine), self._engine.connect() as connection:
            return [decision for _, decision in _of_user(connection, user_id)]

    def erase(self, user_id: str) -> int:
        """Leave a person out of the decisions that were made for them; says how many."""
        with answering(self._engine), self._writing.begin() as connection:
            found = _of_user(connection, user_id)
            for position, decision in found:
                about = msgspec.structs.replace(decision.opportunity, user_id="")
                payload = _encode(msgspec.structs.replace(decision, opportunity=about)).decode()
                connection.execute(update(decisions).where(decisions.c.position == position).values(payload=payload))
        return len(found)


def _of_user(connection: Connection, user_id: str) -> list[tuple[int, Decision]]:
    """Positions and decisions of a person: few ask, so the whole table is looked through in place of an index for all."""
    query = select(decisions.c.position, decisions.c.payload).where(
        decisions.c.payload.contains(user_id, autoescape=True)
    )
    found = connection.execute(query.order_by(decisions.c.position))
    decoded = [(position, _decode.decode(payload)) for position, payload in found]
    return [(position, decision) for position, decision in decoded if decision.opportunity.user_id == user_id]


def _payloads(connection: Connection, ids: Sequence[str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for start in range(0, len(ids), _IDS_PER_QUERY):
        some = ids[start : start + _IDS_PER_QUERY]
        query = select(decisions.c.decision_id, decisions.c.payload).where(decisions.c.decision_id.in_(some))
        found.extend((decision_id, payload) for decision_id, payload in connection.execute(query))
    return found


def _row(decision: Decision) -> dict[str, object]:
    payload = _encode(decision)
    try:
        # JSON has no NaN: it would be written as null, and the record could not be read when it is needed.
        same = _decode.decode(payload) == decision
    except msgspec.ValidationError as error:
        raise _unreadable(decision, str(error)) from error
    if not same:
        raise _unreadable(decision, "it reads back differently")
    return {"decision_id": decision.decision_id, "at_us": epoch_us(decision.at), "payload": payload.decode()}


def _unreadable(decision: Decision, reason: str) -> InvalidInput:
    return InvalidInput(
        f"decision {decision.decision_id!r} cannot be recorded: {reason}", expected="finite numbers in every field"
    )


def _taken(decision_id: str) -> InvalidInput:
    return InvalidInput(
        f"decision {decision_id!r} is recorded already, with another content",
        path="decision_id",
        expected="an id of its own for every decision",
    )
