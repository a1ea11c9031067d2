"""Law: the joiner, one event after another, and the history, in one query, say the same of the same log."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bidloop.adapters.parquet.history import ParquetHistory
from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.decision_log import SqlDecisionLog
from bidloop.adapters.sql.event_log import SqlEventLog
from bidloop.core.decision import BidState, Decision, Expectation
from bidloop.core.event import (
    BidLost,
    BidPlaced,
    BidWon,
    CampaignReported,
    ClickReceived,
    Competitor,
    ConversionReported,
    ConversionRestated,
    ConversionRetracted,
    Event,
    ImpressionServed,
    PageViewed,
    PlatformChanged,
)
from bidloop.core.feature_table import FeatureVector
from bidloop.core.money import Money
from bidloop.core.opportunity import Auction, Charge, Opportunity
from bidloop.core.outcome import FURTHER, Observations, Outcomes
from bidloop.core.prediction import Interval, Prediction
from bidloop.events.sealing import Seal
from bidloop.outcomes.joining import Joiner
from bidloop.outcomes.settings import OutcomeSettings

START = datetime(2026, 3, 1, tzinfo=UTC)
# Each window is shorter than the drawn times once; the longer one is as long as they, so that nothing is forgotten.
WINDOWS = [
    OutcomeSettings(attribution_window_days=1.0, conversion_window_days=3.0),
    OutcomeSettings(attribution_window_days=3.0, conversion_window_days=1.0),
]
TIMES = st.integers(0, 72).map(lambda hours: START + timedelta(hours=hours))  # with ties
NAMES = st.sampled_from("abd")
DECIDED = "d"  # its impressions leave it to the decision record what they were for
OWN = "own"
ORDERS = st.sampled_from(["", "1", "1", "2"])
MONEY = st.none() | st.integers(0, 10**7).map(Money)
CELLS = st.builds(
    Opportunity, opportunity_id=NAMES, at=TIMES, campaign_id=NAMES, budget=MONEY,
    auction=st.sampled_from(Auction), charge=st.sampled_from(Charge),
)  # fmt: skip
SHARES = st.none() | st.floats(0, 1)
RIVALS = st.builds(Competitor, name=NAMES, impression_share=SHARES, overlap_rate=SHARES)


def told(kind: type[Event], **fields: st.SearchStrategy[object]) -> st.SearchStrategy[Event]:
    return st.builds(kind, event_id=st.just(""), at=TIMES, **fields)


EVENTS: st.SearchStrategy[list[Event]] = st.lists(
    st.one_of(
        told(ImpressionServed, impression_id=NAMES, price=MONEY, weight=st.floats(0.5, 300), opportunity=CELLS),
        told(ClickReceived, impression_id=NAMES, price=MONEY),
        told(ConversionReported, impression_id=NAMES, value=MONEY, order_id=ORDERS),
        told(ConversionRestated, impression_id=NAMES, value=MONEY, order_id=ORDERS),
        told(ConversionRetracted, impression_id=NAMES, order_id=ORDERS),
        told(BidWon, impression_id=NAMES, price=MONEY, bid=MONEY),
        told(
            CampaignReported, opportunity=CELLS, impressions=st.integers(0, 99), clicks=st.integers(0, 9),
            conversions=st.integers(0, 9).map(lambda thirds: thirds / 3), spend=st.integers(0, 10**7).map(Money), value=MONEY,
            row_id=st.sampled_from(["", "r", "r", "s"]), known_at=st.none() | TIMES, impression_share=SHARES,
            quality_score=st.none() | st.floats(0, 10), budget=MONEY, competitors=st.lists(RIVALS, max_size=2).map(tuple),
        ),
        told(BidPlaced, impression_id=NAMES, bid=MONEY, opportunity=st.none() | CELLS)
        | told(BidLost, impression_id=NAMES, market_price=MONEY, opportunity=st.none() | CELLS)
        | told(PageViewed) | told(PlatformChanged, platform=NAMES, change=NAMES),
    ),
    max_size=40,
)  # fmt: skip


def numbered(drawn: Sequence[Event]) -> list[Event]:
    """The events with ids of their own, and without what the decision record tells."""
    events = [msgspec.structs.replace(event, event_id=str(i)) for i, event in enumerate(drawn)]
    return [
        msgspec.structs.replace(event, at=START, weight=1.0, opportunity=None)
        if isinstance(event, ImpressionServed) and event.impression_id == DECIDED
        else event
        for event in events
    ]


def known_at(events: Sequence[Event], as_of: datetime) -> list[Event]:
    """What was known at an instant: a report row that is told again, when the platform told it."""
    known: list[Event] = []
    rows: set[str] = set()
    for event in events:
        instant = event.at
        if isinstance(event, CampaignReported) and event.row_id:
            if event.row_id in rows:
                instant = max(event.at, event.known_at or event.at)
            rows.add(event.row_id)
        if instant <= as_of:
            known.append(event)
    return known


@settings(max_examples=30)
@given(EVENTS, st.integers(1, 20), st.sampled_from(WINDOWS), TIMES)
def test_the_joiner_and_the_history_say_the_same(
    drawn: list[Event], piece: int, windows: OutcomeSettings, as_of: datetime
) -> None:
    events = numbered(drawn)
    with house(events, windows) as (history, decisions):
        queried, labelled, before = history.observations(), history.outcomes(), history.outcomes(as_of=as_of)
        joiner = Joiner(decisions, windows)
        positions = range(1, len(events) + 1)
        joined = [
            joiner.join(events[start : start + piece], positions[start : start + piece])
            for start in range(0, len(events), piece)
        ]
        for column in ("at", "impressions", "clicks", "conversions", "value", "cost", "position", "spent_at"):
            pieces = [getattr(known, column) for known in joined]
            np.testing.assert_array_equal(
                np.concatenate(pieces) if pieces else [], getattr(queried, column), err_msg=column
            )
        for column in FURTHER:
            pieces = [known.further[column] for known in joined]
            np.testing.assert_array_equal(
                np.concatenate(pieces) if pieces else [], queried.further[column], err_msg=column
            )
        assert [about for known in joined for about in known.opportunities] == queried.opportunities
        assert_adds_up(queried, labelled)
        assert_adds_up(Joiner(decisions, windows).join(known_at(events, as_of)), before)


def assert_adds_up(increments: Observations, labelled: Outcomes) -> None:
    """Labelled rows are what the increments add up to. A decision that was clicked and never shown is no labelled row."""
    shown = OWN in {about.campaign_id for about in labelled.opportunities}
    counted = [shown or about.campaign_id != OWN for about in increments.opportunities]
    for column in ("impressions", "clicks", "conversions", "value", "cost"):
        total = float(np.nansum(getattr(labelled, column) * labelled.weight))
        expected = float(np.sum(getattr(increments, column)[counted]))
        np.testing.assert_allclose(total, expected, rtol=1e-9, atol=1e-6, err_msg=column)


@contextmanager
def house(events: Sequence[Event], windows: OutcomeSettings) -> Iterator[tuple[ParquetHistory, SqlDecisionLog]]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bidloop.db").write_bytes(new_database())
        engine = open_database(Path(folder) / "bidloop.db")
        log, decisions = SqlEventLog(engine, Seal(bytes(32))), SqlDecisionLog(engine)
        log.append(events)
        history = ParquetHistory(Path(folder) / "history", log, decisions, windows)
        history.sync()
        yield history, decisions
        engine.dispose()


@functools.cache
def new_database() -> bytes:
    """A database that is set up, with one decision in it, to start each example from."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bidloop.db"
        engine = open_database(path)
        SqlDecisionLog(engine).record([decision(DECIDED)])
        engine.dispose()
        return path.read_bytes()


def decision(name: str) -> Decision:
    return Decision(
        decision_id=name, at=START, opportunity=Opportunity(opportunity_id=name, at=START, campaign_id=OWN),
        features=FeatureVector("v", {}, {}),
        prediction=Prediction(
            ctr=0.1, conversion_rate=0.1, ctr_interval=Interval(0, 1, 0.95), order_value=None, model_version="v", support=1
        ),
        policy="p", state=BidState(), stages=(), bid=Money(1), propensity=1.0,
        expectation=Expectation(win_probability=None, cost_per_win=1, roas=None), reasons=(),
    )  # fmt: skip
