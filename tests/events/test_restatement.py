"""Report rows that are told again, with the same figures or with others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bidloop.adapters.memory.event_log import MemoryEventLog
from bidloop.core.clock import ManualClock
from bidloop.core.event import CampaignReported, ClickReceived
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.events.intake import Intake, Verdict
from bidloop.events.rejected import Rejected
from bidloop.events.restatement import Restatement

AT = datetime(2026, 3, 1, tzinfo=UTC)
NOW = AT + timedelta(days=30)


def row(name: str, conversions: int, known_at: datetime | None = None) -> CampaignReported:
    return CampaignReported(
        event_id=name, row_id=name, at=AT, opportunity=Opportunity(opportunity_id=name, at=AT, campaign_id=name),
        impressions=1_000, clicks=50, conversions=conversions, spend=Money.of(9), known_at=known_at,
    )  # fmt: skip


def tell(log: MemoryEventLog, *rows: CampaignReported, chunk: int = 100) -> list[Verdict]:
    """One report, taken in."""
    intake, restatement = Intake(log, ManualClock(NOW)), Restatement(log.digests)
    return [
        verdict
        for start in range(0, len(rows), chunk)
        for verdict in intake.take(restatement.resolve(rows[start : start + chunk]))
    ]


def statuses(verdicts: list[Verdict]) -> list[str]:
    return [verdict.code or verdict.status for verdict in verdicts]


def told(log: MemoryEventLog) -> list[tuple[str, int]]:
    return [(event.event_id, event.conversions) for _, event in log.read()]


def test_a_row_that_is_told_for_the_first_time_keeps_its_id() -> None:
    log = MemoryEventLog()
    assert statuses(tell(log, row("a", 1), row("b", 2))) == ["accepted", "accepted"]
    assert told(log) == [("a", 1), ("b", 2)]


def test_other_figures_are_the_next_telling_of_the_same_row_and_the_same_ones_are_no_news() -> None:
    log = MemoryEventLog()
    tell(log, row("a", 1), row("b", 2))
    assert statuses(tell(log, row("a", 3), row("b", 2))) == ["accepted", "duplicate"]
    assert statuses(tell(log, row("a", 3), row("b", 2))) == ["duplicate", "duplicate"]
    assert told(log) == [("a", 1), ("b", 2), ("a#1", 3)]
    assert {event.row_id for _, event in log.read()} == {"a", "b"}


def test_figures_may_go_back_to_what_they_were() -> None:
    log = MemoryEventLog()
    for conversions in (1, 2, 1, 1, 2):
        tell(log, row("a", conversions))
    assert told(log) == [("a", 1), ("a#1", 2), ("a#2", 1), ("a#3", 2)]


def test_when_it_was_pulled_is_no_news_but_is_kept() -> None:
    log = MemoryEventLog()
    tell(log, row("a", 1, NOW - timedelta(days=2)))
    assert statuses(tell(log, row("a", 1, NOW - timedelta(days=1)))) == ["duplicate"]
    tell(log, row("a", 2, NOW))
    assert [event.known_at for _, event in log.read()] == [NOW - timedelta(days=2), NOW]


def test_a_report_that_contradicts_itself_is_no_restatement() -> None:
    for chunk in (1, 2, 3):
        log = MemoryEventLog()
        assert statuses(tell(log, row("a", 1), row("a", 2), row("a", 1), chunk=chunk)) == [
            "accepted", "changed_event", "duplicate",
        ]  # fmt: skip
        assert statuses(tell(log, row("a", 5), row("a", 6), row("a", 5), chunk=chunk)) == [
            "accepted", "changed_event", "duplicate",
        ]  # fmt: skip
        assert told(log) == [("a", 1), ("a#1", 5)]


def test_a_report_that_goes_on_after_a_break_still_knows_what_it_said() -> None:
    log = MemoryEventLog()
    tell(log, row("a", 1))
    restatement = Restatement(log.digests)
    restatement.remember([row("a", 1), row("b", 1)])
    [again] = restatement.resolve([row("a", 2)])
    assert statuses(Intake(log, ManualClock(NOW)).take([again])) == ["changed_event"]


def test_of_two_reports_at_once_one_restates_a_row_and_the_other_is_said_to_differ() -> None:
    log = MemoryEventLog()
    tell(log, row("a", 1))
    ours, theirs = (Restatement(log.digests).resolve([row("a", conversions)]) for conversions in (2, 3))
    intake = Intake(log, ManualClock(NOW))
    assert statuses(intake.take(ours)) == ["accepted"]
    assert statuses(intake.take(theirs)) == ["changed_event"]
    assert statuses(tell(log, row("a", 3))) == ["accepted"]
    assert told(log) == [("a", 1), ("a#1", 2), ("a#2", 3)]


def test_what_is_no_named_row_passes_as_it_is() -> None:
    log = MemoryEventLog()
    items = [
        ClickReceived(event_id="c", at=AT, impression_id="i"),
        Rejected(source="a.csv", code="unknown_date", reason="why", raw=b"x"),
        msgspec.structs.replace(row("a", 1), row_id="", event_id="mine"),
    ]
    assert Restatement(log.digests).resolve(items) == items


def test_looking_rows_up_takes_one_question_per_telling_not_one_per_row() -> None:
    log, asked = MemoryEventLog(), list[int]()
    for conversions in range(4):
        tell(log, row("a", conversions))
    tell(log, *(row(f"r{i}", 1) for i in range(50)))

    def digests(ids: object) -> dict[str, int]:
        asked.append(len(ids))  # type: ignore[arg-type]
        return log.digests(ids)  # type: ignore[arg-type]

    Restatement(digests).resolve([row("a", 9), *(row(f"r{i}", 1) for i in range(50))])
    assert asked == [51, 51, 1, 1, 1]


@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), min_size=1), min_size=1, max_size=8),
    st.integers(1, 3),
)
def test_the_log_tells_of_each_row_every_change_in_its_order_and_nothing_else(
    pulls: list[dict[str, int]], chunk: int
) -> None:
    log, expected = MemoryEventLog(), dict[str, list[int]]()
    for pull in pulls:
        tell(log, *(row(name, conversions) for name, conversions in pull.items()), chunk=chunk)
        for name, conversions in pull.items():
            if expected.setdefault(name, [])[-1:] != [conversions]:
                expected[name].append(conversions)
    histories: dict[str, list[int]] = {}
    for _, event in log.read():
        histories.setdefault(event.row_id, []).append(event.conversions)
    assert histories == expected
