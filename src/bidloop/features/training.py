"""Feature values at any past instant, for many rows at once: what models are trained on.

Written apart from the online store on purpose. The store walks event by event, this sorts and scans whole columns; a
law in the tests holds both to the same values, so that a model meets in service what it met in training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count

import numpy as np
from numpy.typing import NDArray

from bidloop.core.feature_table import FeatureTable
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Observations
from bidloop.features.facts import facts, key_columns
from bidloop.features.increments import check_increments
from bidloop.features.local_time import microseconds
from bidloop.features.scan import decayed_running_sums
from bidloop.features.view import CELL, FORGOTTEN, FeatureView, RateFeature

_DAY = 86_400_000_000


def point_in_time(view: FeatureView, observations: Observations, opportunities: Sequence[Opportunity]) -> FeatureTable:
    """What was known of each opportunity at its own instant.

    Only observations whose time lies strictly before an opportunity's `at` enter its row: not the click of the
    impression itself, nor anything later. Neither list need be in order.

    Parameters
    ----------
    view
        The definition of the features.
    observations
        Everything observed, m increments.
    opportunities
        The n rows to compute.

    Returns
    -------
    n rows in the order of `opportunities`.

    Raises
    ------
    InvalidInput
        When an increment is not finite, a time is missing or carries no timezone.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from bidloop.features.views import campaign_view
    >>> def shown(day: int) -> Opportunity:
    ...     return Opportunity(opportunity_id=str(day), at=datetime(2026, 1, day, tzinfo=UTC), campaign_id="shoes")
    >>> seen = Observations(
    ...     at=np.array(["2026-01-01", "2026-01-15"], dtype="datetime64[us]"),
    ...     opportunities=[shown(1), shown(15)],
    ...     impressions=np.array([1000.0, 1000.0]),
    ...     clicks=np.array([10.0, 90.0]),
    ...     conversions=np.zeros(2),
    ...     value=np.zeros(2),
    ...     cost=np.zeros(2),
    ... )
    >>> point_in_time(campaign_view(), seen, [shown(1), shown(15), shown(16)]).numeric["account_impressions"].round()
    array([  nan,  500., 1428.])
    """
    at = check_increments(observations)
    asked = np.array(microseconds(opportunities, view.lag_seconds), dtype=np.int64)
    described = facts(view, opportunities)
    sources = key_columns(view, observations.opportunities)
    codes = {name: _codes(sources[name], described.sources[name]) for name in sources}
    amounts = np.column_stack((observations.impressions, observations.clicks, observations.conversions))
    timeline = _Timeline.of(at, asked, amounts)
    numeric, told = dict(described.numeric), _Told.of(opportunities)
    rates: dict[str, _Rates] = {}
    for rate in view.rates:
        counts = timeline.counts(_group([codes[source] for source in rate.key], len(at) + len(asked)), rate)
        if rate.name == CELL:
            counts = told.instead(counts)
        rates[rate.name] = _Rates.of(view, rate, counts, rates.get(rate.parent))
    for rate in view.rates:
        for value in rate.values:
            numeric[rate.feature(value)] = rates[rate.name].column(value)
    return FeatureTable(view.version, numeric, described.categorical)


@dataclass(frozen=True)
class _Timeline:
    """m observations, and behind them n questions; `order` sorts both together by time."""

    times: NDArray[np.int64]
    amounts: NDArray[np.float64]
    order: NDArray[np.intp]

    @classmethod
    def of(cls, at: NDArray[np.int64], asked: NDArray[np.int64], amounts: NDArray[np.float64]) -> _Timeline:
        times = np.concatenate((at, asked))
        # A question comes before an observation of the same instant, so that "strictly before" holds.
        order = np.lexsort((np.repeat([1, 0], (len(at), len(asked))), times))
        return cls(times - (times[order[0]] if len(order) else 0), amounts, order)

    def counts(self, group: NDArray[np.int64], rate: RateFeature) -> NDArray[np.float64]:
        """Decayed counts before each question, none below 0, shape (n, 3); `group` numbers the key of every row."""
        m = len(self.amounts)
        rows = self.order[np.argsort(group[self.order], kind="stable")]
        half_life = rate.half_life_days * _DAY
        observed = rows[rows < m]
        sums = decayed_running_sums(group[observed], self.times[observed] / half_life, self.amounts[observed])
        # How many observations stand before each question in this order: the last of them holds the sum, if it is of
        # its key.
        asked = rows >= m
        last = np.cumsum(~asked)[asked] - 1
        questions = rows[asked]
        found = np.flatnonzero(last >= 0)
        found = found[group[observed[last[found]]] == group[questions[found]]]
        last, questions = last[found], questions[found]
        passed = self.times[questions] - self.times[observed[last]]
        counts = np.zeros((len(self.times) - m, 3))
        counts[questions - m] = sums[last] * np.exp2(-passed / half_life)[:, None]
        # Taken back before it was added, or more than was added: less than nothing was not seen.
        return np.maximum(counts, 0.0)


@dataclass(frozen=True)
class _Told:
    """What the callers themselves know of the cells: counts, shape (n, 3), NaN where they know nothing."""

    counts: NDArray[np.float64]

    @classmethod
    def of(cls, opportunities: Sequence[Opportunity]) -> _Told:
        counts = np.full((len(opportunities), 3), np.nan)
        for i, opportunity in enumerate(opportunities):
            past = opportunity.history
            if past is None or past.impressions <= 0:
                continue
            ctr = np.clip(past.ctr, 0.0, 1.0) if np.isfinite(past.ctr) else past.clicks / past.impressions
            rate = np.clip(past.conversion_rate, 0.0, 1.0) if np.isfinite(past.conversion_rate) else 0.0
            counts[i] = past.impressions * np.array([1.0, ctr, ctr * rate])
        return cls(counts)

    def instead(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """The given counts, or those told where nothing was observed."""
        use = (counts[:, 0] < FORGOTTEN) & ~np.isnan(self.counts[:, 0])
        return np.where(use[:, None], self.counts, counts)


@dataclass(frozen=True)
class _Rates:
    impressions: NDArray[np.float64]
    ctr: NDArray[np.float64]
    conversion_rate: NDArray[np.float64]

    @classmethod
    def of(cls, view: FeatureView, rate: RateFeature, counts: NDArray[np.float64], parent: _Rates | None) -> _Rates:
        impressions, clicks, conversions = counts.T
        if parent is None:
            unknown = np.full(len(counts), np.nan)
            base_ctr, base_rate = np.full(len(counts), view.base_ctr), np.full(len(counts), view.base_conversion_rate)
            return cls(
                np.where(impressions >= FORGOTTEN, impressions, np.nan),
                _drawn(clicks, impressions, rate.strength, base_ctr, otherwise=unknown),
                _drawn(conversions, clicks, rate.strength, base_rate, otherwise=unknown),
            )
        unseen = np.where(np.isnan(parent.impressions), np.nan, 0.0)
        return cls(
            np.where(impressions >= FORGOTTEN, impressions, unseen),
            _drawn(clicks, impressions, rate.strength, parent.ctr, otherwise=parent.ctr),
            _drawn(conversions, clicks, rate.strength, parent.conversion_rate, otherwise=parent.conversion_rate),
        )

    def column(self, value: str) -> NDArray[np.float64]:
        if value == "log_impressions":
            return np.log1p(self.impressions)
        column: NDArray[np.float64] = getattr(self, value)
        return column


def _drawn(
    events: NDArray[np.float64],
    trials: NDArray[np.float64],
    strength: float,
    towards: NDArray[np.float64],
    *,
    otherwise: NDArray[np.float64],
) -> NDArray[np.float64]:
    seen, prior = trials >= FORGOTTEN, towards > 0.0  # where there is no prior (NaN or 0), the plain rate
    pull = np.where(prior, strength, 0.0)
    rate = (events + pull) / (np.where(seen, trials, 1.0) + pull / np.where(prior, towards, 1.0))
    return np.where(seen, np.minimum(rate, 1.0), otherwise)


def _codes(*columns: Sequence[str]) -> NDArray[np.int64]:
    """One whole number per distinct text, over all columns end to end."""
    number: defaultdict[str, int] = defaultdict(count().__next__)
    return np.array(list(map(number.__getitem__, chain(*columns))), dtype=np.int64)


def _group(codes: Sequence[NDArray[np.int64]], n: int) -> NDArray[np.int64]:
    """One whole number per distinct combination."""
    group = np.zeros(n, dtype=np.int64)
    for code in codes:
        _, group = np.unique(group * (code.max(initial=0) + 1) + code, return_inverse=True)
    return group
