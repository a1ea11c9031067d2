"""Counts that fade with time: the story of one key."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from math import exp2
from operator import itemgetter
from typing import TypeAlias

Fact: TypeAlias = tuple[int, float, float, float]
"""Microseconds since 1970 in UTC, impressions, clicks, conversions."""

Counts: TypeAlias = tuple[float, float, float]
"""Decayed impressions, clicks, conversions."""

_NOTHING: Counts = (0.0, 0.0, 0.0)
_NEVER: Fact = (2**62, 0.0, 0.0, 0.0)
_time = itemgetter(0)


class DecayedCounts:
    """Exponentially decayed counts of one key, at any instant.

    The count at instant t is ``sum of x * 2 ** -((t - s) / half_life)`` over the facts (s, x) with ``s < t``. The
    running sums are kept at the time of each fact, relative to that time, so that nothing overflows however long the
    stream runs. A fact that arrives late is one more term of the same sum: it is added, decayed, to the running sums
    behind it. So the order of arrival changes the result by rounding alone, and a fact of the future is never part of
    an earlier count.

    Facts are taken in cheaply and added up when somebody asks: a bulk load is sorted once.

    A fact may be negative: a report that was restated. Where the sum is below zero, because something was taken back before
    it was added, it reads as zero; the sum itself is kept, so that what is added later meets it.

    Parameters
    ----------
    per_microsecond
        One over the half-life in microseconds.

    Examples
    --------
    >>> day = 86_400_000_000
    >>> counts = DecayedCounts(1 / day)
    >>> counts.pending.append((2 * day, 100.0, 1.0, 0.0))
    >>> counts.pending.append((0, 100.0, 2.0, 0.0))
    >>> counts.before(2 * day)
    (25.0, 0.5, 0.0)
    >>> counts.before(3 * day)
    (62.5, 0.75, 0.0)
    >>> counts.pending.append((3 * day, 0.0, -2.0, 0.0))
    >>> counts.before(4 * day)
    (31.25, 0.0, 0.0)
    """

    __slots__ = ("_clicks", "_conversions", "_impressions", "_newest", "_per_microsecond", "_times", "pending")

    def __init__(self, per_microsecond: float) -> None:
        self._per_microsecond = per_microsecond
        self._times = array("q")
        self._impressions = array("d")
        self._clicks = array("d")
        self._conversions = array("d")
        # Most reads ask for the present: the newest sums lie at hand, a time after all others while there are none.
        self._newest: Fact = _NEVER
        self.pending: list[Fact] = []

    def before(self, instant: int) -> Counts | None:
        """The counts from facts strictly before an instant, none below 0, or `None` where there is no such fact."""
        sums = self._sums_before(instant)
        if sums is None:
            return None
        impressions, clicks, conversions = sums
        # Comparisons, not `max`: this is read for every rate of every opportunity.
        return (
            impressions if impressions > 0.0 else 0.0,
            clicks if clicks > 0.0 else 0.0,
            conversions if conversions > 0.0 else 0.0,
        )

    def _sums_before(self, instant: int) -> Counts | None:
        if self.pending:
            self._add_up()
        at, impressions, clicks, conversions = self._newest
        if at >= instant:
            place = bisect_left(self._times, instant) - 1
            if place < 0:
                return None
            at, impressions, clicks, conversions = self._row(place)
        left = exp2((at - instant) * self._per_microsecond)
        return impressions * left, clicks * left, conversions * left

    def settle(self, instant: int) -> None:
        """Forget the steps that led to the counts before an instant; the counts themselves stay."""
        if self.pending:
            self._add_up()
        surplus = bisect_left(self._times, instant) - 1
        if surplus > 0:
            for column in self._columns():
                del column[:surplus]

    def _add_up(self) -> None:
        facts, self.pending = self.pending, []
        facts.sort(key=_time)
        later = self._take_back(facts[0][0])
        if not later:
            self._extend(facts)
            self._newest = self._row(-1)
            return
        # The facts are late: what they add is counted beside, and joins each running sum behind them.
        added, place = DecayedCounts(self._per_microsecond), 0
        for at, *sums in later:
            start = place
            while place < len(facts) and facts[place][0] < at:
                place += 1
            self._extend(facts[start:place])
            added.pending = facts[start:place]
            self._append(
                at, *(known + more for known, more in zip(sums, added._sums_before(at) or _NOTHING, strict=True))
            )
        self._extend(facts[place:])
        self._newest = self._row(-1)

    def _extend(self, facts: list[Fact]) -> None:
        """Carry the running sums on over facts that are not older than the last."""
        if not facts:
            return
        if self._times:
            last, impressions, clicks, conversions = self._row(-1)
        else:
            last, impressions, clicks, conversions = facts[0][0], *_NOTHING
        append, per_microsecond = self._append, self._per_microsecond
        for at, shown, clicked, converted in facts:
            left = exp2((last - at) * per_microsecond)
            impressions = impressions * left + shown
            clicks = clicks * left + clicked
            conversions = conversions * left + converted
            append(at, impressions, clicks, conversions)
            last = at

    def _take_back(self, instant: int) -> list[tuple[int, float, float, float]]:
        """Remove and return the running sums after an instant."""
        place = bisect_right(self._times, instant)
        taken = list(zip(*(column[place:] for column in self._columns()), strict=True))
        for column in self._columns():
            del column[place:]
        return taken

    def _append(self, at: int, impressions: float, clicks: float, conversions: float) -> None:
        self._times.append(at)
        self._impressions.append(impressions)
        self._clicks.append(clicks)
        self._conversions.append(conversions)

    def _row(self, place: int) -> Fact:
        return self._times[place], self._impressions[place], self._clicks[place], self._conversions[place]

    def _columns(self) -> tuple[array[int], array[float], array[float], array[float]]:
        return self._times, self._impressions, self._clicks, self._conversions
