"""Law: the joiner, one event after another, and the history, in one query, say the same of the same log."""

from __future__ import annotations

import functools
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bidloop.adapters.parquet.history import ParquetHistory
from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.decision_log import SqlDecisionLog
from bidloop.adapters.sql.event_log import SqlEventLog
from bidloop.core.event import ClickReceived, ConversionReported, Event, ImpressionServed
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.outcomes.joining import Joiner

START = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = st.sampled_from("abc")
# Hours up to a little beyond the 30 days of the windows, with ties.
TIMES = st.integers(0, 31 * 24).map(lambda hours: START + timedelta(hours=hours))
MONEY = st.none() | st.integers(0, 10**7).map(Money)
EVENTS: st.SearchStrategy[list[Event]] = st.lists(
    st.one_of(
        st.builds(
            ImpressionServed, event_id=st.just(""), at=TIMES, impression_id=NAMES, price=MONEY, weight=st.floats(0.5, 300),
            opportunity=st.builds(Opportunity, opportunity_id=NAMES, at=TIMES, campaign_id=NAMES),
        ),
        st.builds(ClickReceived, event_id=st.just(""), at=TIMES, impression_id=NAMES, price=MONEY),
        st.builds(
            ConversionReported, event_id=st.just(""), at=TIMES, impression_id=NAMES, value=MONEY,
            order_id=st.sampled_from(["", "1", "2"]),
        ),
    ),
    max_size=20,
)  # fmt: skip


@functools.cache
def new_database() -> bytes:
    """A database that is set up, to start each example from."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bidloop.db"
        open_database(path).dispose()
        return path.read_bytes()


@settings(max_examples=15)
@given(EVENTS, st.integers(1, 20))
def test_the_joiner_and_the_history_say_the_same(drawn: list[Event], piece: int) -> None:
    events = [
        type(event)(**{name: getattr(event, name) for name in event.__struct_fields__} | {"event_id": str(i)})
        for i, event in enumerate(drawn)
    ]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bidloop.db").write_bytes(new_database())
        engine = open_database(Path(folder) / "bidloop.db")
        log, decisions = SqlEventLog(engine), SqlDecisionLog(engine)
        log.append(events)
        history = ParquetHistory(Path(folder) / "history", log, decisions)
        history.sync()
        queried, labelled = history.observations(), history.outcomes()
        joiner = Joiner(decisions)
        joined = [joiner.join(events[start : start + piece]) for start in range(0, len(events), piece)]
        for column in ("at", "impressions", "clicks", "conversions", "value", "cost"):
            told = [getattr(known, column) for known in joined]
            np.testing.assert_array_equal(
                np.concatenate(told) if told else [], getattr(queried, column), err_msg=column
            )
        assert [about for known in joined for about in known.opportunities] == queried.opportunities
        # Labelled rows add up to the increments.
        for column in ("impressions", "clicks", "conversions", "value"):
            total = float(np.sum(getattr(labelled, column) * labelled.weight))
            np.testing.assert_allclose(total, np.sum(getattr(queried, column)), rtol=1e-9, err_msg=column)
