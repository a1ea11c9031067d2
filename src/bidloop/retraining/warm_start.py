"""Where each campaign's pacing starts: the multiplier that its budget would have needed, and the shape of its spend."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bidloop.bidding.pacing.dual import expected_spend, solve_multiplier
from bidloop.bidding.pacing.pacer import Pacer
from bidloop.bidding.pacing.traffic import TrafficShape
from bidloop.bidding.settings import BiddingSettings
from bidloop.bidding.value import worth
from bidloop.core.clock import Clock
from bidloop.core.decision import BidState
from bidloop.core.landscape import Landscape
from bidloop.core.money import MICROS
from bidloop.core.opportunity import Charge
from bidloop.core.outcome import BidOutcomes
from bidloop.features.view import FeatureView
from bidloop.outcomes.ports import History
from bidloop.prediction.predictor import Predictor
from bidloop.retraining.training_set import features_as_of_then

DAYS = 2
"""Days of bids that tell the multiplier: as recent as a weekday's difference allows."""
SHAPE_DAYS = 7
"""Days of bids that tell how spend is spread over the day: each weekday once."""
SAMPLE = 3000
"""Bids per campaign that tell the multiplier within a few per cent; the pacer finds the rest."""
ENOUGH = 300
"""Fewest bids that tell the shape of a campaign's day; with fewer it keeps the account's."""


def warm_start(
    pacer: Pacer,
    settings: BiddingSettings,
    predictor: Predictor,
    view: FeatureView,
    history: History,
    clock: Clock,
    seed: int = 0,
) -> dict[str, float]:
    """Set the pacing multiplier of every campaign that has a budget and bids of the last days; says which, and to what.

    A new model means other values, and with them another multiplier: without this, each renewal would spend too fast or
    too slowly until the pacer has noticed. Opportunities of the last days are valued with the new model and bought at
    the prices of its landscape; the multiplier is the one at which that would have cost one day's budget.

    At which hours a week's bids would have cost money at this multiplier is the shape that the campaign's spending then
    follows. It differs from the shape of its traffic where the night's impressions are cheaper, or better, than the
    evening's: paced by traffic alone the multiplier would swing from hour to hour, and buy dear what it leaves aside
    elsewhere.
    """
    now = clock.now()
    bids = history.bids(start=now - timedelta(days=SHAPE_DAYS), end=now)
    recent = bids.at >= np.datetime64((now - timedelta(days=DAYS)).astimezone(UTC).replace(tzinfo=None), "us")
    campaigns = np.array([opportunity.campaign_id for opportunity in bids.opportunities], dtype=object)
    rng = np.random.default_rng(seed)
    samples: dict[str, _Sample] = {}
    for campaign in sorted(set(campaigns[recent].tolist())):
        budget = settings.budget_of(campaign)
        if budget is None or budget <= 0:
            continue
        week = np.flatnonzero(campaigns == campaign)
        last = week[recent[week]]
        chosen = np.sort(rng.permutation(last)[:SAMPLE])
        spread = np.sort(rng.permutation(week)[:SAMPLE]) if len(week) >= ENOUGH else week[:0]
        samples[campaign] = _Sample(budget, chosen, len(last) / len(chosen) / DAYS if len(chosen) else 0.0, spread)
    if not samples:
        return {}
    needed = np.unique(np.concatenate([rows for sample in samples.values() for rows in (sample.last, sample.week)]))
    auctions = _Auctions.of(bids.take(needed), settings, predictor, view, history)
    started: dict[str, float] = {}
    for campaign, sample in samples.items():
        last_days = auctions.take(np.searchsorted(needed, sample.last))
        if not len(last_days.value):
            continue
        multiplier = solve_multiplier(
            last_days.value, last_days.landscapes, sample.budget, last_days.charges * sample.scale
        )
        shape = None
        if len(sample.week):
            shape = _shape(auctions.take(np.searchsorted(needed, sample.week)), multiplier, settings.timezone)
        pacer.start(campaign, multiplier, shape)
        started[campaign] = multiplier
    return started


class _Sample(NamedTuple):
    """One campaign's budget, and which of the bids tell its multiplier (each for `scale` a day) and the shape of its day."""

    budget: float
    last: NDArray[np.intp]
    scale: float
    week: NDArray[np.intp]


@dataclass(frozen=True)
class _Auctions:
    """Past auctions: when, what a win is worth and may cost, and how many charges a row stands for."""

    at: NDArray[np.datetime64]
    value: NDArray[np.float64]
    landscapes: list[Landscape | None]
    charges: NDArray[np.float64]

    @classmethod
    def of(
        cls, bids: BidOutcomes, settings: BiddingSettings, predictor: Predictor, view: FeatureView, history: History
    ) -> _Auctions:
        """The bids as the present model sees them."""
        table = features_as_of_then(view, history, bids.opportunities)
        predictions = predictor.predict(bids.opportunities, table)
        value, charges = np.empty(len(bids)), np.empty(len(bids))
        for i, (opportunity, prediction) in enumerate(zip(bids.opportunities, predictions, strict=True)):
            value[i] = worth(settings, opportunity, prediction, BidState()).micros / MICROS
            charges[i] = bids.weight[i] * (prediction.ctr if opportunity.charge is Charge.PER_CLICK else 0.001)
        return cls(bids.at, value, predictor.landscapes(bids.opportunities, table), charges)

    def take(self, rows: NDArray[np.intp]) -> _Priced:
        """Those of the given rows that have a landscape."""
        priced = [i for i in rows.tolist() if self.landscapes[i] is not None]
        landscapes = [found for i in priced if (found := self.landscapes[i]) is not None]
        return _Priced(self.at[priced], self.value[priced], landscapes, self.charges[priced])


class _Priced(NamedTuple):
    """Auctions that have a landscape."""

    at: NDArray[np.datetime64]
    value: NDArray[np.float64]
    landscapes: list[Landscape]
    charges: NDArray[np.float64]


def _shape(auctions: _Priced, multiplier: float, timezone: str) -> TrafficShape | None:
    """How expected spend at this multiplier is spread over the week's hours; `None` where nothing would be spent."""
    spend = expected_spend(auctions.value * multiplier, auctions.landscapes) * auctions.charges
    return TrafficShape.learn(auctions.at, spend, timezone=timezone) if spend.sum() > 0 else None
