"""The loop on one screen: three verbs, three clocks.

    event → features → prediction → bid → outcome → learning → …

| verb | clock | what it does |
|---|---|---|
| `decide` | milliseconds | features → prediction → bid, recorded as one immutable decision |
| `absorb` | seconds | events → log → outcomes → features and budgets |
| `renew` | hours | history → training set → candidates → the best on held-out days → served |
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bidloop.bidding.ledger.books import Books
from bidloop.bidding.ledger.leases import Leases
from bidloop.bidding.ledger.window import Window, of_campaign
from bidloop.bidding.pacing.pacer import Pacer
from bidloop.bidding.pipeline import Bid, Bidder
from bidloop.bidding.settings import BiddingSettings
from bidloop.core.clock import Clock
from bidloop.core.decision import BidState, Decision
from bidloop.core.errors import CorruptArtifact, NotFound, Unavailable
from bidloop.core.event import Event
from bidloop.core.feature_table import UNAVAILABLE, FeatureTable
from bidloop.core.landscape import Landscape
from bidloop.core.money import MICROS, Money
from bidloop.core.opportunity import Charge, Opportunity
from bidloop.core.outcome import Observations
from bidloop.core.prediction import POOLED, Attribution, Prediction
from bidloop.events.intake import Intake, Receipt
from bidloop.events.ports import EventLog
from bidloop.features.health import FeatureHealth
from bidloop.features.ports import OnlineStore
from bidloop.features.view import FeatureView
from bidloop.follower import Follower, Page
from bidloop.outcomes.joining import Joiner
from bidloop.outcomes.ports import DecisionLog, History
from bidloop.outcomes.settings import OutcomeSettings
from bidloop.prediction.bundle import Bundle, load_bundle
from bidloop.prediction.predictor import Predictor
from bidloop.retraining.settings import RenewalSettings
from bidloop.retraining.shelf import Shelf
from bidloop.retraining.warm_start import warm_start

if TYPE_CHECKING:
    from bidloop.models.hyperparameters import Hyperparameters
    from bidloop.retraining.evidence import Renewal

_log = logging.getLogger(__name__)

KEPT = timedelta(hours=26)
"""How far back a server's features can be asked for: to the beginning of the account's day, whatever its clock does."""
REMEMBERED = 10_000
"""Latest decisions from which last bids and pacing multipliers come back after a start."""


class Loop:
    """Decides, absorbs what came of it, and renews its models.

    Parameters
    ----------
    clock
        Where "now" comes from; simulations hand in one that they set themselves.
    leases
        What budgets still hold, for all processes that bid together.
    view, features
        What is known of an opportunity, and the store that knows it.
    predictor, bidder, pacer
        From features to rates, from rates to a bid, and how fast a budget may go.
    intake, log
        Where events go in, and where they are read from again, in the order in which all processes wrote them.
    joiner, history, decisions
        How events become outcomes, where history is read from, where decisions are kept.
    shelf
        The model bundles, and which of them serves.
    policies
        Folder of the bidding settings that ever decided, by version, so that an old decision can be made again.
    renewal, outcomes
        How the history is split and what is trained, and how long conversions are waited for.
    ids
        Where decision ids come from; exploration's draw is a hash of the id, so seeded ids make a run repeatable.
    health
        Where what is missing or senseless among the features is counted; by default anew.

    Notes
    -----
    One `Loop` may be shared by threads: `decide`, `absorb` and `follow` hold a lock for as long as they touch shared state.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        view: FeatureView,
        features: OnlineStore,
        predictor: Predictor,
        bidder: Bidder,
        pacer: Pacer,
        leases: Leases,
        intake: Intake,
        log: EventLog,
        joiner: Joiner,
        history: History,
        decisions: DecisionLog,
        shelf: Shelf,
        policies: Path,
        renewal: RenewalSettings,
        outcomes: OutcomeSettings,
        ids: Callable[[Clock], str] | None = None,
        health: FeatureHealth | None = None,
    ) -> None:
        self.clock = clock
        self.view = view
        self.features = features
        self.health = health or FeatureHealth(view)
        self.predictor = predictor
        self.bidder = bidder
        self.pacer = pacer
        self.leases = leases
        self.intake = intake
        self.log = log
        self.joiner = joiner
        self.history = history
        self.decisions = decisions
        self.shelf = shelf
        self.policies = policies
        self.renewal = renewal
        self.outcomes = outcomes
        self._new_id = ids or new_decision_id
        self._last_bids: dict[tuple[str, ...], Money] = {}
        self._follower = Follower(log, joiner, features, self.health, clock)
        self._books = Books(leases, clock)
        self._stated: dict[str, tuple[date, int]] = {}
        self._state = threading.Lock()

    def decide(self, opportunity: Opportunity) -> Decision:
        """The bid for one opportunity, with its record."""
        return self.decide_many([opportunity])[0]

    def decide_many(self, opportunities: Sequence[Opportunity]) -> list[Decision]:
        """Bids for opportunities of one moment, in order; an earlier one may use up budget that a later one then lacks."""
        if not opportunities:
            return []
        started = time.perf_counter_ns()
        table = self._features_of(opportunities)
        featured = time.perf_counter_ns()
        with self._state:
            predictions = self.predictor.predict(opportunities, table)
            landscapes = self.predictor.landscapes(opportunities, table)
            predicted = time.perf_counter_ns()
            last_bids = ChainMap[tuple[str, ...], Money]({}, self._last_bids)
            decisions = []
            for i, (opportunity, prediction, landscape) in enumerate(
                zip(opportunities, predictions, landscapes, strict=True)
            ):
                decision_id = self._new_id(self.clock)
                state, bid = self._bid(opportunity, prediction, landscape, decision_id, last_bids)
                last_bids[_cell(opportunity)] = bid.amount
                decisions.append(
                    Decision(
                        decision_id=decision_id,
                        at=self.clock.now(),
                        opportunity=opportunity,
                        features=table.row(i),
                        prediction=prediction,
                        policy=self.bidder.policy,
                        state=state,
                        stages=bid.stages,
                        bid=bid.amount,
                        propensity=bid.propensity,
                        expectation=bid.expectation,
                        reasons=bid.reasons,
                        binding=bid.binding,
                    )
                )
            self._last_bids.update(last_bids.maps[0])
            # A standing bid, which takes the place of one in force, is no auction: it may win many clicks or none, and nobody
            # tells that it lost. Money is held for it among the bids of this moment alone.
            self.leases.settle((d.decision_id, 0) for d in decisions if d.opportunity.current_bid is not None)
        done = time.perf_counter_ns()
        n = 1000 * len(opportunities)
        timings = {
            "features": (featured - started) / n,
            "prediction": (predicted - featured) / n,
            "bid": (done - predicted) / n,
        }
        decisions = [msgspec.structs.replace(decision, timings_us=timings) for decision in decisions]
        self.decisions.record(decisions)
        return decisions

    def absorb(self, events: Sequence[Event]) -> Receipt:
        """Take in what happened: each event has its effect once, and what makes no sense is kept aside with its reason."""
        receipt = self.intake.accept(events)
        with suppress(Unavailable):  # the log has them, and they are followed when the store of features is back
            self.follow()
        return receipt

    def follow(self) -> int:
        """Learn what the log has gained since the last time, whichever process wrote it; says how many events.

        Features and budgets are a function of the log in its order: after a crash, or beside other processes, they come
        out the same.

        Raises
        ------
        Unavailable
            When the log or the store of features does not answer; the same again later goes on from here.
        """
        learned = self._follower.follow(self._learn)
        self._books.keep()
        return learned

    def settle(self) -> None:
        """Free what features need only to be read as of before the account's day began; such a read is refused from then on."""
        self.features.settle(self.clock.now() - KEPT)

    def rebuild(self, observations: Observations, position: int) -> None:
        """Bring the in-process state back after a start.

        Parameters
        ----------
        observations
            All that the log tells up to `position`, joined by this loop's joiner in the order of the log. The store of features
            has learned it already.
        position
            From where `follow` goes on.
        """
        self._pace(observations)
        self._books.start(observations, position)
        self._follower.start(position)
        with self._state:
            for decision in reversed(self.decisions.recent(REMEMBERED)):
                about, state = decision.opportunity, decision.state
                self._last_bids[_cell(about)] = decision.bid
                if about.budget is not None and about.budget.currency == self.bidder.settings.currency:
                    self.pacer.set_budget(about.campaign_id, about.budget)
                if state.remaining is not None:  # it had a budget, and so a pace
                    self.pacer.start(about.campaign_id, state.multiplier)

    def renew(
        self,
        on_progress: Callable[[str, float], None] | None = None,
        *,
        hyperparameters: Hyperparameters | None = None,
        tune_seconds: float | None = None,
        promote: bool = True,
    ) -> Renewal:
        """Train anew on the history, keep what does best on held-out days, and serve it.

        Parameters
        ----------
        hyperparameters
            Settings of each kind of model, such as an earlier tuning found.
        tune_seconds
            Look for better ones first, for so long.
        promote
            Whether what is best serves at once; otherwise it is the challenger, and what serves stays.

        Raises
        ------
        InsufficientData
            When there are too few rows or days.
        Unavailable
            When another process trains in the same place.
        """
        from bidloop.retraining.renewal import renew  # brings the training frameworks, which deciding must not load
        from bidloop.retraining.training_set import read_training_set
        from bidloop.retraining.unfinished import unfinished_training

        report = on_progress or (lambda doing, share: None)
        with unfinished_training(self.shelf.folder / ".training") as folder:
            self.history.sync()
            data = read_training_set(
                self.history,
                self.view,
                self.renewal,
                now=self.clock.now(),
                window_days=self.outcomes.conversion_window_days,
                on_progress=lambda doing, share: report(doing, 0.1 * share),
            )
            renewal = renew(
                data,
                self.history,
                self.view,
                self.shelf,
                self.renewal,
                now=self.clock.now(),
                hyperparameters=hyperparameters,
                tune_seconds=tune_seconds,
                unfinished=folder,
                on_progress=lambda doing, share: report(doing, 0.1 + 0.9 * share),
            )
        self.shelf.propose(renewal.version)
        if promote:
            bundle = load_bundle(self.shelf.path(renewal.version))
            self.shelf.promote(renewal.version, self.clock.now())
            self.serve(bundle)
            self.start_pacing()
        return renewal

    def serve(self, bundle: Bundle) -> None:
        """Predict with another bundle from the next decision on; one that cannot be loaded leaves the present one in place."""
        with self._state:  # rates and landscape of a decision are those of one model
            self.predictor.swap(bundle)

    def start_pacing(self) -> dict[str, float]:
        """Start each campaign's pacing where its budget would have needed it over the last days; says where."""
        self.history.sync()
        with self._state:
            return warm_start(
                self.pacer,
                self.bidder.settings,
                self.predictor,
                self.view,
                self.history,
                self.clock,
                self.renewal.seed,
            )

    def decision(self, decision_id: str) -> Decision:
        """The record of a decision.

        Raises
        ------
        NotFound
            When no decision has this id.
        """
        return self.decisions.get(decision_id)

    def attributions(self, decision: Decision, top: int = 5) -> list[Attribution]:
        """What the model leaned on for this decision, strongest first."""
        return self._predictor_of(decision).attributions(FeatureTable.from_rows([decision.features]), top)

    def recompute(self, decision: Decision) -> Decision:
        """The decision made again from what its record holds: equal to it to the last bit, or something is wrong.

        Raises
        ------
        NotFound
            When the model or the bidding settings that decided are no longer on the shelf.
        """
        predictor = self._predictor_of(decision)
        table = FeatureTable.from_rows([decision.features])
        opportunities = [decision.opportunity]
        [prediction] = predictor.predict(opportunities, table)
        [landscape] = predictor.landscapes(opportunities, table)
        bidder = self._bidder_of(decision)
        bid = bidder.bid(decision.opportunity, prediction, landscape, decision.state)
        return msgspec.structs.replace(
            decision,
            prediction=prediction,
            policy=bidder.policy,
            stages=bid.stages,
            bid=bid.amount,
            propensity=bid.propensity,
            expectation=bid.expectation,
            reasons=bid.reasons,
            binding=bid.binding,
        )

    def _features_of(self, opportunities: Sequence[Opportunity]) -> FeatureTable:
        try:
            table = self.features.read(opportunities)
        except (
            Unavailable,
            CorruptArtifact,
        ):  # an answer from what the caller knows, that says so, is better than none
            self.health.failed()
            _log.exception("the store of features does not answer")
            return FeatureTable(UNAVAILABLE, {}, {})
        self.health.add(table)
        return table

    def _learn(self, observations: Observations, page: Page) -> None:
        """Take in what a page of the log tells of money."""
        self._pace(observations)
        self._books.note(observations, (event for _, event in page), page[-1][0])

    def _pace(self, observations: Observations) -> None:
        """Let the pacer know what was spent."""
        spent_at = observations.at if observations.spent_at is None else observations.spent_at
        with self._state:
            for i in observations.cost.nonzero()[0].tolist():
                opportunity = observations.opportunities[i]
                per_click = opportunity.charge is Charge.PER_CLICK
                charged = observations.clicks[i] if per_click else observations.impressions[i]
                restated = spent_at[i] != observations.at[i]  # a correction says nothing of what one charge costs
                self.pacer.record_spend(
                    opportunity.campaign_id,
                    spent_at[i].item().replace(tzinfo=UTC),
                    Money(round(observations.cost[i] * MICROS), opportunity.currency),
                    events=0 if restated else max(1, round(charged)),
                )

    def _bid(
        self,
        opportunity: Opportunity,
        prediction: Prediction,
        landscape: Landscape | None,
        decision_id: str,
        last_bids: Mapping[tuple[str, ...], Money],
    ) -> tuple[BidState, Bid]:
        """The bid, for which money is held, and what it depended on."""
        campaign, at = opportunity.campaign_id, opportunity.at
        if opportunity.budget is not None:
            self._state_budget(campaign, at, opportunity.budget)
        state = BidState(
            multiplier=self.pacer.multiplier(campaign, at),
            remaining=self._remaining(campaign, at),
            previous_bid=opportunity.current_bid or last_bids.get(_cell(opportunity)),
            draw=draw_of(decision_id),
        )
        bid = self.bidder.bid(opportunity, prediction, landscape, state)
        ledger = bid.stages[-1]
        if ledger.after < ledger.before:  # what is at hand was short; perhaps the budget has more
            wanted = cost_of_winning(opportunity, Money(ledger.before, opportunity.currency))
            more = self._remaining(campaign, at, wanted)
            if more != state.remaining:
                state = msgspec.structs.replace(state, remaining=more)
                bid = self.bidder.bid(opportunity, prediction, landscape, state)
        if not self._hold(decision_id, opportunity, bid.amount):
            state = msgspec.structs.replace(state, remaining=Money(0, opportunity.currency))
            bid = self.bidder.bid(opportunity, prediction, landscape, state)
        return state, bid

    def _remaining(self, campaign: str, at: datetime, wanted: int = 1) -> Money | None:
        """What a bid may cost: what the ledger has at hand, and what the log leaves of the day's budget."""
        at_hand = self.leases.available(campaign, at, wanted)
        of_day = self.pacer.remaining(campaign, at)
        if at_hand is None:
            return of_day
        currency = self.bidder.settings.currency
        return Money(at_hand if of_day is None else min(at_hand, of_day.micros), currency)

    def _hold(self, decision_id: str, opportunity: Opportunity, bid: Money) -> bool:
        """Hold what winning may cost; says whether there was enough."""
        ledger, per_click = self.bidder.settings.ledger, opportunity.charge is Charge.PER_CLICK
        seconds = ledger.click_hold_seconds if per_click else ledger.hold_seconds
        cost = cost_of_winning(opportunity, bid)
        return self.leases.hold(decision_id, opportunity.campaign_id, opportunity.at, cost, seconds, repeats=per_click)

    def _state_budget(self, campaign: str, at: datetime, budget: Money) -> None:
        """A budget that the caller states holds for the day, in every process."""
        day = self.leases.windows.day(at)
        if self._stated.get(campaign) == (day, budget.micros):
            return
        self.pacer.set_budget(campaign, budget)
        with suppress(Unavailable):  # the pacer holds it here, and it is told again with the next opportunity
            self.leases.change({Window(of_campaign(campaign), f"day:{day}"): budget.micros})
            self._stated[campaign] = (day, budget.micros)

    def _predictor_of(self, decision: Decision) -> Predictor:
        version = decision.prediction.model_version
        if version == self.predictor.version:
            return self.predictor
        bundle = None if version == POOLED else load_bundle(self.shelf.path(version))
        return Predictor(bundle, self.predictor.settings)

    def _bidder_of(self, decision: Decision) -> Bidder:
        if decision.policy == self.bidder.policy:
            return self.bidder
        file = self.policies / f"{decision.policy}.json"
        if not file.exists():
            raise NotFound(
                f"no bidding settings {decision.policy!r} in {self.policies}", expected="one of those that decided"
            )
        try:
            return Bidder(msgspec.json.decode(file.read_bytes(), type=BiddingSettings))
        except msgspec.ValidationError as error:
            raise NotFound(
                f"bidding settings {decision.policy!r} of an earlier version: {error}",
                expected="settings that this version understands",
                remedy="Explain the decision with the version of Bidloop that made it.",
            ) from error


def _cell(opportunity: Opportunity) -> tuple[str, ...]:
    """What a step limit compares: the same place in the account."""
    return (
        opportunity.campaign_id,
        opportunity.ad_group_id,
        opportunity.keyword,
        opportunity.device,
        opportunity.location,
    )


def cost_of_winning(opportunity: Opportunity, bid: Money) -> int:
    """The most that winning at this bid may cost, in micros: one click, or one impression, rounded up."""
    return bid.micros if opportunity.charge is Charge.PER_CLICK else -(-bid.micros // 1000)


def new_decision_id(clock: Clock) -> str:
    """A new unique id that sorts by time: 48 bits of milliseconds and 80 random bits, in hexadecimal.

    >>> from bidloop.core.clock import SystemClock
    >>> len(new_decision_id(SystemClock()))
    32
    """
    return int(clock.now().timestamp() * 1000).to_bytes(6, "big").hex() + os.urandom(10).hex()


def draw_of(decision_id: str) -> float:
    """The number in [0, 1) that exploration draws for a decision: a hash of its id, so that it can be drawn again.

    >>> 0 <= draw_of("018f") < 1
    True
    """
    return int.from_bytes(hashlib.sha256(decision_id.encode()).digest()[:6], "big") / 2**48
