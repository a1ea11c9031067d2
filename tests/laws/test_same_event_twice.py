"""Law: the same event twice changes nothing, however often and in whatever pieces a delivery comes again."""

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
from bidloop.adapters.sql.quarantine import SqlQuarantine
from bidloop.core.clock import ManualClock
from bidloop.core.event import CampaignReported, ClickReceived, ConversionReported, Event, ImpressionServed
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Observations
from bidloop.events.intake import Intake
from bidloop.events.rejected import Rejected
from bidloop.events.sealing import Seal
from bidloop.events.settings import EventSettings
from bidloop.outcomes.joining import Joiner

SEAL = Seal(bytes(32))
START = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = st.sampled_from("abcd")
# Within the attribution windows: what is older is forgotten at the end of a page, and so depends on the pieces.
TIMES = st.integers(0, 29 * 24).map(lambda hours: START + timedelta(hours=hours))
MONEY = st.none() | st.integers(0, 10**7).map(Money)
CELLS = st.builds(Opportunity, opportunity_id=NAMES, at=TIMES, campaign_id=NAMES, keyword=st.text(max_size=3))

EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        ImpressionServed, event_id=st.just(""), at=TIMES, impression_id=NAMES, opportunity=CELLS, price=MONEY,
        weight=st.floats(0.5, 300),
    ),
    st.builds(ClickReceived, event_id=st.just(""), at=TIMES, impression_id=NAMES, price=MONEY),
    st.builds(ConversionReported, event_id=st.just(""), at=TIMES, impression_id=NAMES, order_id=st.sampled_from(["", "1", "2"]), value=MONEY),
    st.builds(
        CampaignReported, event_id=st.just(""), at=TIMES, opportunity=CELLS, impressions=st.integers(0, 9),
        # Some of these rows make no sense, on purpose.
        clicks=st.integers(0, 9), conversions=st.integers(-1, 9), spend=st.integers(-1, 9).map(Money),
    ),
)  # fmt: skip
REJECTED = st.builds(
    Rejected, source=NAMES, position=st.integers(1, 5), code=NAMES, reason=NAMES, raw=st.binary(max_size=3)
)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Event | Rejected], list[list[Event | Rejected]]]:
    """One delivery of everything, and the same in pieces with repetitions."""
    drawn = draw(st.lists(EVENTS, min_size=1, max_size=12))
    once: list[Event | Rejected] = [named(event, i) for i, event in enumerate(drawn)]
    once += draw(st.lists(REJECTED, max_size=4))
    cuts = sorted(draw(st.lists(st.integers(0, len(once)), max_size=3)))
    again = []
    for start, end in zip([0, *cuts], [*cuts, len(once)], strict=True):
        # Everything that was told before may come again, in any order, with what is new behind it.
        repeated = draw(st.lists(st.sampled_from(once[:start]), max_size=5)) if start else []
        again.append(repeated + once[start:end] + draw(st.permutations(once[start:end])))
    return once, again


def named(event: Event, number: int) -> Event:
    return type(event)(**{name: getattr(event, name) for name in event.__struct_fields__} | {"event_id": f"e{number}"})


@functools.cache
def new_database() -> bytes:
    """A database that is set up, to start each example from."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bidloop.db"
        open_database(path).dispose()
        return path.read_bytes()


class Room:
    def __init__(self, folder: Path) -> None:
        (folder / "bidloop.db").write_bytes(new_database())
        engine = open_database(folder / "bidloop.db")
        self.log, self.quarantine = SqlEventLog(engine, SEAL), SqlQuarantine(engine, SEAL)
        decisions = SqlDecisionLog(engine)
        self.joiner = Joiner(decisions)
        self.history = ParquetHistory(folder / "history", self.log, decisions)
        clock = ManualClock(START + timedelta(days=91))
        self.intake = Intake(self.log, clock, EventSettings(chunk=4))
        self.known: list[Observations] = []
        self.accepted = self.position = 0

    def accept(self, items: list[Event | Rejected]) -> None:
        self.accepted += self.intake.accept(items).accepted
        page = self.log.read(self.position)
        self.known.append(self.joiner.join([event for _, event in page]))
        self.position = page[-1][0] if page else self.position
        self.history.sync()

    def state(self) -> dict[str, object]:
        # Rejected rows have no order that would mean anything: their count and content must agree.
        rows = sorted(
            (row.source, row.position, row.code, row.raw) for kept in self.quarantine.list(1_000) for row in [kept.row]
        )
        return {"events": [event for _, event in self.log.read()], "quarantine": rows, "accepted": self.accepted}


@settings(max_examples=10)
@given(deliveries())
def test_the_same_event_twice_changes_nothing(
    delivered: tuple[list[Event | Rejected], list[list[Event | Rejected]]],
) -> None:
    once, again = delivered
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        single, repeated = Room(Path(first)), Room(Path(second))
        single.accept(once)
        for piece in again:
            repeated.accept(piece)
        assert repeated.state() == single.state()
        queried, expected = repeated.history.observations(), single.history.observations()
        for column in ("at", "impressions", "clicks", "conversions", "value", "cost"):
            told = np.concatenate([getattr(known, column) for known in repeated.known])
            np.testing.assert_array_equal(told, np.concatenate([getattr(known, column) for known in single.known]))
            np.testing.assert_array_equal(getattr(queried, column), getattr(expected, column))
        labelled, as_before = repeated.history.outcomes(), single.history.outcomes()
        for column in ("impression_id", "at", "clicks", "conversions", "value", "cost", "weight", "mature"):
            np.testing.assert_array_equal(getattr(labelled, column), getattr(as_before, column))
