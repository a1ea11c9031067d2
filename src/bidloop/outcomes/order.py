"""One order of one impression: reported, perhaps restated, perhaps retracted."""

from __future__ import annotations

from typing import TypeAlias

from bidloop.core.event import ConversionReported, ConversionRestated, ConversionRetracted
from bidloop.outcomes.epoch import epoch_us

OrderEvent: TypeAlias = ConversionReported | ConversionRestated | ConversionRetracted


class Order:
    """What an order counts for, after all that was told of it so far.

    Of its restatements and retractions the one with the latest `at` holds, of several at one instant the one that was
    told last. Without any, the report that was told first holds. A restatement of an order that was never reported counts
    like a report; a retracted order counts nothing, also when its report comes afterwards. So where the instants differ,
    what an order counts for in the end does not depend on the order in which its events arrive.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from bidloop.core.money import Money
    >>> at = datetime(2026, 1, 1, tzinfo=UTC)
    >>> order = Order()
    >>> order.take(ConversionReported(event_id="1", at=at, impression_id="i", order_id="o", value=Money(90)))
    (1, 90)
    >>> order.take(ConversionRestated(event_id="2", at=at, impression_id="i", order_id="o", value=Money(70)))
    (0, -20)
    >>> order.take(ConversionRetracted(event_id="3", at=at, impression_id="i", order_id="o"))
    (-1, -70)
    """

    __slots__ = ("_amended", "_conversions", "_micros", "_told")

    def __init__(self) -> None:
        self._amended: int | None = None  # the instant of the restatement or retraction that holds
        self._told = False
        self._conversions = 0
        self._micros = 0

    def take(self, event: OrderEvent) -> tuple[int, int]:
        """By how much an event changes the order's conversions, and its value in micros."""
        if not self._holds(event):
            return 0, 0
        conversions, micros = _contribution(event)
        change = conversions - self._conversions, micros - self._micros
        self._told, self._conversions, self._micros = True, conversions, micros
        return change

    def _holds(self, event: OrderEvent) -> bool:
        """Whether an event is, from now on, the one that holds."""
        if isinstance(event, ConversionReported):
            return not self._told
        at = epoch_us(event.at)
        if self._amended is not None and at < self._amended:
            return False
        self._amended = at
        return True


def _contribution(event: OrderEvent) -> tuple[int, int]:
    if isinstance(event, ConversionRetracted):
        return 0, 0
    return 1, 0 if event.value is None else event.value.micros
