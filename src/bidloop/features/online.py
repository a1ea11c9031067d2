"""Feature values now, from a store in this process."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import InvalidInput
from bidloop.core.feature_table import FeatureTable
from bidloop.core.opportunity import History, Opportunity
from bidloop.core.outcome import Observations
from bidloop.features.decay import Counts, DecayedCounts
from bidloop.features.facts import facts, key_columns
from bidloop.features.increments import check_increments
from bidloop.features.local_time import instant_of, microseconds
from bidloop.features.view import CELL, FORGOTTEN, FeatureView, RateFeature

_DAY = 86_400_000_000


class InProcessStore:
    """Remembers every key of a view in memory, and answers as of any instant.

    The order in which observations arrive does not matter, and neither do observations of the future: a read takes
    only what lies strictly before the opportunity's own instant. Memory grows with the observations (about 32 bytes
    per observation and rate) until `settle` is called. Reading and observing from several threads is safe.

    Parameters
    ----------
    view
        The definition of the features.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from bidloop.features.views import campaign_view
    >>> noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
    >>> opportunity = Opportunity(opportunity_id="o", at=noon, campaign_id="shoes", device="mobile")
    >>> store = InProcessStore(campaign_view())
    >>> store.read([opportunity]).row(0).numeric["cell_ctr"] is None
    True
    >>> store.observe(
    ...     Observations(
    ...         at=np.array(["2026-01-05T11:59"], dtype="datetime64[us]"),
    ...         opportunities=[opportunity],
    ...         impressions=np.array([1000.0]),
    ...         clicks=np.array([50.0]),
    ...         conversions=np.array([2.0]),
    ...         value=np.array([80.0]),
    ...         cost=np.array([25.0]),
    ...     )
    ... )
    >>> round(store.read([opportunity]).row(0).numeric["cell_ctr"], 4)
    0.05
    """

    def __init__(self, view: FeatureView) -> None:
        self._view = view
        self._version = view.version
        self._per_microsecond = [1.0 / (rate.half_life_days * _DAY) for rate in view.rates]
        self._keys: list[dict[object, DecayedCounts]] = [{} for _ in view.rates]
        self._settled: int | None = None
        self._lock = threading.Lock()

    @property
    def view(self) -> FeatureView:
        """The definition of the features."""
        return self._view

    def observe(self, observations: Observations) -> None:
        """Add what became known; all of it or, when a number makes no sense, nothing.

        Raises
        ------
        InvalidInput
            When an increment is not finite, or a time is missing.
        """
        at = check_increments(observations)
        # One tuple per fact, shared by all keys that it counts for.
        increments = list(
            zip(
                at.tolist(),
                observations.impressions.tolist(),
                observations.clicks.tolist(),
                observations.conversions.tolist(),
                strict=True,
            )
        )
        sources = key_columns(self._view, observations.opportunities)
        columns = [_keys(rate, sources, len(observations)) for rate in self._view.rates]
        with self._lock:
            for known, column, per_microsecond in zip(self._keys, columns, self._per_microsecond, strict=True):
                for key, fact in zip(column, increments, strict=True):
                    counts = known.get(key)
                    if counts is None:
                        counts = known[key] = DecayedCounts(per_microsecond)
                    counts.pending.append(fact)

    def read(self, opportunities: Sequence[Opportunity]) -> FeatureTable:
        """The values at each opportunity's own `at`, from observations whose time lies strictly before it, less the lag.

        Raises
        ------
        InvalidInput
            When an instant carries no timezone, or lies before what `settle` has folded together.
        """
        instants = microseconds(opportunities, self._view.lag_seconds)
        described = facts(self._view, opportunities)
        numeric = described.numeric
        rates: dict[str, _Rates] = {}
        with self._lock:
            self._check_settled(instants)
            for rate, known in zip(self._view.rates, self._keys, strict=True):
                keys = _keys(rate, described.sources, len(opportunities))
                found = [
                    counts.before(instant) if (counts := known.get(key)) is not None else None
                    for key, instant in zip(keys, instants, strict=True)
                ]
                if rate.name == CELL:
                    found = _told_instead(found, opportunities)
                parent = rates.get(rate.parent)
                rates[rate.name] = (
                    _Rates.of_account(self._view, rate, found) if parent is None else _Rates.of_key(rate, found, parent)
                )
        for rate in self._view.rates:
            for value in rate.values:
                numeric[rate.feature(value)] = rates[rate.name].column(value)
        return FeatureTable(self._version, numeric, described.categorical)

    def settle(self, before: datetime) -> None:
        """Free the memory of the steps by which counts before an instant came about; later reads do not change.

        From then on a read of an earlier instant is refused. Observations that arrive late are still counted.
        """
        instant = instant_of(before) - round(self._view.lag_seconds * 1e6)
        with self._lock:
            self._settled = instant if self._settled is None else max(instant, self._settled)
            for known in self._keys:
                for counts in known.values():
                    counts.settle(instant)

    def _check_settled(self, instants: list[int]) -> None:
        if self._settled is not None and instants and min(instants) < self._settled:
            raise InvalidInput(
                f"a read as of {np.datetime64(min(instants), 'us')}Z",
                path="at",
                expected=f"an instant from {np.datetime64(self._settled, 'us')}Z on, the store's settled time",
                remedy="Compute features of the further past with bidloop.features.training.point_in_time.",
            )


def _keys(rate: RateFeature, sources: dict[str, list[str]], n: int) -> Sequence[object]:
    if not rate.key:
        return [()] * n
    if len(rate.key) == 1:
        return sources[rate.key[0]]
    return list(zip(*(sources[source] for source in rate.key), strict=True))


class _Rates:
    """The values of one rate feature for n opportunities.

    Plain numbers in plain loops: for one opportunity, the case that matters most, arrays would cost three times as
    much.
    """

    def __init__(self, impressions: list[float], ctr: list[float], conversion_rate: list[float]) -> None:
        self.impressions, self.ctr, self.conversion_rate = impressions, ctr, conversion_rate

    @classmethod
    def of_account(cls, view: FeatureView, rate: RateFeature, found: list[Counts | None]) -> _Rates:
        """Of the account as a whole: drawn towards the base rates, and missing where nothing was seen."""
        n = len(found)
        unknown = cls([math.nan] * n, [math.nan] * n, [math.nan] * n)
        above = cls([math.nan] * n, [view.base_ctr] * n, [view.base_conversion_rate] * n)
        return cls._drawn(rate, found, above, otherwise=unknown)

    @classmethod
    def of_key(cls, rate: RateFeature, found: list[Counts | None], parent: _Rates) -> _Rates:
        """Of a key: drawn towards its parent, whose rates stand where nothing was seen, with zero impressions."""
        none = [0.0 if known == known else math.nan for known in parent.impressions]
        return cls._drawn(rate, found, parent, otherwise=cls(none, parent.ctr, parent.conversion_rate))

    @classmethod
    def _drawn(cls, rate: RateFeature, found: list[Counts | None], above: _Rates, *, otherwise: _Rates) -> _Rates:
        drawn = cls(otherwise.impressions.copy(), otherwise.ctr.copy(), otherwise.conversion_rate.copy())
        strength = rate.strength
        for i, counts in enumerate(found):
            if counts is None:
                continue
            impressions, clicks, conversions = counts
            if impressions >= FORGOTTEN:
                drawn.impressions[i] = impressions
                drawn.ctr[i] = _towards(above.ctr[i], clicks, impressions, strength)
            if clicks >= FORGOTTEN:
                drawn.conversion_rate[i] = _towards(above.conversion_rate[i], conversions, clicks, strength)
        return drawn

    def column(self, value: str) -> NDArray[np.float64]:
        if value == "log_impressions":
            return np.array([math.log1p(count) for count in self.impressions], dtype=np.float64)
        values: list[float] = getattr(self, value)
        return np.array(values, dtype=np.float64)


def _told_instead(found: list[Counts | None], opportunities: Sequence[Opportunity]) -> list[Counts | None]:
    """The counts of the cell, or what the caller knows of it where nothing was seen."""
    return [
        counts
        if (past := opportunity.history) is None
        or past.impressions <= 0
        or (counts is not None and counts[0] >= FORGOTTEN)
        else _told(past)
        for counts, opportunity in zip(found, opportunities, strict=True)
    ]


def _told(history: History) -> Counts:
    """What the caller's knowledge of the cell amounts to in counts."""
    ctr = min(max(history.ctr, 0.0), 1.0) if math.isfinite(history.ctr) else history.clicks / history.impressions
    rate = min(max(history.conversion_rate, 0.0), 1.0) if math.isfinite(history.conversion_rate) else 0.0
    clicks = ctr * history.impressions
    return float(history.impressions), clicks, rate * clicks


def _towards(other: float, events: float, trials: float, strength: float) -> float:
    """A rate drawn towards another; the plain rate where there is nothing to be drawn towards (NaN or 0)."""
    rate = (events + strength) / (trials + strength / other) if other > 0.0 else events / trials
    return rate if rate < 1.0 else 1.0
