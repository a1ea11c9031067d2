"""What an order counts for in the end does not depend on the order in which its story arrives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidloop.core.event import ConversionReported, ConversionRestated, ConversionRetracted
from bidloop.core.money import Money
from bidloop.outcomes.order import Order, OrderEvent

AT = datetime(2026, 3, 1, tzinfo=UTC)


def reported(value: int, hours: int = 0) -> ConversionReported:
    return ConversionReported(event_id="", at=AT + timedelta(hours=hours), impression_id="i", value=Money(value))


def restated(value: int | None, hours: int) -> ConversionRestated:
    return ConversionRestated(
        event_id="", at=AT + timedelta(hours=hours), impression_id="i", order_id="o",
        value=None if value is None else Money(value),
    )  # fmt: skip


def retracted(hours: int) -> ConversionRetracted:
    return ConversionRetracted(event_id="", at=AT + timedelta(hours=hours), impression_id="i", order_id="o")


def end(*events: OrderEvent) -> tuple[int, int]:
    """What the changes add up to."""
    order = Order()
    changes = [order.take(event) for event in events]
    return sum(change[0] for change in changes), sum(change[1] for change in changes)


@pytest.mark.parametrize(
    ("events", "counts"),
    [
        ([], (0, 0)),
        ([reported(90), reported(50)], (1, 90)),
        ([reported(90, hours=5), restated(70, 1)], (1, 70)),
        ([restated(70, 1)], (1, 70)),
        ([restated(None, 1)], (1, 0)),
        ([retracted(1)], (0, 0)),
        ([retracted(1), reported(90, hours=2)], (0, 0)),
        ([reported(90), retracted(1), restated(70, 2)], (1, 70)),
        ([reported(90), restated(70, 2), retracted(1)], (1, 70)),
        ([reported(90), restated(70, 2), retracted(2)], (0, 0)),
        ([reported(90), retracted(2), restated(70, 2)], (1, 70)),
        ([reported(-90), restated(-20, 2)], (1, -20)),
    ],
)
def test_the_latest_word_holds_and_at_one_instant_the_last_one_told(
    events: list[OrderEvent], counts: tuple[int, int]
) -> None:
    assert end(*events) == counts


def test_what_changes_nothing_is_no_change() -> None:
    order = Order()
    changes = [order.take(event) for event in (reported(90), restated(90, 1), reported(90), retracted(2), retracted(3))]
    assert changes == [(1, 90), (0, 0), (0, 0), (-1, -90), (0, 0)]


@given(st.lists(st.none() | st.integers(-99, 99), max_size=5), st.data())
def test_the_end_does_not_depend_on_the_order_of_arrival(values: list[int | None], data: st.DataObject) -> None:
    # Amendments, each at an instant of its own: what holds is known without asking the code.
    amended = [retracted(hours) if value is None else restated(value, hours) for hours, value in enumerate(values)]
    latest = [90, *values][-1]
    expected = (0, 0) if latest is None else (1, latest)
    assert end(*data.draw(st.permutations([reported(90), *amended]))) == expected
