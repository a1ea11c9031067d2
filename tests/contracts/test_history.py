"""What every history must do, on every adapter."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bidloop.adapters.parquet.history import ParquetHistory
from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.decision_log import SqlDecisionLog
from bidloop.adapters.sql.event_log import SqlEventLog
from bidloop.core.decision import BidState, Decision, Expectation
from bidloop.core.errors import InvalidInput
from bidloop.core.event import (
    BidLost,
    BidPlaced,
    BidWon,
    CampaignReported,
    ClickReceived,
    ConversionReported,
    ConversionRestated,
    ConversionRetracted,
    DeviceLinked,
    Event,
    ImpressionServed,
    PageViewed,
    PlatformChanged,
)
from bidloop.core.feature_table import FeatureVector
from bidloop.core.money import Money
from bidloop.core.opportunity import Auction, Charge, Opportunity
from bidloop.core.prediction import Interval, Prediction
from bidloop.events.restatement import Restatement
from bidloop.events.sealing import Seal
from bidloop.outcomes.delay import DAY as SECONDS
from bidloop.outcomes.delay_fit import fit_delay_model
from bidloop.outcomes.joining import Joiner
from bidloop.outcomes.ports import History
from bidloop.outcomes.settings import OutcomeSettings

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SETTINGS = OutcomeSettings(attribution_window_days=2.0, conversion_window_days=5.0)


def cell(name: str, charge: Charge = Charge.PER_CLICK) -> Opportunity:
    return Opportunity(opportunity_id=name, at=AT, campaign_id="c'1", attributes={"slot": "größe"}, charge=charge)


def shown(name: str, at: datetime = AT, **changes: object) -> ImpressionServed:
    event = ImpressionServed(event_id=f"imp-{name}", at=at, impression_id=name, opportunity=cell(name))
    return msgspec.structs.replace(event, **changes)


def click(name: str, at: datetime, number: int = 1, price: Money | None = None) -> ClickReceived:
    return ClickReceived(event_id=f"clk-{name}-{number}", at=at, impression_id=name, price=price)


def order(name: str, at: datetime, number: int = 1, order_id: str = "", value: int = 0) -> ConversionReported:
    return ConversionReported(
        event_id=f"conv-{name}-{number}", at=at, impression_id=name, order_id=order_id, value=Money(value)
    )


def report(name: str, at: datetime) -> CampaignReported:
    return CampaignReported(
        event_id=name, at=at, opportunity=cell(name), impressions=100, clicks=7, conversions=9, spend=Money(5_000_000),
        value=Money(8_000_000),
    )  # fmt: skip


def restated(name: str, at: datetime, order_id: str = "1", value: int = 0) -> ConversionRestated:
    return ConversionRestated(
        event_id=f"rest-{name}-{at}", at=at, impression_id=name, order_id=order_id, value=Money(value)
    )


def retracted(name: str, at: datetime, order_id: str = "1") -> ConversionRetracted:
    return ConversionRetracted(event_id=f"retr-{name}-{at}", at=at, impression_id=name, order_id=order_id)


def won(name: str, price: int, at: datetime = AT) -> BidWon:
    return BidWon(event_id=f"won-{name}-{price}", at=at, impression_id=name, price=Money(price))


def row(clicks: int, known_at: datetime | None = None, row_id: str = "row") -> CampaignReported:
    told = report(f"{row_id}-{clicks}-{known_at}", AT)
    return msgspec.structs.replace(told, clicks=clicks, spend=Money(clicks), row_id=row_id, known_at=known_at)


def decision(name: str) -> Decision:
    return Decision(
        decision_id=name, at=AT, opportunity=cell(name), features=FeatureVector("v", {}, {}),
        prediction=Prediction(
            ctr=0.1, conversion_rate=0.1, ctr_interval=Interval(0, 1, 0.95), order_value=None, model_version="v", support=1
        ),
        policy="p", state=BidState(), stages=(), bid=Money(1), propensity=1.0,
        expectation=Expectation(win_probability=None, cost_per_win=1, roas=None), reasons=(),
    )  # fmt: skip


class Room:
    def __init__(self, folder: Path) -> None:
        engine = open_database(folder / "bidloop.db")
        self.log = SqlEventLog(engine, Seal(bytes(32)))
        self.decisions = SqlDecisionLog(engine)
        self.folder = folder

    def history(self) -> History:
        return ParquetHistory(self.folder / "history", self.log, self.decisions, SETTINGS)

    def tell(self, *events: Event) -> History:
        self.log.append(events)
        history = self.history()
        history.sync()
        return history


@pytest.fixture(params=["parquet"])
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Room:
    return {"parquet": Room}[request.param](tmp_path)


def test_sync_takes_over_what_is_new_and_says_how_much(room: Room) -> None:
    room.log.append([shown("a"), click("a", AT + HOUR)])
    history = room.history()
    assert (history.sync(), history.sync()) == (2, 0)
    room.log.append([shown("b")])
    assert room.history().sync() == 1
    assert len(history.outcomes()) == 2


def test_an_impression_a_click_and_a_conversion_become_one_labelled_row(room: Room) -> None:
    events = [
        shown("a", weight=3.0, price=Money(2_000_000)),
        click("a", AT + HOUR, price=Money(250_000)),
        order("a", AT + DAY, value=7_500_000),
        shown("b", at=AT - HOUR, price=Money(1)),
    ]
    known = room.tell(*events).outcomes()
    assert known.impression_id.tolist() == ["b", "a"]
    assert known.opportunities == [cell("b"), cell("a")]
    assert known.at.tolist() == [(AT - HOUR).replace(tzinfo=None), AT.replace(tzinfo=None)]
    assert known.at.dtype == np.dtype("datetime64[us]")
    assert known.impressions.tolist() == [1, 1]
    assert known.clicks.tolist() == [0, 1]
    assert known.conversions.tolist() == [0, 1]
    assert known.value.tolist() == [0, 7.5]
    assert known.cost.tolist() == [0.000001, 2.25]
    assert known.weight.tolist() == [1, 3]
    for column in (known.impressions, known.clicks, known.conversions, known.value, known.cost, known.weight):
        assert column.dtype == np.float64
        assert type(column) is np.ndarray


def test_a_report_row_is_one_row_with_its_counts(room: Room) -> None:
    known = room.tell(report("r", AT)).outcomes()
    assert known.impression_id.tolist() == ["r"]
    assert (known.impressions[0], known.clicks[0], known.conversions[0]) == (100, 7, 9)
    assert (known.cost[0], known.value[0], known.weight[0]) == (5.0, 8.0, 1.0)


def test_nothing_after_the_asked_instant_is_known(room: Room) -> None:
    history = room.tell(
        shown("a"),
        click("a", AT + HOUR),
        order("a", AT + DAY, value=1),
        shown("late", at=AT + 3 * DAY),
        report("r", AT + 3 * DAY),
    )

    def labels(as_of: datetime) -> list[tuple[str, float, float]]:
        known = history.outcomes(as_of=as_of)
        return list(zip(known.impression_id, known.clicks, known.conversions, strict=True))

    assert labels(AT - HOUR) == []
    assert labels(AT) == [("a", 0, 0)]
    assert labels(AT + HOUR) == [("a", 1, 0)]
    assert labels(AT + DAY) == [("a", 1, 1)]
    assert labels(AT + 3 * DAY) == [("a", 1, 1), ("late", 0, 0), ("r", 7, 9)]


def test_a_conversion_counts_as_it_was_known_reported_restated_or_retracted(room: Room) -> None:
    history = room.tell(
        retracted("b", AT + DAY), shown("a", weight=3.0), shown("b"),
        order("a", AT + DAY, order_id="1", value=9_000_000), order("b", AT + 2 * DAY, order_id="1", value=1_000_000),
        restated("a", AT + 2 * DAY, value=4_000_000), restated("a", AT + 4 * DAY, value=5_000_000),
        retracted("a", AT + 3 * DAY), restated("a", AT + 6 * DAY, value=1), restated("b", AT + DAY, "2", value=2_000_000),
    )  # fmt: skip

    def labels(days: int) -> list[tuple[float, float]]:
        known = history.outcomes(as_of=AT + days * DAY)
        return list(zip(known.conversions, known.value, strict=True))

    assert labels(0) == [(0, 0), (0, 0)]
    assert labels(1) == [(1, 9), (1, 2)]
    assert labels(2) == [(1, 4), (1, 2)]
    assert labels(3) == [(0, 0), (1, 2)]
    assert labels(4) == labels(9) == [(1, 5), (1, 2)]
    assert history.outcomes().weight.tolist() == [3, 1]


def test_a_conversion_has_the_delay_of_its_first_report_and_none_when_it_is_taken_back(room: Room) -> None:
    events = [
        shown("a", weight=3.0), click("a", AT + HOUR), click("a", AT + 3 * HOUR, 2), order("a", AT + DAY, value=7),
        restated("b", AT + 2 * DAY, value=8), shown("b", at=AT + HOUR), order("b", AT + DAY + HOUR, order_id="1", value=9),
        click("b", AT + 2 * DAY),
        shown("c"), click("c", AT + HOUR), order("c", AT + 2 * HOUR, order_id="1"), retracted("c", AT + 3 * DAY),
        order("c", AT + 5 * HOUR, 2), shown("d"), order("d", AT + 6 * DAY), order("nobody", AT + HOUR),
    ]  # fmt: skip
    room.tell(*events)

    def known(days: float) -> list[tuple[datetime, float, float, float, float]]:
        delays = room.history().delays(AT + days * DAY)
        assert set(delays.campaign) <= {"c'1"}
        hours = [column / 3600 for column in (delays.earliest, delays.latest, delays.age)]
        return list(zip(delays.at.tolist(), *(column.tolist() for column in hours), delays.count.tolist(), strict=True))

    plain = AT.replace(tzinfo=None)
    a, b = (plain + HOUR, 23, 23, 95, 3.0), (plain + HOUR, 24, 24, 95, 1.0)
    c = [(plain + HOUR, 1, 1, 47, 1.0), (plain + HOUR, 4, 4, 47, 1.0)]
    assert known(0) == []
    assert known(2) == [(*a[:3], 47, 3.0), (*b[:3], 47, 1.0), *c]
    assert known(4) == [a, b, (*c[1][:3], 95, 1.0)]
    assert [row[:3] for row in known(9)] == [row[:3] for row in known(4)]
    whole, outcomes = room.history().delays(), room.history().outcomes()
    assert whole.count.sum() == np.sum(outcomes.conversions * outcomes.weight)


def test_a_report_row_tells_of_delays_by_what_it_gains_between_two_tellings(room: Room) -> None:
    def told(conversions: float, days: float | None, row_id: str) -> CampaignReported:
        known_at = None if days is None else AT + days * DAY
        return msgspec.structs.replace(row(0, known_at, row_id), event_id=f"{row_id}{days}", conversions=conversions)

    events = [
        told(2, 1, "grows"), told(5, 3, "grows"), told(6, 9, "grows"), told(4, 1, "shrinks"), told(3, 2, "shrinks"),
        told(8, 1, "told once"), told(8, None, "at an unknown time"), told(9, None, "at an unknown time"),
        told(0, 1, ""), told(0, 2, ""), told(0, 1, "nothing"), told(0, 2, "nothing"),
    ]  # fmt: skip
    room.tell(*events)

    def known(days: float) -> list[tuple[float, float, float, float]]:
        delays = room.history().delays(AT + days * DAY)
        assert all(delays.at == np.datetime64(AT.replace(tzinfo=None)))
        columns = (delays.earliest / 86400, delays.latest / 86400, delays.age / 86400, delays.count)
        return sorted(zip(*(column.tolist() for column in columns), strict=True))

    assert known(1) == []  # no row was told again yet: who says that any will be?
    # Pulled on days 1, 2 and 3: what a pull does not tell of, it found unchanged. So what "grows" gained, it gained after day 2.
    assert known(3) == [(0, 1, 3, 2), (0, 1, 3, 3), (0, 1, 3, 8), (2, 3, 3, 3)]
    assert known(9) == [(0, 1, 9, 2), (0, 1, 9, 3), (0, 1, 9, 8), (2, 3, 9, 3), (3, 9, 9, 1)]


def pulled(row_id: str, conversions: float, day: float, age: float, campaign: str = "a") -> CampaignReported:
    """A row that began on `day`, as it is told so many days later."""
    at = AT + day * DAY
    about = Opportunity(opportunity_id=row_id, at=at, campaign_id=campaign)
    return CampaignReported(
        event_id=f"{row_id}/{age}", row_id=row_id, at=at, opportunity=about, impressions=100, clicks=9,
        conversions=conversions, spend=Money(5), known_at=at + age * DAY,
    )  # fmt: skip


def delays_in_days(history: History, as_of: float) -> list[tuple[float, float, float, float]]:
    known = history.delays(AT + as_of * DAY)
    columns = (known.earliest / SECONDS, known.latest / SECONDS, known.age / SECONDS, known.count)
    return sorted(zip(*(np.round(column, 6).tolist() for column in columns), strict=True))


def test_silence_is_news_no_longer_than_rows_are_pulled_again(room: Room) -> None:
    history = room.tell(
        pulled("again", 1, 0, 1), pulled("again", 2, 0, 3),  # rows are pulled again up to an age of three days
        pulled("silent", 4, 5, 1), pulled("late", 5, 10, 1),
    )  # fmt: skip
    assert delays_in_days(history, 11) == [(0, 1, 1, 5), (0, 1, 3, 1), (0, 1, 3, 4), (1, 3, 3, 1)]
    # After the last pull nobody looked: the present says nothing more.
    assert delays_in_days(history, 40) == delays_in_days(history, 11)


def test_a_row_that_was_out_of_reach_gained_since_it_was_last_in_reach(room: Room) -> None:
    history = room.tell(
        pulled("a", 0, 0, 1), pulled("a", 1, 0, 2),
        *(pulled(f"day {day}", 1, day, 1) for day in range(1, 9)),  # daily pulls, of two days back
        pulled("b", 1, 1, 1), pulled("b", 3, 1, 9),  # and one of everything
    )  # fmt: skip
    assert (2, 9, 9, 2) in delays_in_days(history, 10)


def test_what_is_told_within_an_hour_is_one_pull(room: Room) -> None:
    minute = 1 / (24 * 60)
    history = room.tell(
        pulled("a", 0, 0, 1), pulled("b", 0, 0, 1 + minute),
        pulled("a", 1, 0, 2), pulled("b", 1, 0, 2 + minute),
        pulled("a", 2, 0, 3), pulled("c", 0, 0, 3 + minute), pulled("b", 2, 0, 3 + 2 * minute),
    )  # fmt: skip
    gained = [row[:2] for row in delays_in_days(history, 4)]
    expected = [(1, 2), (1 + minute, 2 + minute), (2 + minute, 3), (2 + minute, 3 + 2 * minute)]
    np.testing.assert_allclose(gained, expected, atol=1e-5)


@pytest.mark.parametrize("per_row", [3.0, 0.3])
def test_pulling_a_report_every_day_tells_the_delays_though_most_rows_never_change(room: Room, per_row: float) -> None:
    rng, days, cells = np.random.default_rng(7), 40, 12
    taken: dict[tuple[int, int], np.ndarray] = {}
    for key in np.ndindex(days, cells):
        n = rng.poisson(per_row)
        late = rng.random(n) < 0.2
        taken[key] = rng.random(n) + np.where(late, rng.exponential(5, n), 0.02)  # four of five at once
    for today in range(1, days + 1):
        rows = [
            pulled(f"{day}-{number}", float(np.sum(took <= today - day)), day, today - day)
            for (day, number), took in taken.items()
            if 1 <= today - day <= 30
        ]
        report = [msgspec.structs.replace(told, event_id=told.row_id) for told in rows]
        room.log.append(Restatement(room.log.digests).resolve(report))
    history = room.history()
    history.sync()
    model = fit_delay_model(history.delays(), window_days=30)
    assert model is not None
    took = np.concatenate(list(taken.values()))
    truth = [np.mean(took[took <= 30] <= age) for age in (1, 3, 7)]
    np.testing.assert_allclose(model.maturity(["a"] * 3, [SECONDS, 3 * SECONDS, 7 * SECONDS]), truth, atol=0.05)


def test_conversions_whose_value_is_told_are_counted_apart_also_those_worth_nothing(room: Room) -> None:
    untold = {"value": None}
    history = room.tell(
        shown("a"), order("a", AT + HOUR, 1, "1", value=9), order("a", AT + HOUR, 2, "2", value=0),
        msgspec.structs.replace(order("a", AT + HOUR, 3, "3"), **untold),
        shown("b"), msgspec.structs.replace(order("b", AT + HOUR, 1, "1"), **untold), restated("b", AT + DAY, value=0),
        shown("c"), order("c", AT + HOUR, 1, "1", value=7), retracted("c", AT + DAY),
        shown("d"), order("d", AT + HOUR, 1, "1", value=7), msgspec.structs.replace(restated("d", AT + DAY), **untold),
        shown("e"), report("r", AT), msgspec.structs.replace(report("s", AT), **untold),
        msgspec.structs.replace(row(1, AT + HOUR), value=None), msgspec.structs.replace(row(2, AT + DAY), value=Money(0)),
    )  # fmt: skip

    def valued(as_of: datetime) -> dict[str, tuple[float, float]]:
        known = history.outcomes(as_of=as_of)
        assert known.valued is not None
        assert known.valued.dtype == np.float64
        return dict(zip(known.impression_id, zip(known.conversions, known.valued, strict=True), strict=True))

    reports = {"r": (9, 9), "s": (9, 0)}
    assert valued(AT + HOUR) == {
        "a": (3, 2),
        "b": (1, 0),
        "c": (1, 1),
        "d": (1, 1),
        "e": (0, 0),
        **reports,
        "row": (9, 0),
    }
    assert valued(AT + DAY) == {
        "a": (3, 2),
        "b": (1, 1),
        "c": (0, 0),
        "d": (1, 0),
        "e": (0, 0),
        **reports,
        "row": (9, 9),
    }


def test_a_report_row_that_was_told_again_is_one_row_with_what_was_known_when(room: Room) -> None:
    history = room.tell(
        row(7, AT + DAY), row(5, AT + 2 * DAY), row(9, AT + 4 * DAY), row(8, AT + 3 * DAY), row(1, row_id=""), row(2, row_id="")
    )  # fmt: skip

    def clicks(days: float) -> list[float]:
        known = history.outcomes(as_of=AT + days * DAY)
        assert known.impression_id[0] == "row"
        assert known.cost[0] * 1e6 == known.clicks[0]
        return known.clicks.tolist()

    assert clicks(0) == [7, 1, 2]
    assert sorted(clicks(2)) == [1, 2, 5]
    # The one told last holds, also when the one before it says that it was known later.
    assert sorted(clicks(3)) == sorted(clicks(9)) == [1, 2, 8]
    assert history.outcomes(start=AT + HOUR).clicks.tolist() == []


def test_the_present_of_a_restated_report_is_when_it_was_restated(room: Room) -> None:
    history = room.tell(row(7), row(5, AT + 9 * DAY))
    assert (history.outcomes().clicks.tolist(), history.outcomes().mature.tolist()) == ([5], [True])
    known = history.observations(start=AT + DAY)
    assert (known.clicks.tolist(), known.impressions.tolist()) == ([-2], [0])
    assert known.at.tolist() == [(AT + 9 * DAY).replace(tzinfo=None)]


def test_a_label_is_mature_once_its_window_has_closed(room: Room) -> None:
    history = room.tell(shown("a"), shown("b", at=AT + 3 * DAY), shown("now", at=AT + 6 * DAY))
    assert history.outcomes().mature.tolist() == [True, False, False]
    assert history.outcomes(as_of=AT + 4 * DAY).mature.tolist() == [False, False]
    assert history.outcomes(as_of=AT + 99 * DAY).mature.all()


def test_the_range_is_of_the_showing_and_its_end_is_open(room: Room) -> None:
    history = room.tell(shown("a"), shown("b", at=AT + HOUR), shown("c", at=AT + 2 * HOUR), click("b", AT + DAY))
    known = history.outcomes(start=AT + HOUR, end=AT + 2 * HOUR)
    assert (known.impression_id.tolist(), known.clicks.tolist()) == (["b"], [1])


def test_where_the_source_does_not_tell_the_cost_is_not_made_up(room: Room) -> None:
    known = room.tell(
        shown("mille", opportunity=cell("mille", Charge.PER_MILLE)),
        shown("click", at=AT + HOUR),
        shown("clicked", at=AT + 2 * HOUR), click("clicked", AT + 3 * HOUR),
    ).outcomes()  # fmt: skip
    assert math.isnan(known.cost[0])
    assert known.cost[1] == 0.0
    assert math.isnan(known.cost[2])


def test_a_win_notice_tells_the_price_that_the_impression_does_not(room: Room) -> None:
    mille = cell("mille", Charge.PER_MILLE)
    history = room.tell(
        won("a", 2), won("a", 9), shown("a", opportunity=mille), shown("b", opportunity=mille, price=Money(3)), won("b", 9),
        shown("c", opportunity=mille), won("c", 4, AT + DAY), won("nobody", 9),
    )  # fmt: skip
    np.testing.assert_array_equal(history.outcomes(as_of=AT + HOUR).cost * 1e6, [2, 3, math.nan])
    assert (history.outcomes().cost * 1e6).tolist() == [2, 3, 4]


def test_what_users_and_markets_do_is_taken_over_and_joins_nothing(room: Room) -> None:
    room.log.append([PageViewed(event_id="p", at=AT, user_id="anna"), shown("a")])
    room.log.append([PlatformChanged(event_id="c", at=AT + 9 * DAY, platform="search", change="broad match")])
    history = room.history()
    assert history.sync() == 3
    assert (len(history.outcomes()), len(history.observations()), len(history.bids())) == (1, 1, 1)
    assert history.outcomes().mature.tolist() == [True]  # their time goes on like any other's


def test_what_is_told_twice_counts_once_and_what_comes_too_late_not_at_all(room: Room) -> None:
    known = room.tell(
        shown("a"), shown("a", event_id="again", weight=5.0), click("a", AT + HOUR), click("a", AT + HOUR, number=2),
        order("a", AT + HOUR, order_id="1", value=2_000_000), order("a", AT + DAY, 2, order_id="1", value=3_000_000),
        order("a", AT + DAY, 3), order("a", AT + DAY, 4), order("a", AT + 5 * DAY + HOUR, 5),
        shown("b"), click("b", AT + 2 * DAY + HOUR), BidLost(event_id="l", at=AT, impression_id="x"),
    ).outcomes()  # fmt: skip
    assert known.clicks.tolist() == [1, 0]
    assert known.conversions.tolist() == [3, 0]
    assert known.value.tolist() == [2.0, 0.0]
    assert known.weight.tolist() == [1.0, 1.0]


def test_impressions_without_an_opportunity_get_that_of_their_decision(room: Room) -> None:
    bare = shown("d", opportunity=None)
    history = room.tell(bare, click("d", AT + HOUR), shown("unknown", opportunity=None))
    assert len(history.outcomes()) == 0
    room.decisions.record([decision("d")])
    known = history.outcomes()
    assert known.opportunities == [cell("d")]
    assert known.clicks.tolist() == [1]


def test_bids_that_won_and_lost_come_with_what_is_known_of_bid_and_price(room: Room) -> None:
    second, first = (
        cell("2nd", Charge.PER_MILLE),
        msgspec.structs.replace(cell("1st", Charge.PER_MILLE), auction=Auction.FIRST_PRICE),
    )
    history = room.tell(
        shown("a", opportunity=second, price=Money(2_000), weight=3.0),
        shown("b", at=AT + HOUR, opportunity=first, price=Money(4_000)),
        BidLost(event_id="l", at=AT + 2 * HOUR, impression_id="c", opportunity=second, bid=Money(500_000), market_price=Money(700_000)),
        BidLost(event_id="m", at=AT + 3 * HOUR, impression_id="nobody", bid=Money(1)),
        click("a", AT + HOUR),
    )  # fmt: skip
    known = history.bids()
    assert known.opportunities == [second, first, second]
    assert known.won.tolist() == [True, True, False]
    np.testing.assert_array_equal(known.bid, [math.nan, 4.0, 0.5])
    np.testing.assert_array_equal(known.price, [2.0, math.nan, 0.7])
    assert known.weight.tolist() == [3.0, 1.0, 1.0]
    assert len(history.bids(start=AT + HOUR, end=AT + 2 * HOUR)) == 1


def test_a_bid_that_its_event_does_not_tell_is_that_of_its_decision(room: Room) -> None:
    room.decisions.record([decision("d"), decision("e")])
    history = room.tell(
        ImpressionServed(event_id="w", at=AT, impression_id="d"),
        BidLost(event_id="l", at=AT + HOUR, impression_id="e"),
    )
    known = history.bids()
    assert (known.won.tolist(), known.bid.tolist()) == ([True, False], [1e-6, 1e-6])
    assert np.isnan(known.price).all()


def test_a_notice_makes_a_won_bid_and_each_impression_is_one_bid(room: Room) -> None:
    room.decisions.record([decision("decided"), decision("both")])
    mille, first = cell("m", Charge.PER_MILLE), msgspec.structs.replace(cell("f"), auction=Auction.FIRST_PRICE)

    def placed(name: str, bid: int, opportunity: Opportunity | None = None) -> BidPlaced:
        return BidPlaced(
            event_id=f"p-{name}", at=AT - HOUR, impression_id=name, opportunity=opportunity, bid=Money(bid)
        )

    def notice(name: str, hours: int, **told: object) -> BidWon:
        return BidWon(event_id=f"w-{name}-{hours}", at=AT + hours * HOUR, impression_id=name, **told)

    history = room.tell(
        placed("placed alone", 1, mille), placed("placed", 5_000_000, mille), placed("lost", 6_000_000, mille),
        placed("both", 7_000_000), placed("served", 8_000_000), placed("told", 9_000_000),
        notice("placed", 0, price=Money(2_000)), notice("placed", 9, price=Money(1)),
        notice("told", 1, opportunity=mille, bid=Money(3_000_000)),
        shown("served", at=AT + 2 * HOUR, opportunity=mille, weight=3.0), notice("served", 1, opportunity=first, price=Money(4_000)),
        BidLost(event_id="l", at=AT + 3 * HOUR, impression_id="lost", market_price=Money(700_000)),
        BidLost(event_id="l2", at=AT + 3 * HOUR, impression_id="lost", market_price=Money(1)),
        BidLost(event_id="l3", at=AT + 3 * HOUR, impression_id="served", opportunity=mille, market_price=Money(1)),
        notice("decided", 4), notice("both", 5), notice("nobody", 6),
    )  # fmt: skip
    known = history.bids()
    assert known.opportunities == [mille, mille, mille, mille, cell("decided"), cell("both")]
    assert known.at.tolist() == [(AT + hours * HOUR).replace(tzinfo=None) for hours in range(6)]
    assert known.won.tolist() == [True, True, True, False, True, True]
    assert known.bid.tolist() == [5, 3, 8, 6, 1e-6, 7]
    np.testing.assert_array_equal(known.price, [2, math.nan, 4, 0.7, math.nan, math.nan])
    assert known.weight.tolist() == [1, 1, 3, 1, 1, 1]


def test_an_erased_person_is_gone_from_what_they_did_and_unnamed_in_what_was_shown(room: Room) -> None:
    def of(user_id: str) -> Opportunity:
        return msgspec.structs.replace(cell(f"for {user_id}"), user_id=user_id)

    history = room.tell(
        shown("a", opportunity=of('p.ann"a')), click("a", AT + HOUR), shown("b", opportunity=of("p.bob")),
        PageViewed(event_id="v1", at=AT, user_id='p.ann"a'), PageViewed(event_id="v2", at=AT, user_id="p.bob"),
        DeviceLinked(event_id="d", at=AT, user_id='p.ann"a', device_id="p.phone"),
        PageViewed(event_id="v3", at=AT, device_id='p.ann"a'),
        BidLost(event_id="l", at=AT, impression_id="c", opportunity=of('p.ann"a')),
        shown("d", opportunity=msgspec.structs.replace(cell("d"), keyword='p.ann"a')),
    )  # fmt: skip
    before = history.outcomes()
    assert history.erase('p.ann"a') == 5
    after = history.outcomes()
    assert [about.user_id for about in after.opportunities] == ["", "p.bob", ""]
    assert after.clicks.tolist() == before.clicks.tolist() == [1, 0, 0]
    assert [msgspec.structs.replace(about, user_id="") for about in before.opportunities] == [
        msgspec.structs.replace(about, user_id="") for about in after.opportunities
    ]
    assert [about.user_id for about in history.bids().opportunities] == ["", "p.bob", "", ""]
    assert (history.erase('p.ann"a'), history.erase("p.nobody"), history.erase("p.bob")) == (0, 0, 2)
    assert room.history().sync() == 0


def test_erasing_nobody_in_particular_is_refused(room: Room) -> None:
    with pytest.raises(InvalidInput, match="the pseudonym of one person"):
        room.tell(shown("a")).erase("")


def test_an_empty_history_answers_with_nothing(room: Room) -> None:
    assert room.history().sync() == 0
    assert len(room.history().outcomes()) == 0
    assert len(room.history().outcomes(as_of=AT)) == 0
    assert len(room.history().observations()) == 0
    assert len(room.history().bids()) == 0
    assert len(room.history().delays()) == 0
    assert room.history().outcomes().at.dtype == np.dtype("datetime64[us]")


def test_observations_are_what_the_joiner_says_of_the_same_log(room: Room) -> None:
    room.decisions.record([decision("d"), decision("e")])
    events: list[Event] = [
        click("late", AT + HOUR), order("late", AT + HOUR, value=3), shown("a", weight=2.5, price=Money(4)),
        shown("d", opportunity=None), click("d", AT + HOUR, price=Money(9)), click("d", AT + HOUR, 2, price=Money(9)),
        click("e", AT + HOUR), click("nobody", AT + HOUR), shown("late"), report("r", AT), click("a", AT + 3 * DAY),
        click("a", AT + DAY, 2), order("a", AT + DAY, order_id="1", value=5), order("a", AT + DAY, 2, order_id="1", value=6),
        BidLost(event_id="l", at=AT, impression_id="x"), order("a", AT + 9 * DAY, 3), click("late", AT + DAY, 2),
        restated("a", AT + 2 * DAY, value=8), retracted("a", AT + 3 * DAY), restated("a", AT + 2 * DAY + HOUR, value=1),
        retracted("w", AT + DAY), order("w", AT + DAY, order_id="1", value=3), restated("w", AT + 2 * DAY, value=4),
        won("w", 5), won("w", 6), shown("w", at=AT + HOUR, weight=2.0), won("w", 7), retracted("w", AT + 9 * DAY),
        shown("v"), won("v", 8, AT + DAY), won("v", 9), shown("u", price=Money(2)), won("u", 9), won("nobody", 9),
        order("e", AT + DAY, order_id="1", value=5), retracted("e", AT + DAY), shown("e", opportunity=None),
        row(7, AT + HOUR), row(7, AT + DAY), row(5, AT + 2 * DAY), row(9), row(3, row_id="other"), row(1, row_id=""),
    ]  # fmt: skip
    known = room.tell(*events).observations()
    joined = Joiner(room.decisions, SETTINGS).join(events)
    assert known.opportunities == joined.opportunities
    for column in ("at", "impressions", "clicks", "conversions", "value", "cost"):
        np.testing.assert_array_equal(getattr(known, column), getattr(joined, column), err_msg=column)
    part = room.history().observations(start=AT + HOUR, end=AT + DAY)
    assert len(part) == sum(
        (joined.at >= np.datetime64("2026-03-01T13")) & (joined.at < np.datetime64("2026-03-02T12"))
    )
